//! chinwag
#![forbid(unsafe_code)]
pub mod chat;
pub mod codec;
pub mod config;
pub mod connection;
pub mod inbox;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod outbox;
pub mod page;
pub mod protocol;
pub mod rate;
pub mod roster;
pub mod server;
pub mod text;
pub mod time;
pub mod timers;
