//! The chat, at random: what holds after whatever anybody does.

use std::collections::BTreeMap;

use chinwag::chat::{Census, ClientId};
use chinwag::protocol::{Event, Problem, Request};
use chinwag::text::{Looks, Name, RoomName};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::random::check;
use crate::talk::*;
use crate::words::{name, private_event, room};

/// Few clients, names and rooms, so that they meet.
const CLIENTS: u32 = 6;
const NAMES: [&str; 12] =
    ["ann", "Ann", "аnn", "ANИ", "bob", "BOB", "ВОВ", "Ivan", "ivan", "lvan", "zoë", "ZOE\u{308}"];
const ROOMS: [&str; 5] = ["lobby", "dev", "ops", "bar", "zoo"];

/// All limits so low that they are met.
const FLAGS: &str = "--announce-max 2 --max-rooms 3 --history 3 --history-shown 2 --history-memory 1k";

/// Never gives a name, and so can look without being seen.
const SPY: ClientId = ClientId(CLIENTS);

/// Something that happens.
#[derive(Clone, Debug)]
enum Op {
    Connect(ClientId),
    Leave(ClientId),
    Ask(ClientId, Request),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let client = || (0..CLIENTS).prop_map(ClientId);
    let a_name = || select(&NAMES[..]);
    let a_room = || select(&ROOMS[..]).prop_map(room);
    let request = prop_oneof![
        4 => a_name().prop_map(nick),
        1 => Just(Request::StayGuest),
        4 => "[a-z]{1,200}".prop_map(|raw| say(&raw)),
        1 => Just(me("waves")),
        2 => a_name().prop_map(|to| tell(to, "psst")),
        1 => Just(tell("guest-2", "psst")),
        6 => select(&ROOMS[..]).prop_map(join),
        2 => Just(leave()),
        1 => a_room().prop_map(|room| Request::Who(Some(room))),
        1 => select(vec![Request::Who(None), Request::Rooms, Request::Help]),
        1 => (0usize..5).prop_map(|count| history(Some(count))),
        1 => Just(quit(None)),
    ];
    prop_oneof![
        3 => client().prop_map(Op::Connect),
        1 => client().prop_map(Op::Leave),
        12 => (client(), request).prop_map(|(id, request)| Op::Ask(id, request)),
        1 => (0u64..12_000).prop_map(Op::Wait),
    ]
}

fn carry_out(talk: &mut Talk, op: &Op) -> Vec<ServerMessage> {
    match op {
        Op::Connect(id) if talk.chat.name(*id).is_some() => vec![],
        Op::Connect(id) => talk.connects(*id),
        Op::Leave(id) => talk.leaves(*id, None),
        // As the server does: who has said good-bye is taken out.
        Op::Ask(id, request @ Request::Quit(_)) => {
            let told = talk.asks(*id, request.clone());
            assert_eq!(talk.leaves(*id, None), vec![], "the room was told already");
            told
        }
        Op::Ask(id, request) => talk.asks(*id, request.clone()),
        Op::Wait(millis) => talk.after_millis(*millis),
    }
}

/// Who is where under which name, by what the clients were told.
#[derive(Debug, Default)]
struct Model {
    connected: Vec<ClientId>,
    places: BTreeMap<ClientId, (Name, RoomName)>,
}

impl Model {
    fn apply(&mut self, op: &Op, told: &[ServerMessage]) {
        match op {
            Op::Connect(id) if !self.connected.contains(id) => self.connected.push(*id),
            Op::Leave(id) | Op::Ask(id, Request::Quit(_)) => {
                self.connected.retain(|other| other != id);
                self.places.remove(id);
            }
            _ => {}
        }
        for told in told {
            match told {
                ServerMessage::Reply(id, Event::YouJoined { name, room, .. }) => {
                    self.places.insert(*id, (name.clone(), room.clone()));
                }
                ServerMessage::Reply(id, Event::YouWereRenamed { to: name, .. }) => {
                    self.places.get_mut(id).expect("a client that has a name").0 = name.clone();
                }
                _ => {}
            }
        }
    }

    fn room_of(&self, id: ClientId) -> Option<&RoomName> {
        self.places.get(&id).map(|(_, room)| room)
    }

    /// The members of a room, sorted by id.
    fn members(&self, room: &RoomName) -> Vec<ClientId> {
        self.places.iter().filter(|(_, place)| place.1 == *room).map(|(id, _)| *id).collect()
    }

    /// Who has this name.
    fn bearer(&self, name: &Name) -> Option<ClientId> {
        self.places.iter().find(|(_, place)| place.0.same_as(name.as_str())).map(|(id, _)| *id)
    }

    /// Whether somebody else than `id` has a name that looks like this one.
    fn is_taken(&self, id: ClientId, name: &Name) -> bool {
        let looks = Looks::of(name.as_str());
        let alike = |place: &(Name, RoomName)| Looks::of(place.0.as_str()).alike(&looks);
        self.places.iter().any(|(other, place)| *other != id && alike(place))
    }
}

fn sorted<T: Ord>(some: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<_> = some.into_iter().collect();
    all.sort_unstable();
    all
}

/// Nobody is told anything but whom it concerns. `before` is the model before `op`, `after` the one behind it.
fn check_told(op: &Op, told: &[ServerMessage], before: &Model, after: &Model) {
    let actor = match op {
        Op::Connect(id) | Op::Leave(id) | Op::Ask(id, _) => Some(*id),
        Op::Wait(_) => None,
    };
    for told in told {
        match told {
            ServerMessage::Reply(id, _) | ServerMessage::NameGiven(id) | ServerMessage::Quit(id) => {
                assert_eq!(Some(*id), actor, "{told:?}")
            }
            ServerMessage::Pass(id, _) => assert!(after.places.contains_key(id), "{told:?}"),
            ServerMessage::Everybody(_) | ServerMessage::LocalEvent(_) => {
                panic!("there is one process: {told:?}")
            }
            ServerMessage::Announce(to, event) => {
                let sorted_to = sorted(to.iter().copied());
                let room = after.room_of(to[0]).expect("a member");
                let mut expected = after.members(room);
                // A summary is news to everybody; anything else is to all but its cause.
                expected.retain(|id| matches!(event, Event::Crowd { .. }) || Some(*id) != actor);
                assert_eq!(sorted_to, expected, "{told:?} in {room}");
            }
        }
    }
    if let Op::Ask(id, request) = op
        && before.connected.contains(id)
    {
        check_request(*id, request, told, before);
    }
}

/// Requests whose outcome the model knows.
fn check_request(id: ClientId, request: &Request, told: &[ServerMessage], before: &Model) {
    let unnamed = before.room_of(id).is_none();
    let refused = |problem| told == [reply(id, Event::Problem { problem, unnamed })];
    match request {
        Request::Nick(name) => {
            let taken = before.bearer(name).is_some_and(|bearer| bearer != id);
            // Where somebody else looks like it too, that may be the reason that is told.
            assert!(taken || !refused(Problem::NameTaken(name.clone())), "{told:?}");
            let problem =
                |told: &ServerMessage| matches!(told, ServerMessage::Reply(_, Event::Problem { .. }));
            assert_eq!(told.iter().any(problem), before.is_taken(id, name), "{told:?}");
        }
        Request::Say { .. } if !unnamed => {
            let others = before.members(before.room_of(id).unwrap()).len() - 1;
            let heard = told.iter().any(|told| matches!(told, ServerMessage::Announce(..)));
            assert_eq!(heard, others > 0, "{told:?}");
        }
        Request::Private { to, text, .. } if !unnamed => {
            let to_name = Name::parse(to.as_str()).unwrap_or_else(|_| name(to.as_str()));
            let from = before.places[&id].0.clone();
            let expected = before.bearer(&to_name).map(|to| {
                let text = text.clone();
                pass(to, private_event(from, text))
            });
            assert_eq!(
                told.first().filter(|told| matches!(told, ServerMessage::Pass(..))),
                expected.as_ref()
            );
        }
        Request::Say { .. } | Request::Private { .. } | Request::Join { .. } | Request::Leave(_) => {
            assert_eq!(refused(Problem::NameRequired), unnamed, "{told:?}");
        }
        _ => {}
    }
}

/// The chat and the model agree on who is where, and on how many there are of everything.
fn check_state(talk: &mut Talk, model: &Model) {
    let Census { clients, names, members, history_bytes, .. } = talk.chat.census();
    assert_eq!(clients, model.connected.len() + 1, "with the spy");
    assert_eq!((names, members), (model.places.len(), model.places.len()));
    assert!(history_bytes <= 1024, "{history_bytes} bytes of history");
    for (id, (name, _)) in &model.places {
        assert_eq!(talk.chat.name(*id), Some(name));
        assert_eq!(model.bearer(name), Some(*id), "{name} twice");
        assert!(!model.is_taken(*id, name), "{name} twice");
    }
    let mut listed = Vec::new();
    for room in ROOMS.map(room) {
        let members = model.members(&room);
        let told = talk.asks(SPY, Request::Who(Some(room.clone())));
        let [ServerMessage::Reply(SPY, Event::Who { names, more: 0, .. })] = &told[..] else {
            assert_eq!((told, members), (vec![unnamed_problem(SPY, Problem::NoSuchRoom(room))], vec![]));
            continue;
        };
        let expected = sorted(members.iter().map(|id| model.places[id].0.to_string()));
        assert_eq!(sorted(names.iter().map(Name::to_string)), expected, "in {room}");
        if !members.is_empty() {
            listed.push((std::cmp::Reverse(members.len()), room));
        }
    }
    let rooms = sorted(listed).into_iter().map(|(count, room)| (room, count.0)).collect();
    assert_eq!(talk.asks(SPY, Request::Rooms), [reply(SPY, Event::Rooms { rooms, more: 0 })]);
}

fn with_spy() -> Talk {
    let mut talk = Talk::new(FLAGS);
    talk.connects(SPY);
    talk
}

#[test]
fn everybody_with_a_name_is_in_one_room_and_news_go_to_whom_they_concern() {
    check(300, &vec(op(), 1..80), |ops| {
        let (mut talk, mut model) = (with_spy(), Model::default());
        for op in ops {
            let told = carry_out(&mut talk, &op);
            let mut after = Model { connected: model.connected.clone(), places: model.places.clone() };
            after.apply(&op, &told);
            check_told(&op, &told, &model, &after);
            check_state(&mut talk, &after);
            model = after;
        }
    });
}

#[test]
fn the_same_happens_twice() {
    check(100, &vec(op(), 1..80), |ops| {
        let (mut one, mut other) = (with_spy(), with_spy());
        for op in ops {
            assert_eq!(carry_out(&mut one, &op), carry_out(&mut other, &op));
        }
    });
}

#[test]
fn nobody_is_left_when_all_have_left() {
    check(100, &vec(op(), 1..80), |ops| {
        let mut talk = with_spy();
        ops.iter().for_each(|op| drop(carry_out(&mut talk, op)));
        (0..=CLIENTS).for_each(|slot| drop(talk.leaves(ClientId(slot), None)));
        talk.after_seconds(10);
        let Census { rooms, history_bytes, .. } = talk.chat.census();
        assert!(rooms <= 3, "{rooms} rooms");
        assert_eq!(talk.chat.census(), Census { rooms, history_bytes, ..Census::default() });
    });
}
