//! The questions of a request to the other processes: [`Question`]. Its answer comes as [`crate::protocol::Facts`], before the
//! request is handled. A single process has no questions.

use super::Chat;
use super::access::GUEST;
use super::ids::ClientId;
use super::membership::NAMES_ON_JOINING;
use super::queries::LISTED_FOR_PROGRAMS_MAX;
use crate::access::{Action, Identity};
use crate::protocol::{
    Arrival, ClaimOver, Dialect, ForwardedRequest, Moderation, Moderator, Question, Request, RoomPosition,
};
use crate::text::{Name, RoomName, TypedName};
use crate::time::Now;

impl Chat {
    /// The questions of a client's request; none if the client may not make it. The match has no wildcard, so a new request
    /// must be decided here.
    pub fn questions(&self, id: ClientId, request: &Request, now: Now) -> Vec<Question> {
        let is_refused = || !self.begins_login(id, request) && self.check(id, request.needs(), now).is_err();
        let located = |room| Some(self.room_name(self.locate(id, room).ok()?.room)?.clone());
        match request {
            Request::Nick(name) if !self.is_own(id, name) => self.questions_of_name(id, name),
            Request::Login { name, token } => {
                let name = name.as_ref().or_else(|| self.access.asked(id));
                let login = self.check_token(name, token, now);
                login.map_or(Vec::new(), |login| self.questions_of_login(id, &login.identity))
            }
            Request::StayGuest if self.is_unnamed(id) => self.question_of_home(id).into_iter().collect(),
            _ if is_refused() => Vec::new(),
            Request::Join { room, .. } => vec![self.question_of_room(room)],
            Request::Leave(room) => match self.clients.dialect(id) {
                Some(Dialect::Line) => self.question_of_home(id).into_iter().collect(),
                _ => located(room.clone()).iter().map(|room| self.question_of_room(room)).collect(),
            },
            Request::Who(room) => {
                let lobby = || self.is_unnamed(id).then(RoomName::lobby);
                let room = room.clone().or_else(|| located(None)).or_else(lobby);
                let list = |room: RoomName| Question::Who { room, max: self.listed_max(id) };
                room.map(list).into_iter().collect()
            }
            Request::Rooms => vec![Question::Rooms { max: self.listed_max(id) }],
            Request::Private { to, .. } => self.find_elsewhere(to, None),
            Request::Whois(name) => {
                let with_address = self.may_moderate(id);
                self.find_elsewhere(name, Some(ForwardedRequest::Whois { name: name.clone(), with_address }))
            }
            Request::Answer(_) => match self.last_sender(id) {
                Some(sender) => self.find_elsewhere(&TypedName::of(&sender.name), None),
                None => Vec::new(),
            },
            Request::Register if self.access.has_registration => {
                let claim =
                    self.name(id).and_then(|name| self.claim_question(id, name, ClaimOver::Nobody, true));
                claim.into_iter().collect()
            }
            Request::Moderate(moderation) => {
                self.moderator(id).map_or(Vec::new(), |by| self.questions_of_moderation(by, moderation))
            }
            Request::Nick(_)
            | Request::StayGuest
            | Request::Say { .. }
            | Request::Relay(_)
            | Request::History { .. }
            | Request::Register
            | Request::Topic { .. }
            | Request::Away(_)
            | Request::Ignore(_)
            | Request::Unignore(_)
            | Request::Quit(_)
            | Request::Help
            | Request::Ping => Vec::new(),
        }
    }

    /// The questions of a client that enters, whose connection has that serial number.
    pub fn questions_of_arrival(&self, serial: u32, arrival: &Arrival) -> Vec<Question> {
        let login = arrival.login.as_ref().and_then(|login| login.as_ref().ok());
        let account = login.and_then(|login| login.identity.account.as_ref());
        let name = account.or(arrival.name.as_ref()).filter(|_| arrival.dialect != Dialect::Events);
        let over = if account.is_some() { self.claim_over() } else { ClaimOver::Nobody };
        let claim = |name: &Name| Question::Claim {
            client: serial,
            name: name.clone(),
            over,
            is_account: account.is_some(),
        };
        let free = name.filter(|name| account.is_some() || !self.is_taken(name));
        let identity = login.map_or(&GUEST, |login| &login.identity);
        let may_enter = |room: &&RoomName| self.check_right(identity, Action::Enter, Some(room)).is_ok();
        let room = arrival.room.as_ref().filter(may_enter).map(|room| self.question_of_room(room));
        free.map(claim).into_iter().chain(room).collect()
    }

    /// The question that makes the history of a room known here.
    pub fn question_of_room(&self, room: &RoomName) -> Question {
        Question::Room { room: room.clone(), members: NAMES_ON_JOINING }
    }

    /// The last numbered change of a room that this process has; `None` if there was none.
    pub fn position(&self, room: &RoomName) -> Option<RoomPosition> {
        self.rooms.find(room).and_then(|id| self.rooms.existing(id)?.position())
    }

    /// The question about all rooms for an HTTP request.
    pub fn questions_about_rooms(&self) -> Vec<Question> {
        vec![Question::Rooms { max: LISTED_FOR_PROGRAMS_MAX }]
    }

    /// The question who has a name, if nobody here has it. That client's process carries out the request.
    pub fn find_elsewhere(&self, name: &TypedName, request: Option<ForwardedRequest>) -> Vec<Question> {
        let is_here = self.find_client(name.as_str()).is_some();
        (!is_here).then(|| Question::Find { name: name.clone(), request }).into_iter().collect()
    }

    /// The question that has another process act on its client.
    pub fn questions_of_moderation(&self, by: Moderator, moderation: &Moderation) -> Vec<Question> {
        let request = ForwardedRequest::Moderate { by, moderation: moderation.clone() };
        moderation.client().map_or(Vec::new(), |name| self.find_elsewhere(&name, Some(request)))
    }

    fn is_own(&self, id: ClientId, name: &Name) -> bool {
        !self.is_unnamed(id) && self.name(id) == Some(name)
    }

    /// The claim to a name that no other client here has, and the room in which a line client begins with it.
    fn questions_of_name(&self, id: ClientId, name: &Name) -> Vec<Question> {
        let is_others = |holder: &ClientId| *holder != id;
        let home = self.question_of_home(id).filter(|_| self.is_unnamed(id));
        if self.look_alikes(name.as_str()).iter().any(is_others) {
            return home.into_iter().collect();
        }
        let is_account = self.access.identity(id).is_of(name);
        self.claim_question(id, name, ClaimOver::Nobody, is_account).into_iter().chain(home).collect()
    }

    /// The claim to the name of an account, and the room in which a line client begins that logs in with its name.
    fn questions_of_login(&self, id: ClientId, identity: &Identity) -> Vec<Question> {
        let account = identity.account.as_ref();
        let claim = account.and_then(|account| self.claim_question(id, account, self.claim_over(), true));
        let home = self.home(identity).filter(|_| self.is_unnamed(id));
        claim.into_iter().chain(home.map(|home| self.question_of_room(&home))).collect()
    }

    fn claim_question(
        &self,
        id: ClientId,
        name: &Name,
        over: ClaimOver,
        is_account: bool,
    ) -> Option<Question> {
        self.client(id)?;
        Some(Question::Claim { client: self.unique_id(id).serial, name: name.clone(), over, is_account })
    }

    /// The clients that an account takes its name from.
    fn claim_over(&self) -> ClaimOver {
        if self.access.newest_gets_name { ClaimOver::Everybody } else { ClaimOver::Guests }
    }

    fn question_of_home(&self, id: ClientId) -> Option<Question> {
        Some(self.question_of_room(&self.home(self.access.identity(id))?))
    }
}
