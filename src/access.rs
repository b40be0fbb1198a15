//! Access: identities, rights, bans, the filter of words, and their settings.
//!
//! Clients log in by a token ([`token`]) or a JSON Web Token ([`jwt`]) to an account ([`accounts`]). [`rights::may`] decides
//! what they may do, and the chat asks it in one place (`chat/enforce.rs`). All of it is pure: it uses no sockets, files or
//! clocks, and only [`LoginToken::random`] asks the operating system for something. `config/sections.rs` reads the settings.

pub mod accounts;
pub mod bans;
pub mod filter;
pub mod jwt;
pub mod kept;
pub mod network;
pub mod rights;
pub mod settings;
pub mod token;

pub use accounts::{
    Accounts, Login, LoginFailed, Proof, REGISTERED_MAX, RegisterError, Registered, Validity,
};
pub use bans::{BANS_MAX, Ban, BanTarget, Bans, Mute};
pub use filter::{Filter, FilterVerdict};
pub use jwt::JwtKey;
pub use kept::{AccessChange, AccessEntry, AccessRecord};
pub use network::Network;
pub use rights::{Action, Denied, Grant, Grants, Identity, Role, Scope, may};
pub use settings::{
    AccountSettings, Allowed, FilterAction, FilterSettings, RoomRules, Settings, TOPIC_MAX_BYTES,
};
pub use token::{LoginToken, TOKEN_MAX_BYTES, TokenHash};
