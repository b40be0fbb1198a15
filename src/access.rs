//! Access: the settings of rooms, accounts and the filter, the decision about rights, and ranges of addresses.
//!
//! All of it is pure: it uses no sockets, files or clocks. `config/sections.rs` reads the settings. Neither the settings nor
//! [`rights::may`] are enforced yet, so [`crate::config::Config::check_enforced`] refuses a file that has them.

pub mod network;
pub mod rights;
pub mod settings;

pub use network::Network;
pub use rights::{Action, Denied, Grant, Grants, Identity, Role, may};
pub use settings::{AccountSettings, Allowed, FilterAction, FilterSettings, RoomRules, Settings, TokenHash};
