//! The accounts of the server, and logging in to them: [`Accounts`].
//!
//! The names of two accounts never look alike. An account whose name looks like that of an earlier one is hidden: nobody can
//! log in to it. The accounts of the configuration file come first.

use std::collections::HashMap;
use std::fmt;
use std::slice;

use slab::Slab;

use super::jwt::JwtKey;
use super::rights::{Identity, Role};
use super::settings::AccountSettings;
use super::token::{LoginToken, TokenHash};
use crate::text::{Looks, Name, fold};

/// The most accounts that clients can register. The state file has about 1.5 MB then, and is written with each change.
pub const REGISTERED_MAX: usize = 10_000;

/// An account that a client has registered. Its role is [`Role::User`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    pub name: Name,
    pub token: TokenHash,
}

/// A successful login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    pub identity: Identity,
    /// End of a JSON Web Token, in seconds since the Unix epoch. Other logins have no end.
    pub expires_unix: Option<u64>,
    pub proof: Proof,
}

/// The credential that a session rests on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// A token of an account.
    Token(TokenHash),
    /// A JSON Web Token.
    Jwt,
}

/// The login was refused. The reason is not for the client, which could search for names or tokens by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoginFailed;

/// The state of a session after the accounts have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// The account or its token is gone.
    Ends,
    /// The account has this role now.
    Role(Role),
    /// The session has its rights from a JSON Web Token, until that expires.
    Unchanged,
}

/// The reason why an account was not registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterError {
    /// The name is that of an account, or looks like it.
    Taken,
    /// There are [`REGISTERED_MAX`] accounts already.
    TooMany,
    /// There is no random token, for this reason.
    NoToken(String),
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::Taken => {
                write!(f, "the name is registered, or looks like one that is: choose another")
            }
            RegisterError::TooMany => {
                write!(f, "{REGISTERED_MAX} names are registered, and no more are kept: ask an administrator")
            }
            RegisterError::NoToken(reason) => write!(f, "{reason}"),
        }
    }
}

#[derive(Clone, Debug)]
enum Account {
    Configured(AccountSettings),
    Registered(Registered),
}

impl Account {
    fn name(&self) -> &Name {
        match self {
            Account::Configured(settings) => &settings.name,
            Account::Registered(registered) => &registered.name,
        }
    }

    fn role(&self) -> Role {
        match self {
            Account::Configured(settings) => settings.role,
            Account::Registered(_) => Role::User,
        }
    }

    fn tokens(&self) -> &[TokenHash] {
        match self {
            Account::Configured(settings) => &settings.tokens,
            Account::Registered(registered) => slice::from_ref(&registered.token),
        }
    }
}

/// The accounts that clients can log in to. Every look-up is O(1).
#[derive(Clone, Debug)]
pub struct Accounts {
    accounts: Slab<Account>,
    /// The accounts by all keys of their names ([`Looks`]).
    by_looks: HashMap<String, usize>,
    by_token: HashMap<TokenHash, usize>,
    /// Registered accounts that look like an earlier account. They come back when the accounts are read without it.
    hidden: Vec<Registered>,
    /// The number of accounts of the configuration file.
    configured: usize,
    jwt: Option<JwtKey>,
}

impl Accounts {
    /// Takes the accounts of the configuration file, those of the state file, and the key of JSON Web Tokens.
    pub fn new(settings: &[AccountSettings], registered: Vec<Registered>, jwt: Option<JwtKey>) -> Accounts {
        let count = settings.len() + registered.len();
        let mut accounts = Accounts {
            accounts: Slab::with_capacity(count),
            by_looks: HashMap::with_capacity(count),
            by_token: HashMap::with_capacity(count),
            hidden: Vec::new(),
            configured: settings.len(),
            jwt,
        };
        for settings in settings {
            accounts.add(Account::Configured(settings.clone()));
        }
        accounts.restore(registered);
        accounts
    }

    /// The account of that name, in any spelling. An account whose name only looks like it is another.
    pub fn named(&self, name: &str) -> Option<&Name> {
        self.owner(name).filter(|owner| owner.same_as(name))
    }

    /// The account that has this name or, if there is none, an account whose name looks like it.
    pub fn owner(&self, name: &str) -> Option<&Name> {
        self.find(name).map(Account::name)
    }

    /// The account that [`Accounts::owner`] names.
    fn find(&self, name: &str) -> Option<&Account> {
        if self.by_looks.is_empty() {
            return None;
        }
        // The first key is that of the name itself, in any spelling.
        Looks::of(name).keys().find_map(|key| self.by_looks.get(key)).map(|id| &self.accounts[*id])
    }

    /// Whether a name is not that of an account, but looks like one. A token of another application must not have such a name.
    fn imitates(&self, name: &Name) -> bool {
        self.owner(name.as_str()).is_some_and(|owner| !owner.same_as(name.as_str()))
    }

    pub fn set_jwt_key(&mut self, key: Option<JwtKey>) {
        self.jwt = key;
    }

    /// The role of an account; a guest's if there is no such account.
    pub fn role(&self, name: &Name) -> Role {
        let found = self.find(name.as_str()).filter(|account| account.name().same_as(name.as_str()));
        found.map_or(Role::Guest, Account::role)
    }

    /// Adds accounts that an earlier process has kept.
    pub fn restore(&mut self, registered: Vec<Registered>) {
        for registered in registered {
            match self.owner(registered.name.as_str()) {
                Some(_) => self.hidden.push(registered),
                None => self.add(Account::Registered(registered)),
            }
        }
    }

    /// Checks a token at that time. It must belong to the account `name`, if a name is given.
    ///
    /// The name is only compared with the account of the token. So an unknown name takes as much work as a wrong token.
    ///
    /// # Errors
    /// The token is wrong, or belongs to another name.
    pub fn log_in(
        &self,
        name: Option<&Name>,
        token: &LoginToken,
        unix_seconds: u64,
    ) -> Result<Login, LoginFailed> {
        let login = self.by_token(token).or_else(|| self.by_jwt(token, unix_seconds)).ok_or(LoginFailed)?;
        let account = login.identity.account.as_ref();
        match name.is_none_or(|name| account.is_some_and(|account| account.same_as(name.as_str()))) {
            true => Ok(login),
            false => Err(LoginFailed),
        }
    }

    /// The effect of the present accounts on a session of `account`.
    pub fn still_valid(&self, account: &Name, proof: &Proof) -> Validity {
        match proof {
            Proof::Token(hash) => match self.by_token.get(hash).map(|id| &self.accounts[*id]) {
                Some(now) if now.name().same_as(account.as_str()) => Validity::Role(now.role()),
                _ => Validity::Ends,
            },
            Proof::Jwt if self.jwt.is_some() => Validity::Unchanged,
            Proof::Jwt => Validity::Ends,
        }
    }

    /// A login of earlier with the present role of its account. `None` if it has ended meanwhile.
    pub fn renew(&self, mut login: Login, unix_seconds: u64) -> Option<Login> {
        let account = login.identity.account.as_ref()?;
        if login.expires_unix.is_some_and(|expires| expires < unix_seconds) || self.imitates(account) {
            return None;
        }
        match self.still_valid(account, &login.proof) {
            Validity::Ends => return None,
            Validity::Role(role) => login.identity.role = role,
            Validity::Unchanged => {}
        }
        Some(login)
    }

    /// A token for a new account under a free name.
    ///
    /// # Errors
    /// The name is not free, or there is no random token.
    pub fn new_token(&self, name: &Name) -> Result<LoginToken, RegisterError> {
        let looks = Looks::of(name.as_str());
        let is_hidden = |hidden: &Registered| Looks::of(hidden.name.as_str()).alike(&looks);
        if self.owner(name.as_str()).is_some() || self.hidden.iter().any(is_hidden) {
            return Err(RegisterError::Taken);
        }
        self.check_room()?;
        LoginToken::random().map_err(RegisterError::NoToken)
    }

    /// Adds a registered account. It replaces one of the same name.
    ///
    /// # Errors
    /// There are too many.
    pub fn replace(&mut self, registered: Registered) -> Result<(), RegisterError> {
        self.unregister(registered.name.as_str());
        self.check_room()?;
        self.restore(vec![registered]);
        Ok(())
    }

    /// Decides anew which of several look-alikes is visible: the first by name. So processes with the same accounts agree.
    pub fn settle(&mut self) {
        if self.hidden.is_empty() {
            return;
        }
        let mut all: Vec<Registered> = self.registered().cloned().collect();
        all.sort_by_cached_key(|registered| fold(registered.name.as_str()).collect::<String>());
        for registered in &all {
            self.unregister(registered.name.as_str());
        }
        self.restore(all);
    }

    fn check_room(&self) -> Result<(), RegisterError> {
        match self.accounts.len() - self.configured + self.hidden.len() < REGISTERED_MAX {
            true => Ok(()),
            false => Err(RegisterError::TooMany),
        }
    }

    /// The registered accounts, for the state file. Hidden ones come last, as they must when the file is read again.
    pub fn registered(&self) -> impl Iterator<Item = &Registered> {
        let visible = self.accounts.iter().filter_map(|(_, account)| match account {
            Account::Registered(registered) => Some(registered),
            Account::Configured(_) => None,
        });
        visible.chain(&self.hidden)
    }

    /// Removes the registered account of that name, in any spelling, and returns whether there was one.
    pub fn unregister(&mut self, name: &str) -> bool {
        let count = self.hidden.len();
        self.hidden.retain(|hidden| !hidden.name.same_as(name));
        let looks = Looks::of(name);
        let found = self.by_looks.get(looks.first()).copied().filter(|id| {
            let account = &self.accounts[*id];
            matches!(account, Account::Registered(_)) && account.name().same_as(name)
        });
        if let Some(id) = found {
            self.remove(id);
        }
        found.is_some() || self.hidden.len() < count
    }

    fn add(&mut self, account: Account) {
        let entry = self.accounts.vacant_entry();
        for key in Looks::of(account.name().as_str()).keys() {
            self.by_looks.entry(key.into()).or_insert(entry.key());
        }
        for token in account.tokens() {
            self.by_token.entry(*token).or_insert(entry.key());
        }
        entry.insert(account);
    }

    fn remove(&mut self, id: usize) {
        let account = self.accounts.remove(id);
        for key in Looks::of(account.name().as_str()).keys() {
            if self.by_looks.get(key) == Some(&id) {
                self.by_looks.remove(key);
            }
        }
        for token in account.tokens() {
            if self.by_token.get(token) == Some(&id) {
                self.by_token.remove(token);
            }
        }
    }

    fn by_token(&self, token: &LoginToken) -> Option<Login> {
        let hash = token.hash();
        let account = &self.accounts[*self.by_token.get(&hash)?];
        let identity = Identity { account: Some(account.name().clone()), role: account.role(), grants: None };
        Some(Login { identity, expires_unix: None, proof: Proof::Token(hash) })
    }

    /// A JSON Web Token has two dots (RFC 7515, section 7.1).
    fn by_jwt(&self, token: &LoginToken, unix_seconds: u64) -> Option<Login> {
        let key = self.jwt.as_ref().filter(|_| token.expose().matches('.').count() == 2)?;
        match key.verify(token, unix_seconds) {
            Ok(verified) if verified.identity.account.as_ref().is_some_and(|name| self.imitates(name)) => {
                log::debug!("refused a JSON Web Token reason={:?}", "its subject looks like an account");
                None
            }
            Ok(verified) => Some(Login {
                identity: verified.identity,
                expires_unix: Some(verified.expires_unix),
                proof: Proof::Jwt,
            }),
            Err(reason) => {
                log::debug!("refused a JSON Web Token reason={:?}", reason.to_string());
                None
            }
        }
    }
}
