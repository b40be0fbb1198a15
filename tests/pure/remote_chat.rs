//! The chat as one of several processes: its messages to them, the effects of their answers, and changes in the order of
//! Redis. `questions` has what it asks them.

use std::rc::Rc;

use chinwag::access::LoginToken;
use chinwag::chat::{ClientId, Placed};
use chinwag::protocol::{
    Arrival, Body, Change, Dialect, Epoch, Event, Facts, Gap, Holder, LocalEvent, Members, Message,
    MessageId, MessageKind, Moderation, Order, Payload, Position, Presence, Problem, RemoteEvent, Request,
    RoomPosition, Sender, Topic, UniqueId,
};
use chinwag::text::{Name, RoomName};

use crate::hall::arrival;
use crate::settle::ALONE;
use crate::talk::*;
use crate::words::{entered_event, name, names, room, text, typed};

/// The process under test, and another one.
const HERE: u64 = 1;
const THERE: u64 = 7;

/// A client of the other process.
const EVE: UniqueId = UniqueId { process: THERE, serial: 1 };

/// The accounts `ann` and `bea` with the tokens `a` and `b`, and a room that not everybody may see.
const SECTIONS: &str = r#"
[accounts.ann]
role = "admin"
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.bea]
token = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
[rooms.staff]
enter = "moderator"
listed = false
"#;

fn here(serial: u32) -> UniqueId {
    UniqueId { process: HERE, serial }
}

/// Ann with connection 1 and Bob with 2, in the lobby of a process that has others.
fn two() -> Talk {
    Talk::with("", &["ann", "bob"]).with_others()
}

fn held_by(who: &str) -> Facts {
    Facts { holder: Some(Holder { id: EVE, name: name(who) }), ..Facts::default() }
}

fn with_members(some: &[&str], count: usize) -> Facts {
    Facts { members: Some(Members { names: names(some), count }), ..Facts::default() }
}

fn shared(sent: &[Outcome]) -> Vec<LocalEvent> {
    let share = |sent: &Outcome| match sent {
        Outcome::LocalEvent(share) => Some(share.clone()),
        _ => None,
    };
    sent.iter().filter_map(share).collect()
}

fn named(client: u32, who: &str, old: Option<&str>) -> LocalEvent {
    LocalEvent::Named { client, name: name(who), old: old.map(name), is_account: false }
}

fn gone(client: u32, who: &str) -> LocalEvent {
    LocalEvent::Gone { client, name: name(who) }
}

fn subscribed(to: &str, has_subscribers: bool) -> LocalEvent {
    LocalEvent::Subscribed { room: room(to), has_subscribers }
}

fn submitted(to: &str, author: ClientId, change: Change) -> Outcome {
    Outcome::Submitted(room(to), Some(author), change, false)
}

fn submissions(sent: &[Outcome]) -> Vec<Outcome> {
    sent.iter().filter(|sent| matches!(sent, Outcome::Submitted(..))).cloned().collect()
}

fn joins(by: UniqueId, who: &str, count: usize) -> Change {
    Change::Joined { by, name: name(who), count }
}

fn leaves(by: UniqueId, who: &str, reason: Option<&str>, count: usize) -> Change {
    Change::Left { by, name: name(who), reason: reason.map(text), count }
}

fn renames(by: UniqueId, from: &str, to: &str, count: usize) -> Change {
    Change::Renamed { by, from: name(from), to: name(to), count }
}

/// A message of Eve, whose serial number at her process is that of the id.
fn says(serial: u64, raw: &str) -> Change {
    Change::Message(message_of("eve", serial, raw))
}

fn message_of(from: &str, serial: u64, raw: &str) -> Rc<Message> {
    Rc::new(Message {
        from: name(from),
        sender: Sender::Client(EVE),
        kind: MessageKind::Say,
        body: Body::Text(text(raw)),
        seq: 0,
        id: Some(MessageId { process: THERE, serial }),
        at_unix_millis: 0,
    })
}

/// A change of another process.
fn placed(change: Change, order: Order) -> Placed {
    Placed { change, order, author: None, receipt: false }
}

fn login(account: &str, token: &str) -> Request {
    Request::Login { name: Some(name(account)), token: LoginToken::parse(token).expect("a token") }
}

/// The texts and numbers of all messages that the clients were sent, and to whom.
fn heard(sent: &[Outcome]) -> Vec<(Vec<ClientId>, u64, String)> {
    let hear = |to: &[ClientId], event: &Event| match event {
        Event::Message { message, .. } | Event::HistoryEntry { message, .. } => {
            Some((to.to_vec(), message.seq, message.body.as_line().into_owned()))
        }
        _ => None,
    };
    let of = |sent: &Outcome| match sent {
        Outcome::Announce(to, event) => hear(to, event),
        Outcome::Reply(id, event) => hear(&[*id], event),
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

/// The numbers and texts of the history.
fn kept(talk: &mut Talk) -> Vec<(u64, String)> {
    let sent = talk.asks(ANN, history(Some(100)));
    heard(&sent).into_iter().map(|(_, seq, words)| (seq, words)).collect()
}

fn position(talk: &Talk) -> Option<RoomPosition> {
    talk.chat.position(&RoomName::lobby())
}

fn synced(epoch: Epoch, seq: u64, missed: Gap) -> RemoteEvent {
    RemoteEvent::Synced { room: RoomName::lobby(), epoch, seq, missed, topic: None }
}

fn lost(count: Option<u64>) -> Event {
    Event::Lost { room: RoomName::lobby(), count }
}

/// The position that follows a loss.
fn goes_on(epoch: Epoch, seq: u64) -> Outcome {
    announce([ANN, BOB], Event::Position { room: RoomName::lobby(), position: Position { epoch, seq } })
}

// Events for the others.

#[test]
fn client_is_shared_when_it_has_a_name_and_not_before() {
    let mut talk = Talk::new("").with_others();
    assert_eq!(shared(&talk.connects(ANN)), []);
    assert_eq!(talk.chat.presences(), []);
    let sent = talk.asks(ANN, nick("ann"));
    assert_eq!(shared(&sent), [named(1, "ann", None), subscribed("lobby", true)]);
    assert_eq!(submissions(&sent), [submitted("lobby", ANN, joins(here(1), "ann", 1))]);
    let sent = talk.enters(BOB, arrival(Dialect::Json, "bob", ""), &ALONE);
    assert_eq!((shared(&sent), submissions(&sent)), (vec![named(2, "bob", None)], vec![]));
    let rooms = |rooms: &[&str]| rooms.iter().map(|raw| room(raw)).collect::<Vec<_>>();
    let presence = |client, who: &str, rooms| Presence { client, name: name(who), is_account: false, rooms };
    let all = [presence(1, "ann", rooms(&["lobby"])), presence(2, "bob", rooms(&[]))];
    assert_eq!(talk.chat.presences(), all);
}

#[test]
fn guest_that_stays_one_is_shared_under_its_number() {
    let mut talk = Talk::new("").with_others();
    talk.receives(RemoteEvent::Guests { first: 1001, last: 2000 });
    talk.connects(ANN);
    let sent = talk.asks(ANN, Request::StayGuest);
    assert_eq!(shared(&sent), [named(1, "guest-1001", None), subscribed("lobby", true)]);
}

#[test]
fn sse_client_is_shared_only_as_a_subscriber() {
    let mut talk = Talk::new("").with_others();
    let sent = talk.enters(ANN, arrival(Dialect::Events, "", "dev"), &ALONE);
    assert_eq!((shared(&sent), submissions(&sent)), (vec![subscribed("dev", true)], vec![]));
    assert_eq!(talk.chat.presences(), []);
    assert_eq!(talk.leaves(ANN, None), [Outcome::LocalEvent(subscribed("dev", false))]);
}

#[test]
fn new_name_is_shared_with_the_old_one_and_submitted_to_each_room() {
    let mut talk = two();
    let sent = talk.asks(ANN, nick("anna"));
    let change = renames(here(1), "ann", "anna", 2);
    let expected = [
        Outcome::LocalEvent(named(1, "anna", Some("ann"))),
        reply(ANN, you_are("anna")),
        submitted("lobby", ANN, change),
    ];
    assert_eq!(sent, expected, "the others here are told when it has its place");
    assert_eq!(talk.asks(ANN, nick("anna")), [reply(ANN, you_are("anna"))], "nothing is freed");
    talk.enters(CY, arrival(Dialect::Json, "cy", "dev"), &ALONE);
    talk.asks(CY, join("ops"));
    let sent = talk.asks(CY, nick("cyd"));
    let both = ["dev", "ops"].map(|to| submitted(to, CY, renames(here(3), "cy", "cyd", 1)));
    assert_eq!((shared(&sent), submissions(&sent)), (vec![named(3, "cyd", Some("cy"))], both.to_vec()));
}

#[test]
fn move_to_another_room_is_a_leave_and_a_join() {
    let mut talk = two();
    let sent = talk.asks(ANN, join("dev"));
    assert_eq!(shared(&sent), [subscribed("dev", true)]);
    let changes = [leaves(here(1), "ann", None, 1), joins(here(1), "ann", 1)];
    let [left, joined] = changes;
    assert_eq!(submissions(&sent), [submitted("lobby", ANN, left), submitted("dev", ANN, joined)]);
    assert_eq!(shared(&talk.asks(BOB, join("dev"))), [subscribed("lobby", false)]);
    assert_eq!(talk.chat.rooms_with_subscribers(), 1);
    assert_eq!(shared(&talk.asks(ANN, leave())), [subscribed("lobby", true)]);
}

#[test]
fn client_that_leaves_is_shared_once() {
    let mut talk = two();
    let left = submitted("lobby", ANN, leaves(here(1), "ann", Some("lunch"), 1));
    assert_eq!(talk.leaves(ANN, Some("lunch")), [left, Outcome::LocalEvent(gone(1, "ann"))]);
    assert_eq!(talk.leaves(ANN, None), []);
    let sent = talk.asks(BOB, quit(None));
    assert_eq!(shared(&sent), [subscribed("lobby", false), gone(2, "bob")]);
    assert_eq!(talk.leaves(BOB, None), [], "it has quit");
    talk.enters(CY, arrival(Dialect::Json, "cy", ""), &ALONE);
    assert_eq!(shared(&talk.asks(CY, quit(None))), [gone(3, "cy")]);
    assert_eq!(talk.leaves(CY, None), [], "a program that has quit, too");
    talk.connects(DAN);
    assert_eq!(talk.leaves(DAN, None), [], "it has no name");
}

#[test]
fn message_is_submitted_and_sent_to_nobody_before_it_has_its_place() {
    let mut talk = two();
    let request =
        Request::Say { room: None, kind: MessageKind::Say, body: Body::Text(text("hi")), receipt: true };
    let sent = talk.asks(ANN, request);
    let [Outcome::Submitted(to, Some(ANN), Change::Message(message), true)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(
        (to, message.seq, message.id, message.sender),
        (&RoomName::lobby(), 0, None, Sender::Client(here(1)))
    );
    assert_eq!(kept(&mut talk), []);
    let topic = Request::Topic { room: None, text: Some(Topic(Some(text("tea")))) };
    let sent = talk.asks(ANN, topic);
    let [Outcome::Reply(ANN, Event::Problem { .. })] = &sent[..] else { panic!("{sent:?}") };
}

#[test]
fn topic_of_a_moderator_is_submitted() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.connects(ANN);
    talk.asks(ANN, login("ann", "a"));
    let change = Change::Topic { by: Some(name("ann")), text: Some(text("tea")) };
    let topic = Request::Topic { room: None, text: Some(Topic(Some(text("tea")))) };
    assert_eq!(talk.asks(ANN, topic), [submitted("lobby", ANN, change)]);
}

#[test]
fn private_message_to_a_client_elsewhere_is_shared() {
    let mut talk = two();
    let to = || Holder { id: EVE, name: name("Eve") };
    let expected = LocalEvent::Private { to: to(), by: here(1), from: name("ann"), text: text("psst") };
    for receipt in [false, true] {
        let request = Request::Private { to: typed("eve"), text: text("psst"), receipt };
        let sent = talk.asks_knowing(ANN, request, &held_by("Eve"));
        assert_eq!(sent[0], Outcome::LocalEvent(expected.clone()));
        let told = Event::PrivateSent { by: here(1), from: name("ann"), to: name("Eve"), text: text("psst") };
        let receipts: Vec<Outcome> = receipt.then(|| reply(ANN, told)).into_iter().collect();
        assert_eq!(sent[1..], receipts);
    }
    let nobody = [problem(ANN, Problem::NoSuchClient(typed("eve")))];
    assert_eq!(talk.asks(ANN, tell("eve", "psst")), nobody);
    assert_eq!(
        talk.asks_knowing(ANN, tell("eve", "psst"), &held_by("еve")),
        nobody,
        "that only looks like it"
    );
    let sent = talk.asks_knowing(ANN, tell("bob", "psst"), &held_by("bob"));
    assert_eq!(sent, [pass(BOB, private("ann", "psst"))], "who is here is meant");
}

#[test]
fn numbers_for_guests_are_reserved_before_they_run_out() {
    let mut talk = Talk::new("").with_others();
    talk.receives(RemoteEvent::Guests { first: 1001, last: 1101 });
    assert_eq!(shared(&talk.connects(ANN)), [LocalEvent::GuestsNeeded]);
    assert_eq!(shared(&talk.connects(BOB)), [], "once");
    talk.receives(RemoteEvent::Guests { first: 5001, last: 6000 });
    let guest = |talk: &Talk, id| talk.chat.name(id).expect("a name").to_string();
    assert_eq!((guest(&talk, ANN), guest(&talk, BOB)), ("guest-1001".into(), "guest-1002".into()));
    let last = (2..101).map(ClientId).map(|id| {
        talk.connects(id);
        guest(&talk, id)
    });
    assert_eq!(last.last().as_deref(), Some("guest-1101"));
    talk.connects(ClientId(101));
    assert_eq!(guest(&talk, ClientId(101)), "guest-5001", "they go on in the reserve");
}

// Decisions by their answers.

#[test]
fn name_of_a_client_elsewhere_is_refused() {
    let mut talk = two();
    talk.connects(CY);
    for (wanted, holder) in [("eve", "eve"), ("EVE", "eve"), ("еve", "eve")] {
        let refused = || match wanted == "еve" {
            true => Problem::NameConfusable { name: name(wanted), holder: name(holder) },
            false => Problem::NameTaken(name(wanted)),
        };
        let facts = held_by(holder);
        assert_eq!(talk.asks_knowing(ANN, nick(wanted), &facts), [problem(ANN, refused())]);
        assert_eq!(talk.asks_knowing(CY, nick(wanted), &facts), [unnamed_problem(CY, refused())]);
        let sent = talk.enters(DAN, arrival(Dialect::Json, wanted, ""), &facts);
        assert!(sent.contains(&problem(DAN, refused())), "{sent:?}");
        assert!(
            matches!(&shared(&sent)[..], [LocalEvent::Named { name, .. }] if name.as_str().starts_with("guest"))
        );
        talk.leaves(DAN, None);
    }
    assert_eq!(talk.chat.name(ANN), Some(&name("ann")));
}

#[test]
fn account_of_an_older_session_elsewhere_leaves_the_client_its_own_name() {
    let mut talk = Talk::under("--takeover older", SECTIONS).with_others();
    talk.comes(ANN, "zed");
    let sent = talk.asks_knowing(ANN, login("bea", "b"), &held_by("bea"));
    assert!(sent.contains(&Outcome::LoggedIn(ANN)), "{sent:?}");
    assert!(sent.contains(&problem(ANN, Problem::NameTaken(name("bea")))), "{sent:?}");
    assert_eq!((talk.chat.name(ANN), shared(&sent)), (Some(&name("zed")), vec![]));
    talk.connects(BOB);
    let sent = talk.asks_knowing(BOB, login("bea", "b"), &held_by("bea"));
    assert_eq!(shared(&sent).len(), 1, "a first name is a guest's: {sent:?}");
    assert_ne!(talk.chat.name(BOB), Some(&name("bea")));
    let token = LoginToken::parse("b").expect("a token");
    let login = talk.chat.check_token(Some(&name("bea")), &token, talk.now);
    let login = login.map_err(|_| Problem::LoginFailed);
    let arrival = Arrival { login: Some(login), ..arrival(Dialect::Json, "gus", "") };
    let sent = talk.enters(CY, arrival, &held_by("bea"));
    assert!(sent.contains(&problem(CY, Problem::NameTaken(name("bea")))), "{sent:?}");
    assert_eq!(talk.chat.name(CY), Some(&name("gus")), "the fact is about another name: {sent:?}");
}

#[test]
fn account_takes_its_name_and_shares_it_as_its_own() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.comes(ANN, "zed");
    let sent = talk.asks(ANN, login("bea", "b"));
    let old = Some(name("zed"));
    assert_eq!(shared(&sent), [LocalEvent::Named { client: 1, name: name("bea"), old, is_account: true }]);
    assert!(talk.chat.presences()[0].is_account);
}

#[test]
fn client_that_enters_is_sent_the_members_of_all_processes() {
    let mut talk = two();
    talk.connects(CY);
    let sent = talk.asks_knowing(CY, nick("cy"), &with_members(&["eve", "fay"], 5));
    let hello = entered_event(name("cy"), true, RoomName::lobby(), names(&["eve", "fay"]), 3);
    assert!(sent.contains(&reply(CY, hello)), "{sent:?}");
    let sent = talk.asks_knowing(CY, join("dev"), &with_members(&["eve"], 1));
    assert!(sent.contains(&reply(CY, entered("cy", "dev", &["eve"]))), "{sent:?}");
    let sent = talk.asks(CY, leave());
    assert!(sent.contains(&reply(CY, entered("cy", "lobby", &["ann", "bob"]))), "without answers: {sent:?}");
}

#[test]
fn program_that_leaves_is_sent_the_count_of_all_processes() {
    for (facts, left) in [(ALONE.clone(), 2), (with_members(&[], 9), 8), (with_members(&[], 0), 0)] {
        let mut talk = two();
        talk.enters(CY, arrival(Dialect::Json, "cy", "lobby"), &ALONE);
        let sent = talk.asks_knowing(CY, Request::Leave(None), &facts);
        let gone = |outcome: &Outcome| matches!(outcome, Outcome::Reply(CY, Event::YouLeft { count, .. }) if *count == left);
        assert!(sent.iter().any(gone), "{left}: {sent:?}");
    }
}

#[test]
fn lists_are_those_of_all_processes() {
    let mut talk = two();
    let facts = with_members(&["ann", "eve"], 7);
    let listed = Event::Who { room: room("dev"), names: names(&["ann", "eve"]), more: 5 };
    assert_eq!(talk.asks_knowing(ANN, who("dev"), &facts), [reply(ANN, listed)]);
    let none = [problem(ANN, Problem::NoSuchRoom(room("dev")))];
    assert_eq!(talk.asks_knowing(ANN, who("dev"), &with_members(&[], 0)), none);
    let all = vec![(room("dev"), 9), (room("lobby"), 3)];
    let facts = Facts { rooms: Some((all.clone(), 4)), ..Facts::default() };
    let expected = || Event::Rooms { rooms: all.clone(), more: 4 };
    assert_eq!(talk.asks_knowing(ANN, Request::Rooms, &facts), [reply(ANN, expected())]);
    let nobody = talk.chat.access().identity(ANN);
    assert_eq!(talk.chat.rooms_for_programs(nobody, &facts), expected());
}

#[test]
fn room_that_is_not_listed_here_is_left_out_of_the_list_of_all_processes() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.comes(BOB, "bob");
    let facts = Facts { rooms: Some((vec![(room("staff"), 9), (room("lobby"), 1)], 0)), ..Facts::default() };
    assert_eq!(talk.asks_knowing(BOB, Request::Rooms, &facts), [reply(BOB, rooms(&[("lobby", 1)]))]);
}

#[test]
fn moderator_acts_only_at_the_process_of_the_client() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.connects(ANN);
    talk.asks(ANN, login("ann", "a"));
    let kick = || Request::Moderate(Moderation::Kick { name: typed("eve"), reason: None });
    let whois = || Request::Whois(typed("eve"));
    for request in [kick(), whois()] {
        let sent = talk.asks_knowing(ANN, request.clone(), &held_by("Eve"));
        assert_eq!(sent, [problem(ANN, Problem::Unreachable(name("Eve")))], "{request:?}");
        for facts in [ALONE.clone(), held_by("еve")] {
            let sent = talk.asks_knowing(ANN, request.clone(), &facts);
            assert_eq!(sent, [problem(ANN, Problem::NoSuchClient(typed("eve")))], "{request:?}");
        }
    }
    let target = chinwag::access::BanTarget::Name(name("eve"));
    let ban = Request::Moderate(Moderation::Ban { target, time: None, reason: None });
    let sent = talk.asks_knowing(ANN, ban, &held_by("eve"));
    assert!(matches!(&sent[..], [Outcome::Saved(ANN, Event::Moderated(_))]), "{sent:?}");
}

#[test]
fn answer_goes_to_the_client_that_has_written_and_not_to_its_namesake() {
    let mut talk = two();
    let answer = || Request::Answer(text("what?"));
    let nobody = [problem(ANN, Problem::NobodyToAnswer)];
    assert_eq!(talk.asks_knowing(ANN, answer(), &held_by("eve")), nobody);
    talk.receives(to_ann("ann"));
    let to = Holder { id: EVE, name: name("eve") };
    let expected = LocalEvent::Private { to, by: here(1), from: name("ann"), text: text("what?") };
    assert_eq!(talk.asks_knowing(ANN, answer(), &held_by("eve")), [Outcome::LocalEvent(expected)]);
    assert_eq!(talk.asks(ANN, answer()), nobody, "she has left");
    let namesake = Holder { id: UniqueId { process: THERE, serial: 2 }, name: name("eve") };
    let facts = Facts { holder: Some(namesake), ..Facts::default() };
    assert_eq!(talk.asks_knowing(ANN, answer(), &facts), nobody);
    talk.asks(BOB, nick("eve"));
    assert_eq!(talk.asks(ANN, answer()), nobody, "nor to one here");
}

// Changes in their order.

#[test]
fn numbered_message_is_announced_and_kept_under_its_number() {
    let mut talk = two();
    let sent = talk.commits("lobby", placed(says(5, "hi"), Order::At(3)));
    assert_eq!(heard(&sent), [(vec![ANN, BOB], 3, "hi".into())]);
    talk.commits("lobby", placed(says(6, "there"), Order::At(5)));
    assert_eq!(kept(&mut talk), [(3, "hi".into()), (5, "there".into())]);
    let last = position(&talk).expect("a position");
    assert_eq!((last.seq, last.id), (5, Some(MessageId { process: THERE, serial: 6 })));
}

#[test]
fn message_that_was_seen_is_kept_and_not_announced() {
    let mut talk = two();
    assert_eq!(talk.commits("lobby", placed(says(5, "hi"), Order::Seen(3))), []);
    let payload = || Payload::Text("ho".into());
    let relayed =
        Change::Relayed { payload: payload(), from: name("eve"), message: Some(message_of("eve", 6, "ho")) };
    assert_eq!(talk.commits("lobby", placed(relayed, Order::Seen(4))), []);
    assert_eq!(kept(&mut talk), [(3, "hi".into()), (4, "ho".into())]);
    assert_eq!(position(&talk).map(|last| last.seq), Some(4));
}

#[test]
fn message_without_a_number_is_announced_and_not_kept() {
    let mut talk = two();
    talk.commits("lobby", placed(says(4, "before"), Order::At(1)));
    let before = position(&talk);
    let sent = talk.commits("lobby", placed(says(5, "hi"), Order::Unnumbered));
    assert_eq!(heard(&sent), [(vec![ANN, BOB], 0, "hi".into())]);
    assert_eq!((kept(&mut talk), position(&talk)), (vec![(1, "before".into())], before));
    talk.commits("lobby", placed(says(5, "hi"), Order::Seen(2)));
    assert_eq!(kept(&mut talk), [(1, "before".into()), (2, "hi".into())]);
}

#[test]
fn number_is_returned_for_what_is_kept() {
    let mut talk = two();
    let lobby = RoomName::lobby();
    let orders = [(Order::At(7), 7), (Order::Unnumbered, 0), (Order::Seen(8), 8), (Order::Next, 9)];
    for (order, seq) in orders {
        let now = talk.now;
        assert_eq!(talk.chat.commit_to(&lobby, placed(says(1, "hi"), order), now, &mut Vec::new()), seq);
    }
}

#[test]
fn author_is_sent_its_own_message_only_as_a_receipt() {
    for (receipt, expected) in [(false, vec![vec![BOB]]), (true, vec![vec![BOB], vec![ANN]])] {
        let mut talk = two();
        let own = Placed { author: Some(ANN), receipt, ..placed(says(1, "hi"), Order::At(1)) };
        let sent = talk.commits("lobby", own);
        let to: Vec<_> = heard(&sent).into_iter().map(|(to, ..)| to).collect();
        assert_eq!(to, expected);
        talk.asks(ANN, join("dev"));
        let late = Placed { author: Some(ANN), receipt, ..placed(says(2, "hi"), Order::At(2)) };
        let sent = talk.commits("lobby", late);
        assert_eq!(heard(&sent).len(), 1 + usize::from(receipt), "a receipt does not depend on the room");
        let lone = Placed { author: Some(CY), receipt, ..placed(says(3, "hi"), Order::At(3)) };
        assert_eq!(heard(&talk.commits("lobby", lone)).len(), 1, "nor who has left the chat");
    }
}

#[test]
fn relayed_payload_is_a_message_if_it_is_text() {
    let mut talk = two();
    let relayed =
        |message| Change::Relayed { payload: Payload::Text("hi".into()), from: name("eve"), message };
    let sent = talk.commits("lobby", placed(relayed(Some(message_of("eve", 1, "hi"))), Order::At(1)));
    assert!(matches!(&sent[0], Outcome::Announce(_, Event::Relayed(_))), "{sent:?}");
    assert_eq!(heard(&sent), [(vec![ANN, BOB], 1, "hi".into())]);
    let sent = talk.commits("lobby", placed(relayed(None), Order::Unnumbered));
    assert!(matches!(&sent[..], [Outcome::Announce(_, Event::Relayed(_))]), "{sent:?}");
}

#[test]
fn ignored_clients_of_other_processes_are_not_heard_under_any_name() {
    let mut talk = two();
    talk.asks(ANN, Request::Ignore(Some(typed("eve"))));
    let sent = talk.commits("lobby", placed(says(1, "hi"), Order::At(1)));
    assert_eq!(heard(&sent), [(vec![BOB], 1, "hi".into())]);
    assert_eq!(kept(&mut talk), []);
    talk.receives(to_ann("ann"));
    assert_eq!(talk.asks(ANN, Request::Answer(text("hi"))), [problem(ANN, Problem::NobodyToAnswer)]);
    talk.commits("lobby", placed(renames(EVE, "eve", "eva", 3), Order::Unnumbered));
    let change = Change::Message(message_of("eva", 2, "ho"));
    let sent = talk.commits("lobby", placed(change, Order::At(2)));
    assert_eq!(heard(&sent), [(vec![BOB], 2, "ho".into())]);
}

#[test]
fn joins_leaves_and_new_names_are_announced_to_all_but_their_author() {
    let mut talk = two();
    let unnumbered = |change| placed(change, Order::Unnumbered);
    let sent = talk.commits("lobby", unnumbered(joins(EVE, "eve", 3)));
    assert_eq!(sent, [announce([ANN, BOB], joined("eve"))]);
    let sent = talk.commits("lobby", unnumbered(renames(EVE, "eve", "eva", 3)));
    assert_eq!(sent, [announce([ANN, BOB], renamed("eve", "eva"))]);
    let sent = talk.commits("lobby", unnumbered(leaves(EVE, "eva", Some("lunch"), 2)));
    assert_eq!(sent, [announce([ANN, BOB], left_because("eva", "lunch"))]);
    let own = |change| Placed { author: Some(ANN), ..unnumbered(change) };
    assert_eq!(talk.commits("lobby", own(joins(here(1), "ann", 2))), [announce([BOB], joined("ann"))]);
    let sent = talk.commits("lobby", own(renames(here(1), "ann", "amy", 2)));
    assert_eq!(sent, [announce([BOB], renamed("ann", "amy"))]);
    assert_eq!(position(&talk), None, "they have no numbers");
    assert_eq!(talk.commits("dev", unnumbered(joins(EVE, "eve", 3))), [], "nobody here is there");
    assert_eq!(talk.chat.census().rooms, 1);
}

#[test]
fn client_that_has_come_back_is_not_told_of_its_own_leave() {
    let mut talk = two();
    talk.asks(ANN, join("dev"));
    talk.asks(ANN, leave());
    let own = |change| Placed { author: Some(ANN), ..placed(change, Order::Unnumbered) };
    assert_eq!(talk.commits("lobby", own(leaves(here(1), "ann", None, 1))), [announce([BOB], left("ann"))]);
    assert_eq!(talk.commits("lobby", own(joins(here(1), "ann", 2))), [announce([BOB], joined("ann"))]);
}

#[test]
fn large_room_is_sent_a_summary_of_joins_and_leaves() {
    let mut talk = Talk::with("--announce-max 3", &["ann", "bob"]).with_others();
    let unnumbered = |change| placed(change, Order::Unnumbered);
    assert_eq!(talk.commits("lobby", unnumbered(joins(EVE, "eve", 3))).len(), 1);
    assert_eq!(talk.commits("lobby", unnumbered(joins(EVE, "fay", 4))), []);
    assert_eq!(talk.commits("lobby", unnumbered(joins(EVE, "gus", 5))), []);
    assert_eq!(talk.commits("lobby", unnumbered(renames(EVE, "fay", "gil", 5))), []);
    assert_eq!(talk.commits("lobby", unnumbered(leaves(EVE, "gus", None, 4))), []);
    assert_eq!(talk.commits("lobby", unnumbered(leaves(EVE, "gil", None, 3))), []);
    assert_eq!(
        talk.commits("lobby", unnumbered(leaves(EVE, "eve", None, 2))),
        [announce([ANN, BOB], left("eve"))]
    );
    assert_eq!(talk.after_millis(9_999), []);
    let summary = Change::Crowd { joined: 2, left: 2, count: 2 };
    let sent = talk.after_millis(1);
    assert_eq!(sent, [Outcome::Submitted(RoomName::lobby(), None, summary, false)]);
    let theirs = Change::Crowd { joined: 9, left: 1, count: 50 };
    assert_eq!(talk.commits("lobby", unnumbered(theirs)), [announce([ANN, BOB], crowd(9, 1, 50))]);
    assert_eq!(talk.after_seconds(20), [], "one at a time");
}

#[test]
fn topic_of_another_process_is_announced_and_shown_to_newcomers() {
    let mut talk = two();
    let tea = || Change::Topic { by: Some(name("eve")), text: Some(text("tea")) };
    let event = || Event::Topic { room: RoomName::lobby(), by: Some(name("eve")), text: Some(text("tea")) };
    let sent = talk.commits("lobby", placed(tea(), Order::Unnumbered));
    assert_eq!(sent, [announce([ANN, BOB], event())]);
    let own = Placed { author: Some(ANN), ..placed(tea(), Order::Unnumbered) };
    assert_eq!(talk.commits("lobby", own), [reply(ANN, event()), announce([BOB], event())]);
    talk.connects(CY);
    assert!(talk.asks(CY, nick("cy")).contains(&reply(CY, event())));
}

#[test]
fn loss_at_another_process_is_announced_with_its_number() {
    let mut talk = two();
    talk.commits("lobby", placed(says(1, "hi"), Order::At(1)));
    let sent = talk.commits("lobby", placed(Change::Lost { count: 12 }, Order::At(2)));
    let epoch = position(&talk).expect("a position").epoch;
    assert_eq!(sent, [announce([ANN, BOB], lost(Some(12))), goes_on(epoch, 2)]);
    assert_eq!((kept(&mut talk).len(), position(&talk).map(|last| last.seq)), (1, Some(2)));
    assert_eq!(position(&talk).and_then(|last| last.id), None, "the last change is no message");
}

#[test]
fn read_room_goes_on_after_its_position() {
    let mut talk = two();
    talk.commits("lobby", placed(says(1, "old"), Order::At(1)));
    let epoch = position(&talk).expect("a position").epoch;
    assert_eq!(talk.receives(synced(epoch, 1, Gap::Nothing)), [], "nothing is missing");
    let loss = [announce([ANN, BOB], lost(Some(6))), goes_on(epoch, 7)];
    assert_eq!(talk.receives(synced(epoch, 7, Gap::Count(6))), loss);
    talk.commits("lobby", placed(says(2, "new"), Order::At(8)));
    assert_eq!(kept(&mut talk), [(1, "old".into()), (8, "new".into())]);
    let loss = [announce([ANN, BOB], lost(None)), goes_on(epoch, 8)];
    assert_eq!(talk.receives(synced(epoch, 8, Gap::Unknown)), loss);
}

#[test]
fn room_in_another_epoch_forgets_what_it_had() {
    let mut talk = two();
    talk.commits("lobby", placed(says(1, "old"), Order::At(9)));
    let other = Epoch { process: THERE, room: 3 };
    let loss = [announce([ANN, BOB], lost(None)), goes_on(other, 0)];
    assert_eq!(talk.receives(synced(other, 0, Gap::Unknown)), loss);
    let third = Epoch { process: THERE, room: 4 };
    assert_eq!(
        talk.receives(synced(third, 0, Gap::Nothing)),
        [goes_on(third, 0)],
        "clients need the new epoch"
    );
    talk.receives(synced(other, 0, Gap::Nothing));
    assert_eq!((kept(&mut talk), position(&talk)), (vec![], None));
    assert_eq!(talk.chat.census().history_bytes, 0);
    talk.commits("lobby", placed(says(2, "new"), Order::At(1)));
    assert_eq!(kept(&mut talk), [(1, "new".into())]);
    let id = Some(MessageId { process: THERE, serial: 2 });
    assert_eq!(position(&talk), Some(RoomPosition { epoch: other, seq: 1, id }));
}

#[test]
fn topic_is_read_with_the_room_and_an_unused_room_is_closed() {
    let mut talk = two();
    let dev = || room("dev");
    let synced = |topic| RemoteEvent::Synced {
        room: dev(),
        epoch: Epoch { process: THERE, room: 3 },
        seq: 40,
        missed: Gap::Nothing,
        topic,
    };
    let rooms = |talk: &Talk| talk.chat.census().rooms;
    talk.receives(synced(Some((Some(name("eve")), Some(text("tea"))))));
    assert_eq!(rooms(&talk), 2);
    let topic = Event::Topic { room: dev(), by: Some(name("eve")), text: Some(text("tea")) };
    assert!(talk.asks(ANN, join("dev")).contains(&reply(ANN, topic)));
    talk.receives(RemoteEvent::Unfollowed { room: dev() });
    assert_eq!(rooms(&talk), 2, "it has a member");
    talk.receives(synced(None));
    let topic = Event::Topic { room: dev(), by: None, text: None };
    let ask = Request::Topic { room: None, text: None };
    assert_eq!(talk.asks(ANN, ask), [reply(ANN, topic)]);
    talk.asks(ANN, leave());
    talk.receives(synced(None));
    talk.receives(RemoteEvent::Unfollowed { room: dev() });
    assert_eq!(rooms(&talk), 1);
    assert_eq!(talk.receives(RemoteEvent::Unfollowed { room: dev() }), []);
}

#[test]
fn newcomer_is_told_the_position_of_the_room() {
    let mut talk = two();
    let other = Epoch { process: THERE, room: 3 };
    talk.receives(synced(other, 40, Gap::Nothing));
    let (now, mut effects) = (talk.now, Vec::new());
    talk.chat.enter(CY, 3, arrival(Dialect::Json, "cy", "lobby"), (now, &ALONE), &mut effects);
    let told = |effect: &chinwag::chat::Effect| match effect {
        chinwag::chat::Effect::Reply(CY, Event::YouJoined { epoch, seq, .. }) => Some((*epoch, *seq)),
        _ => None,
    };
    assert_eq!(effects.iter().find_map(told), Some((other, 40)));
}

// Events about clients here.

/// A private message of Eve to connection 1.
fn to_ann(who: &str) -> RemoteEvent {
    RemoteEvent::Private { to: 1, name: name(who), by: EVE, from: name("eve"), text: text("psst") }
}

#[test]
fn private_message_reaches_the_client_that_still_has_the_name() {
    let mut talk = two();
    let undelivered = |to: &str| [Outcome::LocalEvent(LocalEvent::Undelivered { by: EVE, to: name(to) })];
    for spelling in ["ann", "ANN"] {
        assert_eq!(talk.receives(to_ann(spelling)), [pass(ANN, private("eve", "psst"))]);
    }
    assert_eq!(talk.receives(to_ann("аnn")), undelivered("аnn"), "that only looks like it");
    assert_eq!(talk.receives(to_ann("bob")), undelivered("bob"), "he has another connection");
    talk.asks(ANN, Request::Ignore(Some(typed("eve"))));
    assert_eq!(talk.receives(to_ann("ann")), [], "nobody is told that it is ignored");
    talk.asks(ANN, nick("anna"));
    assert_eq!(talk.receives(to_ann("ann")), undelivered("ann"));
    talk.leaves(ANN, None);
    assert_eq!(talk.receives(to_ann("anna")), undelivered("anna"));
    talk.comes(ANN, "ann");
    assert_eq!(talk.receives(to_ann("ann")), undelivered("ann"), "that is another client");
}

#[test]
fn private_message_does_not_reach_a_client_that_must_log_in_or_has_quit() {
    let mut talk = two();
    talk.enters(CY, arrival(Dialect::Json, "cy", ""), &ALONE);
    talk.asks(CY, quit(None));
    let to = |serial, who: &str| RemoteEvent::Private {
        to: serial,
        name: name(who),
        by: EVE,
        from: name("eve"),
        text: text("psst"),
    };
    let undelivered = |to: &str| [Outcome::LocalEvent(LocalEvent::Undelivered { by: EVE, to: name(to) })];
    assert_eq!(talk.receives(to(3, "cy")), undelivered("cy"));
    let mut talk = Talk::under("--access login", SECTIONS).with_others();
    talk.enters(ANN, arrival(Dialect::Json, "", ""), &ALONE);
    let guest = talk.chat.name(ANN).expect("a name").to_string();
    assert_eq!(talk.receives(to(1, &guest)), undelivered(&guest));
}

#[test]
fn sender_is_told_that_nobody_was_reached() {
    let mut talk = two();
    let undelivered = |by| RemoteEvent::Undelivered { by, to: name("eve") };
    assert_eq!(talk.receives(undelivered(2)), [problem(BOB, Problem::NoSuchClient(typed("eve")))]);
    assert_eq!(talk.receives(undelivered(9)), []);
    talk.leaves(BOB, None);
    assert_eq!(talk.receives(undelivered(2)), [], "it has left");
}

fn name_lost(client: u32, who: &str, to_account: bool) -> RemoteEvent {
    RemoteEvent::NameLost { client, name: name(who), to_account }
}

#[test]
fn client_that_loses_its_name_becomes_a_guest_and_is_told_why() {
    let guest = || name("guest-4");
    for (lost, to_account, why) in [
        ("ann", false, Problem::NameLost { name: name("ann"), to: name("ann") }),
        ("аnn", false, Problem::NameLost { name: name("ann"), to: name("аnn") }),
        ("ann", true, Problem::NameClaimed { name: name("ann"), to: guest() }),
        ("аnn", true, Problem::NameClaimed { name: name("аnn"), to: guest() }),
    ] {
        let mut talk = Talk::with("", &["ann", "bob", "cy"]).with_others();
        let expected = [
            problem(ANN, why),
            Outcome::LocalEvent(named(1, "guest-4", Some("ann"))),
            reply(ANN, you_are("guest-4")),
            submitted("lobby", ANN, renames(here(1), "ann", "guest-4", 3)),
        ];
        assert_eq!(talk.receives(name_lost(1, lost, to_account)), expected, "{lost} {to_account}");
        assert!(!talk.chat.is_taken(&name("ann")));
        assert_eq!(talk.receives(name_lost(1, lost, to_account)), [], "once");
    }
}

#[test]
fn older_session_is_told_that_it_has_logged_in_elsewhere() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.connects(ANN);
    talk.asks(ANN, login("bea", "b"));
    let sent = talk.receives(name_lost(1, "bea", true));
    let Outcome::Reply(ANN, Event::Problem { problem: Problem::NameTakenOver { name: lost, to }, .. }) =
        &sent[0]
    else {
        panic!("{sent:?}");
    };
    assert_eq!((lost, Some(to)), (&name("bea"), talk.chat.name(ANN)));
    assert_eq!(talk.chat.access().identity(ANN).account, Some(name("bea")), "it stays logged in");
}

#[test]
fn client_that_has_given_the_name_up_does_not_lose_it() {
    for to_account in [false, true] {
        let mut talk = two();
        talk.asks(ANN, nick("zoë"));
        talk.enters(CY, arrival(Dialect::Json, "cy", ""), &ALONE);
        talk.asks(CY, quit(None));
        talk.connects(DAN);
        for (client, who) in [(1, "ann"), (2, "ann"), (3, "cy"), (9, "ann"), (4, "guest-4")] {
            assert_eq!(talk.receives(name_lost(client, who, to_account)), [], "{client} {who}");
        }
        assert_eq!(talk.chat.name(ANN), Some(&name("zoë")));
        [ANN, BOB, CY, DAN].into_iter().for_each(|id| drop(talk.leaves(id, None)));
        assert_eq!(talk.chat.census().names, 0);
    }
}

#[test]
fn state_of_the_link_is_told_to_all_once_and_to_newcomers() {
    let mut talk = two();
    assert_eq!(talk.receives(RemoteEvent::Connected), [], "it was never away");
    assert_eq!(talk.receives(RemoteEvent::Disconnected), [Outcome::Everybody(Event::Disconnected)]);
    assert_eq!(talk.receives(RemoteEvent::Disconnected), []);
    assert!(talk.chat.is_disconnected());
    talk.connects(CY);
    let away = |sent: &[Outcome], id| sent.contains(&reply(id, Event::Disconnected));
    let sent = talk.asks(CY, nick("cy"));
    assert!(away(&sent, CY), "{sent:?}");
    let sent = talk.enters(DAN, arrival(Dialect::Json, "dan", ""), &ALONE);
    assert!(away(&sent, DAN), "{sent:?}");
    assert_eq!(talk.receives(RemoteEvent::Connected), [Outcome::Everybody(Event::Connected)]);
    assert_eq!(talk.receives(RemoteEvent::Connected), []);
    let sent = talk.enters(ClientId(4), arrival(Dialect::Json, "fay", ""), &ALONE);
    assert!(!away(&sent, ClientId(4)), "{sent:?}");
}

#[test]
fn name_of_an_http_request_is_refused_if_a_client_elsewhere_has_it() {
    let mut talk = two();
    let now = talk.now;
    let mut publish = |from: &str, facts: &Facts| {
        let (from, account): (_, Option<&Name>) = (name(from), None);
        let mut effects = Vec::new();
        let body = Body::Text(text("hi"));
        let publication =
            talk.chat.check_publication(room("dev"), (from, account), body, (now, facts), &mut effects);
        assert_eq!(effects, [], "it is committed afterwards");
        publication.map(|publication| (publication.room, publication.change))
    };
    assert_eq!(publish("eve", &held_by("eve")), Err(Problem::NameTaken(name("eve"))));
    assert_eq!(publish("bob", &ALONE), Err(Problem::NameTaken(name("bob"))));
    let Ok((to, Change::Message(message))) = publish("eve", &ALONE) else { panic!("refused") };
    assert_eq!((to, message.seq, message.sender), (room("dev"), 0, Sender::Http));
}

#[test]
fn account_is_muted_though_the_process_of_its_client_does_not_answer() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.connects(ANN);
    talk.asks(ANN, login("ann", "a"));
    let mute = |who: &str| Request::Moderate(Moderation::Mute { name: typed(who), time: None });
    let sent = talk.asks_knowing(ANN, mute("bea"), &held_by("bea"));
    let done = Event::Moderated(text("bea is muted until a moderator lifts it"));
    assert!(sent.contains(&Outcome::Saved(ANN, done)), "{sent:?}");
    let sent = talk.asks_knowing(ANN, mute("eve"), &held_by("eve"));
    assert_eq!(sent, [problem(ANN, Problem::Unreachable(name("eve")))], "a guest has no account");
}

#[test]
fn ignored_name_that_is_lifted_before_its_change_is_placed_stays_lifted() {
    let mut talk = two();
    let ignored = |talk: &mut Talk, request: Request| match &talk.asks(BOB, request)[..] {
        [Outcome::Reply(BOB, Event::Ignoring(names))] => {
            names.iter().map(|name| name.as_str().to_string()).collect::<Vec<_>>()
        }
        sent => panic!("{sent:?}"),
    };
    assert_eq!(ignored(&mut talk, Request::Ignore(Some(typed("ann")))), ["ann"]);
    let sent = talk.asks(ANN, nick("anna"));
    let changes = sent.into_iter().filter_map(|outcome| match outcome {
        Outcome::Submitted(_, author, change, receipt) => Some((author, change, receipt)),
        _ => None,
    });
    let changes: Vec<_> = changes.collect();
    assert_eq!(ignored(&mut talk, Request::Unignore(typed("anna"))), ["ann"]);
    assert_eq!(changes.len(), 1);
    for (author, change, receipt) in changes {
        talk.commits("lobby", Placed { change, order: Order::Unnumbered, author, receipt });
    }
    assert_eq!(ignored(&mut talk, Request::Ignore(None)), ["ann"]);
    // A client of another process is followed when its change comes.
    let change = Change::Renamed { by: EVE, from: name("ann"), to: name("eva"), count: 2 };
    talk.commits("lobby", Placed { change, order: Order::Unnumbered, author: None, receipt: false });
    assert_eq!(ignored(&mut talk, Request::Ignore(None)), ["ann", "eva"]);
}
