//! Enforcement: each request passes [`Chat::perform`], and each HTTP request [`Chat::check_http`], before it takes effect.

use std::time::Duration;

use super::ids::{ClientId, RoomId};
use super::rooms::Rooms;
use super::{Chat, Ctx};
use crate::access::{Action, Denied, Identity, Mute, Scope, may};
use crate::protocol::{BanLength, CloseReason, Dialect, Event, Need, Place, Problem, Request};
use crate::text::RoomName;
use crate::time::Now;

impl Chat {
    /// Handles a request of a client that may make it. Nothing else calls [`Chat::handle_request`].
    pub(super) fn perform(
        &mut self,
        id: ClientId,
        request: Request,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        // A muted client may leave, but gives no reason.
        let is_muted = || self.access.mute_of(id, ctx.now).is_some();
        let request = match request {
            Request::Quit(Some(_)) if !self.is_open() && is_muted() => Request::Quit(None),
            request => request,
        };
        let need = request.needs();
        let is_of_moderators = matches!(need.action, Action::Moderate | Action::SetTopic);
        // Without accounts, rules and mutes every client may do the rest.
        if (is_of_moderators || !self.is_open()) && !self.begins_login(id, &request) {
            self.check(id, need, ctx.now)?;
        }
        let request = if self.filter.is_some() { self.filter(id, request, ctx)? } else { request };
        if let Some(outcome) = &ctx.facts.outcome {
            ctx.reply(id, outcome.clone()?.into());
            return Ok(());
        }
        self.handle_request(id, request, ctx)
    }

    /// Whether a request names an account, whose token the client is asked for. It has no other effect.
    pub(super) fn begins_login(&self, id: ClientId, request: &Request) -> bool {
        let Request::Nick(name) = request else {
            return false;
        };
        let is_account = self.access.accounts().named(name.as_str()).is_some();
        is_account && self.is_unnamed(id) && self.access.session(id).is_none()
    }

    /// Whether every request is allowed.
    fn is_open(&self) -> bool {
        self.access.is_open() && !self.rooms.has_rules()
    }

    /// Checks the right of a client to make a request.
    ///
    /// # Errors
    /// The right that is missing, or a mute.
    pub(super) fn check(&self, id: ClientId, need: Need<'_>, now: Now) -> Result<(), Problem> {
        // A client without a name can ask who is in the lobby.
        let lobby = || self.is_unnamed(id).then_some(Rooms::LOBBY);
        let current = || self.only_room(id).or_else(lobby).and_then(|room| self.room_name(room));
        let room = match need.place {
            Place::Nowhere => None,
            Place::Room(room) => Some(room),
            Place::Current => current(),
        };
        self.check_right(self.access.identity(id), need.action, room)?;
        check_mute(self.access.mute_of(id, now).filter(|_| need.is_speech), now)
    }

    /// Checks the right of an HTTP request, which is in no room.
    ///
    /// # Errors
    /// The right that is missing, the ban of the account, or its mute if the request has a text for others.
    pub fn check_http(&self, identity: &Identity, need: Need<'_>, now: Now) -> Result<(), Problem> {
        let account = identity.account.as_ref();
        // The chat itself refuses a JSON client, and the rest that needs no right is open to all.
        let banned = account.filter(|_| need.action != Action::Connect);
        if let Some(problem) = banned.and_then(|account| self.name_banned(account, now)) {
            return Err(problem);
        }
        let room = match need.place {
            Place::Room(room) => Some(room),
            Place::Nowhere | Place::Current => None,
        };
        self.check_right(identity, need.action, room)?;
        let mute = account.and_then(|account| self.access.account_mute(account, now));
        check_mute(mute.filter(|_| need.is_speech), now)
    }

    pub(super) fn check_right(
        &self,
        identity: &Identity,
        action: Action,
        room: Option<&RoomName>,
    ) -> Result<(), Problem> {
        let scope = Scope {
            login_required: self.access.login_required,
            room: room.map(|room| (room, self.rooms.rules_of(room))),
        };
        may(identity, action, scope).map_err(|denied| match denied {
            Denied::LoginRequired => Problem::LoginRequired,
            Denied::NoRight => Problem::NotAllowed { action, room: room.cloned() },
        })
    }

    /// The room of a client that is in exactly one.
    fn only_room(&self, id: ClientId) -> Option<RoomId> {
        let mut memberships = self.client(id)?.memberships();
        let first = memberships.next().filter(|_| memberships.next().is_none())?;
        self.rooms.at(first.slot)
    }

    /// Whether a client is a moderator.
    pub(super) fn may_moderate(&self, id: ClientId) -> bool {
        self.check_right(self.access.identity(id), Action::Moderate, None).is_ok()
    }

    /// Whether a client may enter a room.
    pub(super) fn may_enter(&self, id: ClientId, room: &RoomName) -> bool {
        self.check_right(self.access.identity(id), Action::Enter, Some(room)).is_ok()
    }

    /// The room to which a line client goes if it leaves another one: the lobby, or a room that its token names. `None`: it may
    /// enter neither.
    pub(super) fn home(&self, identity: &Identity) -> Option<RoomName> {
        let granted = identity.grants.iter().flat_map(|grants| grants.keys().cloned());
        let mut rooms = std::iter::once(RoomName::lobby()).chain(granted);
        rooms.find(|room| self.check_right(identity, Action::Enter, Some(room)).is_ok())
    }

    /// Sends a client whether it may speak in a room that it has just entered, if that is not a matter of course.
    pub(super) fn reply_if_silent(&self, id: ClientId, room: RoomId, ctx: &mut Ctx<'_>) {
        if !self.is_open()
            && let Some(event) = self.speech_in(id, room, ctx.now)
            && matches!(&event, Event::MaySpeak { denied: Some(_), .. })
        {
            ctx.reply(id, event);
        }
    }

    fn speech_in(&self, id: ClientId, room: RoomId, now: Now) -> Option<Event> {
        let room = self.room_name(room)?.clone();
        let need = Need { action: Action::Speak, place: Place::Room(&room), is_speech: true };
        let denied = self.check(id, need, now).err();
        Some(Event::MaySpeak { room, denied })
    }

    /// Applies changed rights of a client: it leaves rooms that it may not enter, and is sent where it may speak.
    pub(super) fn apply_rights(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        let Some(client) = self.client(id).filter(|client| !client.is_unnamed()) else {
            return;
        };
        let dialect = client.dialect();
        let rooms = self.rooms_of(id).into_iter().filter_map(|room| self.room_name(room).cloned());
        let (stays, leaves): (Vec<_>, Vec<_>) = rooms.partition(|room| self.may_enter(id, room));
        let must_close = match dialect {
            Dialect::Raw | Dialect::Events => !leaves.is_empty(),
            // A line client is always in a room.
            Dialect::Line => !leaves.is_empty() && self.home(self.access.identity(id)).is_none(),
            Dialect::Json | Dialect::Http => false,
        };
        if must_close {
            return self.expel(id, CloseReason::NotAllowed, ctx);
        }
        for room in leaves {
            ctx.reply_problem(id, Problem::NotAllowed { action: Action::Enter, room: Some(room.clone()) });
            // The home of a line client can't be opened if there are as many rooms as there may be.
            if self.leave_room(id, Some(room), ctx).is_err() {
                return self.expel(id, CloseReason::NotAllowed, ctx);
            }
        }
        for room in stays {
            let event = self.find_room(&room).and_then(|room| self.speech_in(id, room, ctx.now));
            event.into_iter().for_each(|event| ctx.reply(id, event));
        }
    }

    /// Closes the connection of a client, which leaves its rooms at once: it would be sent the messages of this tick otherwise.
    pub(super) fn expel(&mut self, id: ClientId, reason: CloseReason, ctx: &mut Ctx<'_>) {
        self.sign_off(id, reason.announced_reason(), ctx);
        ctx.close(id, reason);
    }

    /// Applies changed rules of rooms to all clients.
    pub(super) fn apply_rights_of_all(&mut self, ctx: &mut Ctx<'_>) {
        let ids: Vec<ClientId> = self.clients.all().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.apply_rights(id, ctx));
    }
}

fn check_mute(mute: Option<&Mute>, now: Now) -> Result<(), Problem> {
    mute.map_or(Ok(()), |mute| Err(Problem::Muted(length_until(mute.until_unix_millis, now))))
}

/// The rest of a mute or ban.
pub(super) fn length_until(until_unix_millis: Option<u64>, now: Now) -> BanLength {
    let left = until_unix_millis.map(|until| until.saturating_sub(now.unix_millis));
    left.map(Duration::from_millis).into()
}
