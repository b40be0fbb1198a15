//! Bounds of the link: however many processes and requests there are, the answers are bounded.

use std::time::Duration;

use chinwag::backplane::{Link, LinkAction};
use chinwag::protocol::{LocalEvent, RemoteEvent};
use chinwag::text::RoomName;

use crate::link::{HEAD, Rig, message_of, said};

const PRESENCE: &str = "chinwag:@presence";

fn packet(process: u64, rest: &str) -> String {
    format!(r#"{{"chinwag":"{process:016x}","type":{rest}}}"#)
}

fn published(channel: &str, rest: &str) -> Vec<String> {
    vec!["PUBLISH".into(), format!("chinwag:{channel}"), format!("{HEAD}:{rest}}}")]
}

/// A process that has published in each of so many rooms, and subscribes to none.
fn spoken_in(rooms: usize, flags: &str) -> Rig {
    let mut rig = Rig::up(flags);
    for n in 0..rooms {
        let LocalEvent::Message { message, .. } = said("hi") else { unreachable!() };
        let room = RoomName::parse(&format!("room-{n:04}")).unwrap();
        rig.backplane.share(LocalEvent::Message { room, message }, rig.now);
    }
    rig.settle();
    rig
}

#[test]
fn new_processes_are_answered_once_a_tick_however_many_there_are() {
    let mut rig = spoken_in(3, "");
    (1..=25).for_each(|process| {
        rig.on_message(PRESENCE, &packet(process, r#""hello","version":0"#));
    });
    let snapshots: Vec<Vec<String>> =
        (1..=25).map(|process| vec!["HGETALL".into(), format!("chinwag:@{process:016x}")]).collect();
    let beat = published("@presence", r#""beat","version":1"#);
    let mark = |n| {
        published(&format!("room-{n:04}"), &format!(r#""mark","epoch":{},"n":1,"first":0,"last":0"#, n + 1))
    };
    let answers: Vec<Vec<String>> = [beat].into_iter().chain((0..3).map(mark)).collect();
    assert_eq!(rig.commands(), [snapshots, answers.clone()].concat());
    rig.receive(Link::Commands, &["*0\r\n".repeat(25), ":1\r\n".repeat(4)].concat());
    rig.on_message(PRESENCE, &packet(1, r#""hello","version":0"#));
    assert_eq!(rig.commands()[1..], answers, "and again the next time");
}

#[test]
fn request_in_a_room_is_answered_once_a_tick() {
    let mut rig = Rig::up("");
    rig.listens("lobby");
    rig.backplane.share(said("hi"), rig.now);
    rig.settle();
    let ask = packet(9, r#""ask","epoch":1,"n":0"#);
    (0..1000).for_each(|_| assert_eq!(rig.on_message("chinwag:lobby", &ask), []));
    assert_eq!(rig.commands(), [published("lobby", r#""mark","epoch":1,"n":1,"first":0,"last":0"#)]);
}

#[test]
fn flood_of_requests_evicts_no_message_from_the_queue() {
    let mut rig = spoken_in(1000, "--redis-queue 512k");
    assert_eq!(rig.backplane.counts().shed, 0);
    for _ in 0..100 {
        (1..=100).for_each(|process| {
            rig.on_message(PRESENCE, &packet(process, r#""hello","version":0"#));
        });
        rig.commands();
    }
    rig.backplane.share(said("still here"), rig.now);
    assert!(rig.backplane.state().queue_bytes < 1 << 20, "{:?}", rig.backplane.state());
    rig.settle();
    assert_eq!((rig.backplane.is_up(), rig.backplane.counts().shed), (true, 0));
}

#[test]
fn number_of_other_processes_is_bounded() {
    let mut rig = Rig::up("--redis-processes 2");
    for process in [1, 2, 3, 1] {
        rig.on_message(PRESENCE, &packet(process, r#""beat","version":0"#));
    }
    assert_eq!((rig.backplane.state().peers, rig.backplane.counts().ignored), (2, 1));
    assert_eq!(rig.on_message(PRESENCE, &packet(1, r#""bye""#)), [RemoteEvent::ProcessGone { process: 1 }]);
    rig.on_message(PRESENCE, &packet(3, r#""beat","version":0"#));
    assert_eq!((rig.backplane.state().peers, rig.backplane.counts().ignored), (2, 1));
}

#[test]
fn own_number_in_another_spelling_is_not_another_process() {
    for own in
        [r#"{"chinwag": "0000000000c0ffee""#, r#"{"chinwag":"0000000000C0FFEE""#, r#"{"chinwag":"c0ffee""#]
    {
        let mut rig = Rig::up("");
        rig.listens("lobby");
        assert_eq!(rig.on_message(PRESENCE, &format!(r#"{own},"type":"hello","version":7}}"#)), []);
        let say = format!(r#"{own},"type":"say","epoch":1,"n":1,"at":1,"from":"eve","text":"hi"}}"#);
        assert_eq!(rig.on_message("chinwag:lobby", &say), [], "{own}");
        assert_eq!((rig.backplane.state().peers, rig.backplane.counts().ignored), (0, 2), "{own}");
    }
}

#[test]
fn answer_that_arrives_slowly_is_accepted() {
    let mut rig = Rig::up("--redis-timeout 5s");
    rig.on_message(PRESENCE, &packet(9, r#""beat","version":5"#));
    rig.commands();
    rig.receive(Link::Commands, "*2\r\n$10000000\r\n");
    for second in 0..8 {
        rig.receive(Link::Commands, &"a".repeat(1 << 20));
        rig.after_millis(1000);
        rig.on_message(PRESENCE, &format!("{HEAD}:\"beat\",\"version\":1}}"));
        assert!(rig.backplane.is_up(), "after {second} seconds of an answer");
    }
    rig.after_millis(3_999);
    assert!(rig.backplane.is_up());
    rig.after_millis(1);
    assert!(!rig.backplane.is_up(), "it has stopped");
}

#[test]
fn process_with_too_many_clients_to_read_does_not_end_each_session() {
    let mut rig = Rig::up("--redis-reply-max 64k");
    let beat = packet(9, r#""beat","version":5"#);
    rig.on_message(PRESENCE, &beat);
    assert_eq!(rig.commands(), [["HGETALL", "chinwag:@0000000000000009"]]);
    rig.receive(Link::Commands, &format!("*4\r\n$1\r\n1\r\n$2000000\r\n{}", "a".repeat(1 << 20)));
    let nobody = RemoteEvent::AllClients { process: 9, clients: vec![], announce: false };
    let actions = vec![LinkAction::Deliver(nobody), LinkAction::Disconnect];
    assert_eq!((rig.backplane.is_up(), rig.actions()), (false, actions), "who was known is forgotten");

    rig.now.moment += Duration::from_millis(200);
    rig.connect();
    rig.log_in();
    assert!(rig.backplane.is_up());
    rig.settle();
    assert_eq!(rig.on_message(PRESENCE, &beat), []);
    assert_eq!(rig.commands(), Vec::<Vec<String>>::new(), "it is there, but not read");
    assert_eq!(rig.backplane.state().peers, 1);
    // Other processes still come through.
    rig.on_message(PRESENCE, &packet(8, r#""beat","version":5"#));
    assert_eq!(rig.commands(), [["HGETALL", "chinwag:@0000000000000008"]]);
    rig.receive(Link::Commands, &message_of(&["v", "5"]));
    let everyone = RemoteEvent::AllClients { process: 8, clients: vec![], announce: false };
    assert_eq!(rig.actions(), [LinkAction::Deliver(everyone)]);
}
