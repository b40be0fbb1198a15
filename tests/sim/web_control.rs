//! Control frames (RFC 6455, 5.5) are answered in order, and also while messages of their client must wait.

use std::time::Duration;

use crate::socket::{BINARY, CLOSE, CONTINUE, Frame, PING, PONG, Socket, TEXT, fragment, frame};
use crate::stage::Stage;
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

/// Under `--burst 1` a client may send one message at once; each of the others waits for a second.
const SLOW: &str = "--rate 1/s --burst 1";

fn say(number: usize) -> Vec<u8> {
    frame(TEXT, format!(r#"{{"type":"say","room":"lobby","text":"m{number}"}}"#).as_bytes())
}

fn says(count: usize) -> Vec<u8> {
    (0..count).flat_map(say).collect()
}

fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, code.to_be_bytes())
}

fn pong(payload: &[u8]) -> Frame {
    (PONG, payload.to_vec())
}

/// Returns the payloads of pongs read since the last call.
fn pongs(stage: &mut Stage, tab: &mut Socket) -> Vec<Vec<u8>> {
    stage.run();
    let frames = tab.frames(stage).into_iter().filter(|(opcode, _)| *opcode == PONG);
    frames.map(|(_, payload)| payload).collect()
}

/// Returns the messages of `tab` that `ann` has read since the last call.
fn received(stage: &mut Stage, ann: Wire) -> Vec<String> {
    stage.run();
    let lines = stage.unread(ann);
    lines.iter().filter_map(|line| line.strip_prefix("tab: ")).map(String::from).collect()
}

fn messages(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("m{number}")).collect()
}

/// A line client, and a tab in its room.
fn ann_and_tab(flags: &str) -> (Stage, Wire, Socket) {
    let mut stage = Stage::new(flags);
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    stage.unread(ann);
    (stage, ann, tab)
}

/// The tab stops reading.
fn stop(stage: &mut Stage, tab: &Socket) {
    stage.stall(tab.wire);
}

/// The tab reads again.
fn go_on(stage: &mut Stage, tab: &Socket) {
    stage.read_again(tab.wire);
}

/// Checks the output of a program at `/raw` with `echo` for those bytes: in one piece, in two with every cut, and byte by byte.
#[track_caller]
fn check_echo(bytes: &[u8], expected: &[Frame]) {
    let cuts = (0..bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]);
    for pieces in cuts.chain([bytes.chunks(1).collect()]) {
        let mut stage = Stage::new("--rate off");
        let mut program = Socket::open(&mut stage, "/raw/lobby?echo=1");
        for piece in &pieces {
            stage.send(program.wire, piece);
            stage.run();
        }
        assert_eq!(program.frames(&stage), expected, "in {} pieces", pieces.len());
        stage.end();
    }
}

#[test]
fn ten_pings_get_ten_pongs_in_order() {
    let pings: Vec<u8> =
        (0..10).flat_map(|number| frame(PING, format!("payload-{number}").as_bytes())).collect();
    let expected: Vec<_> = (0..10).map(|number| pong(format!("payload-{number}").as_bytes())).collect();
    check_echo(&pings, &expected);
}

#[test]
fn pong_comes_in_the_place_of_its_ping() {
    let bytes = [
        frame(TEXT, b"one"),
        frame(PING, b"a"),
        frame(BINARY, b"two"),
        frame(PING, [0xff; 125]),
        frame(PING, b""),
        frame(TEXT, b"three"),
    ];
    let expected = [
        (TEXT, b"one".to_vec()),
        pong(b"a"),
        (BINARY, b"two".to_vec()),
        pong(&[0xff; 125]),
        pong(b""),
        (TEXT, b"three".to_vec()),
    ];
    check_echo(&bytes.concat(), &expected);
}

#[test]
fn ping_between_fragments_is_answered_before_their_message() {
    let message = [
        fragment(TEXT, b"fragment1"),
        frame(PING, b"a"),
        fragment(CONTINUE, b"fragment2"),
        frame(PONG, b"unasked"),
        frame(PING, b"b"),
        fragment(0x80 | CONTINUE, b"fragment3"),
        frame(PING, b"c"),
    ];
    let whole = b"fragment1fragment2fragment3".to_vec();
    check_echo(&message.concat(), &[pong(b"a"), pong(b"b"), (TEXT, whole), pong(b"c")]);
}

#[test]
fn unsolicited_pong_is_ignored() {
    check_echo(
        &[frame(PONG, b"x"), frame(PONG, b""), frame(TEXT, b"hi")].concat(),
        &[(TEXT, b"hi".to_vec())],
    );
}

#[test]
fn nothing_is_answered_behind_a_close() {
    check_echo(
        &[frame(PING, b"a"), close(1000), frame(PING, b"b")].concat(),
        &[pong(b"a"), (CLOSE, 1000_u16.to_be_bytes().to_vec())],
    );
}

#[test]
fn client_that_reads_nothing_gets_one_pong_for_its_newest_ping() {
    let (mut stage, ann, mut tab) = ann_and_tab("--rate off");
    stop(&mut stage, &tab);
    stage.say(ann, "this waits");
    stage.run();
    for number in 0..1_000_u32 {
        stage.send(tab.wire, &frame(PING, number.to_be_bytes()));
        stage.run();
    }
    go_on(&mut stage, &tab);
    assert_eq!(pongs(&mut stage, &mut tab), [999_u32.to_be_bytes()]);
    stage.send(tab.wire, &[frame(PING, b"a"), frame(PING, b"b")].concat());
    assert_eq!(pongs(&mut stage, &mut tab), [b"a", b"b"], "each again, once it reads");
    stage.end();
}

#[test]
fn pending_pong_is_freed_with_its_connection() {
    for reset in [false, true] {
        let (mut stage, ann, tab) = ann_and_tab("--rate off --stall-timeout 10s");
        stop(&mut stage, &tab);
        stage.say(ann, "this waits");
        stage.run();
        stage.send(tab.wire, &frame(PING, b"?"));
        stage.run();
        match reset {
            true => stage.world().reset(tab.wire),
            false => stage.pass(11 * SECOND),
        }
        stage.run();
        stage.end();
    }
}

/// The client reads a little now and then, and stays over the soft limit.
#[test]
fn client_that_always_lags_gets_pongs() {
    let flags =
        "--slow-client skip --write-buffer 256k --write-buffer-soft 4k:10s --stall-timeout off --rate off";
    let (mut stage, ann, mut tab) = ann_and_tab(flags);
    stop(&mut stage, &tab);
    let mut answered = Vec::new();
    for second in 0..40_u32 {
        for _ in 0..(if second == 0 { 20 } else { 4 }) {
            stage.say(ann, &"x".repeat(1_000));
        }
        stage.send(tab.wire, &frame(PING, second.to_be_bytes()));
        stage.pass(SECOND);
        // As many bytes as are sent in a second.
        stage.world().set_window(tab.wire, 4_300);
        stage.run();
        stage.receive(tab.wire, usize::MAX);
        stage.world().set_window(tab.wire, 0);
        stage.run();
        let frames = tab.frames(&stage);
        answered.extend(frames.into_iter().filter(|(opcode, _)| *opcode == PONG).map(|(_, payload)| payload));
    }
    let numbers: Vec<u32> =
        answered.iter().map(|payload| u32::from_be_bytes(payload[..].try_into().unwrap())).collect();
    assert!(numbers.len() > 20 && numbers.is_sorted(), "{numbers:?}");
    stage.end();
}

#[test]
fn throttled_client_gets_its_pongs_and_loses_no_message() {
    for dialect in ["/ws?name=tab", "/raw/lobby?name=tab"] {
        let mut stage = Stage::new(SLOW);
        let ann = stage.join("ann");
        let mut tab = Socket::open(&mut stage, dialect);
        stage.run();
        stage.unread(ann);
        tab.frames(&stage);
        let plain: Vec<u8> =
            (0..250).flat_map(|number| frame(TEXT, format!("m{number}").as_bytes())).collect();
        let said = if dialect.starts_with("/ws") { says(250) } else { plain };
        stage.send(tab.wire, &said);
        let mut all = Vec::new();
        for second in 0..250_u32 {
            if second % 20 == 0 {
                stage.send(tab.wire, &frame(PING, second.to_be_bytes()));
                assert_eq!(pongs(&mut stage, &mut tab), [second.to_be_bytes()], "{dialect}");
            }
            all.extend(received(&mut stage, ann));
            assert_eq!(all.len(), second as usize + 1, "{dialect}: one a second");
            stage.pass(SECOND);
        }
        assert_eq!(all, messages(250), "{dialect}");
        stage.end();
    }
}

#[test]
fn fragments_wait_as_messages_do_however_they_are_cut() {
    let fragmented = |number: usize| {
        let text = format!(r#"{{"type":"say","room":"lobby","text":"m{number}"}}"#);
        let (start, end) = text.as_bytes().split_at(number % 30);
        let asks = frame(PING, [number as u8]);
        [fragment(TEXT, start), asks, fragment(0x80 | CONTINUE, end)].concat()
    };
    let bytes: Vec<u8> = (0..30).flat_map(fragmented).collect();
    for piece in [1, 7, 100, bytes.len()] {
        let (mut stage, ann, mut tab) = ann_and_tab(SLOW);
        for part in bytes.chunks(piece) {
            stage.send(tab.wire, part);
            stage.run();
        }
        let expected: Vec<_> = (0..30).map(|number| vec![number]).collect();
        assert_eq!(pongs(&mut stage, &mut tab), expected, "in pieces of {piece}");
        stage.pass(30 * SECOND);
        assert_eq!(received(&mut stage, ann), messages(30), "in pieces of {piece}");
        stage.end();
    }
}

/// At most 16 KiB of messages wait, or one of `--message-max`. `Stage` checks the bytes after every tick.
#[test]
fn client_with_a_full_queue_of_messages_is_not_read_and_loses_nothing() {
    let count = 400;
    let padded = |number: usize| format!(r#"{{"type":"say","room":"lobby","text":"m{number}"}}{:80}"#, "");
    let bytes: Vec<u8> = (0..count).flat_map(|number| frame(TEXT, padded(number).as_bytes())).collect();
    let (mut stage, ann, mut tab) = ann_and_tab("--rate 10/s --burst 1 --message-max 4k");
    stage.send(tab.wire, &bytes);
    stage.send(tab.wire, &frame(PING, b"behind"));
    assert_eq!(pongs(&mut stage, &mut tab), Vec::<Vec<u8>>::new(), "it is not read yet");
    let mut seconds = 0;
    while pongs(&mut stage, &mut tab).is_empty() {
        stage.pass(SECOND);
        seconds += 1;
    }
    assert!((10..38).contains(&seconds), "answered after {seconds} s, with the last messages waiting");
    stage.pass(40 * SECOND);
    assert_eq!(received(&mut stage, ann), messages(count));
    stage.end();
}

#[test]
fn queue_of_messages_holds_16_kib_or_one_message_max() {
    // A queued message of 1,019 bytes takes 1,024.
    for (flags, most) in [("--message-max 1k", 16), ("--message-max 64k", 64), ("--message-max 20k", 20)] {
        for (count, answered) in [(most, 1), (most + 1, 0)] {
            let mut stage = Stage::new(&format!("{SLOW} {flags}"));
            let mut program = Socket::open(&mut stage, "/raw/lobby");
            // The burst pays for one, and the next is decoded already.
            stage.send(program.wire, &frame(BINARY, [7; 1_019]).repeat(2 + count));
            stage.send(program.wire, &frame(PING, b"?"));
            assert_eq!(pongs(&mut stage, &mut program).len(), answered, "{flags}: {count} messages wait");
            stage.pass(SECOND);
            let later = pongs(&mut stage, &mut program).len();
            assert_eq!(answered + later, 1, "{flags}: a place is free");
            stage.end();
        }
    }
}

#[test]
fn client_in_the_queue_gets_its_pongs() {
    let mut stage = Stage::new(&format!("--max-clients 1 {SLOW}"));
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    stage.send(tab.wire, &says(5));
    stage.send(tab.wire, &frame(PING, b"a"));
    assert_eq!(pongs(&mut stage, &mut tab), [b"a"]);
    stage.send(tab.wire, &[&frame(PING, b"b")[..], &close(1000)].concat());
    assert_eq!(tab.closed(&mut stage).0, 1000, "its close is answered too");
    assert_eq!(stage.server.waiting(), 0);
    stage.expect(ann, &[]);
    stage.end();
}

#[test]
fn client_that_lags_gets_its_pong_as_soon_as_it_reads() {
    let (mut stage, ann, mut tab) = ann_and_tab("--rate off --write-buffer-soft 4k:10s");
    stop(&mut stage, &tab);
    for _ in 0..20 {
        stage.say(ann, &"x".repeat(1_000));
    }
    stage.run();
    // It also sends a request, which has to wait, and two pings.
    let asks = [frame(TEXT, br#"{"type":"rooms","id":1}"#), frame(PING, b"a"), frame(PING, b"b")].concat();
    stage.send(tab.wire, &asks);
    stage.run();
    go_on(&mut stage, &tab);
    stage.run();
    let frames = tab.frames(&stage);
    let at = |wanted: &Frame| frames.iter().position(|frame| frame == wanted);
    let answer = frames.iter().position(|(_, text)| text.starts_with(br#"{"type":"rooms""#));
    assert!(at(&pong(b"b")).is_some() && answer.is_some(), "{frames:?}");
    assert_eq!(at(&pong(b"a")), None, "the newest only");
    stage.end();
}

#[test]
fn close_of_a_throttled_client_is_answered_at_once_and_its_messages_are_delivered() {
    let (mut stage, ann, mut tab) = ann_and_tab(SLOW);
    stage.send(tab.wire, &[&says(10)[..], &frame(PING, b"?"), &close(3000), &say(99)].concat());
    let mut all = received(&mut stage, ann);
    assert_eq!(all, ["m0"]);
    let frames = tab.frames(&stage);
    let end = [pong(b"?"), (CLOSE, 3000_u16.to_be_bytes().to_vec())];
    assert!(frames.ends_with(&end), "{frames:?}");
    assert!(stage.world().is_over(tab.wire), "and our side is closed");
    assert_eq!(stage.server.chat().census().clients, 2, "it has still something to say");
    for _ in 0..9 {
        stage.say(ann, "/msg tab are you there?");
        stage.pass(SECOND);
        all.extend(stage.unread(ann).iter().filter_map(|line| line.strip_prefix("tab: ")).map(String::from));
    }
    assert_eq!(all, messages(10));
    stage.run();
    assert_eq!(tab.frames(&stage), [], "nothing follows a close");
    assert_eq!(stage.server.chat().census().clients, 1, "with the last one it is gone");
    stage.end();
}

/// After a client's close its messages are delivered, nothing follows the close, and nothing is left.
#[test]
fn messages_before_a_close_outlive_the_connection() {
    let happens: [fn(&mut Stage, Wire); 3] = [
        |stage, wire| stage.world().end(wire),
        |stage, wire| stage.world().reset(wire),
        |stage, wire| stage.send(wire, &frame(PING, [1; 100]).repeat(1_000)),
    ];
    for happen in happens {
        let (mut stage, ann, mut tab) = ann_and_tab(&format!("{SLOW} --idle-timeout 3s --ping-interval 2s"));
        stage.send(tab.wire, &[says(5), close(1000)].concat());
        stage.run();
        happen(&mut stage, tab.wire);
        for _ in 0..6 {
            stage.say(ann, "/who");
            stage.pass(SECOND);
        }
        assert_eq!(received(&mut stage, ann), messages(5));
        assert_eq!(tab.frames(&stage).iter().filter(|(opcode, _)| *opcode == CLOSE).count(), 1);
        assert_eq!(stage.server.roster().len(), 1);
        stage.end();
    }
}

#[test]
fn client_that_has_closed_is_not_sent_another_close_at_shutdown() {
    let (mut stage, _, mut tab) = ann_and_tab(SLOW);
    stage.send(tab.wire, &[says(5), close(1000)].concat());
    assert_eq!(tab.closed(&mut stage).0, 1000);
    stage.world().signal(chinwag::net::Signal::Terminate);
    stage.pass(3 * SECOND);
    assert_eq!(tab.frames(&stage), []);
    assert!(stage.stopped);
}

#[test]
fn client_that_has_closed_and_does_not_read_is_dropped() {
    let (mut stage, ann, tab) = ann_and_tab(&format!("{SLOW} --stall-timeout 3s"));
    stop(&mut stage, &tab);
    stage.send(tab.wire, &[says(60), close(1000)].concat());
    stage.pass(15 * SECOND);
    assert_eq!(stage.server.roster().len(), 1, "its close waits no longer than anything else");
    assert_eq!(stage.server.metrics().dropped_stalled, 1, "and that is counted");
    stage.unread(ann);
    stage.end();
}

#[test]
fn client_that_closes_is_told_first_how_much_it_missed() {
    let flags = "--slow-client skip --write-buffer 8k --write-buffer-soft 4k:1s --line-max 1k --rate off";
    let (mut stage, ann, mut tab) = ann_and_tab(flags);
    stop(&mut stage, &tab);
    for _ in 0..20 {
        stage.say(ann, &"x".repeat(900));
    }
    stage.run_past_holds();
    stage.send(tab.wire, &close(1000));
    stage.run();
    go_on(&mut stage, &tab);
    stage.run();
    let frames = tab.frames(&stage);
    let [.., (TEXT, missed), (CLOSE, _)] = &frames[..] else { panic!("{frames:?}") };
    assert!(missed.starts_with(br#"{"type":"missed""#), "{frames:?}");
    stage.end();
}

#[test]
fn broken_frame_closes_the_connection_after_the_queued_messages() {
    for (broken, code) in [(frame(TEXT, b"\xff"), 1007), (fragment(0xc1, b"x"), 1002)] {
        let (mut stage, ann, mut tab) = ann_and_tab(SLOW);
        stage.send(tab.wire, &[&says(5)[..], &frame(PING, b"?"), &broken, &frame(PING, b"!")].concat());
        assert_eq!(pongs(&mut stage, &mut tab), [b"?"]);
        stage.pass(5 * SECOND);
        assert_eq!(received(&mut stage, ann), messages(5));
        assert_eq!(tab.closed(&mut stage).0, code);
        stage.end();
    }
}

#[test]
fn end_of_input_closes_the_connection_after_the_queued_messages() {
    let (mut stage, ann, mut tab) = ann_and_tab(SLOW);
    stage.send(tab.wire, &[&says(5)[..], &frame(PING, b"?")].concat());
    stage.world().end(tab.wire);
    assert_eq!(pongs(&mut stage, &mut tab), [b"?"]);
    stage.pass(5 * SECOND);
    assert_eq!(received(&mut stage, ann), messages(5));
    assert_eq!(stage.server.roster().len(), 1);
    stage.end();
}

#[test]
fn raw_client_that_misses_a_message_is_closed_with_the_reason_under_either_policy() {
    for policy in ["drop", "skip"] {
        let flags = format!(
            "--slow-client {policy} --write-buffer 16k --write-buffer-soft 8k:5s --stall-timeout 3s --rate off --line-max 1k"
        );
        // Number of messages, seconds without reading, whether a little is read all along, and the reason.
        let rows = [(40, 1, false, "too much"), (3, 4, false, "stopped reading"), (14, 6, true, "behind")];
        for (count, seconds, trickles, part) in rows {
            let mut stage = Stage::new(&flags);
            let mut program = Socket::open(&mut stage, "/raw/lobby");
            let talker = Socket::open(&mut stage, "/raw/lobby");
            stop(&mut stage, &program);
            (0..count).for_each(|_| stage.send(talker.wire, &frame(BINARY, [7; 1_000])));
            for _ in 0..seconds {
                stage.pass(SECOND);
                if trickles {
                    stage.world().set_window(program.wire, 10);
                    stage.run();
                    stage.receive(program.wire, 10);
                }
            }
            go_on(&mut stage, &program);
            let (code, reason) = program.closed(&mut stage);
            assert_eq!((code, reason.contains(part)), (1013, true), "{policy}: {reason}");
            assert_eq!(stage.server.metrics().missed, 0, "{policy}");
            stage.end();
        }
    }
}
