//! Moderation: clients are kicked, muted and banned.

use std::collections::BTreeMap;
use std::time::Duration;

use super::access::AppliedChange;
use super::context::NO_FACTS;
use super::courtesies::nobody_here;
use super::enforce::length_until;
use super::ids::ClientId;
use super::{Chat, Ctx, Effect};
use crate::access::{
    AccessChange, AccessEntry, AccessRecord, Ban, BanTarget, Identity, Mute, Network, Registered, Role,
};
use crate::protocol::{
    BanLength, CloseReason, Dialect, Event, Facts, Moderation, Moderator, Problem, Removal,
};
use crate::text::{Name, Text, TypedName};
use crate::time::Now;

/// The most bans in one answer.
const LISTED_MAX: usize = 50;

/// A client here, its name, and its account; or an account without a client here.
type Person = (Option<ClientId>, Name, Option<Name>);

impl Chat {
    /// Carries out an action for a client.
    pub(super) fn moderate_for(
        &mut self,
        id: ClientId,
        moderation: &Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let by = self.moderator(id).ok_or(Problem::LoginRequired)?;
        match self.carry_out(&by, moderation, ctx)? {
            (answer, Some(applied)) => ctx.save_then(id, answer, applied),
            (answer, None) => ctx.reply(id, answer),
        }
        Ok(())
    }

    /// Carries out an action for an HTTP request, which was checked. Returns the answer.
    ///
    /// # Errors
    /// The reason why it was not carried out.
    pub fn moderate(
        &mut self,
        identity: &Identity,
        moderation: Moderation,
        (now, facts): (Now, &Facts),
        effects: &mut Vec<Effect>,
    ) -> Result<Event, Problem> {
        let ctx = &mut Ctx::new(now, facts, effects);
        let name = identity.account.clone().ok_or(Problem::LoginRequired)?;
        if let Some(outcome) = &facts.outcome {
            return Ok(outcome.clone()?.into());
        }
        self.moderate_by(&Moderator { name, role: identity.role }, moderation, ctx)
    }

    /// Carries out an action that did not come from a client here. Returns the answer.
    pub(super) fn moderate_by(
        &mut self,
        by: &Moderator,
        moderation: Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<Event, Problem> {
        let moderation = self.filter_moderation(&by.name, moderation, ctx)?;
        let (answer, applied) = self.carry_out(by, &moderation, ctx)?;
        if let Some(applied) = applied {
            ctx.save(applied);
        }
        Ok(answer)
    }

    /// A client as the author of moderation. `None` if it has no name.
    pub(super) fn moderator(&self, id: ClientId) -> Option<Moderator> {
        let identity = self.access.identity(id);
        let name = identity.account.clone().or_else(|| self.existing_name(id))?;
        Some(Moderator { name, role: identity.role })
    }

    /// Returns the answer, and the change of a kept table.
    fn carry_out(
        &mut self,
        by: &Moderator,
        moderation: &Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<(Event, Option<AppliedChange>), Problem> {
        let (answer, applied) = match moderation {
            Moderation::Bans => return Ok((self.bans_event(ctx.now), None)),
            Moderation::Kick { name, reason } => (self.kick(by, name, reason.clone(), ctx)?, None),
            Moderation::Mute { name, time } => self.mute(by, name, *time, ctx)?,
            Moderation::Unmute { name } => self.unmute(by, name, ctx)?,
            Moderation::Unregister { name } => self.unregister(by, name, ctx)?,
            Moderation::Ban { target, time, reason } => self.ban(by, target, (*time, reason.clone()), ctx)?,
            Moderation::Unban { target } => {
                self.check_author(by, target, ctx.now)?;
                let ban = self.access.bans().get(target, ctx.now.unix_millis).cloned();
                let ban = ban.ok_or_else(|| Problem::NotBanned(target.to_string()))?;
                let applied = self.lift(AccessEntry::Ban(ban), by, ctx.now)?;
                (format!("the ban of {target} is lifted"), Some(applied))
            }
        };
        ctx.log_moderation(by.name.clone(), moderation.clone());
        let answer = Text::clean(&answer).expect("an answer has words");
        Ok((Event::Moderated(answer), applied))
    }

    fn lift(&mut self, entry: AccessEntry, by: &Moderator, now: Now) -> Result<AppliedChange, Problem> {
        let change = AccessChange::Lifted { entry, by: by.name.clone() };
        self.access.change(change, now).map_err(Problem::CantModerate)
    }

    /// A client of this process whose role is below the moderator's.
    fn target(&self, by: &Moderator, name: &TypedName, ctx: &Ctx<'_>) -> Result<ClientId, Problem> {
        let id = self.find_client(name.as_str()).ok_or_else(|| nobody_here(name, ctx))?;
        let found = self.existing_name(id).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        check_rank(by, &found, self.access.identity(id).role)?;
        Ok(id)
    }

    fn kick(
        &mut self,
        by: &Moderator,
        name: &TypedName,
        reason: Option<Text>,
        ctx: &mut Ctx<'_>,
    ) -> Result<String, Problem> {
        let id = self.target(by, name, ctx)?;
        let name = self.clients.name_of(id).to_string();
        self.remove_client(id, &Removal { by: by.name.clone(), reason, ban: None }, ctx);
        Ok(format!("{name} was removed"))
    }

    /// Removes a client, and sends it and the others the reason.
    fn remove_client(&mut self, id: ClientId, removal: &Removal, ctx: &mut Ctx<'_>) {
        self.sign_off_removed(id, removal, ctx);
        ctx.close(id, if removal.ban.is_some() { CloseReason::Banned } else { CloseReason::Kicked });
    }

    fn sign_off_removed(&mut self, id: ClientId, removal: &Removal, ctx: &mut Ctx<'_>) {
        ctx.reply(id, Event::Removed(removal.clone()));
        self.sign_off(id, removal.for_others(), ctx);
    }

    /// Removes clients whose address was banned, except those whose role is not below the moderator's.
    pub fn remove_clients(
        &mut self,
        ids: &[ClientId],
        (removal, rank): (&Removal, Role),
        now: Now,
        effects: &mut Vec<Effect>,
    ) {
        let ctx = &mut Ctx::new(now, &NO_FACTS, effects);
        for id in ids {
            if self.client(*id).is_some() && self.access.identity(*id).role < rank {
                self.remove_client(*id, removal, ctx);
            }
        }
    }

    fn mute(
        &mut self,
        by: &Moderator,
        name: &TypedName,
        time: Option<Duration>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(String, Option<AppliedChange>), Problem> {
        let (client, target, account) = self.person(by, name, ctx)?;
        let until_unix_millis = until(time, ctx.now);
        let mute = Mute { account: target.clone(), by: by.name.clone(), until_unix_millis };
        let applied = match client.filter(|_| account.is_none()) {
            Some(guest) => {
                self.access.mute_guest(guest, mute);
                None
            }
            None => {
                let change = AccessChange::Added(AccessEntry::Mute(mute));
                Some(self.access.change(change, ctx.now).map_err(Problem::CantModerate)?)
            }
        };
        let length = BanLength::from(time);
        self.apply_mute(&self.clients_of(client, account.as_ref()), &by.name, Some(length), ctx);
        Ok((format!("{target} is muted {length}"), applied))
    }

    /// Sends clients the notice that they are muted, or are not any more (`None`), and applies their rights.
    fn apply_mute(&mut self, ids: &[ClientId], by: &Name, length: Option<BanLength>, ctx: &mut Ctx<'_>) {
        for id in ids.iter().copied() {
            self.access.watch_mute(id, ctx.now);
            ctx.reply(id, Event::Muted { by: by.clone(), length });
            // The notice of a mute is enough for a line client.
            if length.is_none() || self.clients.dialect(id) != Some(Dialect::Line) {
                self.apply_rights(id, ctx);
            }
        }
    }

    /// The clients of a person: all sessions of the account, or the guest.
    fn clients_of(&self, client: Option<ClientId>, account: Option<&Name>) -> Vec<ClientId> {
        let Some(account) = account else {
            return client.into_iter().collect();
        };
        let is_own = |id: &ClientId| self.access.identity(*id).is_of(account);
        self.access.logged_in().into_iter().filter(is_own).collect()
    }

    fn unmute(
        &mut self,
        by: &Moderator,
        name: &TypedName,
        ctx: &mut Ctx<'_>,
    ) -> Result<(String, Option<AppliedChange>), Problem> {
        let (client, target, account) = match self.person(by, name, ctx) {
            Err(Problem::NoSuchClient(_) | Problem::Unreachable(_)) => self.muted_account(by, name, ctx)?,
            person => person?,
        };
        let was_guest_muted = client.is_some_and(|id| self.access.unmute_guest(id, ctx.now));
        let mute = self.access.account_mute(account.as_ref().unwrap_or(&target), ctx.now).cloned();
        let applied = match mute {
            Some(mute) => Some(self.lift(AccessEntry::Mute(mute), by, ctx.now)?),
            None if was_guest_muted => None,
            None => return Err(Problem::NotMuted(target)),
        };
        self.apply_mute(&self.clients_of(client, account.as_ref()), &by.name, None, ctx);
        Ok((format!("{target} may speak again"), applied))
    }

    /// Deletes a registered account, and ends its sessions. Accounts of the configuration file stay.
    fn unregister(
        &mut self,
        by: &Moderator,
        name: &TypedName,
        ctx: &mut Ctx<'_>,
    ) -> Result<(String, Option<AppliedChange>), Problem> {
        let owner = self.access.accounts().named(name.as_str()).cloned();
        let owner = owner.ok_or_else(|| Problem::NotRegistered(name.clone()))?;
        check_rank(by, &owner, self.access.accounts().role(&owner))?;
        let is_own = |registered: &&Registered| registered.name.same_as(owner.as_str());
        let registered = self.access.accounts().registered().find(is_own).cloned();
        let registered = registered.ok_or_else(|| Problem::NotRegistered(name.clone()))?;
        let applied = self.lift(AccessEntry::Name(registered), by, ctx.now)?;
        self.end_invalid_sessions(ctx);
        Ok((format!("the name {owner} is free"), Some(applied)))
    }

    /// The client with that name, its name, and its account; or an account that is not connected here.
    fn person(&self, by: &Moderator, name: &TypedName, ctx: &Ctx<'_>) -> Result<Person, Problem> {
        match self.target(by, name, ctx) {
            Ok(id) => {
                let account = self.access.identity(id).account.clone();
                let name = account.clone().or_else(|| self.existing_name(id));
                Ok((Some(id), name.ok_or_else(|| Problem::NoSuchClient(TypedName::of(&by.name)))?, account))
            }
            Err(problem @ (Problem::NoSuchClient(_) | Problem::Unreachable(_))) => {
                let owner = self.access.accounts().named(name.as_str()).cloned();
                let owner = owner.ok_or(problem)?;
                check_rank(by, &owner, self.access.accounts().role(&owner))?;
                Ok((None, owner.clone(), Some(owner)))
            }
            Err(problem) => Err(problem),
        }
    }

    /// A muted account of another application, which is known here only by its mute while it is not connected.
    fn muted_account(&self, by: &Moderator, name: &TypedName, ctx: &Ctx<'_>) -> Result<Person, Problem> {
        let parsed = Name::parse(name.as_str()).ok();
        let mute = parsed.and_then(|name| self.access.account_mute(&name, ctx.now));
        let account = mute.map(|mute| mute.account.clone()).ok_or_else(|| nobody_here(name, ctx))?;
        // Its sessions may have other names.
        for id in self.clients_of(None, Some(&account)) {
            check_rank(by, &account, self.access.identity(id).role)?;
        }
        Ok((None, account.clone(), Some(account)))
    }

    fn ban(
        &mut self,
        by: &Moderator,
        target: &BanTarget,
        (time, reason): (Option<Duration>, Option<Text>),
        ctx: &mut Ctx<'_>,
    ) -> Result<(String, Option<AppliedChange>), Problem> {
        let ban = Ban {
            target: target.clone(),
            by: by.name.clone(),
            reason: reason.clone(),
            until_unix_millis: until(time, ctx.now),
        };
        self.check_author(by, target, ctx.now)?;
        if let BanTarget::Name(name) = target {
            match self.target(by, &TypedName::of(name), ctx) {
                Ok(_) | Err(Problem::NoSuchClient(_) | Problem::Unreachable(_)) => {}
                Err(problem) => return Err(problem),
            }
            if let Some(owner) = self.access.accounts().named(name.as_str()) {
                check_rank(by, owner, self.access.accounts().role(owner))?;
            }
            for id in self.clients_of(None, Some(name)) {
                check_rank(by, name, self.access.identity(id).role)?;
            }
        }
        let change = AccessChange::Added(AccessEntry::Ban(ban.clone()));
        let applied = self.access.change(change, ctx.now).map_err(Problem::CantModerate)?;
        self.remove_banned(&ban, by.role, ctx);
        Ok((format!("{target} is banned {}", BanLength::from(time)), Some(applied)))
    }

    /// Removes the clients with a banned name or address, except those whose role is not below `rank`.
    fn remove_banned(&mut self, ban: &Ban, rank: Role, ctx: &mut Ctx<'_>) {
        let length = length_until(ban.until_unix_millis, ctx.now);
        let removal = Removal { by: ban.by.clone(), reason: ban.reason.clone(), ban: Some(length) };
        let name = match &ban.target {
            BanTarget::Network(network) => return ctx.disconnect(*network, removal, rank),
            BanTarget::Name(name) => name,
        };
        let client = self.find_client(name.as_str());
        // Further sessions of an account have other names, or none.
        let others = self.clients_of(None, Some(name)).into_iter().filter(|other| Some(*other) != client);
        let has_lower_rank = |id: &ClientId| self.access.identity(*id).role < rank;
        let ids: Vec<ClientId> = client.into_iter().chain(others).filter(has_lower_rank).collect();
        for id in ids {
            self.sign_off_removed(id, &removal, ctx);
            // A guest would come back under another name. Others of its address leave after it.
            if self.access.session(id).is_none() {
                ctx.ban_address(id, ban.clone(), removal.clone(), rank);
            }
            ctx.close(id, CloseReason::Banned);
        }
    }

    /// Takes over the kept tables of the other processes, with the effect on clients here.
    pub(super) fn merge_access(&mut self, table: BTreeMap<String, AccessRecord>, ctx: &mut Ctx<'_>) {
        let (changes, refused) = self.access.merge(table, ctx.now);
        if refused > 0 {
            log::warn!("bans or registered names in redis ignored, since there are too many count={refused}");
        }
        if changes.is_empty() {
            return;
        }
        for change in changes {
            match change {
                AccessChange::Added(AccessEntry::Ban(ban)) => {
                    // The moderator may have no account here.
                    let rank = self.access.accounts().role(&ban.by).max(Role::Moderator);
                    self.remove_banned(&ban, rank, ctx);
                }
                AccessChange::Added(AccessEntry::Mute(mute)) => {
                    let length = length_until(mute.until_unix_millis, ctx.now);
                    let ids = self.clients_of(None, Some(&mute.account));
                    self.apply_mute(&ids, &mute.by, Some(length), ctx);
                }
                AccessChange::Lifted { entry: AccessEntry::Mute(mute), by } => {
                    self.apply_mute(&self.clients_of(None, Some(&mute.account)), &by, None, ctx);
                }
                AccessChange::Added(AccessEntry::Name(_))
                | AccessChange::Lifted { entry: AccessEntry::Ban(_) | AccessEntry::Name(_), .. } => {}
            }
        }
        self.end_invalid_sessions(ctx);
        ctx.save_shared();
    }

    /// Checks that a ban that is to be lifted or replaced is not by an account with a higher role.
    fn check_author(&self, by: &Moderator, target: &BanTarget, now: Now) -> Result<(), Problem> {
        let ban = self.access.bans().get(target, now.unix_millis);
        let author = ban.map(|ban| &ban.by);
        match author.map(|author| (author, self.access.accounts().role(author))) {
            Some((author, role)) if role > by.role => {
                Err(Problem::RoleTooHigh { name: author.clone(), role })
            }
            _ => Ok(()),
        }
    }

    /// Adds the ban of an address whose client was banned by name.
    ///
    /// # Errors
    /// There are too many bans.
    pub fn ban_network(&mut self, network: Network, ban: Ban, now: Now) -> Result<AppliedChange, String> {
        let ban = Ban { target: BanTarget::Network(network), ..ban };
        self.access.change(AccessChange::Added(AccessEntry::Ban(ban)), now)
    }

    /// The rest of the ban of a name, as the reason why nobody may have it.
    pub(super) fn name_banned(&self, name: &Name, now: Now) -> Option<Problem> {
        let ban = self.access.name_ban(name, now)?;
        Some(Problem::Banned(length_until(ban.until_unix_millis, now)))
    }

    fn bans_event(&self, now: Now) -> Event {
        let mut bans: Vec<Ban> = self.access.bans().active(now.unix_millis).cloned().collect();
        bans.sort_by_key(|ban| ban.target.to_string());
        let more = bans.len().saturating_sub(LISTED_MAX);
        bans.truncate(LISTED_MAX);
        Event::Bans { bans, more, now_unix_millis: now.unix_millis }
    }
}

/// A moderator acts only on roles below its own.
fn check_rank(by: &Moderator, name: &Name, role: Role) -> Result<(), Problem> {
    match role < by.role {
        true => Ok(()),
        false => Err(Problem::RoleTooHigh { name: name.clone(), role }),
    }
}

fn until(time: Option<Duration>, now: Now) -> Option<u64> {
    let millis = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    millis.map(|millis| now.unix_millis.saturating_add(millis))
}
