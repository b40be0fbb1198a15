//! The rooms that the link follows, its questions about them and about clients, and forwarded requests.

use std::time::Duration;

use chinwag::access::Role;
use chinwag::backplane::{LinkAction, RedisConnection};
use chinwag::protocol::{
    Facts, ForwardedAnswer, ForwardedBy, ForwardedRequest, LocalEvent, Outcome, Problem, Question,
    RemoteEvent, Whois,
};

use crate::link::{OTHER, PROCESS, Rig, array, bulk, events, members_of, message_of};
use crate::words::{name, room, text, typed};

fn subscribed(raw: &str, has_subscribers: bool) -> LocalEvent {
    LocalEvent::Subscribed { room: room(raw), has_subscribers }
}

/// Advances the clock to a deadline, and answers all.
fn skip(rig: &mut Rig) -> Vec<LinkAction> {
    rig.skip();
    rig.receive(RedisConnection::Subscriptions, &message_of(&["pong", ""]));
    rig.settle()
}

fn facts(actions: Vec<LinkAction>) -> Option<Facts> {
    actions.into_iter().find_map(|action| match action {
        LinkAction::Answer { asker: 7, facts } => Some(facts),
        _ => None,
    })
}

#[test]
fn room_is_followed_until_ten_seconds_after_the_last_question_about_it() {
    let mut rig = Rig::up("");
    let begun = rig.now.moment;
    rig.follow("lobby", 0);
    rig.backplane.share(subscribed("lobby", false), rig.now);
    rig.after_millis(3_000);
    rig.backplane.ask(7, vec![(members_of("lobby"), None)], rig.now);
    let unfollowed = RemoteEvent::Unfollowed { room: room("lobby") };
    while !events(skip(&mut rig)).contains(&unfollowed) {}
    // The second check.
    assert_eq!(rig.now.moment.since(begun), Duration::from_secs(20));
}

#[test]
fn room_with_an_open_question_is_followed_until_its_answer() {
    let mut rig = Rig::up("--redis-timeout 60s");
    let begun = rig.now.moment;
    rig.backplane.ask(7, vec![(members_of("lobby"), None)], rig.now);
    while rig.now.moment.since(begun) < Duration::from_secs(25) {
        let actions = skip(&mut rig);
        assert_eq!((events(actions.clone()), facts(actions)), (vec![], None));
    }
    rig.confirm_subscription("lobby");
    assert!(facts(rig.settle()).is_some());
}

#[test]
fn most_rooms_without_subscribers_are_bounded() {
    const IDLE_MAX: usize = 16 * 1024;
    let mut rig = Rig::new("");
    for number in 0..IDLE_MAX + 3 {
        let raw = format!("room-{number}");
        rig.backplane.share(subscribed(&raw, true), rig.now);
        rig.backplane.share(subscribed(&raw, false), rig.now);
    }
    rig.backplane.handle_timeout(rig.now);
    let oldest = ["room-0", "room-1", "room-2"].map(|raw| RemoteEvent::Unfollowed { room: room(raw) });
    assert_eq!(events(rig.actions()), oldest);
}

#[test]
fn confirmed_change_of_a_room_that_is_followed_no_more_waits_no_longer() {
    let mut rig = Rig::up("");
    rig.follow("lobby", 0);
    let ticket = rig.submit("hi");
    rig.commands();
    rig.answer(":1\r\n");
    assert_eq!(rig.actions(), [LinkAction::Confirmed { ticket, seq: 1, is_followed: true }]);
    rig.backplane.share(subscribed("lobby", false), rig.now);
    let actions = loop {
        let actions = skip(&mut rig);
        if events(actions.clone()).contains(&RemoteEvent::Unfollowed { room: room("lobby") }) {
            break actions;
        }
    };
    assert!(actions.contains(&LinkAction::Confirmed { ticket, seq: 1, is_followed: false }), "{actions:?}");
    let shown = events(rig.disconnect());
    assert_eq!(shown, [RemoteEvent::Disconnected], "nobody is there to see it");
}

#[test]
fn question_that_was_answered_in_an_outage_is_not_asked_later() {
    let mut rig = Rig::up("");
    rig.backplane.ask(7, vec![(members_of("lobby"), None)], rig.now);
    assert!(facts(rig.disconnect()).is_some());
    rig.connect();
    let mut names = Vec::new();
    while !rig.backplane.is_up() {
        if rig.actions().contains(&LinkAction::Register) {
            rig.backplane.register(&[]);
        }
        let commands = rig.commands();
        names.extend(commands.iter().map(|words| words[0].clone()));
        commands.iter().for_each(|words| rig.answer_one(words));
    }
    names.extend(rig.command_names());
    assert!(names.contains(&"sync".into()) && !names.contains(&"who".into()), "{names:?}");
}

#[test]
fn look_alike_of_a_name_is_not_its_client() {
    for (holder, is_found) in [("bo", true), ("BO", true), ("b0", false), ("bob", false)] {
        let mut rig = Rig::up("");
        rig.backplane.ask(7, vec![(Question::Find { name: typed("bo"), request: None }, None)], rig.now);
        rig.commands();
        rig.answer(&bulk(&format!("{OTHER:016x} 9 0 {holder}")));
        let found = facts(rig.actions()).unwrap().holder;
        assert_eq!(found.is_some(), is_found, "{holder}");
    }
}

#[test]
fn outcome_of_a_forwarded_request_is_the_same_at_both_processes() {
    let whois = Whois {
        name: name("bo"),
        role: Role::Moderator,
        account: Some(name("bob")),
        away: Some(text("lunch")),
        connected: Some(Duration::from_secs(90)),
        idle: Some(Duration::from_secs(7)),
        address: Some("10.0.0.1".into()),
    };
    let guest =
        Whois { account: None, away: None, connected: None, idle: None, address: None, ..whois.clone() };
    let outcomes: [Outcome; 8] = [
        Ok(ForwardedAnswer::Whois(Box::new(whois))),
        Ok(ForwardedAnswer::Whois(Box::new(guest))),
        Ok(ForwardedAnswer::Moderated(text("bo is muted"))),
        Err(Problem::RoleTooHigh { name: name("bo"), role: Role::Admin }),
        Err(Problem::NoSuchClient(typed("bo"))),
        Err(Problem::NotMuted(name("bo"))),
        Err(Problem::CantModerate("the list is full".into())),
        Err(Problem::Filtered),
    ];
    for outcome in outcomes {
        let mut rig = Rig::up("");
        let request = ForwardedRequest::Whois { name: typed("bo"), with_address: true };
        rig.backplane.ask(
            7,
            vec![(Question::Find { name: typed("bo"), request: Some(request) }, None)],
            rig.now,
        );
        rig.commands();
        rig.answer(&bulk(&format!("{OTHER:016x} 9 0 bo")));
        let publish = rig.commands().swap_remove(0);
        let request = publish[2].strip_prefix("chinwag request 0000000000c0ffee ").unwrap();
        assert!(request.contains(r#""address":true"#), "{request}");
        let ask = request.split(' ').next().unwrap().parse().unwrap();
        let of = ForwardedBy { process: PROCESS, ask };
        let mut other = Rig::up("");
        other.backplane.share(LocalEvent::Outcome { of, outcome: outcome.clone() }, other.now);
        let publish = other.commands().swap_remove(0);
        assert_eq!(publish[..2], ["PUBLISH", "chinwag:@0000000000c0ffee"]);
        let payload = message_of(&["message", &publish[1], &publish[2]]);
        rig.receive(RedisConnection::Subscriptions, &payload);
        assert_eq!(facts(rig.actions()).unwrap().outcome, Some(outcome));
    }
    let mut rig = Rig::up("");
    rig.receive(
        RedisConnection::Subscriptions,
        &array(&[&bulk("message"), &bulk("chinwag:@0000000000c0ffee"), &bulk("chinwag outcome 1 {}")]),
    );
    assert_eq!(rig.actions(), []);
}
