//! The whole server on a virtual network and a virtual clock.
//!
//! The harness: `stage.rs` is a server and its clients, `world.rs` their network, disk and clock, `socket.rs` a WebSocket client.
//! `cluster.rs` is several servers around the virtual Redis of `redis.rs`, and `ledger.rs` checks who received what. The head of
//! each file says what it tests. For a new test, look here first:
//!
//! | about | files |
//! |---|---|
//! | a limit of lines and connections, on both sides | `limits.rs`; again and again `sequences.rs`; rates of addresses `address_rates.rs` |
//! | a limit at the HTTP listener | `web_limits.rs`, `web_edges.rs`; rates of WebSocket clients `web_throttle.rs` |
//! | a timeout | `deadlines.rs` for its start, `limits.rs` or `web_limits.rs` for its length, `clocks.rs` for jumps of the clock |
//! | a fault of the guide's list | `faults.rs`, `web_faults.rs`, `redis_faults.rs`, each under its number |
//! | slow readers | `pressure.rs`, `slow_kinds.rs`, `growing.rs`, `catchup.rs`, `coalesce.rs`, `rounds.rs` |
//! | closing | `closing.rs`, `farewells.rs`, `listeners.rs` |
//! | names | `line_names.rs`, `names.rs`, `identity.rs` |
//! | access | `access.rs`, `sessions.rs`, `proxies.rs`, `reload.rs` |
//! | the log and the metrics | `log_lines.rs`, `redis_log.rs`, `counts.rs` |
//! | HTTP, WebSocket and SSE | `web.rs`, `web_answers.rs`, `web_chunked.rs`, `web_control.rs`; clients that return `web_return.rs`, `tab_return.rs` |
//! | several processes | `redis_chat.rs`, and the other files that begin with `redis_` |
//! | random scenarios | `random.rs`, `web_random.rs`, `web_ledger.rs`, `access_random.rs`, `redis_ledger.rs`, `redis_returns.rs` |
//!
//! `redis_real.rs` compares the virtual Redis with a real `redis-server`; a plain `cargo test` ignores it.
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
