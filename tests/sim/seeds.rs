//! The seeds of random tests, from the environment.

use std::env;
use std::ops::Range;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Returns the seeds to run: `SIM_SEEDS` of them from `SIM_SEED` on. By default they are the first `count`, or that seed
/// alone.
pub fn seeds(count: u64) -> Range<u64> {
    let first = number("SIM_SEED");
    let begin = first.unwrap_or(0);
    begin..begin + number("SIM_SEEDS").unwrap_or(if first.is_some() { 1 } else { count })
}

/// Whether one seed is run again, and its output is wanted.
pub fn is_replay() -> bool {
    number("SIM_SEED").is_some() && number("SIM_SEEDS").is_none()
}
