//! A row of the table of flags, and the argument and the parser of values that clap gets for it.

use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;

use clap::builder::{FalseyValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::value::Value;

/// One flag. Its name and its variable come from the field of [`super::Config`].
#[derive(Debug)]
pub struct Flag {
    pub field: &'static str,
    /// Heading of the flag's part of `--help`.
    pub heading: &'static str,
    pub unit: Unit,
    pub default: DefaultValue,
    pub bounds: Bounds,
    pub on_reload: OnReload,
    /// A noun phrase or an imperative, without a full stop.
    pub help: &'static str,
    /// Whether it takes several values.
    pub is_repeatable: bool,
    /// `Field::configure` of the field's type.
    pub configure: fn(&'static Flag, Arg) -> Arg,
    /// `Field::check` of the field's type.
    pub check: fn(&Flag, &OsStr) -> Result<(), String>,
}

/// Notation of a flag's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A flag without a value.
    Switch,
    /// A whole number.
    Count,
    /// Bytes, as in `64k`.
    Size,
    /// A time, as in `10s`.
    Time,
    /// A number per unit of time, as in `5/s`.
    Rate,
    /// A size per unit of time, as in `64k/s`.
    ByteRate,
    /// A size that is allowed for a time, as in `64k:10s`.
    SizeForTime,
    /// Path of a file. In the configuration file it is relative to the folder of that file.
    File,
    /// Text in the form that the type documents. Holds the name of the value in `--help`.
    Text(&'static str),
    /// Text that no message may show.
    Secret(&'static str),
    /// One of the listed words, each with its help.
    Choice(&'static str, &'static [(&'static str, &'static str)]),
}

/// Value of a flag that is not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultValue {
    /// No value: the feature is off.
    Absent,
    /// This value.
    Is(&'static str),
    /// This value, or `off` if `--rate` is off.
    UnlessRateIsOff(&'static str),
    /// A value that the code finds; `--help` shows this description.
    Described(&'static str),
}

/// The time at which a change of a flag in the configuration file takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnReload {
    /// Each time that the file is read again. The value must be read from the configuration at each use, or set by
    /// `server/reload.rs`.
    AtOnce,
    /// At the next start.
    NeedsRestart,
    /// Never: the flag is refused in the file.
    NotInFile,
}

/// Limits of a flag's value, inclusive. Unit: items, bytes, milliseconds, or the amount of a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bounds {
    AtLeast(u64),
    AtMost(u64),
    Between(u64, u64),
    /// The type of the value accepts only valid values.
    ByType,
    /// Every value is valid, for this reason.
    Unbounded(&'static str),
}

impl Flag {
    /// Name without the dashes: `line-max`.
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }

    /// Name of the environment variable: `CHINWAG_LINE_MAX`.
    pub fn variable(&self) -> String {
        format!("CHINWAG_{}", self.field.to_uppercase())
    }

    /// The argument for clap. Values from the configuration file replace the default.
    pub fn arg(&'static self, from_file: Option<&[OsString]>) -> Arg {
        let is_secret = matches!(self.unit, Unit::Secret(_));
        let arg = Arg::new(self.field)
            .long(self.name())
            .env(self.variable())
            .hide_env_values(is_secret)
            .help_heading(self.heading);
        let arg = match self.unit.value_name() {
            Some(name) => arg.value_name(name),
            None => arg,
        };
        let arg = match (from_file, self.default) {
            (Some(values), _) => arg.help(self.help).default_values(values).hide_default_value(is_secret),
            (None, DefaultValue::Absent) => arg.help(self.help),
            (None, DefaultValue::Is(value)) => arg.help(self.help).default_value(value),
            (None, DefaultValue::UnlessRateIsOff(value)) => arg
                .help(format!("{} [default: {value}, or off if --rate is off]", self.help))
                .default_value(value)
                .hide_default_value(true)
                .default_value_if("rate", "off", "off"),
            (None, DefaultValue::Described(text)) => arg.help(format!("{} [default: {text}]", self.help)),
        };
        (self.configure)(self, arg)
    }

    /// Reads a value within the bounds.
    fn read<T: Value>(&self, raw: &OsStr) -> Result<T, String> {
        let problem = match T::read(raw, self.unit) {
            Ok(value) if value.measure().is_none_or(|measure| self.bounds.contains(measure)) => {
                return Ok(value);
            }
            Ok(_) if self.unit == Unit::SizeForTime => format!("its time must be {}", self.bounds_in_words()),
            Ok(_) => format!("it must be {}", self.bounds_in_words()),
            Err(problem) => problem,
        };
        match T::CAN_BE_OFF {
            true => Err(format!("{problem}; `off` lifts the limit")),
            false => Err(problem),
        }
    }

    /// Bounds in the notation of the flag: `between 128 and 1m`.
    fn bounds_in_words(&self) -> String {
        let format = |bound| self.unit.format(bound);
        match self.bounds {
            Bounds::AtLeast(least) => format!("at least {}", format(least)),
            Bounds::AtMost(most) => format!("at most {}", format(most)),
            Bounds::Between(least, most) => format!("between {} and {}", format(least), format(most)),
            Bounds::ByType | Bounds::Unbounded(_) => String::new(),
        }
    }
}

impl Unit {
    fn value_name(self) -> Option<&'static str> {
        match self {
            Unit::Switch => None,
            Unit::Count => Some("N"),
            Unit::Size => Some("SIZE"),
            Unit::Time => Some("TIME"),
            Unit::Rate | Unit::ByteRate => Some("RATE"),
            Unit::SizeForTime => Some("SIZE:TIME"),
            Unit::File => Some("FILE"),
            Unit::Text(name) | Unit::Secret(name) | Unit::Choice(name, _) => Some(name),
        }
    }

    /// A bound in the notation that the flag accepts.
    fn format(self, bound: u64) -> String {
        let scaled = |units: &[(u64, &str)]| {
            let unit = units.iter().find(|(scale, _)| bound > 0 && bound.is_multiple_of(*scale));
            unit.map_or(format!("{bound}"), |(scale, unit)| format!("{}{unit}", bound / scale))
        };
        match self {
            Unit::Size | Unit::ByteRate => scaled(&[(1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")]),
            Unit::Time | Unit::SizeForTime => {
                scaled(&[(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")])
            }
            Unit::File | Unit::Text(_) | Unit::Secret(_) => format!("{bound} bytes long"),
            Unit::Switch | Unit::Count | Unit::Rate | Unit::Choice(..) => bound.to_string(),
        }
    }
}

impl Bounds {
    pub fn least(self) -> Option<u64> {
        match self {
            Bounds::AtLeast(least) | Bounds::Between(least, _) => Some(least),
            Bounds::AtMost(_) | Bounds::ByType | Bounds::Unbounded(_) => None,
        }
    }

    pub fn most(self) -> Option<u64> {
        match self {
            Bounds::AtMost(most) | Bounds::Between(_, most) => Some(most),
            Bounds::AtLeast(_) | Bounds::ByType | Bounds::Unbounded(_) => None,
        }
    }

    fn contains(self, value: u64) -> bool {
        self.least().is_none_or(|least| value >= least) && self.most().is_none_or(|most| value <= most)
    }
}

/// A type that a field of [`super::Config`] can have: it sets how often its flag may be given.
pub trait Field: Sized {
    /// Whether the flag takes several values.
    const IS_REPEATABLE: bool = false;

    /// Adds the action and the parser to the flag's argument.
    fn configure(flag: &'static Flag, arg: Arg) -> Arg;

    /// Checks one value.
    ///
    /// # Errors
    /// The form that a value has, or its bounds, in words.
    fn check(flag: &Flag, raw: &OsStr) -> Result<(), String>;

    /// Takes the parsed value of a field.
    fn take(matches: &mut ArgMatches, field: &str) -> Self;
}

impl Field for bool {
    fn configure(_: &'static Flag, arg: Arg) -> Arg {
        arg.action(ArgAction::SetTrue).value_parser(FalseyValueParser::new())
    }

    fn check(_: &Flag, _: &OsStr) -> Result<(), String> {
        Ok(())
    }

    fn take(matches: &mut ArgMatches, field: &str) -> bool {
        matches.get_flag(field)
    }
}

impl<T: Value> Field for T {
    fn configure(flag: &'static Flag, arg: Arg) -> Arg {
        arg.value_parser(ValueOf::<T>(flag, PhantomData))
    }

    fn check(flag: &Flag, raw: &OsStr) -> Result<(), String> {
        flag.read::<T>(raw).map(drop)
    }

    fn take(matches: &mut ArgMatches, field: &str) -> T {
        matches.remove_one(field).expect("the row has a default value")
    }
}

impl<T: Value> Field for Option<T> {
    fn configure(flag: &'static Flag, arg: Arg) -> Arg {
        T::configure(flag, arg)
    }

    fn check(flag: &Flag, raw: &OsStr) -> Result<(), String> {
        T::check(flag, raw)
    }

    fn take(matches: &mut ArgMatches, field: &str) -> Option<T> {
        matches.remove_one(field)
    }
}

impl<T: Value> Field for Vec<T> {
    const IS_REPEATABLE: bool = true;

    fn configure(flag: &'static Flag, arg: Arg) -> Arg {
        T::configure(flag, arg).action(ArgAction::Append).value_delimiter(',')
    }

    fn check(flag: &Flag, raw: &OsStr) -> Result<(), String> {
        T::check(flag, raw)
    }

    fn take(matches: &mut ArgMatches, field: &str) -> Vec<T> {
        matches.remove_many(field).map(Iterator::collect).unwrap_or_default()
    }
}

/// Parser of a flag's values. One place writes the message about a bad value, and hides it if it is a secret.
#[derive(Clone)]
struct ValueOf<T>(&'static Flag, PhantomData<T>);

impl<T: Value> TypedValueParser for ValueOf<T> {
    type Value = T;

    fn parse_ref(&self, _: &Command, arg: Option<&Arg>, raw: &OsStr) -> Result<T, clap::Error> {
        self.0.read(raw).map_err(|problem| {
            let value = match self.0.unit {
                Unit::Secret(_) => String::new(),
                _ => format!(" '{}'", raw.to_string_lossy()),
            };
            let flag = arg.map(Arg::to_string).unwrap_or_default();
            let message = format!("invalid value{value} for '{flag}': {problem}");
            clap::Error::raw(ErrorKind::ValueValidation, message)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self.0.unit {
            Unit::Choice(_, words) => {
                Some(Box::new(words.iter().map(|(word, help)| PossibleValue::new(*word).help(*help))))
            }
            _ => None,
        }
    }
}
