//! Output of one tick: what counts against the round, what is dropped for memory, and which clients get it.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::socket::{CLOSE, Socket, frame};
use crate::stage::Stage;
use crate::web::{ask, get};
use crate::world::Wire;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn messages_before_a_close_frame_are_handled_though_the_answer_to_it_can_not_be_written() {
    let mut stage = Stage::new("--rate 1/s --burst 1");
    let bob = stage.join("bob");
    let tab = Socket::open(&mut stage, "/ws?name=tab");
    stage.expect(bob, &["-- tab joined"]);
    stage.stall(tab.wire);
    for text in ["m1", "m2", "m3"] {
        tab.say(&mut stage, &format!(r#"{{"type":"say","room":"lobby","text":"{text}"}}"#));
    }
    stage.send(tab.wire, &frame(CLOSE, [3, 232]));
    stage.expect(bob, &["tab: m1"]);
    stage.world().reset(tab.wire);
    stage.expect(bob, &[]);
    stage.pass(5 * SECOND);
    stage.expect(bob, &["tab: m2", "tab: m3", "-- tab left"]);
    stage.end();
}

/// Has a talker fill the outboxes of slow clients, each alone in its room, one after the other.
fn fill(stage: &mut Stage, talker: Wire, rooms: std::ops::Range<usize>, lines: usize) {
    for room in rooms {
        stage.say(talker, &format!("/join r{room}"));
        (0..lines).for_each(|_| stage.say(talker, &"x".repeat(4_000)));
        stage.run_past_holds();
    }
}

#[test]
fn clients_are_dropped_over_memory_until_a_sixteenth_of_it_is_free() {
    let flags =
        "--rate off --history 0 --memory 4m --write-buffer 1m --write-buffer-soft off --stall-timeout off";
    let mut stage = Stage::new(flags);
    let talker = stage.join("talker");
    for number in 0..40 {
        let slow = stage.join(&format!("slow{number}"));
        stage.say(slow, &format!("/join r{number}"));
        stage.run();
        stage.stall(slow);
    }
    // Each client has 200 KB, and 256 KiB are to be free after a pass.
    fill(&mut stage, talker, 0..20, 50);
    assert_eq!(stage.server.metrics().dropped_memory, 0, "4,000 KB of 4 MiB");
    fill(&mut stage, talker, 20..22, 50);
    assert_eq!(stage.server.metrics().dropped_memory, 2);
    let memory = stage.server.arena().memory_bytes();
    assert!((3_900_000..=4 << 20).contains(&memory), "{memory}");
    fill(&mut stage, talker, 22..40, 50);
    let dropped = stage.server.metrics().dropped_memory;
    assert!((18..=20).contains(&dropped), "{dropped}");
    assert!(stage.server.arena().memory_bytes() <= (4 << 20) + (256 << 10) + (64 << 10));
    stage.end();
}

#[test]
fn private_message_to_oneself_has_no_tag_and_its_receipt_has() {
    let mut stage = Stage::new("");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    tab.say(&mut stage, r#"{"type":"tell","to":"tab","text":"psst","id":"t1"}"#);
    let texts = tab.texts(&mut stage);
    let tagged: Vec<bool> = texts.iter().map(|text| text.contains("\"t1\"")).collect();
    assert_eq!(tagged, [false, true], "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("psst")), "{texts:?}");
    stage.end();
}

#[test]
fn notice_that_other_servers_are_out_of_reach_goes_only_to_clients_with_a_name() {
    let mut cluster = Cluster::new(1, "--max-clients 3 --max-waiting 1 --http-timeout 1h --name-timeout 1h");
    let ann = cluster.join(0, "ann");
    let mut tab = cluster.open(0, "/ws?name=tab");
    cluster.texts(0, &mut tab);
    let (unnamed, waiting) = (cluster.stage(0).connect(), cluster.stage(0).connect());
    let http = cluster.stage(0).connect_http();
    cluster.run();
    ask(cluster.stage(0), http, &get("/healthz"));
    cluster.unread(ann);
    let read = |cluster: &mut Cluster| [unnamed, waiting, http].map(|wire| cluster.stage(0).text(wire).len());
    let before = read(&mut cluster);
    assert!(before.iter().all(|length| *length > 0), "{before:?}");
    cluster.set_cut_off(0, true);
    cluster.pass(30 * SECOND);
    assert!(cluster.unread(ann).concat().contains("out of reach"));
    assert!(!cluster.texts(0, &mut tab).is_empty());
    assert_eq!(read(&mut cluster), before);
    cluster.set_cut_off(0, false);
    cluster.end();
}

#[test]
fn http_connection_whose_request_waits_for_redis_is_not_evicted() {
    let mut cluster = Cluster::new(1, "--max-http 1 --http-timeout 1h");
    let asker = cluster.stage(0).connect_http();
    cluster.stage(0).send(asker, get("/healthz").as_bytes());
    cluster.pass(5 * SECOND);
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    cluster.stage(0).send(asker, get("/rooms").as_bytes());
    cluster.run();
    let newcomer = cluster.stage(0).connect_http();
    cluster.stage(0).send(newcomer, get("/healthz").as_bytes());
    cluster.run();
    assert_eq!(cluster.stage(0).text(newcomer), "");
    cluster.redis.set_stalled(false, millis);
    cluster.run();
    let answers = cluster.stage(0).text(asker).matches("HTTP/1.1 200 ").count();
    assert_eq!(answers, 2, "{}", cluster.stage(0).text(asker));
    cluster.pass(2 * SECOND);
    assert!(cluster.stage(0).text(newcomer).starts_with("HTTP/1.1 200 "), "now that it is idle");
    cluster.end();
}
