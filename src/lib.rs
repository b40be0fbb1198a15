//! chinwag
#![forbid(unsafe_code)]
pub mod chat;
pub mod codec;
pub mod config;
pub mod inbox;
pub mod net;
pub mod outbox;
pub mod page;
pub mod protocol;
pub mod rate;
pub mod text;
pub mod time;
pub mod timers;
