//! The chat as one of several processes: remote clients are members like local ones, and local events are shared.

use chinwag::protocol::{
    Body, Event, LocalEvent, MessageKind, Payload, Presence, Problem, RemoteEvent, Request, Sender, UniqueId,
};
use chinwag::text::{Name, RoomName};

use crate::talk::{
    ANN, BOB, Outcome, Talk, announce, join, joined, left, left_because, nick, problem, renamed, reply, say,
    tell, who, you_are,
};
use crate::words::{name, names, private_event, room, text};

/// The number of the process under test, between those of the others.
const HERE: u64 = 50;
const LOWER: u64 = 7;
const HIGHER: u64 = 90;

/// [`eve`]'s id.
const EVE: UniqueId = UniqueId { process: LOWER, serial: 1 };

fn presence(who: &str, since_unix_millis: u64, rooms: &[&str]) -> Presence {
    Presence { name: name(who), since_unix_millis, rooms: rooms.iter().map(|raw| room(raw)).collect() }
}

fn present(process: u64, client: u32, presence: Presence) -> RemoteEvent {
    RemoteEvent::Present { id: UniqueId { process, serial: client }, presence }
}

/// A client of another process in the lobby, who took the name long ago.
fn eve() -> RemoteEvent {
    present(LOWER, 1, presence("eve", 1, &["lobby"]))
}

fn everyone(told: bool, clients: &[(u32, &str, &[&str])]) -> RemoteEvent {
    let clients = clients.iter().map(|(client, who, rooms)| (*client, presence(who, 1, rooms)));
    RemoteEvent::AllClients { process: LOWER, clients: clients.collect(), announce: told }
}

fn in_lobby(who: &[&str]) -> Outcome {
    reply(ANN, Event::Who { room: RoomName::lobby(), names: names(who), more: 0 })
}

fn shared(sent: &[Outcome]) -> Vec<LocalEvent> {
    let share = |sent: &Outcome| match sent {
        Outcome::LocalEvent(share) => Some(share.clone()),
        _ => None,
    };
    sent.iter().filter_map(share).collect()
}

#[test]
fn remote_clients_join_leave_and_are_listed_as_local_ones() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    assert_eq!(talk.receives(eve()), [announce([ANN], joined("eve"))]);
    assert_eq!(talk.asks(ANN, who("lobby")), [in_lobby(&["ann", "eve"])]);
    assert_eq!(talk.receives(eve()), [], "it is known");
    let as_eva = present(LOWER, 1, presence("eva", 2, &["lobby"]));
    assert_eq!(talk.receives(as_eva), [announce([ANN], renamed("eve", "eva"))]);
    let id = UniqueId { process: LOWER, serial: 1 };
    let gone = RemoteEvent::Gone { id, reason: Some(text("lunch")) };
    assert_eq!(talk.receives(gone.clone()), [announce([ANN], left_because("eva", "lunch"))]);
    assert_eq!(talk.receives(gone), [], "once");
    assert_eq!(talk.asks(ANN, who("lobby")), [in_lobby(&["ann"])]);
    assert_eq!(talk.chat.census().remote, 0);
}

#[test]
fn remote_client_is_in_the_rooms_of_its_presence() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    let with = |rooms: &[&str]| present(LOWER, 1, presence("eve", 1, rooms));
    let count = |talk: &Talk| talk.chat.census().members;
    talk.receives(with(&["lobby", "dev", "ops"]));
    assert_eq!(count(&talk), 4);
    assert_eq!(talk.receives(with(&["ops"])), [announce([ANN], left("eve"))]);
    assert_eq!((count(&talk), talk.chat.census().rooms), (2, 2));
    assert_eq!(talk.receives(with(&["dev", "lobby"])), [announce([ANN], joined("eve"))]);
    assert_eq!(count(&talk), 3);
    talk.receives(with(&[]));
    assert_eq!(count(&talk), 1);
    assert!(talk.chat.is_taken(&name("eve")), "it has its name wherever it is");
}

#[test]
fn clients_in_a_first_snapshot_are_listed_without_an_announcement() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    assert_eq!(talk.receives(everyone(false, &[(1, "eve", &["lobby"]), (2, "fay", &["lobby"])])), []);
    assert_eq!(talk.asks(ANN, who("lobby")), [in_lobby(&["ann", "eve", "fay"])]);
    let changed = everyone(true, &[(2, "fay", &["dev"]), (3, "gus", &["lobby"])]);
    let sent = [announce([ANN], left("eve")), announce([ANN], left("fay")), announce([ANN], joined("gus"))];
    assert_eq!(talk.receives(changed), sent);
    let gone = talk.receives(RemoteEvent::ProcessGone { process: LOWER });
    assert_eq!(gone, [announce([ANN], left_because("gus", "its server is gone"))]);
    assert_eq!((talk.chat.census().remote, talk.chat.census().rooms), (0, 1));
}

#[test]
fn names_of_remote_clients_are_taken() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    talk.receives(eve());
    let taken = problem(ANN, Problem::NameTaken(name("EVE")));
    let doubt = Outcome::LocalEvent(LocalEvent::ProbeProcess { process: LOWER });
    assert_eq!(talk.asks(ANN, nick("EVE")), [doubt.clone(), taken], "the process of its owner may be dead");
    let again = talk.receives(present(HIGHER, 1, presence("eve", 2, &[])));
    assert_eq!(again, [doubt], "two can't have it");
    assert_eq!(talk.receives(present(HIGHER, 1, presence("fay", 2, &[]))), []);
}

/// Ann is local; a client of another process has taken her name, so many milliseconds later.
fn both_are_ann(process: u64, later_millis: i64) -> (Talk, Vec<Outcome>) {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    let since = talk.unix_millis().saturating_add_signed(later_millis);
    let sent = talk.receives(present(process, 1, presence("Ann", since, &["lobby"])));
    (talk, sent)
}

#[test]
fn later_claim_to_a_name_yields() {
    let guest = name_of_guest(51);
    for (process, later_millis, yields) in
        [(LOWER, 1, false), (LOWER, 0, true), (HIGHER, 0, false), (HIGHER, -1, true)]
    {
        let (mut talk, sent) = both_are_ann(process, later_millis);
        let loses = problem(ANN, Problem::NameLost { name: name("ann"), to: name("Ann") });
        assert_eq!(sent.contains(&loses), yields, "{process} {later_millis}");
        let ann = talk.chat.name(ANN).unwrap().clone();
        assert_eq!(ann, if yields { guest.clone() } else { name("ann") });
        let private = shared(&talk.asks(BOB, tell("ann", "hi")));
        assert_eq!(
            matches!(&private[..], [LocalEvent::Private { .. }]),
            yields,
            "who has the name is reached"
        );
        if yields {
            let expected =
                [loses, reply(ANN, you_are(guest.as_str())), announce([BOB], renamed("ann", guest.as_str()))];
            assert_eq!(sent[..3], expected);
            assert!(
                matches!(&shared(&sent)[..], [LocalEvent::Present { client: 1, presence }] if presence.name == guest)
            );
        }
    }
}

/// Guests are numbered from the process's number on, and two clients have come before.
fn name_of_guest(number: u64) -> Name {
    let raw = format!("guest-{}", number + 2);
    Name::of_remote(&raw).unwrap()
}

#[test]
fn name_claimed_at_two_other_processes_is_the_winners_once_the_loser_has_yielded() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    talk.receives(present(LOWER, 1, presence("eve", 5, &["lobby"])));
    talk.receives(present(HIGHER, 1, presence("eve", 4, &["lobby"])));
    talk.receives(present(LOWER, 1, presence("fay", 6, &["lobby"])));
    let sent = shared(&talk.asks(ANN, tell("eve", "hi")));
    assert!(matches!(sent[..], [LocalEvent::Private { process: HIGHER, .. }]), "{sent:?}");
    talk.receives(RemoteEvent::ProcessGone { process: HIGHER });
    assert!(!talk.chat.is_taken(&name("eve")));
}

#[test]
fn freed_name_goes_to_the_next_of_any_number_of_claims() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    let others = 1..=100;
    for process in others.clone() {
        talk.receives(present(process, 1, presence(if process % 2 == 0 { "eve" } else { "Eve" }, 5, &[])));
    }
    let holder = |talk: &mut Talk| match &shared(&talk.asks(ANN, tell("eve", "hi")))[..] {
        [LocalEvent::Private { process, .. }] => Some(*process),
        _ => None,
    };
    let mut holders = Vec::new();
    while let Some(process) = holder(&mut talk) {
        holders.push(process);
        match process % 3 {
            0 => talk.receives(RemoteEvent::ProcessGone { process }),
            1 => talk.receives(RemoteEvent::Gone { id: UniqueId { process, serial: 1 }, reason: None }),
            _ => talk.receives(present(process, 1, presence(&format!("fay-{process}"), 6, &[]))),
        };
    }
    holders.sort_unstable();
    assert_eq!(holders, others.collect::<Vec<_>>());
    assert!(!talk.chat.is_taken(&name("eve")));
    // A client that has given the name up before its turn does not get it.
    talk.receives(present(LOWER, 1, presence("gus", 5, &[])));
    for rename in ["gus", "hal"] {
        talk.receives(present(HIGHER, 2, presence(rename, 6, &[])));
    }
    talk.receives(RemoteEvent::ProcessGone { process: LOWER });
    assert!(!talk.chat.is_taken(&name("gus")));
}

#[test]
fn freed_local_name_goes_to_a_remote_claim() {
    for leaves in [false, true] {
        let mut talk = Talk::shared(HERE, &["ann", "bob"]);
        let later = talk.unix_millis() + 1;
        talk.receives(present(LOWER, 1, presence("ann", later, &[])));
        match leaves {
            true => talk.leaves(ANN, None),
            false => talk.asks(ANN, nick("cy")),
        };
        let sent = shared(&talk.asks(BOB, tell("ann", "hi")));
        assert!(matches!(sent[..], [LocalEvent::Private { process: LOWER, .. }]), "{sent:?}");
    }
}

#[test]
fn redis_clients_bounds_the_remote_clients() {
    let mut talk = Talk::shared_with("--redis-clients 2", HERE, &["ann"]);
    let who = ["bo", "cy", "di"];
    let come = |talk: &mut Talk, client: u32| {
        let presence = presence(who[client as usize], 1, &["lobby"]);
        talk.receives(present(LOWER, client, presence));
    };
    (0..3).for_each(|client| come(&mut talk, client));
    assert_eq!((talk.chat.census().remote, talk.chat.census().remote_ignored), (2, 1));
    assert_eq!(talk.asks(ANN, self::who("lobby")), [in_lobby(&["ann", "bo", "cy"])]);
    assert_eq!(
        talk.receives(RemoteEvent::Gone { id: UniqueId { process: LOWER, serial: 2 }, reason: None }),
        []
    );
    talk.receives(RemoteEvent::Gone { id: UniqueId { process: LOWER, serial: 0 }, reason: None });
    come(&mut talk, 2);
    assert_eq!(talk.asks(ANN, self::who("lobby")), [in_lobby(&["ann", "cy", "di"])]);
}

#[test]
fn remote_client_is_in_as_many_of_its_rooms_as_max_rooms_allows() {
    let mut talk = Talk::shared_with("--max-rooms 3", HERE, &["ann", "bob"]);
    for process in [LOWER, HIGHER] {
        talk.asks(ANN, join("a"));
        talk.asks(ANN, say("hi"));
        talk.asks(ANN, join("lobby"));
        talk.asks(ANN, say("who comes in that order?"));
        // Two rooms are open for their history only. The first is evicted for the third, and none for the fourth.
        talk.receives(present(process, 1, presence("eve", 1, &["b", "a", "c", "d"])));
        let memberships = |talk: &Talk| talk.chat.census().members - 2;
        assert_eq!((memberships(&talk), talk.chat.census().rooms), (2, 3));
        assert_eq!(talk.asks(ANN, who("a")).len(), 1);
        talk.receives(present(process, 1, presence("eve", 1, &["c", "d", "d", "c"])));
        assert_eq!(memberships(&talk), 2);
        talk.receives(RemoteEvent::ProcessGone { process });
        assert_eq!(memberships(&talk), 0);
    }
}

#[test]
fn local_message_is_sent_to_local_clients_first_and_then_published() {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    let sent = talk.asks(ANN, say("hi"));
    let [Outcome::Announce(to, _), Outcome::LocalEvent(LocalEvent::Message { room, message })] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    // The lowest number stands for messages before ann came.
    assert_eq!((&to[..], room, message.seq), (&[BOB][..], &RoomName::lobby(), 1));
    assert_eq!(shared(&talk.asks(ANN, Request::Ping)), []);
}

#[test]
fn remote_message_gets_a_number_of_the_local_room() {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    talk.asks(ANN, say("hi"));
    let remote_message = |at_unix_millis| RemoteEvent::Message {
        room: RoomName::lobby(),
        from: name("eve"),
        sender: Sender::Client(EVE),
        kind: MessageKind::Emote,
        body: Body::Text(text("waves")),
        at_unix_millis,
    };
    for (at, expected_at, seq) in [(Some(12), 12, 2), (None, talk.unix_millis(), 3)] {
        let sent = talk.receives(remote_message(at));
        let [Outcome::Announce(to, Event::Message { message, .. })] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!((to.len(), message.seq, message.at_unix_millis), (2, seq, expected_at));
        assert_eq!((message.kind, message.from.as_str()), (MessageKind::Emote, "eve"));
    }
    let elsewhere = RemoteEvent::Message {
        room: room("dev"),
        from: name("eve"),
        sender: Sender::Client(EVE),
        kind: MessageKind::Say,
        body: Body::Text(text("hi")),
        at_unix_millis: None,
    };
    assert_eq!(talk.receives(elsewhere), [], "the room has no local member");
}

#[test]
fn remote_relayed_payload_is_a_message_if_it_is_text() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    let (room, sender) = (RoomName::lobby(), Sender::Client(EVE));
    let relayed = |payload| RemoteEvent::Relayed {
        room: room.clone(),
        from: name("bot"),
        sender,
        payload,
        at_unix_millis: 1,
    };
    let sent = talk.receives(relayed(Payload::Text("hi".into())));
    let texts = sent.iter().filter(|sent| matches!(sent, Outcome::Announce(_, Event::Message { .. })));
    assert_eq!(texts.count(), 1, "{sent:?}");
    let sent = talk.receives(relayed(Payload::Binary([0].into())));
    assert!(matches!(&sent[..], [Outcome::Announce(_, Event::Relayed(_))]), "{sent:?}");
}

#[test]
fn subscription_lasts_from_the_first_local_member_to_the_last() {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    let subscriptions = |sent: Vec<Outcome>| {
        let subscription = |share| match share {
            LocalEvent::Subscribed { room, has_subscribers: any } => Some((room.as_str().to_string(), any)),
            _ => None,
        };
        shared(&sent).into_iter().filter_map(subscription).collect::<Vec<_>>()
    };
    let pair = |room: &str, any| (room.to_string(), any);
    talk.receives(present(LOWER, 1, presence("eve", 1, &["dev", "lobby"])));
    assert_eq!(
        subscriptions(talk.asks(ANN, join("dev"))),
        [pair("dev", true)],
        "the remote member does not count"
    );
    assert_eq!(subscriptions(talk.asks(BOB, join("dev"))), [pair("lobby", false)]);
    assert_eq!(subscriptions(talk.leaves(ANN, None)), []);
    assert_eq!(talk.chat.rooms_with_subscribers(), 1);
    assert_eq!(subscriptions(talk.leaves(BOB, None)), [pair("dev", false)]);
    assert_eq!(talk.chat.rooms_with_subscribers(), 0);
}

#[test]
fn joins_moves_and_leaves_are_shared_once_each() {
    let mut talk = Talk::shared(HERE, &[]);
    talk.connects(ANN);
    let listed_rooms = |sent: Vec<Outcome>| {
        let rooms = |share| match share {
            LocalEvent::Present { presence, .. } => {
                Some(presence.rooms.iter().map(|room| room.as_str().to_string()).collect())
            }
            LocalEvent::Gone { .. } => Some(vec![]),
            _ => None,
        };
        shared(&sent).into_iter().filter_map(rooms).collect::<Vec<Vec<String>>>()
    };
    assert_eq!(listed_rooms(talk.asks(ANN, nick("ann"))), [["lobby"]]);
    assert_eq!(listed_rooms(talk.asks(ANN, join("dev"))), [["dev"]]);
    let presences = talk.chat.presences();
    assert_eq!(presences, [(1, presence("ann", talk.unix_millis(), &["dev"]))]);
    assert_eq!(listed_rooms(talk.leaves(ANN, None)), [Vec::<String>::new()]);
    assert_eq!(talk.chat.presences(), []);
}

#[test]
fn newcomer_in_the_slot_of_another_has_another_number() {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    let numbers = |talk: &Talk| talk.chat.presences().iter().map(|(client, _)| *client).collect::<Vec<_>>();
    let before = numbers(&talk);
    let sent = shared(&talk.asks(ANN, nick("anna")));
    assert!(matches!(sent[..], [LocalEvent::Present { client, .. }] if client == before[0]), "{sent:?}");
    assert_eq!(numbers(&talk), before, "the number stays after a rename");
    let gone = LocalEvent::Gone { client: before[0], reason: None };
    assert_eq!(shared(&talk.leaves(ANN, None)), [gone]);
    talk.comes(ANN, "mallory");
    let after = numbers(&talk);
    assert!(after[0] > before[1], "{before:?} {after:?}");
    assert_eq!(after[1], before[1], "who stays keeps it");
    let gone = LocalEvent::Gone { client: after[0], reason: None };
    assert_eq!(shared(&talk.leaves(ANN, None)), [gone]);
}

#[test]
fn private_message_goes_to_the_process_of_the_name() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    talk.receives(eve());
    let sent = talk.asks(ANN, tell("eve", "psst"));
    let (by, to, from) = (UniqueId { process: HERE, serial: 1 }, name("eve"), name("ann"));
    let expected = LocalEvent::Private { process: LOWER, to, by, from, text: text("psst") };
    assert_eq!(sent, [Outcome::LocalEvent(expected)]);
    let (from, words) = (name("eve"), text("what?"));
    let private = |to: &str| {
        let (to, by, from, text) = (name(to), Some(EVE), from.clone(), words.clone());
        RemoteEvent::Private { process: LOWER, to, by, from, text }
    };
    let passed = private_event(from.clone(), words.clone());
    assert_eq!(talk.receives(private("ANN")), [Outcome::Pass(ANN, passed)]);
    let nobody = LocalEvent::Undelivered { process: LOWER, from: from.clone(), to: name("zed") };
    assert_eq!(talk.receives(private("zed")), [Outcome::LocalEvent(nobody)]);
    let sent = talk.receives(RemoteEvent::Undelivered { from: name("ann"), to: name("eve") });
    assert_eq!(sent, [problem(ANN, Problem::NoSuchClient(text("eve")))]);
    assert_eq!(talk.receives(RemoteEvent::Undelivered { from: name("zed"), to: name("eve") }), []);
}

#[test]
fn disconnection_removes_remote_clients_and_is_announced_to_all() {
    let mut talk = Talk::shared(HERE, &["ann"]);
    talk.receives(eve());
    talk.receives(present(HIGHER, 1, presence("fay", 1, &["lobby"])));
    assert_eq!(talk.receives(RemoteEvent::Disconnected), [Outcome::Everybody(Event::Disconnected)]);
    assert_eq!(talk.asks(ANN, who("lobby")), [in_lobby(&["ann"])]);
    talk.connects(BOB);
    let sent = talk.asks(BOB, nick("eve"));
    assert!(sent.contains(&reply(BOB, Event::Disconnected)), "{sent:?}");
    assert_eq!(talk.receives(RemoteEvent::Connected), [Outcome::Everybody(Event::Connected)]);
    let sent = talk.receives(eve());
    assert!(sent.contains(&reply(BOB, you_are(name_of_guest(51).as_str()))), "{sent:?}");
}

#[test]
fn loss_is_announced_in_its_room() {
    let mut talk = Talk::shared(HERE, &["ann", "bob"]);
    talk.asks(BOB, join("dev"));
    let lost = |raw| RemoteEvent::Lost { room: room(raw), count: Some(3) };
    assert_eq!(
        talk.receives(lost("dev")),
        [announce([BOB], Event::Lost { room: room("dev"), count: Some(3) })]
    );
    assert_eq!(talk.receives(lost("ops")), []);
}

#[test]
fn guest_gets_a_number_that_no_remote_guest_has() {
    let mut talk = Talk::shared(HERE, &[]);
    talk.connects(ANN);
    talk.receives(present(LOWER, 1, presence_of_guest("guest-51")));
    talk.asks(ANN, Request::StayGuest);
    assert_eq!(talk.chat.name(ANN).unwrap().as_str(), "guest-52");
    talk.receives(present(LOWER, 2, presence_of_guest("guest-53")));
    talk.connects(BOB);
    talk.asks(BOB, Request::StayGuest);
    assert_eq!(talk.chat.name(BOB).unwrap().as_str(), "guest-54");
}

fn presence_of_guest(raw: &str) -> Presence {
    Presence { name: Name::of_remote(raw).unwrap(), since_unix_millis: 1, rooms: vec![RoomName::lobby()] }
}
