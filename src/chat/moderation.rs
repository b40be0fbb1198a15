//! Moderation: clients are kicked, muted and banned.

use std::time::Duration;

use super::context::NO_FACTS;
use super::courtesies::nobody_here;
use super::enforce::length_until;
use super::ids::ClientId;
use super::{Chat, Ctx, Effect};
use crate::access::{Ban, BanTarget, Identity, Mute, Network, Role};
use crate::protocol::{
    BanLength, CloseReason, Dialect, Event, Facts, Moderation, Moderator, Problem, Removal,
};
use crate::text::{Name, Text};
use crate::time::Now;

/// The most bans in one answer.
const LISTED_MAX: usize = 50;

impl Chat {
    /// Carries out an action for a client.
    pub(super) fn moderate_for(
        &mut self,
        id: ClientId,
        moderation: &Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let by = self.moderator(id).ok_or(Problem::LoginRequired)?;
        let (answer, is_kept) = self.carry_out(&by, moderation, ctx)?;
        match is_kept {
            true => ctx.save_then(id, answer),
            false => ctx.reply(id, answer),
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
        let (answer, is_kept) = self.carry_out(by, &moderation, ctx)?;
        if is_kept {
            ctx.save();
        }
        Ok(answer)
    }

    /// A client as the author of moderation. `None` if it has no name.
    pub(super) fn moderator(&self, id: ClientId) -> Option<Moderator> {
        let identity = self.access.identity(id);
        let name = identity.account.clone().or_else(|| self.existing_name(id))?;
        Some(Moderator { name, role: identity.role })
    }

    /// Returns the answer, and whether the state file must be written.
    fn carry_out(
        &mut self,
        by: &Moderator,
        moderation: &Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<(Event, bool), Problem> {
        let (answer, is_kept) = match moderation {
            Moderation::Bans => return Ok((self.bans_event(ctx.now), false)),
            Moderation::Kick { name, reason } => (self.kick(by, name, reason.clone(), ctx)?, false),
            Moderation::Mute { name, time } => self.mute(by, name, *time, ctx)?,
            Moderation::Unmute { name } => (self.unmute(by, name, ctx)?, true),
            Moderation::Unregister { name } => (self.unregister(by, name, ctx)?, true),
            Moderation::Ban { target, time, reason } => {
                (self.ban(by, target, (*time, reason.clone()), ctx)?, true)
            }
            Moderation::Unban { target } => {
                self.check_author(by, target, ctx.now)?;
                match self.access.unban(target) {
                    true => (format!("the ban of {target} is lifted"), true),
                    false => return Err(Problem::NotBanned(target.to_string())),
                }
            }
        };
        ctx.log_moderation(by.name.clone(), moderation.clone());
        let answer = Text::clean(&answer).unwrap_or_else(|| Text::of_name(&by.name));
        Ok((Event::Moderated(answer), is_kept))
    }

    /// A client of this process whose role is below the moderator's.
    fn target(&self, by: &Moderator, name: &Text, ctx: &Ctx<'_>) -> Result<ClientId, Problem> {
        let id = self.find_client(name.as_str()).ok_or_else(|| nobody_here(name, ctx))?;
        let found = self.existing_name(id).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        check_rank(by, &found, self.access.identity(id).role)?;
        Ok(id)
    }

    fn kick(
        &mut self,
        by: &Moderator,
        name: &Text,
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
        let reason = if removal.ban.is_some() { CloseReason::Banned } else { CloseReason::Kicked };
        ctx.reply(id, Event::Removed(removal.clone()));
        self.sign_off(id, removal.for_others(), ctx);
        ctx.close(id, reason);
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
        name: &Text,
        time: Option<Duration>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(String, bool), Problem> {
        let (client, target, account) = self.person(by, name, ctx)?;
        let until_unix_millis = until(time, ctx.now);
        let mute = Mute { account: target.clone(), by: by.name.clone(), until_unix_millis };
        self.access.mute(client, account.is_some(), mute, ctx.now);
        let length = BanLength::from(time);
        for id in self.clients_of(client, account.as_ref()) {
            self.access.watch_mute(id, ctx.now);
            ctx.reply(id, Event::Muted { by: by.name.clone(), length: Some(length) });
            // A person has read it already.
            if self.clients.dialect(id) != Some(Dialect::Line) {
                self.apply_rights(id, ctx);
            }
        }
        Ok((format!("{target} is muted {length}"), account.is_some()))
    }

    /// The clients of a person: all sessions of the account, or the guest.
    fn clients_of(&self, client: Option<ClientId>, account: Option<&Name>) -> Vec<ClientId> {
        let Some(account) = account else {
            return client.into_iter().collect();
        };
        let is_own = |id: &ClientId| self.access.identity(*id).is_of(account);
        self.access.logged_in().into_iter().filter(is_own).collect()
    }

    fn unmute(&mut self, by: &Moderator, name: &Text, ctx: &mut Ctx<'_>) -> Result<String, Problem> {
        let (client, target, account) = self.person(by, name, ctx)?;
        if !self.access.unmute(client, account.as_ref().unwrap_or(&target)) {
            return Err(Problem::NotMuted(target));
        }
        for id in self.clients_of(client, account.as_ref()) {
            self.access.watch_mute(id, ctx.now);
            ctx.reply(id, Event::Muted { by: by.name.clone(), length: None });
            self.apply_rights(id, ctx);
        }
        Ok(format!("{target} may speak again"))
    }

    /// Deletes a registered account, and ends its sessions. Accounts of the configuration file stay.
    fn unregister(&mut self, by: &Moderator, name: &Text, ctx: &mut Ctx<'_>) -> Result<String, Problem> {
        let owner = self.access.accounts.named(name.as_str()).cloned();
        let owner = owner.ok_or_else(|| Problem::NotRegistered(name.clone()))?;
        check_rank(by, &owner, self.access.accounts.role(&owner))?;
        if !self.access.accounts.unregister(owner.as_str()) {
            return Err(Problem::NotRegistered(name.clone()));
        }
        self.end_invalid_sessions(ctx);
        Ok(format!("the name {owner} is free"))
    }

    /// The client with that name, its name, and its account; or an account that is not connected.
    fn person(
        &self,
        by: &Moderator,
        name: &Text,
        ctx: &Ctx<'_>,
    ) -> Result<(Option<ClientId>, Name, Option<Name>), Problem> {
        match self.target(by, name, ctx) {
            Ok(id) => {
                let account = self.access.identity(id).account.clone();
                let name = account.clone().or_else(|| self.existing_name(id));
                Ok((Some(id), name.ok_or_else(|| Problem::NoSuchClient(Text::of_name(&by.name)))?, account))
            }
            Err(Problem::NoSuchClient(name)) => {
                let owner = self.access.accounts.named(name.as_str()).cloned();
                let owner = owner.ok_or(Problem::NoSuchClient(name))?;
                check_rank(by, &owner, self.access.accounts.role(&owner))?;
                Ok((None, owner.clone(), Some(owner)))
            }
            Err(problem) => Err(problem),
        }
    }

    fn ban(
        &mut self,
        by: &Moderator,
        target: &BanTarget,
        (time, reason): (Option<Duration>, Option<Text>),
        ctx: &mut Ctx<'_>,
    ) -> Result<String, Problem> {
        let ban = Ban {
            target: target.clone(),
            by: by.name.clone(),
            reason: reason.clone(),
            until_unix_millis: until(time, ctx.now),
        };
        self.check_author(by, target, ctx.now)?;
        let removal = Removal { by: by.name.clone(), reason, ban: Some(time.into()) };
        let length = BanLength::from(time);
        let name = match target {
            BanTarget::Network(network) => {
                self.access.ban(ban, ctx.now).map_err(Problem::CantModerate)?;
                ctx.disconnect(*network, removal, by.role);
                return Ok(format!("{network} is banned {length}"));
            }
            BanTarget::Name(name) => name,
        };
        let client = match self.target(by, &Text::of_name(name), ctx) {
            Ok(id) => Some(id),
            Err(Problem::NoSuchClient(_) | Problem::Unreachable(_)) => None,
            Err(problem) => return Err(problem),
        };
        if let Some(owner) = self.access.accounts.named(name.as_str()) {
            check_rank(by, owner, self.access.accounts.role(owner))?;
        }
        for id in self.clients_of(None, Some(name)) {
            check_rank(by, name, self.access.identity(id).role)?;
        }
        self.access.ban(ban.clone(), ctx.now).map_err(Problem::CantModerate)?;
        if let Some(id) = client {
            // A guest would come back under another name.
            if self.access.session(id).is_none() {
                ctx.ban_address(id, ban, removal.clone(), by.role);
            }
            self.remove_client(id, &removal, ctx);
        }
        // Further sessions of an account have other names, or none.
        for other in self.clients_of(None, Some(name)).into_iter().filter(|other| Some(*other) != client) {
            self.remove_client(other, &removal, ctx);
        }
        Ok(format!("{name} is banned {length}"))
    }

    /// Checks that a ban that is to be lifted or replaced is not by an account with a higher role.
    fn check_author(&self, by: &Moderator, target: &BanTarget, now: Now) -> Result<(), Problem> {
        let ban = self.access.bans.get(target).filter(|ban| ban.is_active(now.unix_millis));
        let author = ban.map(|ban| &ban.by);
        match author.map(|author| (author, self.access.accounts.role(author))) {
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
    pub fn ban_network(&mut self, network: Network, ban: Ban, now: Now) -> Result<(), String> {
        self.access.ban(Ban { target: BanTarget::Network(network), ..ban }, now)
    }

    /// The rest of the ban of a name, as the reason why nobody may have it.
    pub(super) fn name_banned(&self, name: &Name, now: Now) -> Option<Problem> {
        let ban = self.access.name_ban(name, now)?;
        Some(Problem::Banned(length_until(ban.until_unix_millis, now)))
    }

    fn bans_event(&self, now: Now) -> Event {
        let mut bans: Vec<Ban> = self.access.bans.active(now.unix_millis).cloned().collect();
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
