//! Sessions: clients log in to accounts and register names; sessions expire.
//!
//! A session that ends closes its connection. The client's name, its rooms and its rights all rest on the session.

use std::time::Duration;

use super::access::GUEST;
use super::context::NO_FACTS;
use super::filtering::WordFilter;
use super::ids::ClientId;
use super::{Chat, Ctx, Effect};
use crate::access::{Action, JwtKey, Login, LoginFailed, LoginToken, RegisterError, Validity};
use crate::config::Config;
use crate::protocol::{CloseReason, Dialect, Event, Need, Place, Problem, Request};
use crate::text::{Name, RoomName};
use crate::time::Now;

/// The time between the warning that a session expires, and its end.
const GRACE: Duration = Duration::from_secs(30);

impl Chat {
    /// Replaces the rules of access (accounts, rooms and flags) and the limits of rooms. Sessions whose account is gone end, and
    /// clients leave rooms that they may not enter any more.
    pub fn set_access(&mut self, config: &Config, jwt: Option<JwtKey>, now: Now, effects: &mut Vec<Effect>) {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        let login_was_required = self.access.login_required;
        let is_changed = self.rooms.set_rules(&config.sections.rooms);
        // The size of a history may be one of the new rules.
        self.rooms.set_limits(config);
        self.access.configure(config, jwt);
        self.filter = WordFilter::of(config.sections.filter.as_ref(), self.filter.take());
        self.end_invalid_sessions(ctx);
        if self.access.login_required && !login_was_required {
            let is_guest = |id: &ClientId| self.access.session(*id).is_none();
            let guests: Vec<_> = self.clients.all().map(|(id, _)| id).filter(is_guest).collect();
            guests.into_iter().for_each(|id| self.expel(id, CloseReason::NoLogin, ctx));
        }
        if is_changed || !self.access.is_open() {
            self.apply_rights_of_all(ctx);
        }
    }

    /// Ends the sessions whose account or token is gone, and gives the others the present roles of their accounts.
    pub(super) fn end_invalid_sessions(&mut self, ctx: &mut Ctx<'_>) {
        for id in self.access.logged_in() {
            if self.access.revalidate(id) == Some(Validity::Ends) {
                self.close_session(id, ctx);
            }
        }
    }

    /// Logs a client in, to that account or to the account of the token.
    pub(super) fn log_in(
        &mut self,
        id: ClientId,
        name: Option<Name>,
        token: &LoginToken,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let name = name.or_else(|| self.access.asked(id).cloned());
        let Ok(login) = self.check_token(name.as_ref(), token, ctx.now) else {
            ctx.login_failed(id);
            if self.access.record_failure(id) {
                ctx.close(id, CloseReason::LoginFailed);
            }
            return Err(Problem::LoginFailed);
        };
        self.start_session(id, login, ctx)
    }

    /// Checks a token, without a client.
    ///
    /// # Errors
    /// The name or the token is wrong.
    pub fn check_token(
        &self,
        name: Option<&Name>,
        token: &LoginToken,
        now: Now,
    ) -> Result<Login, LoginFailed> {
        self.access.accounts().log_in(name, token, now.unix_seconds())
    }

    /// Begins the session of a client, which gets the name of its account and may get other rooms.
    pub(super) fn start_session(
        &mut self,
        id: ClientId,
        login: Login,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let Some(account) = login.identity.account.clone() else {
            debug_assert!(false, "a login without an account");
            return Err(Problem::LoginFailed);
        };
        if let Some(problem) = self.name_banned(&account, ctx.now) {
            ctx.close(id, CloseReason::Banned);
            return Err(problem);
        }
        if self.clients.dialect(id) == Some(Dialect::Line) && self.home(&login.identity).is_none() {
            return Err(Problem::NotAllowed { action: Action::Enter, room: None });
        }
        let role = login.identity.role;
        self.access.start_session(id, login, ctx.now);
        self.access.watch_mute(id, ctx.now);
        ctx.logged_in(id);
        ctx.reply(id, Event::LoggedIn { account: account.clone(), role });
        match self.client(id).map(|client| client.is_unnamed()) {
            Some(true) => {
                if self.claim_name(id, &account, ctx) {
                    self.set_name(id, account);
                }
                self.enter_home(id, ctx);
            }
            Some(false) => {
                match self.claim_name(id, &account, ctx) {
                    true => self.rename_if_other(id, account, ctx),
                    false => self.give_up_name(id, ctx),
                }
                self.apply_rights(id, ctx);
            }
            None => debug_assert!(false, "{id:?} has left"),
        }
        Ok(())
    }

    /// Begins the session of a WebSocket client whose request had a token. Returns whether the client stays.
    pub(super) fn start_arrival_session(
        &mut self,
        id: ClientId,
        login: Option<Result<Login, Problem>>,
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let failed = match login {
            None => {
                if self.access.login_required {
                    self.access.require_login(id, ctx.now);
                }
                return true;
            }
            Some(Ok(login)) => self.start_session(id, login, ctx).err(),
            Some(Err(problem)) => Some(problem),
        };
        let Some(problem) = failed else {
            return true;
        };
        ctx.reply_problem(id, problem);
        ctx.close(id, CloseReason::LoginFailed);
        false
    }

    /// Begins the session of an SSE client, which has no name and gets no events about itself. The client may have waited since
    /// its request was checked, so its right to read the room is checked again.
    ///
    /// # Errors
    /// The reason why it is closed.
    pub(super) fn start_sse_session(
        &mut self,
        id: ClientId,
        login: Option<Result<Login, Problem>>,
        room: &RoomName,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), CloseReason> {
        let login = login.transpose().map_err(|_| CloseReason::LoginFailed)?;
        let identity = login.as_ref().map_or(&GUEST, |login| &login.identity);
        let need = Need { action: Action::Enter, place: Place::Room(room), is_speech: false };
        self.check_http(identity, need, ctx.now).map_err(|problem| match problem {
            Problem::Banned(_) => CloseReason::Banned,
            _ => CloseReason::NotAllowed,
        })?;
        if let Some(login) = login {
            self.access.start_session(id, login, ctx.now);
            ctx.logged_in(id);
        }
        Ok(())
    }

    fn rename_if_other(&mut self, id: ClientId, account: Name, ctx: &mut Ctx<'_>) {
        if self.name(id) != Some(&account) {
            self.rename(id, account, ctx);
        }
    }

    /// Gives a client a guest name if it has that of its earlier account.
    fn give_up_name(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        // The facts are about another name.
        let is_refused = |name: &Name| self.refused_name(Some(id), name, ctx.now, &NO_FACTS).is_some();
        if self.name(id).is_some_and(is_refused) {
            let guest = self.next_guest_name(ctx);
            self.rename(id, guest, ctx);
        }
    }

    /// Takes the name of an account from the clients that have it or a look-alike. Returns whether the client `id` can have it.
    pub(super) fn claim_name(&mut self, id: ClientId, account: &Name, ctx: &mut Ctx<'_>) -> bool {
        let holders = self.look_alikes(account.as_str());
        let others: Vec<ClientId> = holders.into_iter().filter(|holder| *holder != id).collect();
        let is_own = |holder: &ClientId| self.access.identity(*holder).is_of(account);
        let is_kept = |holder: &ClientId| is_own(holder) && !self.access.newest_gets_name;
        if others.iter().any(is_kept) || ctx.facts.holder.is_some() {
            ctx.reply_problem(id, Problem::NameTaken(account.clone()));
            return false;
        }
        let others: Vec<_> = others.into_iter().map(|holder| (holder, is_own(&holder))).collect();
        for (holder, is_own) in others {
            let (name, to) = (account.clone(), self.next_guest_name(ctx));
            let problem = match is_own {
                true => Problem::NameTakenOver { name, to: to.clone() },
                false => Problem::NameClaimed { name, to: to.clone() },
            };
            ctx.reply_problem(holder, problem);
            self.rename(holder, to, ctx);
        }
        true
    }

    /// Registers the name of a client as an account, and sends it the token.
    pub(super) fn register(&mut self, id: ClientId, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        if !self.access.has_registration {
            return Err(Problem::RegistrationOff);
        }
        let name = self.client(id).filter(|client| !client.is_unnamed()).and_then(|client| client.name());
        let name = name.cloned().ok_or(Problem::NameRequired)?;
        // A guest name parses as no name of a client.
        if self.access.session(id).is_some() || Name::parse(name.as_str()).is_err() {
            return Err(Problem::CantRegister);
        }
        // A list of a room means an account of the configuration or of another application.
        if self.rooms.lists(&name) {
            return Err(Problem::NameRegistered(name));
        }
        let (token, applied) = match self.access.register(name.clone(), ctx.now) {
            Ok(registered) => registered,
            Err(RegisterError::Taken) => return Err(Problem::NameRegistered(name)),
            Err(error @ (RegisterError::TooMany | RegisterError::NoToken(_))) => {
                return Err(Problem::CantModerate(error.to_string()));
            }
        };
        let login = self.check_token(Some(&name), &token, ctx.now);
        debug_assert!(login.is_ok(), "the token of a new account is wrong");
        ctx.save_then(id, Event::Registered { account: name, token }, applied);
        login.map_err(|_| Problem::LoginFailed).and_then(|login| self.start_session(id, login, ctx))
    }

    /// Whether the next line of a client without a name is handled at once. It may be a secret or must be a login, or it is
    /// the name of an account, and the token may follow.
    pub fn takes_each_line(&self, id: ClientId, line: &Result<Request, Problem>) -> bool {
        let is_account = |name: &Name| self.access.accounts().named(name.as_str()).is_some();
        let must_log_in = self.access.login_required || self.home(self.access.identity(id)).is_none();
        must_log_in
            || self.is_asked_for_token(id)
            || matches!(line, Ok(Request::Nick(name)) if is_account(name))
    }

    /// Whether the next line of a client is the token of the account that it has named.
    pub fn is_asked_for_token(&self, id: ClientId) -> bool {
        self.access.asked(id).is_some()
    }

    /// Handles the deadlines of sessions, logins and mutes that are due.
    pub(super) fn expire_sessions(&mut self, ctx: &mut Ctx<'_>) {
        while let Some(id) = self.access.pop_unmuted(ctx.now.moment) {
            // Another mute of the client may last longer, or the clock may have been set back.
            self.access.watch_mute(id, ctx.now);
            self.apply_rights(id, ctx);
        }
        while let Some(id) = self.access.pop_due(ctx.now.moment) {
            match self.access.session(id).map(|session| session.is_warned) {
                None => ctx.close(id, CloseReason::NoLogin),
                Some(true) => self.close_session(id, ctx),
                Some(false) => {
                    self.access.warn(id, ctx.now.moment + GRACE);
                    ctx.reply(id, Event::Expiring(GRACE));
                }
            }
        }
    }

    fn close_session(&mut self, id: ClientId, ctx: &mut Ctx<'_>) {
        self.expel(id, CloseReason::SessionEnded, ctx);
    }
}
