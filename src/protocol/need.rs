//! The right that a request needs: [`Need`].

use super::Request;
use crate::access::Action;
use crate::text::RoomName;

/// The right that a request needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Need<'a> {
    pub action: Action,
    pub place: Place<'a>,
    /// Whether the request puts a text before others, which a muted client can't.
    pub is_speech: bool,
}

/// The room in which a right is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place<'a> {
    Nowhere,
    /// The client's only room.
    Current,
    Room(&'a RoomName),
}

impl<'a> Place<'a> {
    fn of(room: &'a Option<RoomName>) -> Place<'a> {
        room.as_ref().map_or(Place::Current, Place::Room)
    }
}

impl Request {
    /// The right that the request needs. The match has no wildcard, so a new request can't do without a decision.
    pub fn needs(&self) -> Need<'_> {
        let (action, place, is_speech) = match self {
            Request::Quit(reason) => (Action::Connect, Place::Nowhere, reason.is_some()),
            // A client may always leave a room. A line client goes to a room that it may enter.
            Request::Leave(_) => (Action::Connect, Place::Nowhere, false),
            Request::Help | Request::Ping | Request::Login { .. } => (Action::Connect, Place::Nowhere, false),
            Request::StayGuest | Request::Register | Request::Rooms => {
                (Action::Converse, Place::Nowhere, false)
            }
            Request::Whois(_) | Request::Ignore(_) | Request::Unignore(_) => {
                (Action::Converse, Place::Nowhere, false)
            }
            Request::Nick(_) | Request::Away(_) => (Action::Converse, Place::Nowhere, true),
            Request::Private { .. } | Request::Answer(_) => (Action::Converse, Place::Nowhere, true),
            Request::Say { room, .. } => (Action::Speak, Place::of(room), true),
            Request::Relay(_) => (Action::Speak, Place::Current, true),
            Request::Who(room) => (Action::Enter, Place::of(room), false),
            Request::Join { room, .. } => (Action::Enter, Place::Room(room), false),
            Request::History { room, .. } => (Action::Enter, Place::of(room), false),
            Request::Topic { room, text: None } => (Action::Enter, Place::of(room), false),
            Request::Topic { room, text: Some(_) } => (Action::SetTopic, Place::of(room), true),
            Request::Moderate(moderation) => {
                (Action::Moderate, Place::Nowhere, moderation.reason().is_some())
            }
        };
        Need { action, place, is_speech }
    }
}
