//! The chat at random: invariants that hold after any requests.

use std::collections::{BTreeMap, VecDeque};

use chinwag::chat::{Census, ClientId, Placed};
use chinwag::protocol::{Change, Event, Order, Problem, Request};
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

/// Limits low enough to be reached.
const FLAGS: &str = "--announce-max 2 --max-rooms 3 --history 3 --history-shown 2 --history-memory 1k";

/// Never gives a name, and so can list rooms without being listed.
const SPY: ClientId = ClientId(CLIENTS);

/// An action of a client, or of the server.
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

fn carry_out(talk: &mut Talk, op: &Op) -> Vec<Outcome> {
    match op {
        Op::Connect(id) if talk.chat.name(*id).is_some() => vec![],
        Op::Connect(id) => talk.connects(*id),
        Op::Leave(id) => talk.leaves(*id, None),
        // As in the server, a client that quits is removed at once.
        Op::Ask(id, request @ Request::Quit(_)) => {
            let sent = talk.asks(*id, request.clone());
            assert_eq!(talk.leaves(*id, None), vec![], "the room was told already");
            sent
        }
        Op::Ask(id, request) => talk.asks(*id, request.clone()),
        Op::Wait(millis) => talk.after_millis(*millis),
    }
}

/// The room and name of each client, from what the clients were sent.
#[derive(Debug, Default)]
struct Model {
    connected: Vec<ClientId>,
    places: BTreeMap<ClientId, (Name, RoomName)>,
}

impl Model {
    fn apply(&mut self, op: &Op, sent: &[Outcome]) {
        match op {
            Op::Connect(id) if !self.connected.contains(id) => self.connected.push(*id),
            Op::Leave(id) | Op::Ask(id, Request::Quit(_)) => {
                self.connected.retain(|other| other != id);
                self.places.remove(id);
            }
            _ => {}
        }
        for sent in sent {
            match sent {
                Outcome::Reply(id, Event::YouJoined { name, room, .. }) => {
                    self.places.insert(*id, (name.clone(), room.clone()));
                }
                Outcome::Reply(id, Event::YouWereRenamed { to: name, .. }) => {
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

    /// Returns the owner of a name.
    fn bearer(&self, name: &Name) -> Option<ClientId> {
        self.places.iter().find(|(_, place)| place.0.same_as(name.as_str())).map(|(id, _)| *id)
    }

    /// Returns whether another client than `id` has a name that looks like this one.
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

/// Checks that each event goes only to the clients that it concerns. `before` is the model before `op`, `after` the one
/// behind it.
fn check_sent(op: &Op, sent: &[Outcome], before: &Model, after: &Model) {
    let actor = match op {
        Op::Connect(id) | Op::Leave(id) | Op::Ask(id, _) => Some(*id),
        Op::Wait(_) => None,
    };
    for sent in sent {
        match sent {
            Outcome::Closed(..) | Outcome::Saved(..) | Outcome::SavedOnly | Outcome::LoggedIn(_) => {
                panic!("there is no account: {sent:?}")
            }
            Outcome::LoginFailed(_) | Outcome::AddressBanned(_) | Outcome::Disconnected(_) => {
                panic!("there is no account: {sent:?}")
            }
            Outcome::Whois(id, ..) => assert_eq!(Some(*id), actor, "{sent:?}"),
            Outcome::Reply(id, _) | Outcome::NameGiven(id) | Outcome::Quit(id) => {
                assert_eq!(Some(*id), actor, "{sent:?}")
            }
            Outcome::Pass(id, _) => assert!(after.places.contains_key(id), "{sent:?}"),
            Outcome::Everybody(_) | Outcome::LocalEvent(_) | Outcome::Submitted(..) => {
                panic!("there is one process: {sent:?}")
            }
            Outcome::Announce(to, event) => {
                let sorted_to = sorted(to.iter().copied());
                let room = after.room_of(to[0]).expect("a member");
                let mut expected = after.members(room);
                // A summary goes to everybody; anything else goes to all but its cause.
                expected.retain(|id| matches!(event, Event::Crowd { .. }) || Some(*id) != actor);
                assert_eq!(sorted_to, expected, "{sent:?} in {room}");
            }
        }
    }
    if let Op::Ask(id, request) = op
        && before.connected.contains(id)
    {
        check_request(*id, request, sent, before);
    }
}

/// Checks requests whose outcome the model can predict.
fn check_request(id: ClientId, request: &Request, sent: &[Outcome], before: &Model) {
    let unnamed = before.room_of(id).is_none();
    let refused = |problem| sent == [reply(id, Event::Problem { problem, unnamed })];
    match request {
        Request::Nick(name) => {
            let taken = before.bearer(name).is_some_and(|bearer| bearer != id);
            // If another client's name looks like it, too, the refusal may name that as the reason.
            assert!(taken || !refused(Problem::NameTaken(name.clone())), "{sent:?}");
            let problem = |sent: &Outcome| matches!(sent, Outcome::Reply(_, Event::Problem { .. }));
            assert_eq!(sent.iter().any(problem), before.is_taken(id, name), "{sent:?}");
        }
        Request::Say { .. } if !unnamed => {
            let others = before.members(before.room_of(id).unwrap()).len() - 1;
            let received = sent.iter().any(|sent| matches!(sent, Outcome::Announce(..)));
            assert_eq!(received, others > 0, "{sent:?}");
        }
        Request::Private { to, text, .. } if !unnamed => {
            let to_name = Name::parse(to.as_str()).unwrap_or_else(|_| name(to.as_str()));
            let from = before.places[&id].0.clone();
            let expected = before.bearer(&to_name).map(|to| {
                let text = text.clone();
                pass(to, private_event(from, text))
            });
            assert_eq!(sent.first().filter(|sent| matches!(sent, Outcome::Pass(..))), expected.as_ref());
        }
        Request::Say { .. } | Request::Private { .. } | Request::Join { .. } | Request::Leave(_) => {
            assert_eq!(refused(Problem::NameRequired), unnamed, "{sent:?}");
        }
        _ => {}
    }
}

/// Checks that the chat and the model agree on every client's room and on all counts.
fn check_state(talk: &mut Talk, model: &Model) {
    let Census { clients, names, subscribers, history_bytes, .. } = talk.chat.census();
    assert_eq!(clients, model.connected.len() + 1, "with the spy");
    assert_eq!((names, subscribers), (model.places.len(), model.places.len()));
    assert!(history_bytes <= 1024, "{history_bytes} bytes of history");
    for (id, (name, _)) in &model.places {
        assert_eq!(talk.chat.name(*id), Some(name));
        assert_eq!(model.bearer(name), Some(*id), "{name} twice");
        assert!(!model.is_taken(*id, name), "{name} twice");
    }
    let mut listed = Vec::new();
    for room in ROOMS.map(room) {
        let members = model.members(&room);
        let sent = talk.asks(SPY, Request::Who(Some(room.clone())));
        let [Outcome::Reply(SPY, Event::Who { names, more: 0, .. })] = &sent[..] else {
            assert_eq!((sent, members), (vec![unnamed_problem(SPY, Problem::NoSuchRoom(room))], vec![]));
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
fn every_named_client_is_in_one_room_and_events_go_to_those_they_concern() {
    check(300, &vec(op(), 1..80), |ops| {
        let (mut talk, mut model) = (with_spy(), Model::default());
        for op in ops {
            let sent = carry_out(&mut talk, &op);
            let mut after = Model { connected: model.connected.clone(), places: model.places.clone() };
            after.apply(&op, &sent);
            check_sent(&op, &sent, &model, &after);
            check_state(&mut talk, &after);
            model = after;
        }
    });
}

#[test]
fn same_requests_have_the_same_outcome() {
    check(100, &vec(op(), 1..80), |ops| {
        let (mut one, mut other) = (with_spy(), with_spy());
        for op in ops {
            assert_eq!(carry_out(&mut one, &op), carry_out(&mut other, &op));
        }
    });
}

#[test]
fn chat_is_empty_when_all_have_left() {
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

/// Commits changes in the order in which they were submitted, until so many wait. Only messages have numbers.
fn place(talk: &mut Talk, waiting: &mut VecDeque<Outcome>, seq: &mut u64, left: usize) {
    while waiting.len() > left {
        let Some(Outcome::Submitted(room, author, change, receipt)) = waiting.pop_front() else {
            panic!("only changes wait");
        };
        *seq += 1;
        let order = match change {
            Change::Message(_) => Order::At(*seq),
            _ => Order::Unnumbered,
        };
        talk.commits(room.as_str(), Placed { change, order, author, receipt });
    }
}

#[test]
fn chat_whose_changes_are_placed_later_is_empty_when_all_have_left() {
    check(200, &vec((op(), 0usize..6), 1..80), |ops| {
        let (mut talk, mut waiting, mut seq) = (with_spy().with_others(), VecDeque::new(), 0);
        let is_change = |sent: &Outcome| matches!(sent, Outcome::Submitted(..));
        for (op, left) in ops {
            let sent = carry_out(&mut talk, &op);
            waiting.extend(sent.into_iter().filter(is_change));
            place(&mut talk, &mut waiting, &mut seq, left);
        }
        for slot in 0..=CLIENTS {
            waiting.extend(talk.leaves(ClientId(slot), None).into_iter().filter(is_change));
        }
        place(&mut talk, &mut waiting, &mut seq, 0);
        assert_eq!(talk.after_seconds(10), [], "nobody is there to be told");
        let Census { rooms, history_bytes, .. } = talk.chat.census();
        assert!(rooms <= 3, "{rooms} rooms");
        assert_eq!(talk.chat.census(), Census { rooms, history_bytes, ..Census::default() });
    });
}
