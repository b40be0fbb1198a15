//! Random tests: [`check`] runs one, and prints how to run it again.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Runs `test` on so many random inputs, and shrinks an input on which it panics.
#[track_caller]
pub fn check<S: Strategy>(cases: u32, input: &S, test: impl Fn(S::Value)) {
    let seed = match Config::default().rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().hash_one(()),
    };
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(input, |input| {
        test(input);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("PROPTEST_RNG_SEED={seed} runs this again\n{error}");
    }
}

/// Any input of a client: plain text, and much that has a meaning somewhere.
pub fn raw_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z]{1,8}",
        2 => proptest::sample::select(TRICKY).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Texts that could look like something else, or control a terminal.
const TRICKY: &[&str] = &[
    " ",
    "-",
    "-- ",
    "* ",
    "*",
    "[",
    "#",
    "/",
    ":",
    ": ",
    "\t",
    "\r",
    "\n",
    "\0",
    "\x1b[2J",
    "\x1b]0;x\x07",
    "\u{9b}1m",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2066}",
    "\u{2014} ",
    "\u{ff0d}",
    "\u{ff0a}",
    "guest-1",
    "é",
    "李",
    "🦀",
    "e\u{301}",
    "\u{200b}",
    "\u{7f}",
];

/// Any piece of a tricky text, for inputs that are made of bytes.
pub fn tricky() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(TRICKY)
}
