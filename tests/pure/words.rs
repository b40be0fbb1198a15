//! Short constructors for tests.

use std::rc::Rc;

use chinwag::protocol::{Body, Epoch, Event, Message, MessageKind, Request, UniqueId};
use chinwag::text::{GUEST_PREFIX, Name, RoomName, Text, TypedName};

/// A name by which a request means somebody.
pub fn typed(raw: &str) -> TypedName {
    TypedName::parse(raw).expect("a name")
}

/// A text, which must be clean as it is.
#[track_caller]
pub fn text(raw: &str) -> Text {
    let text = Text::clean(raw).expect("a text");
    assert_eq!(text.as_str(), raw, "a text that needs no cleaning");
    text
}

/// A name, or that of a guest.
#[track_caller]
pub fn name(raw: &str) -> Name {
    match raw.strip_prefix(GUEST_PREFIX).map(str::parse) {
        Some(Ok(number)) => Name::guest(number),
        _ => Name::parse(raw).expect("a name"),
    }
}

#[track_caller]
pub fn names(raw: &[&str]) -> Vec<Name> {
    raw.iter().map(|raw| name(raw)).collect()
}

#[track_caller]
pub fn room(raw: &str) -> RoomName {
    RoomName::parse(raw).expect("a room name")
}

/// Returns the first character of `shown` that must never reach another client's terminal. The list is independent of
/// the code under test. It has Unicode's `Cc` (ECMA-48's C0, DEL and C1), its line and paragraph separators, and the
/// bidirectional controls of UAX 9.
pub fn harm(shown: &str) -> Option<char> {
    shown.chars().find(|c| {
        matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// A request to send that in the client's room.
pub fn say_request(kind: MessageKind, text: Text) -> Request {
    Request::Say { room: None, kind, body: Body::Text(text), receipt: false }
}

/// An arbitrary client.
pub const SOMEBODY: UniqueId = UniqueId { process: 0xabc, serial: 7 };

/// A message of another client in the lobby.
pub fn said_event(message: Rc<Message>) -> Event {
    Event::Message { room: RoomName::lobby(), epoch: Epoch::default(), message }
}

/// Entering a room, with arbitrary numbers.
pub fn entered_event(name: Name, first: bool, room: RoomName, others: Vec<Name>, more: usize) -> Event {
    let (by, epoch) = (SOMEBODY, Epoch::default());
    Event::YouJoined { by, name, first, room, others, more, epoch, seq: 0 }
}

/// A private message from another client.
pub fn private_event(from: Name, text: Text) -> Event {
    Event::Private { by: SOMEBODY, from, text }
}

/// A client joined the lobby, with an arbitrary count.
pub fn joined_event(name: Name) -> Event {
    Event::Joined { by: SOMEBODY, name, room: RoomName::lobby(), count: 0 }
}

/// A client left the lobby, with an arbitrary count.
pub fn left_event(name: Name, reason: Option<Text>) -> Event {
    Event::Left { by: SOMEBODY, name, room: RoomName::lobby(), reason, count: 0 }
}

/// A client in the lobby was renamed.
pub fn renamed_event(from: Name, to: Name) -> Event {
    Event::Renamed { room: RoomName::lobby(), by: SOMEBODY, from, to }
}

/// The client was renamed, with an arbitrary former name.
pub fn you_are_event(to: Name) -> Event {
    Event::YouWereRenamed { by: SOMEBODY, from: to.clone(), to }
}
