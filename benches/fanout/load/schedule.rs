//! When lines are said that wait for nobody: seconds from the start and the number of who speaks, without an end.
//!
//! Pure, and the same in every run: nobody gets an easier hour than another.

use fastrand::Rng;

const SEED: u64 = 0x0063_6869_6e77_6167;

/// So many lines a second at even distances, by all talkers in rotation.
pub fn even(rate: f64, talkers: u32) -> impl Iterator<Item = (f64, u32)> {
    (0_u32..).map(move |line| (f64::from(line) / rate, line % talkers))
}

/// So many lines a second at random distances, by anybody: people who know nothing of each other (a Poisson process,
/// so distances are exponential).
pub fn poisson(rate: f64, talkers: u32) -> impl Iterator<Item = (f64, u32)> {
    let mut rng = Rng::with_seed(SEED);
    let mut at = 0.0;
    std::iter::repeat_with(move || {
        // Never the logarithm of nothing: the random part is below 1.
        at -= (1.0 - rng.f64()).ln() / rate;
        (at, rng.u32(0..talkers))
    })
}
