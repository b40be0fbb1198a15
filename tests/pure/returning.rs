//! A listener that resumes is sent missed messages a piece at a time, whatever happens meanwhile.

use chinwag::chat::{Chat, ClientId, Effect, RoomId};
use chinwag::config::Config;
use chinwag::protocol::{Arrival, Body, Dialect, Epoch, Event, LocalEvent, Position, RemoteEvent};
use chinwag::text::RoomName;
use chinwag::time::{Moment, Now};

use crate::settle::{ALONE, publish, settled};
use crate::words::{name, text};

const BOB: ClientId = ClientId(1);

/// An epoch that this process has not begun.
const OTHER: Epoch = Epoch { process: 2, room: 7 };

/// Output to the listener and to other processes.
#[derive(Debug, PartialEq)]
enum Outcome {
    Said(u64),
    Gap(Option<u64>),
    At(u64),
    Ears(bool),
}
use Outcome::{At, Ears, Gap, Said};

fn announced_to(effect: &Effect) -> Option<RoomId> {
    match effect {
        Effect::Announce { room, .. } => Some(*room),
        _ => None,
    }
}

struct Lobby {
    chat: Chat,
    room: Option<RoomId>,
}

impl Lobby {
    /// Creates the lobby of one of several processes, with so many messages.
    fn new(flags: &str, said: usize) -> Lobby {
        let chat = Chat::new(&Config::from_flags(flags), 1);
        let mut lobby = Lobby { chat, room: None };
        lobby.publish(said);
        lobby
    }

    fn run(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>)) -> Vec<Outcome> {
        let now = Now { moment: Moment::default(), unix_millis: 0 };
        let effects = settled(&mut self.chat, now, |chat, effects| ask(chat, now, effects));
        self.room = effects.iter().find_map(announced_to).or(self.room);
        let sent = |effect| match effect {
            Effect::Reply(BOB, Event::Message { message, .. })
            | Effect::Announce { event: Event::Message { message, .. }, .. } => Some(Said(message.seq)),
            Effect::Reply(BOB, Event::Gap { count, .. })
            | Effect::Announce { event: Event::Lost { count, .. }, .. } => Some(Gap(count)),
            Effect::Reply(BOB, Event::Position(position)) => Some(At(position.seq)),
            Effect::Report(LocalEvent::Subscribed { has_subscribers: any, .. }) => Some(Ears(any)),
            Effect::Activated(BOB) => None,
            other => panic!("{other:?}"),
        };
        effects.into_iter().filter_map(sent).collect()
    }

    /// Publishes texts of which two make a piece.
    fn publish(&mut self, count: usize) -> Vec<Outcome> {
        let body = || Body::Text(text(&"x".repeat(300)));
        let publish = |lobby: &mut Lobby| {
            lobby.run(|chat, now, effects| {
                publish(chat, RoomName::lobby(), name("bot"), body(), now, effects).expect("a number");
            })
        };
        (0..count).flat_map(|_| publish(self)).collect()
    }

    /// Another process has numbered up to `seq`.
    fn synced(&mut self, epoch: Epoch, seq: u64, missed: Option<Option<u64>>) -> Vec<Outcome> {
        let event = RemoteEvent::Synced { room: RoomName::lobby(), epoch, seq, missed, topic: None };
        self.run(|chat, now, effects| chat.apply_remote(event, now, effects))
    }

    /// Connects bob as a listener that resumes at that number.
    fn listens(&mut self, heard: u64) -> Vec<Outcome> {
        let epoch = Epoch { process: 1, room: 0 };
        let arrival = Arrival {
            dialect: Dialect::Events,
            name: None,
            room: Some(RoomName::lobby()),
            history: None,
            echo: false,
            last_position: Some(Ok(Position { epoch, seq: heard })),
            login: None,
            problems: Vec::new(),
        };
        self.run(|chat, now, effects| chat.enter(BOB, 0, arrival, (now, &ALONE), effects))
    }

    fn goes_on(&mut self) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.catch_up(BOB, now, effects))
    }

    fn has_listener(&self) -> bool {
        let room = self.room.expect("something was said");
        !self.chat.audience(room, Dialect::Events, &[]).is_empty()
    }

    fn leaves(&mut self) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.leave(BOB, None, now, effects))
    }
}

#[test]
fn pieces_are_sent_up_to_the_end_and_then_live_messages() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    assert!(lobby.chat.is_catching_up(BOB));
    lobby.publish(1);
    assert!(!lobby.has_listener(), "a message would overtake others");
    assert_eq!(lobby.goes_on(), [Said(3), Said(4)]);
    assert_eq!(lobby.goes_on(), [Said(5), Said(6), At(6)]);
    assert!(!lobby.chat.is_catching_up(BOB));
    assert!(lobby.has_listener());
    assert_eq!(lobby.goes_on(), [], "that was all");
    assert_eq!(lobby.leaves(), [Ears(false)]);
}

#[test]
fn listener_that_catches_up_over_another_epoch_is_told_so_and_goes_on_with_its_messages() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    assert_eq!(lobby.synced(OTHER, 40, Some(None)), [Gap(None)], "for those that have caught up");
    assert_eq!(lobby.goes_on(), [Gap(Some(3)), Gap(None), At(40)], "what it was not sent is gone");
    assert!(lobby.has_listener());
    assert_eq!(lobby.publish(1), [Said(41)]);
}

#[test]
fn listener_that_catches_up_is_told_of_messages_that_are_lost_meanwhile() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    let own = Epoch { process: 1, room: 0 };
    // The lobby's other clients are told, and then the listener.
    assert_eq!(lobby.synced(own, 9, Some(Some(4))), [Gap(Some(4)), Gap(Some(4))]);
    assert_eq!(lobby.goes_on(), [Said(3), Said(4)]);
    lobby.publish(1);
    assert_eq!(lobby.goes_on(), [Said(5), Said(10), At(10)]);
}

#[test]
fn messages_that_are_evicted_before_their_turn_are_counted() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k --history 4", 6);
    assert_eq!(lobby.listens(1), [Gap(Some(1)), Ears(true), Said(3), Said(4)]);
    lobby.publish(5);
    assert_eq!(lobby.goes_on(), [Gap(Some(3)), Said(8), Said(9)]);
    assert_eq!(lobby.goes_on(), [Said(10), Said(11), At(11)]);
}

#[test]
fn listener_that_leaves_while_it_catches_up_is_counted_nowhere() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    lobby.listens(0);
    assert_eq!(lobby.chat.census().catching_up, 1);
    assert_eq!(lobby.leaves(), [Ears(false)]);
    assert_eq!(lobby.leaves(), []);
    assert_eq!((lobby.chat.census().catching_up, lobby.chat.is_catching_up(BOB)), (0, false));
    assert_eq!(lobby.goes_on(), []);
}
