//! The state of access: accounts, sessions, logins, mutes and bans.
//!
//! A guest of an open chat has no entry in any of these tables, so access costs it nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::ids::ClientId;
use crate::access::{
    AccessChange, AccessEntry, AccessRecord, Accounts, Ban, Bans, Identity, JwtKey, Login, LoginToken, Mute,
    Proof, RegisterError, Registered, Role, Settings, Validity,
};
use crate::config::{AccessMode, Config, Takeover};
use crate::sparse::Sparse;
use crate::state::SavedState;
use crate::text::{Name, fold};
use crate::time::{Moment, Now};

/// Failed logins after which a connection is closed.
const ATTEMPTS_MAX: u8 = 3;

/// The identity of a client that has not logged in.
pub const GUEST: Identity = Identity { account: None, role: Role::Guest, grants: None };

/// A client that has logged in.
#[derive(Debug)]
pub struct LoginSession {
    pub identity: Identity,
    pub proof: Proof,
    /// The next deadline of its token: the warning, or the end after that.
    pub due: Option<Moment>,
    pub is_warned: bool,
}

/// The logins that a client has tried or begun.
#[derive(Default, Debug)]
struct Attempts {
    /// The account that the client was asked the token of.
    asked: Option<Name>,
    failed: u8,
    /// The time at which a client that must log in is closed.
    due: Option<Moment>,
}

/// The accounts, and tables that few clients are in: sessions, attempts, mutes.
#[derive(Debug)]
pub struct Access {
    accounts: Accounts,
    bans: Bans,
    /// Muted accounts, by their folded names.
    account_mutes: HashMap<String, Mute>,
    pub login_required: bool,
    pub has_registration: bool,
    /// Whether the newest session of an account gets its name.
    pub newest_gets_name: bool,
    login_timeout: Duration,
    sessions: Sparse<LoginSession>,
    attempts: Sparse<Attempts>,
    /// Mutes of clients that were guests.
    client_mutes: Sparse<Mute>,
    deadlines: BTreeSet<(Moment, ClientId)>,
    /// The ends of mutes of clients that are connected.
    unmutes: BTreeSet<(Moment, ClientId)>,
}

/// A change of the kept tables that is applied, and is neither saved nor shared yet. [`super::Ctx::save`] and
/// [`super::Ctx::save_then`] use it, and `Server::ban_address`, whose caller saves.
#[must_use]
#[derive(Debug)]
pub struct AppliedChange(AccessChange);

impl From<AppliedChange> for AccessChange {
    fn from(AppliedChange(change): AppliedChange) -> AccessChange {
        change
    }
}

fn folded(name: &Name) -> String {
    fold(name.as_str()).collect()
}

impl Access {
    pub fn new(config: &Config) -> Access {
        let mut access = Access {
            accounts: Accounts::new(&[], Vec::new(), None),
            bans: Bans::default(),
            account_mutes: HashMap::new(),
            login_required: false,
            has_registration: false,
            newest_gets_name: true,
            login_timeout: Duration::ZERO,
            sessions: Sparse::default(),
            attempts: Sparse::default(),
            client_mutes: Sparse::default(),
            deadlines: BTreeSet::new(),
            unmutes: BTreeSet::new(),
        };
        access.configure(config, None);
        access
    }

    /// Takes over flags, the accounts of the configuration file and the key of JSON Web Tokens.
    pub fn configure(&mut self, config: &Config, jwt: Option<JwtKey>) {
        let Settings { accounts, .. } = &config.sections;
        let registered = self.accounts.registered().cloned().collect();
        self.accounts = Accounts::new(accounts, registered, jwt);
        self.login_required = config.access == AccessMode::Login;
        self.has_registration = config.registration;
        self.newest_gets_name = config.takeover == Takeover::Newer;
        self.login_timeout = config.name_timeout;
        if !self.login_required {
            self.clear_login_deadlines();
        }
    }

    /// Lets the clients stay that had to log in.
    fn clear_login_deadlines(&mut self) {
        for slot in self.attempts.slots().collect::<Vec<_>>() {
            if let Some(due) = self.attempts.get_mut(slot).and_then(|attempts| attempts.due.take()) {
                self.deadlines.remove(&(due, ClientId(slot)));
            }
        }
    }

    pub fn set_jwt_key(&mut self, key: Option<JwtKey>) {
        self.accounts.set_jwt_key(key);
    }

    /// Takes over what an earlier process has saved.
    pub fn restore(&mut self, saved: SavedState) {
        for entry in saved.into_entries() {
            let added = self.apply(&AccessChange::Added(entry));
            debug_assert!(added.is_ok(), "a file has no more entries than the server that has written it");
        }
    }

    /// Changes a kept table.
    ///
    /// # Errors
    /// The table is full.
    pub fn change(&mut self, change: AccessChange, now: Now) -> Result<AppliedChange, String> {
        self.remove_ended(now);
        self.apply(&change)?;
        self.accounts.settle();
        Ok(AppliedChange(change))
    }

    /// Takes over what other processes have changed, and returns it with the number of entries that there was no room for.
    /// Redis may have lost an entry, so only a tombstone lifts one.
    pub fn merge(&mut self, table: BTreeMap<String, AccessRecord>, now: Now) -> (Vec<AccessChange>, usize) {
        self.remove_ended(now);
        let mut own: BTreeMap<String, AccessEntry> =
            self.state(now).into_entries().map(|entry| (entry.key(), entry)).collect();
        let mut changes: Vec<AccessChange> = table
            .into_iter()
            .filter_map(|(key, record)| match (record, own.remove(&key)) {
                (AccessRecord::Lifted { by }, Some(entry)) => Some(AccessChange::Lifted { entry, by }),
                (AccessRecord::Entry(entry), known) if known.as_ref() != Some(&entry) => {
                    entry.is_active(now.unix_millis).then_some(AccessChange::Added(entry))
                }
                _ => None,
            })
            .collect();
        // Lifted entries make room for new ones.
        changes.sort_by_key(|change| matches!(change, AccessChange::Added(_)));
        let all = changes.len();
        changes.retain(|change| self.apply(change).is_ok());
        self.accounts.settle();
        let refused = all - changes.len();
        (changes, refused)
    }

    /// The only function that changes a kept table, except that entries are forgotten after their end.
    fn apply(&mut self, change: &AccessChange) -> Result<(), String> {
        match change {
            AccessChange::Added(AccessEntry::Ban(ban)) => return self.bans.add(ban.clone()),
            AccessChange::Added(AccessEntry::Mute(mute)) => {
                self.account_mutes.insert(folded(&mute.account), mute.clone());
            }
            AccessChange::Added(AccessEntry::Name(registered)) => {
                return self.accounts.replace(registered.clone()).map_err(|error| error.to_string());
            }
            AccessChange::Lifted { entry: AccessEntry::Ban(ban), .. } => drop(self.bans.lift(&ban.target)),
            AccessChange::Lifted { entry: AccessEntry::Mute(mute), .. } => {
                self.account_mutes.remove(&folded(&mute.account));
            }
            AccessChange::Lifted { entry: AccessEntry::Name(registered), .. } => {
                self.accounts.unregister(registered.name.as_str());
            }
        }
        Ok(())
    }

    fn remove_ended(&mut self, now: Now) {
        self.bans.remove_expired(now.unix_millis);
        self.account_mutes.retain(|_, mute| mute.is_active(now.unix_millis));
    }

    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub fn bans(&self) -> &Bans {
        &self.bans
    }

    /// Registers an account under a free name. The token is returned once.
    ///
    /// # Errors
    /// The name is not free, or there is no random token.
    pub fn register(&mut self, name: Name, now: Now) -> Result<(LoginToken, AppliedChange), RegisterError> {
        let token = self.accounts.new_token(&name)?;
        let registered = Registered { name, token: token.hash() };
        let applied = self.change(AccessChange::Added(AccessEntry::Name(registered)), now);
        Ok((token, applied.map_err(|_| RegisterError::TooMany)?))
    }

    /// The part that is kept over a restart.
    pub fn state(&self, now: Now) -> SavedState {
        let mut mutes: Vec<Mute> = self.account_mutes.values().cloned().collect();
        mutes.retain(|mute| mute.is_active(now.unix_millis));
        mutes.sort_by(|a, b| a.account.as_str().cmp(b.account.as_str()));
        let bans = self.bans.active(now.unix_millis).cloned().collect();
        SavedState { registered: self.accounts.registered().cloned().collect(), bans, mutes }
    }

    /// Whether no client has more or fewer rights than another, apart from the rules of rooms.
    pub fn is_open(&self) -> bool {
        !self.login_required && self.sessions.is_empty() && self.client_mutes.is_empty()
    }

    pub fn identity(&self, id: ClientId) -> &Identity {
        self.sessions.get(id.0).map_or(&GUEST, |session| &session.identity)
    }

    pub fn session(&self, id: ClientId) -> Option<&LoginSession> {
        self.sessions.get(id.0)
    }

    /// The clients that have logged in.
    pub fn logged_in(&self) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = self.sessions.slots().map(ClientId).collect();
        // The order of a hash table is random, and a simulation must be repeatable.
        ids.sort_unstable();
        ids
    }

    /// Begins a session, or replaces the client's earlier one.
    pub fn start_session(&mut self, id: ClientId, login: Login, now: Now) {
        self.end_session(id);
        self.clear_attempts(id);
        let due = login.expires_unix.map(|expires| {
            let left = expires.saturating_mul(1000).saturating_sub(now.unix_millis);
            now.moment + Duration::from_millis(left)
        });
        self.deadlines.extend(due.map(|due| (due, id)));
        let session = LoginSession { identity: login.identity, proof: login.proof, due, is_warned: false };
        self.sessions.insert(id.0, session);
    }

    pub fn end_session(&mut self, id: ClientId) {
        if let Some(due) = self.sessions.take(id.0).and_then(|session| session.due) {
            self.deadlines.remove(&(due, id));
        }
    }

    /// Records that a session was warned, and ends `until` then.
    pub fn warn(&mut self, id: ClientId, until: Moment) {
        if let Some(session) = self.sessions.get_mut(id.0) {
            session.is_warned = true;
            session.due = Some(until);
            self.deadlines.insert((until, id));
        }
    }

    /// The effect of changed accounts on a session; a new role is applied.
    pub fn revalidate(&mut self, id: ClientId) -> Option<Validity> {
        let session = self.sessions.get(id.0)?;
        let validity = self.accounts.still_valid(session.identity.account.as_ref()?, &session.proof);
        if let Validity::Role(role) = validity
            && let Some(session) = self.sessions.get_mut(id.0)
        {
            session.identity.role = role;
        }
        Some(validity)
    }

    /// Closes a client at a deadline unless it has logged in by then.
    pub fn require_login(&mut self, id: ClientId, now: Now) {
        let due = now.moment + self.login_timeout;
        self.attempts.get_or_default(id.0).due = Some(due);
        self.deadlines.insert((due, id));
    }

    /// Counts a failed login. Returns whether it was one too many.
    pub fn record_failure(&mut self, id: ClientId) -> bool {
        let attempts = self.attempts.get_or_default(id.0);
        attempts.asked = None;
        attempts.failed += 1;
        attempts.failed >= ATTEMPTS_MAX
    }

    /// Records that a client was asked for the token of an account.
    pub fn ask_token(&mut self, id: ClientId, account: Name) {
        self.attempts.get_or_default(id.0).asked = Some(account);
    }

    /// The account that the client was asked the token of.
    pub fn asked(&self, id: ClientId) -> Option<&Name> {
        if self.attempts.is_empty() {
            return None;
        }
        self.attempts.get(id.0)?.asked.as_ref()
    }

    /// Ends the question for a token.
    pub fn stop_asking(&mut self, id: ClientId) {
        if self.asked(id).is_some() {
            self.attempts.get_or_default(id.0).asked = None;
        }
    }

    fn clear_attempts(&mut self, id: ClientId) {
        if let Some(due) = self.attempts.take(id.0).and_then(|attempts| attempts.due) {
            self.deadlines.remove(&(due, id));
        }
    }

    /// Removes all data of a client that leaves.
    pub fn remove_client(&mut self, id: ClientId) {
        self.end_session(id);
        self.clear_attempts(id);
        self.client_mutes.take(id.0);
        self.unmutes.retain(|(_, muted)| *muted != id);
    }

    /// The mute of a client, if it lasts.
    pub fn mute_of(&self, id: ClientId, now: Now) -> Option<&Mute> {
        let account = self.identity(id).account.as_ref();
        let of_client = || self.client_mutes.get(id.0).filter(|mute| mute.is_active(now.unix_millis));
        account.and_then(|account| self.account_mute(account, now)).or_else(of_client)
    }

    /// The mute of an account, if it lasts.
    pub fn account_mute(&self, account: &Name, now: Now) -> Option<&Mute> {
        self.account_mutes.get(&folded(account)).filter(|mute| mute.is_active(now.unix_millis))
    }

    /// Mutes a guest while it is connected.
    pub fn mute_guest(&mut self, guest: ClientId, mute: Mute) {
        self.client_mutes.insert(guest.0, mute);
    }

    /// Lifts the mute of a guest. Returns whether it had not ended yet.
    pub fn unmute_guest(&mut self, guest: ClientId, now: Now) -> bool {
        self.client_mutes.take(guest.0).is_some_and(|mute| mute.is_active(now.unix_millis))
    }

    /// The ban of a name, if it lasts.
    pub fn name_ban(&self, name: &Name, now: Now) -> Option<&Ban> {
        self.bans.name(name.as_str(), now.unix_millis)
    }

    /// The time of the next deadline.
    pub fn next_timeout(&self) -> Option<Moment> {
        let first = |set: &BTreeSet<(Moment, ClientId)>| set.first().map(|(due, _)| *due);
        first(&self.deadlines).into_iter().chain(first(&self.unmutes)).min()
    }

    /// Takes the next client with a deadline that is due.
    pub fn pop_due(&mut self, now: Moment) -> Option<ClientId> {
        let (due, id) = *self.deadlines.first()?;
        (due <= now).then(|| {
            self.deadlines.pop_first();
            id
        })
    }

    /// Records when the present mute of a client ends, for a notice then.
    pub fn watch_mute(&mut self, id: ClientId, now: Now) {
        self.unmutes.retain(|(_, muted)| *muted != id);
        if let Some(until) = self.mute_of(id, now).and_then(|mute| mute.until_unix_millis) {
            let left = Duration::from_millis(until.saturating_sub(now.unix_millis));
            self.unmutes.insert((now.moment + left, id));
        }
    }

    /// Takes the next client whose mute may have ended.
    pub fn pop_unmuted(&mut self, now: Moment) -> Option<ClientId> {
        let (due, id) = *self.unmutes.first()?;
        (due <= now).then(|| {
            self.unmutes.pop_first();
            id
        })
    }

    /// The tables by slot, for the server's list of all its state.
    pub fn tables(&self) -> Vec<(&'static str, Vec<u32>)> {
        vec![
            ("sessions", self.sessions.slots().collect()),
            ("login attempts", self.attempts.slots().collect()),
            ("mutes of clients", self.client_mutes.slots().collect()),
            ("ends of mutes", self.unmutes.iter().map(|(_, id)| id.0).collect()),
            ("access deadlines", self.deadlines.iter().map(|(_, id)| id.0).collect()),
        ]
    }
}
