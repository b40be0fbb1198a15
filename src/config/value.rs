//! Types of flags' values: how each is read, and the number that its bounds apply to.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::flag::Unit;
use super::units::{count, size, span};
use super::{
    AccessMode, Address, AllowedHost, AllowedOrigin, ByteRate, OrOff, Rate, RedisUrl, SlowClient, Soft,
    Takeover, TrustedProxy, UnixMode,
};

/// A value that one occurrence of a flag sets.
pub trait Value: Clone + Send + Sync + 'static {
    /// Whether `off` is a value.
    const CAN_BE_OFF: bool = false;

    /// Reads a value as a user writes it.
    ///
    /// # Errors
    /// The form that a value has, in words.
    fn read(raw: &OsStr, unit: Unit) -> Result<Self, String> {
        raw.to_str().ok_or_else(|| "it must be UTF-8".into()).and_then(|raw| Self::read_text(raw, unit))
    }

    /// Like [`Value::read`], for text.
    ///
    /// # Errors
    /// As in [`Value::read`].
    fn read_text(raw: &str, unit: Unit) -> Result<Self, String>;

    /// The number that the flag's bounds apply to, if the value has one.
    fn measure(&self) -> Option<u64> {
        None
    }
}

/// Implements [`Value`] for types whose notation is their `FromStr`.
macro_rules! value_from_str {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read_text(raw: &str, _: Unit) -> Result<Self, String> {
                raw.parse().map_err(String::from)
            }
        }
    )*};
}

value_from_str!(Address, UnixMode, AllowedOrigin, AllowedHost, RedisUrl, TrustedProxy);

impl Value for usize {
    fn read_text(raw: &str, unit: Unit) -> Result<usize, String> {
        match unit {
            Unit::Size => size(raw),
            _ => count(raw),
        }
    }

    fn measure(&self) -> Option<u64> {
        Some(*self as u64)
    }
}

impl Value for u32 {
    fn read_text(raw: &str, _: Unit) -> Result<u32, String> {
        count(raw)
    }

    fn measure(&self) -> Option<u64> {
        Some((*self).into())
    }
}

impl Value for Duration {
    fn read_text(raw: &str, _: Unit) -> Result<Duration, String> {
        span(raw)
    }

    fn measure(&self) -> Option<u64> {
        u64::try_from(self.as_millis()).ok()
    }
}

impl Value for Rate {
    fn read_text(raw: &str, _: Unit) -> Result<Rate, String> {
        raw.parse()
    }

    fn measure(&self) -> Option<u64> {
        Some(self.amount())
    }
}

impl Value for ByteRate {
    fn read_text(raw: &str, _: Unit) -> Result<ByteRate, String> {
        raw.parse()
    }

    fn measure(&self) -> Option<u64> {
        Some(Rate::from(*self).amount())
    }
}

/// The bounds apply to the time.
impl Value for Soft {
    fn read_text(raw: &str, _: Unit) -> Result<Soft, String> {
        raw.parse()
    }

    fn measure(&self) -> Option<u64> {
        self.span.measure()
    }
}

impl<T: Value> Value for OrOff<T> {
    const CAN_BE_OFF: bool = true;

    fn read_text(raw: &str, unit: Unit) -> Result<Self, String> {
        match raw {
            "off" => Ok(OrOff(None)),
            raw => T::read_text(raw, unit).map(|limit| OrOff(Some(limit))),
        }
    }

    fn measure(&self) -> Option<u64> {
        self.as_ref().and_then(T::measure)
    }
}

impl Value for PathBuf {
    fn read(raw: &OsStr, _: Unit) -> Result<PathBuf, String> {
        Ok(raw.into())
    }

    fn read_text(raw: &str, _: Unit) -> Result<PathBuf, String> {
        Ok(raw.into())
    }
}

/// The bounds apply to the length in bytes.
impl Value for String {
    fn read_text(raw: &str, _: Unit) -> Result<String, String> {
        match raw.contains(|c: char| c.is_whitespace() || c.is_control()) {
            true => Err("it must have no white space and no control characters".into()),
            false => Ok(raw.into()),
        }
    }

    fn measure(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}

impl Value for LevelFilter {
    fn read_text(raw: &str, _: Unit) -> Result<LevelFilter, String> {
        raw.parse().map_err(|_| "a level is off, error, warn, info, debug or trace".into())
    }
}

impl Value for AccessMode {
    fn read_text(raw: &str, _: Unit) -> Result<AccessMode, String> {
        match raw {
            "open" => Ok(AccessMode::Open),
            "login" => Ok(AccessMode::Login),
            _ => Err("a mode is open or login".into()),
        }
    }
}

impl Value for Takeover {
    fn read_text(raw: &str, _: Unit) -> Result<Takeover, String> {
        match raw {
            "newer" => Ok(Takeover::Newer),
            "older" => Ok(Takeover::Older),
            _ => Err("a session is newer or older".into()),
        }
    }
}

impl Value for SlowClient {
    fn read_text(raw: &str, _: Unit) -> Result<SlowClient, String> {
        match raw {
            "drop" => Ok(SlowClient::Drop),
            "skip" => Ok(SlowClient::Skip),
            _ => Err("a policy is drop or skip".into()),
        }
    }
}
