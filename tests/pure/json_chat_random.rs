//! The chat at random, with clients of all listeners: the members of all rooms, and that each message reaches each
//! member once.

use std::collections::{BTreeMap, BTreeSet};

use chinwag::chat::{Census, ClientId};
use chinwag::protocol::{Body, Dialect, MessageKind, Payload, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::hall::{Hall, arrival};
use crate::random::check;
use crate::words::{name, room, text, typed};

const ROOMS: [&str; 4] = ["lobby", "dev", "ops", "qa"];
const NAMES: [&str; 4] = ["ann", "bob", "cy", "dan"];
const CLIENTS: u32 = 8;

/// Returns the dialect of client `slot`.
fn dialect(slot: u32) -> Dialect {
    [Dialect::Json, Dialect::Line, Dialect::Json, Dialect::Raw, Dialect::Events][slot as usize % 5]
}

#[derive(Clone, Debug)]
enum Op {
    Enter(&'static str, &'static str),
    Ask(Request),
    Leave,
}

fn op() -> impl Strategy<Value = Op> {
    let to = || select(&ROOMS[..]);
    let who = || select(&NAMES[..]);
    let body = || Body::Text(text("hi"));
    let say = (proptest::option::of(to()), any::<bool>()).prop_map(move |(to, receipt)| Request::Say {
        room: to.map(room),
        kind: MessageKind::Say,
        body: body(),
        receipt,
    });
    let join = (to(), any::<bool>()).prop_map(|(to, echo)| Request::Join {
        room: room(to),
        history: None,
        echo,
        since: None,
    });
    let request = prop_oneof![
        4 => join,
        3 => to().prop_map(|from| Request::Leave(Some(room(from)))),
        3 => say,
        1 => who().prop_map(|who| Request::Nick(name(who))),
        1 => Just(Request::Relay(Payload::Text("hi".into()))),
        1 => who().prop_map(|to| Request::Private { to: typed(to), text: text("hi"), receipt: true }),
        1 => Just(Request::Quit(None)),
    ];
    prop_oneof![
        4 => (who(), select(vec!["lobby", "dev", "ops", "qa", ""])).prop_map(|(who, to)| Op::Enter(who, to)),
        8 => request.prop_map(Op::Ask),
        1 => Just(Op::Leave),
    ]
}

/// The connected clients and their rooms, from what the clients themselves were sent.
#[derive(Default)]
struct Model {
    here: BTreeMap<u32, BTreeSet<String>>,
}

impl Model {
    fn carry_out(&mut self, hall: &mut Hall, slot: u32, op: &Op) {
        let places = self.here.get(&slot).cloned();
        match (op, places) {
            (Op::Enter(who, to), None) => {
                let to = if dialect(slot) == Dialect::Events && to.is_empty() { "lobby" } else { to };
                match dialect(slot) {
                    Dialect::Line => drop(hall.comes(slot, &format!("{who}{slot}"))),
                    Dialect::Events => drop(hall.enters(slot, arrival(Dialect::Events, "", to))),
                    other => drop(hall.enters(slot, arrival(other, who, to))),
                }
                let to = if dialect(slot) == Dialect::Line { "lobby" } else { to };
                self.here
                    .insert(slot, Vec::from_iter((!to.is_empty()).then(|| to.into())).into_iter().collect());
            }
            (Op::Ask(request), Some(places)) if dialect(slot) != Dialect::Events => {
                hall.asks(slot, request.clone());
                match request {
                    // The server closes a client that quits.
                    Request::Quit(_) => {
                        hall.leaves(slot);
                        self.here.remove(&slot);
                    }
                    request => drop(self.here.insert(slot, moved(dialect(slot), places, request))),
                }
            }
            (Op::Leave, Some(_)) => {
                hall.leaves(slot);
                self.here.remove(&slot);
            }
            _ => {}
        }
    }

    /// Returns the members of a room that use `dialect`.
    fn members(&self, to: &str, speak: Dialect) -> BTreeSet<ClientId> {
        let there = self.here.iter().filter(|(slot, rooms)| dialect(**slot) == speak && rooms.contains(to));
        there.map(|(slot, _)| ClientId(*slot)).collect()
    }
}

/// Returns the rooms of a client after a request. A client has at most three.
fn moved(speaks: Dialect, mut places: BTreeSet<String>, request: &Request) -> BTreeSet<String> {
    match request {
        Request::Join { room, .. } if speaks == Dialect::Line => places = [room.as_str().into()].into(),
        Request::Join { room, .. } if places.len() < 3 => drop(places.insert(room.as_str().into())),
        Request::Leave(Some(room)) if places.contains(room.as_str()) => {
            places.remove(room.as_str());
            if speaks == Dialect::Line {
                places.insert("lobby".into());
            }
        }
        _ => {}
    }
    places
}

/// Checks that the chat and the model agree on all rooms, and each membership on its client.
fn check_state(hall: &Hall, model: &Model) {
    for (id, to) in hall.rooms.iter().filter(|(id, _)| hall.chat.room_name(**id).is_some()) {
        for speak in Dialect::IN_ROOMS {
            let members = hall.chat.audience(*id, speak, &[]).concat();
            let once: BTreeSet<_> = members.iter().copied().collect();
            assert_eq!(once.len(), members.len(), "a client is in {to} twice: {members:?}");
            assert_eq!(once, model.members(&to[1..], speak), "{speak:?} in {to}");
            for one in &members {
                let others: Vec<_> = members.iter().copied().filter(|other| other != one).collect();
                assert_eq!(hall.chat.audience(*id, speak, &[*one]).concat(), others, "but for {one:?}");
            }
        }
    }
    let Census { clients, subscribers, .. } = hall.chat.census();
    assert_eq!(clients, model.here.len());
    assert_eq!(subscribers, model.here.values().map(BTreeSet::len).sum::<usize>());
}

// `hall` checks on the way that no client is sent a message twice.
#[test]
fn every_client_is_in_the_rooms_it_joined_and_receives_each_message_once() {
    check(400, &vec((0..CLIENTS, op()), 1..100), |ops| {
        let (mut hall, mut model) = (Hall::new("--max-rooms-per-client 3 --history 2"), Model::default());
        for (slot, op) in ops {
            model.carry_out(&mut hall, slot, &op);
            check_state(&hall, &model);
        }
        model.here.keys().for_each(|slot| drop(hall.leaves(*slot)));
        let Census { rooms, history_bytes, .. } = hall.chat.census();
        assert_eq!(hall.chat.census(), Census { rooms, history_bytes, ..Census::default() });
    });
}

#[test]
fn chat_without_a_history_is_empty_when_all_have_left() {
    check(200, &vec((0..CLIENTS, op()), 1..100), |ops| {
        let (mut hall, mut model) = (Hall::new("--history 0 --announce-max 2"), Model::default());
        ops.iter().for_each(|(slot, op)| model.carry_out(&mut hall, *slot, op));
        model.here.keys().for_each(|slot| drop(hall.leaves(*slot)));
        let Census { summaries, .. } = hall.chat.census();
        assert_eq!(hall.chat.census(), Census { summaries, ..Census::default() });
    });
}
