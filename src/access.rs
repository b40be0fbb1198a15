//! Access: who may enter, speak and moderate. Accounts, tokens, roles, rules of rooms, bans and the filter of words.
//!
//! All of it is pure: it sees no sockets, no files and no clocks. `chat/` asks it at one place
//! ([`rights::may`]), and `config/` reads its settings from a file.

pub mod network;
pub mod rights;
pub mod settings;

pub use network::Network;
pub use rights::{Action, Denied, Grant, Grants, Identity, Role, may};
pub use settings::{AccountSettings, Allowed, FilterAction, FilterSettings, RoomRules, Settings, TokenHash};
