//! The names of clients: which are taken, and how a client gets its first name or another one.

use super::clients::{Client, Echo};
use super::ids::ClientId;
use super::membership::JoinOptions;
use super::{Chat, Ctx};
use crate::protocol::{Change, CloseReason, Event, Facts, LocalEvent, Problem, Request};
use crate::text::{Looks, Name};
use crate::time::Now;

impl Chat {
    /// A client's name: a guest name until it has chosen one.
    pub fn name(&self, id: ClientId) -> Option<&Name> {
        self.client(id)?.name()
    }

    /// Whether a client has that name or a look-alike.
    pub fn is_taken(&self, name: &Name) -> bool {
        !self.look_alikes(name.as_str()).is_empty()
    }

    /// Whether a client must still choose a name, or is not in the chat.
    pub fn is_unnamed(&self, id: ClientId) -> bool {
        self.client(id).is_none_or(Client::is_unnamed)
    }

    /// Whether a request would succeed if a client without a name sent it.
    pub fn accepts_unnamed(
        &mut self,
        id: ClientId,
        request: &Result<Request, Problem>,
        (now, facts): (Now, &Facts),
    ) -> bool {
        match request {
            Ok(Request::Nick(name)) => {
                !self.filters_out(name) && self.refused_name(Some(id), name, now, facts).is_none()
            }
            // A login may be a secret, which must not become a message.
            Ok(Request::Login { .. }) => true,
            Ok(request) => !request.needs_name(),
            Err(_) => false,
        }
    }

    /// The reason why a client, or a new one (`None`), can't have that name: an account, a ban, or another client.
    pub fn refused_name(
        &self,
        id: Option<ClientId>,
        name: &Name,
        now: Now,
        facts: &Facts,
    ) -> Option<Problem> {
        let account = id.and_then(|id| self.access.identity(id).account.as_ref());
        self.forbidden_name(account, name, now).or_else(|| self.name_conflict(id, name, facts))
    }

    /// The reason why a client of that account can't have the name, even if no client has it.
    fn forbidden_name(&self, account: Option<&Name>, name: &Name, now: Now) -> Option<Problem> {
        let owner = self.access.accounts().owner(name.as_str());
        match owner.filter(|owner| account.is_none_or(|account| !account.same_as(owner.as_str()))) {
            Some(owner) => Some(Problem::NameRegistered(owner.clone())),
            None => self.name_banned(name, now),
        }
    }

    /// The reason why an HTTP request of that account can't publish under a name. Its own name is refused only if it is banned.
    pub(super) fn refused_author(
        &self,
        account: Option<&Name>,
        name: &Name,
        ctx: &Ctx<'_>,
    ) -> Option<Problem> {
        if account.is_some_and(|account| account.same_as(name.as_str())) {
            return self.name_banned(name, ctx.now);
        }
        self.forbidden_name(account, name, ctx.now).or_else(|| self.name_conflict(None, name, ctx.facts))
    }

    /// The client other than `id` that has the name or a look-alike, as a reason why `id` can't have it.
    fn name_conflict(&self, id: Option<ClientId>, name: &Name, facts: &Facts) -> Option<Problem> {
        let here = self.look_alikes(name.as_str()).into_iter().find(|holder| Some(*holder) != id);
        // The facts may be about the account of a client that has another name.
        let is_alike = |holder: &&Name| Looks::of(holder.as_str()).alike(&Looks::of(name.as_str()));
        let elsewhere = || facts.holder.as_ref().map(|holder| &holder.name).filter(is_alike).cloned();
        let holder = here.and_then(|holder| self.existing_name(holder)).or_else(elsewhere)?;
        Some(match holder.same_as(name.as_str()) {
            true => Problem::NameTaken(name.clone()),
            false => Problem::NameConfusable { name: name.clone(), holder },
        })
    }

    /// The clients that have that name or a look-alike.
    pub(super) fn look_alikes(&self, name: &str) -> Vec<ClientId> {
        self.names.look_alikes(name, |id| self.clients.name_of(id))
    }

    /// Finds the client with that name, in any spelling.
    pub(super) fn find_client(&self, name: &str) -> Option<ClientId> {
        self.names.find(name, |id| self.clients.name_of(id))
    }

    /// The name of a client that must have one: `None` is a bug.
    pub(super) fn existing_name(&self, id: ClientId) -> Option<Name> {
        let name = self.clients.existing(id).and_then(Client::name);
        debug_assert!(name.is_some(), "{id:?} has no name");
        name.cloned()
    }

    pub(super) fn next_guest_name(&mut self, ctx: &mut Ctx<'_>) -> Name {
        loop {
            let (number, needs_more) = self.guests.take();
            if needs_more {
                ctx.share(LocalEvent::GuestsNeeded);
            }
            let name = Name::guest(number);
            if !self.is_taken(&name) {
                return name;
            }
        }
    }

    pub(super) fn nick(&mut self, id: ClientId, name: Name, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let is_unnamed = self.client(id).is_some_and(Client::is_unnamed);
        match self.refused_name(Some(id), &name, ctx.now, ctx.facts) {
            Some(Problem::NameRegistered(owner)) if is_unnamed && owner.same_as(name.as_str()) => {
                ctx.reply(id, Event::AskToken(owner.clone()));
                self.access.ask_token(id, owner);
                return Ok(());
            }
            Some(problem) => return Err(problem),
            None => {}
        }
        if is_unnamed {
            self.access.stop_asking(id);
            self.set_name(id, name);
            self.enter_home(id, ctx);
        } else {
            self.rename(id, name, ctx);
        }
        Ok(())
    }

    /// Takes a line client's first name for it, and adds the client to the lobby, or to another room if its token allows only
    /// others.
    ///
    /// A client that may enter neither is closed: it can only log in before it gives a name.
    pub(super) fn enter_home(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        let home = self.home(self.access.identity(id));
        let problem = if home.is_none() { Problem::LoginRequired } else { Problem::TooManyRooms };
        let Some(home) = home.and_then(|room| self.rooms.open(room)) else {
            ctx.reply_problem(id, problem);
            return ctx.close(id, CloseReason::NotAllowed);
        };
        self.take_name(id, None, ctx);
        ctx.activate(id);
        let options =
            JoinOptions { first: true, history: self.rules.history_shown, since: None, echo: Echo(false) };
        self.enter_room(id, home, options, ctx);
        self.reply_if_disconnected(id, ctx);
    }

    /// Renames a client and announces it. The name must be free, or a look-alike of its old one.
    pub(super) fn rename(&mut self, id: ClientId, name: Name, ctx: &mut Ctx<'_>) {
        let Some(old) = self.set_name(id, name.clone()) else {
            return;
        };
        self.take_name(id, Some(&old), ctx);
        let by = self.unique_id(id);
        ctx.reply(id, Event::YouWereRenamed { by, from: old.clone(), to: name.clone() });
        if old == name {
            return;
        }
        // Those that ignore the client may be in no room with it.
        self.ignores.rename(old.as_str(), name.as_str());
        for room in self.rooms_of(id) {
            if let Some(found) = self.rooms.existing(room) {
                let (from, to, count) = (old.clone(), name.clone(), found.count());
                ctx.submit((room, &found.name), Some(id), Change::Renamed { by, from, to, count });
            }
        }
    }

    /// Changes a client's name without taking the new one, and returns the old one.
    pub(super) fn set_name(&mut self, id: ClientId, name: Name) -> Option<Name> {
        let old = self.clients.existing_mut(id).and_then(|client| client.rename(name));
        debug_assert!(old.is_some(), "{id:?} has no name");
        old
    }

    /// Takes a client's present name for it, and frees its `old` one.
    pub(super) fn take_name(&mut self, id: ClientId, old: Option<&Name>, ctx: &mut Ctx<'_>) {
        let clients = &self.clients;
        if let Some(old) = old {
            self.names.remove(id, old.as_str());
        }
        self.names.insert(id, |id| clients.name_of(id));
        if let Some(name) = self.existing_name(id).filter(|name| Some(name) != old) {
            let is_account = self.access.identity(id).is_of(&name);
            let client = self.unique_id(id).serial;
            ctx.share(LocalEvent::Named { client, name, old: old.cloned(), is_account });
        }
    }
}
