//! The configuration file as TOML text, and its tables with the line of each key: [`FileText`], [`Section`], [`Entry`].
//!
//! Every message about the file is made here. It has one line and begins with `FILE:LINE`, or with the flag if
//! the file can't be read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::text::clean;

/// The largest file that is read.
pub const FILE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Likeness (Jaro) above which a key is suggested, as clap suggests flags.
const LIKENESS_MIN: f64 = 0.7;

/// A file, read as UTF-8.
pub struct FileText {
    path: PathBuf,
    text: String,
}

impl FileText {
    /// Reads a file. Messages about the whole file begin with `label` and its path.
    ///
    /// # Errors
    /// The file can't be read, is too large, or is not UTF-8.
    pub fn read(path: &Path, label: &str) -> Result<FileText, String> {
        let wrong = |problem: String| clean(&format!("{label}{}: {problem}", path.display())).into_owned();
        let bytes = read_bytes(path).map_err(wrong)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(FileText { path: path.into(), text: text.trim_start_matches('\u{feff}').into() }),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
                Err(clean(&format!("{}:{line}: it is not UTF-8", path.display())).into_owned())
            }
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// A path from the file: it is relative to the folder of the file.
    pub fn beside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().map_or_else(|| path.as_ref().into(), |folder| folder.join(&path))
    }

    /// The place of a byte: `FILE:LINE`.
    pub fn place(&self, at: usize) -> String {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{}:{line}", self.path.display())
    }

    /// A message about the byte at that place.
    pub fn wrong(&self, at: usize, problem: &str) -> String {
        clean(&format!("{}: {problem}", self.place(at))).into_owned()
    }

    /// Parses the text as TOML.
    ///
    /// # Errors
    /// The first error of syntax. The message has no part of the text, which may be secret.
    pub fn parse(&self) -> Result<Spanned<DeTable<'_>>, String> {
        DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, &format!("it is no TOML: {}", error.message().replace('\n', ", ")))
        })
    }
}

/// Reads a regular file of bounded size. Others, such as a pipe, could block the server when it reads again.
///
/// # Errors
/// The file can't be read, is no regular file, or is too large.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("{error}; name a readable file");
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("it is no regular file; name a readable file".into());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > FILE_MAX_BYTES {
        true => Err(format!("it must be at most {} MiB long", FILE_MAX_BYTES >> 20)),
        false => Ok(bytes),
    }
}

/// A table of the file.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    file: &'a FileText,
    table: &'a DeTable<'a>,
}

/// A key of a table with its value, or one value of a list.
#[derive(Clone)]
pub struct Entry<'a> {
    pub file: &'a FileText,
    pub key: &'a str,
    /// The section and the key, for messages.
    path: String,
    pub value: &'a DeValue<'a>,
    /// The position of the key.
    key_at: usize,
    /// The position of the value.
    value_at: usize,
}

impl<'a> Section<'a> {
    pub fn new(file: &'a FileText, table: &'a DeTable<'a>) -> Section<'a> {
        Section { file, table }
    }

    /// The entries in the order of the file. `name` is the section's own for messages, or empty.
    pub fn entries(self, name: &str) -> Vec<Entry<'a>> {
        let file = self.file;
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let (key_at, value_at) = (key.span().start, value.span().start);
            let key: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let path = match name {
                "" => key.to_string(),
                "rooms" | "accounts" => format!("[{name}.{key}]"),
                name => format!("[{name}] {key}"),
            };
            Entry { file, key, path, value: value.get_ref(), key_at, value_at }
        };
        let mut entries: Vec<Entry<'a>> = self.table.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key_at);
        entries
    }
}

impl<'a> Entry<'a> {
    /// The position of the key. [`FileText::place`] counts lines, so it is for messages only.
    pub fn at(&self) -> usize {
        self.key_at
    }

    /// A message about the value.
    pub fn wrong(&self, problem: &str) -> String {
        self.file.wrong(self.value_at, &format!("{}: {problem}", self.path))
    }

    /// A message about the key.
    pub fn wrong_key(&self, problem: &str) -> String {
        self.file.wrong(self.key_at, &format!("{}: {problem}", self.path))
    }

    /// A message about a value of another type.
    fn wrong_type(&self, expected: &str) -> String {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.wrong(&format!("it must be {expected}, and is {found}"))
    }

    /// A message about a key that is not one of `known`.
    pub fn unknown(&self, known: &[&str]) -> String {
        let likeness = |known: &&str| strsim::jaro(self.key, known);
        let best = known.iter().copied().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        match best.filter(|best| likeness(best) > LIKENESS_MIN) {
            Some(best) => self.wrong_key(&format!("the key is unknown; did you mean {best}?")),
            None if known.len() > 8 => self.wrong_key("the key is unknown; --help lists the flags"),
            None => self.wrong_key(&format!("the key is unknown; write one of {}", known.join(", "))),
        }
    }

    /// # Errors
    /// The value is no string.
    pub fn text(&self) -> Result<&'a str, String> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type("a string")),
        }
    }

    /// # Errors
    /// The value is not `true` or `false`.
    pub fn switch(&self) -> Result<bool, String> {
        match self.value {
            DeValue::Boolean(is_on) => Ok(*is_on),
            _ => Err(self.wrong_type("true or false, without quotation marks")),
        }
    }

    /// # Errors
    /// The value is no whole number, or is negative or too large.
    pub fn count(&self) -> Result<usize, String> {
        match self.value {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| self.wrong("the number must be whole, from 0, and not too large")),
            _ => Err(self.wrong_type("a whole number")),
        }
    }

    /// A string, or a whole number in decimal.
    ///
    /// # Errors
    /// The value is neither.
    pub fn text_or_number(&self) -> Result<String, String> {
        match self.value {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().into()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| self.wrong("the number is too large")),
            _ => Err(self.wrong_type("a string or a whole number")),
        }
    }

    /// The values of a list.
    ///
    /// # Errors
    /// The value is no list.
    pub fn list(&self) -> Result<Vec<Entry<'a>>, String> {
        match self.value {
            DeValue::Array(values) => Ok(values
                .iter()
                .map(|value| Entry { value: value.get_ref(), value_at: value.span().start, ..self.clone() })
                .collect()),
            _ => Err(self.wrong_type("a list of strings")),
        }
    }

    pub fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// # Errors
    /// The value is no table.
    pub fn section(&self) -> Result<Section<'a>, String> {
        match self.value {
            DeValue::Table(table) => Ok(Section { file: self.file, table }),
            _ => Err(self.wrong_type("a section")),
        }
    }
}
