//! The whole server on a virtual network and a virtual clock.
//!
//! - `faults.rs`: faults of the guide's list that need no real socket, each under its number.
//! - `limits.rs`: every limit on both sides of its bound; `sequences.rs`: limits exceeded again and again.
//! - `random.rs`: random scenarios from seeds.
//! - `access.rs`: accounts, rights and moderation at each listener; `access_random.rs`: random ones, under a model of rights.
//! - `slow_kinds.rs`: slow clients by the kind of message; `growing.rs`: texts that escaping makes longer.
//! - `deadlines.rs`: the start of each deadline; `reload.rs`: deadlines and other limits that change.
//! - `log_lines.rs`: the lines of the log, and their capture.
//! - `names.rs`: names that look alike, in every dialect and at two processes.
//! - `redis.rs`: a virtual Redis. One test compares it with a real `redis-server`; a plain `cargo test` ignores that.
//! - `cluster.rs`: several servers around it. `redis_chat.rs` and the files after it check that their clients see one chat.
//!
//! Random tests run a few hundred seeds by default:
//!
//! ```text
//! SIM_SEEDS=1000000 cargo test --profile sim --test sim random  # a million, with the server's own checks
//! SIM_SEED=17 cargo test --test sim random                      # one again, with all its output
//! SIM_SEED=17 SIM_SEEDS=100 cargo test --test sim random        # a hundred from that one on
//! ```

mod access;
mod access_random;
mod address_rates;
mod announce;
mod catchup;
mod clocks;
mod closing;
mod cluster;
mod coalesce;
mod counts;
mod deadlines;
mod farewells;
mod faults;
mod floods;
mod frames;
mod growing;
mod guide;
mod identity;
mod ledger;
mod limits;
mod line_names;
mod line_protocols;
mod listeners;
mod log_lines;
mod names;
mod outgoing;
mod pressure;
mod proxies;
mod random;
mod redis;
mod redis_access;
mod redis_away;
mod redis_blips;
mod redis_chat;
mod redis_closing;
mod redis_end;
mod redis_faults;
mod redis_fence;
mod redis_forward;
mod redis_itself;
mod redis_ledger;
mod redis_log;
mod redis_names;
mod redis_order;
mod redis_real;
mod redis_refusals;
mod redis_restore;
mod redis_returns;
mod redis_scale;
mod redis_script_calls;
mod redis_scripts;
mod redis_topics;
mod reload;
mod rounds;
mod seeds;
mod sequences;
mod sessions;
mod shown;
mod slow_kinds;
mod socket;
mod stage;
mod tab_return;
mod web;
mod web_answers;
mod web_chunked;
mod web_control;
mod web_edges;
mod web_faults;
mod web_ledger;
mod web_limits;
mod web_random;
mod web_return;
mod web_throttle;
mod world;
