//! Notation of numbers, sizes, times and rates.

use std::num::{IntErrorKind, ParseIntError};
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

pub use crate::time::parse_duration as span;

/// Reads a whole number.
///
/// # Errors
/// The form of a number, in words.
pub fn count<N: FromStr<Err = ParseIntError>>(raw: &str) -> Result<N, String> {
    raw.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "the number is too large; write a smaller one".into(),
        _ => "a number is whole and not negative, as in 100".into(),
    })
}

/// Reads a size in bytes: `512`, `64k`, `1m`, `2g` (powers of 1024).
///
/// # Errors
/// The form of a size, in words.
pub fn size(raw: &str) -> Result<usize, String> {
    let (number, unit) = split(raw);
    let scale: usize = match unit {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return Err("a size is a number and k, m or g, as in 64k".into()),
    };
    let number: usize = number.parse().map_err(|_| "a size is a whole number and k, m or g, as in 64k")?;
    number.checked_mul(scale).ok_or_else(|| "the size is too large; write a smaller one".into())
}

/// Splits the leading digits from the rest.
fn split(raw: &str) -> (&str, &str) {
    raw.split_at(raw.find(|c: char| !c.is_ascii_digit()).unwrap_or(raw.len()))
}

/// A limit that may be lifted with `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrOff<T>(pub Option<T>);

impl<T> Deref for OrOff<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T: FromStr<Err = String>> FromStr for OrOff<T> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        match raw {
            "off" => Ok(OrOff(None)),
            raw => raw.parse().map(|limit| OrOff(Some(limit))),
        }
    }
}

/// An amount over zero per unit of time: `5/s`, `30/m`, `100/h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    amount: u64,
    span: Duration,
}

impl Rate {
    pub const ONE_A_SECOND: Rate = Rate { amount: 1, span: Duration::from_secs(1) };

    /// Amount per [`Rate::span`].
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Unit of time.
    pub fn span(&self) -> Duration {
        self.span
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let number = |raw: &str| raw.parse::<u32>().ok().map(u64::from);
        rate(raw, number).ok_or_else(|| "a rate is a whole number from 1 and /s, /m or /h, as in 5/s".into())
    }
}

/// A size over zero per unit of time: `64k/s`, `10m/h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRate(Rate);

impl From<ByteRate> for Rate {
    fn from(ByteRate(rate): ByteRate) -> Rate {
        rate
    }
}

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let bytes = |raw: &str| size(raw).ok().map(|bytes| bytes as u64);
        rate(raw, bytes)
            .map(ByteRate)
            .ok_or_else(|| "a rate of bytes is a size from 1 and /s, /m or /h, as in 64k/s".into())
    }
}

/// Reads an amount over zero and, after the slash, the unit of time.
fn rate(raw: &str, amount: impl Fn(&str) -> Option<u64>) -> Option<Rate> {
    let (number, unit) = raw.split_once('/')?;
    let amount = amount(number).filter(|amount| *amount > 0)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some(Rate { amount, span: Duration::from_secs(seconds) })
}

/// A size that may be exceeded for a time: `64k:10s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Soft {
    /// Size that may be kept without a time limit.
    pub bytes: usize,
    /// Longest time above that size.
    pub span: Duration,
}

impl FromStr for Soft {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let (bytes, time) = raw.split_once(':').ok_or("a soft limit is SIZE:TIME, as in 64k:10s")?;
        Ok(Soft { bytes: size(bytes)?, span: span(time)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_a_whole_number_of_powers_of_1024() {
        let table =
            [("0", 0), ("512", 512), ("512b", 512), ("64k", 64 << 10), ("1m", 1 << 20), ("2g", 2 << 30)];
        for (raw, bytes) in table {
            assert_eq!(size(raw), Ok(bytes), "{raw}");
        }
        for bad in ["", "k", "1.5k", "-1", "64K", "64kb", " 1", "99999999999999999999", "99999999999g"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rate_and_soft_limit_need_both_parts() {
        let parts = |raw: &str| {
            raw.parse::<OrOff<Rate>>().map(|rate| rate.map(|rate| (rate.amount(), rate.span().as_secs())))
        };
        assert_eq!(parts("5/s"), Ok(Some((5, 1))));
        assert_eq!(parts("30/m"), Ok(Some((30, 60))));
        assert_eq!(parts("100/h"), Ok(Some((100, 3_600))));
        assert_eq!(parts("off"), Ok(None));
        for bad in ["", "5", "0/s", "5/d", "-1/s", "/s"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
        let bytes = |raw: &str| raw.parse::<OrOff<ByteRate>>().map(|rate| rate.map(|rate| rate.0.amount()));
        assert_eq!((bytes("64k/s"), bytes("1/h"), bytes("off")), (Ok(Some(64 << 10)), Ok(Some(1)), Ok(None)));
        for bad in ["", "64k", "0/s", "64k/d", "k/s", "/s"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        let soft = "64k:10s".parse::<OrOff<Soft>>().unwrap().unwrap();
        assert_eq!((soft.bytes, soft.span), (64 << 10, Duration::from_secs(10)));
        for bad in ["", "64k", "64k:", ":10s", "64k:10"] {
            assert!(bad.parse::<OrOff<Soft>>().is_err(), "{bad}");
        }
        assert_eq!("off".parse::<OrOff<Soft>>(), Ok(OrOff(None)));
    }
}
