//! The deadlines of the link.

use chinwag::backplane::{Backplane, LinkAction, RedisConnection};
use chinwag::config::Config;
use chinwag::net::ConnectTarget;
use chinwag::protocol::RemoteEvent;

use crate::link::{OTHER, PROCESS, Rig, address, message_of};

#[test]
fn error_at_the_login_ends_the_session() {
    for error in ["NOAUTH Authentication required.", "WRONGPASS no", "LOADING wait", "NOPERM no"] {
        for link in RedisConnection::BOTH {
            let mut rig = Rig::new("");
            rig.open();
            rig.receive(link, &format!("-{error}\r\n"));
            assert_eq!(rig.actions(), [LinkAction::Disconnect], "{error}");
            assert!(!rig.backplane.has_session());
        }
    }
}

#[test]
fn each_attempt_doubles_the_delay_and_takes_the_next_address() {
    let mut rig = Rig::new("");
    let mut pauses = Vec::new();
    for attempt in 0..12 {
        pauses.push(rig.skip().as_secs_f64());
        while !rig.actions().iter().any(|action| matches!(action, LinkAction::Resolve { .. })) {
            *pauses.last_mut().unwrap() += rig.skip().as_secs_f64();
        }
        rig.backplane.handle_resolved(Ok(vec![address(1), address(2)]), rig.now);
        assert_eq!(rig.actions(), [LinkAction::Connect(ConnectTarget::Tcp(address(1 + attempt % 2)))]);
        rig.backplane.handle_broken("refused", rig.now);
    }
    assert_eq!(pauses[0], 0.0);
    for (pause, average) in pauses[1..].iter().zip([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]) {
        assert!((0.5 * average..=1.51 * average).contains(pause), "{pauses:?}");
    }
}

#[test]
fn command_without_a_reply_in_time_ends_the_session() {
    for late in [false, true] {
        let mut rig = Rig::up("--redis-timeout 2s");
        rig.submit("hi");
        rig.commands();
        rig.after_millis(1_999);
        if !late {
            rig.answer("*2\r\n:1\r\n$1\r\n");
        }
        rig.after_millis(1);
        assert_eq!(rig.backplane.has_session(), !late);
        assert_eq!(rig.actions().contains(&LinkAction::Disconnect), late);
    }
}

#[test]
fn silent_connection_with_subscriptions_ends_the_session() {
    for silent in [false, true] {
        let mut rig = Rig::up("--redis-timeout 2s");
        rig.after_millis(4_000);
        rig.settle();
        rig.after_millis(1_999);
        if !silent {
            rig.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
        }
        rig.after_millis(1);
        assert_eq!(rig.backplane.has_session(), !silent);
    }
}

#[test]
fn outage_is_announced_only_after_a_second() {
    for (millis, announced) in [(999, false), (1_000, true)] {
        let mut rig = Rig::up("");
        rig.backplane.handle_broken("cut", rig.now);
        assert_eq!(rig.actions(), [LinkAction::Disconnect]);
        rig.after_millis(millis);
        let contains = |actions: &[LinkAction], event| actions.contains(&LinkAction::Deliver(event));
        let actions = rig.actions();
        assert_eq!(contains(&actions, RemoteEvent::Disconnected), announced);
        rig.backplane.handle_resolved(Ok(vec![address(1)]), rig.now);
        rig.begin();
        let actions = rig.settle();
        assert!(rig.backplane.is_up());
        assert_eq!(contains(&actions, RemoteEvent::Connected), announced);
        rig.after_millis(2_000);
        assert!(!contains(&rig.actions(), RemoteEvent::Disconnected));
    }
}

#[test]
fn output_that_an_attempt_has_not_written_is_not_part_of_the_next_one() {
    let mut rig = Rig::new("--redis-timeout 2s");
    let output = |rig: &mut Rig| RedisConnection::BOTH.map(|link| rig.backplane.output(link).clone());
    rig.open();
    let first = output(&mut rig);
    rig.after_millis(2_000);
    assert!(rig.actions().contains(&LinkAction::Disconnect));
    rig.open();
    assert_eq!(output(&mut rig), first);
    assert!(first.iter().all(|bytes| bytes.ends_with(b"PING\r\n")));
}

#[test]
fn two_processes_that_lose_redis_at_the_same_time_try_again_at_different_times() {
    let pauses = [PROCESS, OTHER].map(|process| {
        let mut rig = Rig::new("");
        let config = Config::from_flags("--redis redis://localhost");
        rig.backplane = Backplane::new(&config, config.redis.clone().unwrap(), process, rig.now);
        let pauses = (0..7).map(|_| {
            let begun = rig.now.moment;
            rig.open();
            rig.backplane.handle_broken("refused", rig.now);
            rig.now.moment.since(begun)
        });
        // The first attempt is made at once.
        pauses.skip(1).collect::<Vec<_>>()
    });
    assert!(pauses[0].iter().zip(&pauses[1]).all(|(one, other)| one != other), "{pauses:?}");
}
