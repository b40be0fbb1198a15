//! Words to write tests with.

use std::rc::Rc;

use chinwag::protocol::{Body, Epoch, Event, Message, MessageKind, Request, UniqueId};
use chinwag::text::{GUEST_PREFIX, Name, RoomName, Text};

/// That text, which must be clean as it is.
#[track_caller]
pub fn text(raw: &str) -> Text {
    let text = Text::clean(raw).expect("a text");
    assert_eq!(text.as_str(), raw, "a text that needs no cleaning");
    text
}

/// That name, or that guest's.
#[track_caller]
pub fn name(raw: &str) -> Name {
    match raw.strip_prefix(GUEST_PREFIX).map(str::parse) {
        Some(Ok(number)) => Name::guest(number),
        _ => Name::parse(raw).expect("a name"),
    }
}

/// Those names.
#[track_caller]
pub fn names(raw: &[&str]) -> Vec<Name> {
    raw.iter().map(|raw| name(raw)).collect()
}

/// That room's name.
#[track_caller]
pub fn room(raw: &str) -> RoomName {
    RoomName::parse(raw).expect("a room name")
}

/// The first character of `shown` that must never reach another client's terminal. Written down a second time, and
/// not taken from the code under test: Unicode's `Cc` (ECMA-48's C0, DEL and C1), its line and paragraph separators,
/// and the bidirectional embeddings, overrides and isolates of UAX 9.
pub fn harm(shown: &str) -> Option<char> {
    shown.chars().find(|c| {
        matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// A request to say that in the room that the client is in.
pub fn say_request(kind: MessageKind, text: Text) -> Request {
    Request::Say { room: None, kind, body: Body::Text(text), receipt: false }
}

/// A client whose id is not looked at.
pub const SOMEBODY: UniqueId = UniqueId { process: 0xabc, serial: 7 };

/// Somebody said that in the lobby.
pub fn said_event(message: Rc<Message>) -> Event {
    Event::Message { room: RoomName::lobby(), epoch: Epoch::default(), message }
}

/// Somebody is in a room, whatever its numbers are.
pub fn entered_event(name: Name, first: bool, room: RoomName, others: Vec<Name>, more: usize) -> Event {
    let (by, epoch) = (SOMEBODY, Epoch::default());
    Event::YouJoined { by, name, first, room, others, more, epoch, seq: 0, since: 0 }
}

/// A client was told that by another.
pub fn private_event(from: Name, text: Text) -> Event {
    Event::Private { by: Some(SOMEBODY), from, text }
}

/// Somebody came into the lobby, whatever number of people is there.
pub fn joined_event(name: Name) -> Event {
    Event::Joined { by: SOMEBODY, name, room: RoomName::lobby(), count: 0 }
}

/// Somebody left the lobby, whatever number of people is there.
pub fn left_event(name: Name, reason: Option<Text>) -> Event {
    Event::Left { by: SOMEBODY, name, room: RoomName::lobby(), reason, count: 0 }
}

/// Somebody in the lobby has another name.
pub fn renamed_event(from: Name, to: Name) -> Event {
    Event::Renamed { room: RoomName::lobby(), by: SOMEBODY, from, to }
}

/// The client has another name; what it was before is not looked at.
pub fn you_are_event(to: Name) -> Event {
    Event::YouWereRenamed { by: SOMEBODY, from: to.clone(), to }
}
