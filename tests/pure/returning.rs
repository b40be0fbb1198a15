//! A listener or a tab that resumes is sent missed messages a piece at a time, whatever happens meanwhile.

use chinwag::chat::{Chat, ClientId, Effect};
use chinwag::config::Config;
use chinwag::protocol::{self, Arrival, Body, Dialect, Epoch, Event, LocalEvent, Position, RemoteEvent};
use chinwag::text::RoomName;
use chinwag::time::{Moment, Now};

use crate::settle::{ALONE, publish, settled};
use crate::words::{name, text};

const BOB: ClientId = ClientId(1);

/// The epoch of the lobby.
const OWN: Epoch = Epoch { process: 1, room: 0 };

/// An epoch that this process has not begun.
const OTHER: Epoch = Epoch { process: 2, room: 7 };

/// Output to the listener and to other processes.
#[derive(Debug, PartialEq)]
enum Outcome {
    Said(u64),
    Gap(Option<u64>),
    At(u64),
    Ears(bool),
    Joined(u64),
}
use Outcome::{At, Ears, Gap, Joined, Said};

fn left_out_of(effect: &Effect) -> Option<Vec<ClientId>> {
    match effect {
        Effect::Announce { except, .. } => Some(except.ids().collect()),
        _ => None,
    }
}

struct Lobby {
    chat: Chat,
    left_out: Vec<ClientId>,
}

impl Lobby {
    /// Creates the lobby of one of several processes, with so many messages.
    fn new(flags: &str, said: usize) -> Lobby {
        let chat = Chat::new(&Config::from_flags(flags), 1);
        let mut lobby = Lobby { chat, left_out: Vec::new() };
        lobby.publish(said);
        lobby
    }

    fn run(&mut self, ask: impl FnOnce(&mut Chat, Now, &mut Vec<Effect>)) -> Vec<Outcome> {
        let now = Now { moment: Moment::default(), unix_millis: 0 };
        let effects = settled(&mut self.chat, now, |chat, effects| ask(chat, now, effects));
        self.left_out = effects.iter().rev().find_map(left_out_of).unwrap_or_default();
        let sent = |effect| match effect {
            Effect::Reply(BOB, Event::Message { message, .. })
            | Effect::Announce { event: Event::Message { message, .. }, .. } => Some(Said(message.seq)),
            Effect::Reply(BOB, Event::Lost { count, .. })
            | Effect::Announce { event: Event::Lost { count, .. }, .. } => Some(Gap(count)),
            Effect::Reply(BOB, Event::Position { position, .. })
            | Effect::Announce { event: Event::Position { position, .. }, .. } => Some(At(position.seq)),
            Effect::Reply(BOB, Event::YouJoined { seq, .. }) => Some(Joined(seq)),
            Effect::Reply(BOB, Event::Welcome { .. } | Event::Disconnected)
            | Effect::SendToAll(Event::Disconnected)
            | Effect::Announce { event: Event::Joined { .. } | Event::Left { .. }, .. }
            | Effect::Report(LocalEvent::Named { .. } | LocalEvent::Gone { .. }) => None,
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
    fn synced(&mut self, epoch: Epoch, seq: u64, missed: protocol::Gap) -> Vec<Outcome> {
        let event = RemoteEvent::Synced { room: RoomName::lobby(), epoch, seq, missed, topic: None };
        self.run(|chat, now, effects| chat.apply_remote(event, now, effects))
    }

    /// Connects bob as a listener that resumes at that number.
    fn listens(&mut self, heard: u64) -> Vec<Outcome> {
        self.enters(Dialect::Events, Position { epoch: OWN, seq: heard })
    }

    /// Connects bob as a tab that resumes there.
    fn opens(&mut self, since: Position) -> Vec<Outcome> {
        self.enters(Dialect::Json, since)
    }

    fn enters(&mut self, dialect: Dialect, position: Position) -> Vec<Outcome> {
        let arrival = Arrival {
            dialect,
            name: None,
            room: Some(RoomName::lobby()),
            history: None,
            echo: false,
            last_position: Some(Ok(position)),
            login: None,
            problems: Vec::new(),
        };
        self.run(|chat, now, effects| chat.enter(BOB, 0, arrival, (now, &ALONE), effects))
    }

    fn goes_on(&mut self) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.catch_up(BOB, now, effects))
    }

    /// The clients that the last announcement has left out.
    fn left_out(&self) -> Vec<ClientId> {
        self.left_out.clone()
    }

    fn leaves(&mut self) -> Vec<Outcome> {
        self.run(|chat, now, effects| chat.leave(BOB, None, now, effects))
    }
}

#[test]
fn batches_are_sent_up_to_the_end_and_then_live_messages() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    assert!(lobby.chat.is_catching_up(BOB));
    lobby.publish(1);
    assert_eq!(lobby.left_out(), [BOB], "a message would overtake others");
    assert_eq!(lobby.goes_on(), [Said(3), Said(4)]);
    assert_eq!(lobby.goes_on(), [Said(5), Said(6), At(6)]);
    assert!(!lobby.chat.is_catching_up(BOB));
    lobby.publish(1);
    assert_eq!(lobby.left_out(), []);
    assert_eq!(lobby.goes_on(), [], "that was all");
    assert_eq!(lobby.leaves(), [Ears(false)]);
}

#[test]
fn sse_client_that_catches_up_over_another_epoch_is_told_so_and_goes_on_with_its_messages() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    assert_eq!(lobby.synced(OTHER, 40, protocol::Gap::Unknown), [Gap(None), At(40)]);
    assert_eq!(lobby.left_out(), [BOB], "its position is not that of the others");
    assert_eq!(lobby.goes_on(), [Gap(Some(3)), At(40)], "what it was not sent is gone");
    assert_eq!(lobby.publish(1), [Said(41)]);
    assert_eq!(lobby.left_out(), []);
}

#[test]
fn sse_client_that_catches_up_is_told_of_messages_that_are_lost_meanwhile() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    assert_eq!(lobby.listens(0), [Ears(true), Said(1), Said(2)]);
    assert_eq!(lobby.synced(OWN, 9, protocol::Gap::Count(4)), [Gap(Some(4)), At(9)]);
    assert_eq!(lobby.left_out(), [BOB], "its position is not that of the others");
    assert_eq!(lobby.goes_on(), [Said(3), Said(4)]);
    lobby.publish(1);
    assert_eq!(lobby.goes_on(), [Said(5), Said(10), At(10)]);
}

#[test]
fn messages_that_are_evicted_before_their_turn_are_counted() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k --history 4", 6);
    assert_eq!(lobby.listens(1), [Ears(true), Gap(Some(1)), Said(3), Said(4)]);
    lobby.publish(5);
    assert_eq!(lobby.goes_on(), [Gap(Some(3)), Said(8), Said(9)]);
    assert_eq!(lobby.goes_on(), [Said(10), Said(11), At(11)]);
}

#[test]
fn sse_client_that_leaves_while_it_catches_up_is_counted_nowhere() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k", 5);
    lobby.listens(0);
    assert_eq!(lobby.chat.census().catching_up, 1);
    assert_eq!(lobby.leaves(), [Ears(false)]);
    assert_eq!(lobby.leaves(), []);
    assert_eq!((lobby.chat.census().catching_up, lobby.chat.is_catching_up(BOB)), (0, false));
    assert_eq!(lobby.goes_on(), []);
}

const PIECES: &str = "--write-buffer-soft off --write-buffer 8k";

#[test]
fn tab_is_a_member_at_once_and_is_sent_batches_up_to_the_end() {
    let mut lobby = Lobby::new(PIECES, 5);
    assert_eq!(lobby.opens(Position { epoch: OWN, seq: 2 }), [Ears(true), Joined(5)]);
    assert_eq!(lobby.publish(1), [Said(6)]);
    assert_eq!(lobby.left_out(), [BOB], "a message would overtake others");
    assert_eq!(lobby.goes_on(), [Said(3), Said(4)]);
    assert_eq!(lobby.goes_on(), [Said(5), Said(6), At(6)]);
    lobby.publish(1);
    assert_eq!(lobby.left_out(), []);
    assert_eq!(lobby.goes_on(), [], "that was all");
    assert_eq!(lobby.leaves(), [Ears(false)]);
}

#[test]
fn tab_gets_what_is_left_after_a_position_that_the_room_has_not_reached() {
    let all = || vec![Gap(None), Said(1), Said(2), At(2)];
    for (position, is_disconnected, expected) in [
        (Position { epoch: OTHER, seq: 1 }, false, all()),
        (Position { epoch: OTHER, seq: 1 }, true, all()),
        (Position { epoch: OTHER, seq: 3 }, true, all()),
        (Position { epoch: OWN, seq: 3 }, false, all()),
        // It has read more at another process.
        (Position { epoch: OWN, seq: 3 }, true, vec![]),
        (Position { epoch: OWN, seq: u64::MAX }, false, all()),
        (Position { epoch: OWN, seq: 2 }, false, vec![At(2)]),
        (Position { epoch: OWN, seq: 0 }, false, vec![Said(1), Said(2), At(2)]),
    ] {
        let mut lobby = Lobby::new("", 2);
        if is_disconnected {
            lobby.run(|chat, now, effects| chat.apply_remote(RemoteEvent::Disconnected, now, effects));
        }
        assert_eq!(lobby.opens(position), [Ears(true), Joined(2)]);
        assert_eq!(lobby.goes_on(), expected, "{position} {is_disconnected}");
    }
}

#[test]
fn tab_is_told_once_how_many_messages_it_has_missed() {
    let mut lobby = Lobby::new("--write-buffer-soft off --write-buffer 8k --history 4", 6);
    assert_eq!(lobby.opens(Position { epoch: OWN, seq: 1 }), [Ears(true), Joined(6)]);
    lobby.publish(1);
    assert_eq!(lobby.goes_on(), [Gap(Some(2)), Said(4), Said(5)], "one has left the history meanwhile");
    assert_eq!(lobby.goes_on(), [Said(6), Said(7), At(7)]);
}

#[test]
fn tab_without_a_history_is_told_how_many_messages_it_has_missed() {
    let mut lobby = Lobby::new("--history 0", 3);
    lobby.opens(Position { epoch: OWN, seq: 1 });
    assert_eq!(lobby.publish(1), [Said(4)]);
    assert_eq!(lobby.left_out(), [], "it could not be sent later");
    assert_eq!(lobby.goes_on(), [Gap(Some(2)), At(4)]);
}

#[test]
fn tab_that_leaves_while_it_catches_up_is_counted_nowhere() {
    let mut lobby = Lobby::new(PIECES, 5);
    lobby.opens(Position { epoch: OWN, seq: 0 });
    assert_eq!(lobby.chat.census().catching_up, 1);
    assert_eq!(lobby.leaves(), [Ears(false)]);
    assert_eq!((lobby.chat.census().catching_up, lobby.chat.is_catching_up(BOB)), (0, false));
    assert_eq!(lobby.goes_on(), []);
    assert_eq!(lobby.publish(1), [Said(6)]);
    assert_eq!(lobby.left_out(), []);
}
