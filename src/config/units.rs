//! How sizes, times and rates are written on a command line.

use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

/// Reads a size in bytes: `512`, `64k`, `1m`, `2g` (powers of 1024).
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
    number.checked_mul(scale).ok_or_else(|| "that size is too large".into())
}

/// Reads a span of time: `500ms`, `10s`, `5m`, `1h`.
pub fn span(raw: &str) -> Result<Duration, String> {
    let (number, unit) = split(raw);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a time is a whole number and ms, s, m or h, as in 10s".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a time is a whole number and ms, s, m or h, as in 10s")?;
    // A century is enough, and leaves sums of times far from overflow.
    let total = number.checked_mul(millis).filter(|total| *total <= 100 * 366 * 24 * 3_600_000);
    total.map(Duration::from_millis).ok_or_else(|| "that time is too long".into())
}

/// The digits in front, and what follows them.
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

/// Reads `off` as no limit, and anything else with `read`.
fn or_off<T>(raw: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<OrOff<T>, String> {
    match raw {
        "off" => Ok(OrOff(None)),
        raw => read(raw)
            .map(|limit| OrOff(Some(limit)))
            .map_err(|error| format!("{error}; `off` lifts the limit")),
    }
}

impl FromStr for OrOff<Duration> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        or_off(raw, |raw| match span(raw)? {
            Duration::ZERO => Err("that time must be over zero".into()),
            span => Ok(span),
        })
    }
}

impl FromStr for OrOff<u32> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        or_off(raw, |raw| raw.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a number from 1".into()))
    }
}

/// So many in a unit of time: `5/s`, `30/m`, `100/h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    amount: u64,
    span: Duration,
}

impl Rate {
    /// The amount in one [`Rate::span`].
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The time they take together.
    pub fn span(&self) -> Duration {
        self.span
    }
}

impl FromStr for OrOff<Rate> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let number = |raw: &str| raw.parse::<u32>().ok().map(u64::from);
        or_off(raw, |raw| {
            rate(raw, number)
                .ok_or_else(|| "a rate is a whole number from 1 and /s, /m or /h, as in 5/s".to_string())
        })
    }
}

/// A size in a unit of time: `64k/s`, `10m/h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRate(Rate);

impl From<ByteRate> for Rate {
    fn from(ByteRate(rate): ByteRate) -> Rate {
        rate
    }
}

impl FromStr for OrOff<ByteRate> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let bytes = |raw: &str| size(raw).ok().map(|bytes| bytes as u64);
        or_off(raw, |raw| {
            rate(raw, bytes)
                .map(ByteRate)
                .ok_or_else(|| "a rate of bytes is a size from 1 and /s, /m or /h, as in 64k/s".to_string())
        })
    }
}

/// Reads an amount over zero, and the unit of time behind the stroke.
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

/// A size that may be exceeded for a while: `64k:10s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Soft {
    /// The size.
    pub bytes: usize,
    /// The while.
    pub span: Duration,
}

impl FromStr for OrOff<Soft> {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        or_off(raw, |raw| {
            let (bytes, time) = raw.split_once(':').ok_or("a soft limit is SIZE:TIME, as in 64k:10s")?;
            Ok(Soft { bytes: size(bytes)?, span: span(time)? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
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
    fn spans() {
        let table = [("0s", 0), ("500ms", 500), ("10s", 10_000), ("5m", 300_000), ("1h", 3_600_000)];
        for (raw, millis) in table {
            assert_eq!(span(raw), Ok(Duration::from_millis(millis)), "{raw}");
        }
        for bad in ["", "10", "s", "1.5s", "10d", "10 s", "99999999999h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_soft_limits() {
        let parts = |raw: &str| {
            raw.parse::<OrOff<Rate>>().map(|rate| rate.map(|rate| (rate.amount(), rate.span().as_secs())))
        };
        assert_eq!(parts("5/s"), Ok(Some((5, 1))));
        assert_eq!(parts("30/m"), Ok(Some((30, 60))));
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
        assert!("0s".parse::<OrOff<Duration>>().is_err());
        assert_eq!("off".parse::<OrOff<u32>>(), Ok(OrOff(None)));
        assert!("0".parse::<OrOff<u32>>().is_err());
    }
}
