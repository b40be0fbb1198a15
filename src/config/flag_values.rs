//! Values of flags in the configuration file: [`FileValues`].

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::file::{Entry, Section};
use super::flag::{Flag, OnReload, Unit};
use super::sections;
use super::table::FLAGS;

/// Values of flags by field. Each was checked, and has no comma if the flag is repeatable.
#[derive(Default)]
pub struct FileValues(BTreeMap<&'static str, FileValue>);

struct FileValue {
    values: Vec<OsString>,
    /// `FILE:LINE`.
    place: String,
}

impl FileValues {
    /// Reads the keys that are flags.
    ///
    /// # Errors
    /// A key that is neither a flag nor a section, or a bad value.
    pub fn read(top: Section<'_>) -> Result<FileValues, String> {
        let mut file = FileValues::default();
        for entry in top.entries("") {
            if sections::NAMES.contains(&entry.key) {
                continue;
            }
            match FLAGS.iter().find(|flag| flag.name() == entry.key) {
                None => return Err(unknown(&entry)),
                Some(flag) if flag.on_reload == OnReload::NotInFile => {
                    return Err(
                        entry.wrong_key(&format!("give it on the command line, as --{}", flag.name()))
                    );
                }
                Some(flag) => {
                    let value =
                        FileValue { values: values(flag, &entry)?, place: entry.file.place(entry.at()) };
                    file.0.insert(flag.field, value);
                }
            }
        }
        Ok(file)
    }

    /// The values of a flag, if it is in the file.
    pub fn get(&self, flag: &Flag) -> Option<&[OsString]> {
        self.0.get(flag.field).map(|value| value.values.as_slice())
    }

    /// The flags whose values come from the file, each with its place.
    pub fn used(&self, matches: &ArgMatches) -> Vec<(String, String)> {
        let is_used = |field: &str| matches.value_source(field) == Some(ValueSource::DefaultValue);
        let used = FLAGS.iter().filter(|flag| is_used(flag.field));
        used.filter_map(|flag| Some((flag.name(), self.0.get(flag.field)?.place.clone()))).collect()
    }
}

/// Adds the position in the file to each flag in the message whose value comes from the file.
pub fn with_places(problem: &str, used: &[(String, String)]) -> String {
    let words: Vec<&str> = problem.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let mut message = problem.to_string();
    for (name, place) in used {
        if words.iter().any(|word| word.strip_prefix("--") == Some(name)) {
            message = format!("{message}; {name} is in {place}");
        }
    }
    message
}

fn unknown(entry: &Entry<'_>) -> String {
    let in_file = FLAGS.iter().filter(|flag| flag.on_reload != OnReload::NotInFile);
    let names: Vec<String> = in_file.map(Flag::name).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).chain(sections::NAMES).collect();
    entry.unknown(&known)
}

/// The values of a flag as on the command line.
fn values(flag: &Flag, entry: &Entry<'_>) -> Result<Vec<OsString>, String> {
    if flag.unit == Unit::Switch {
        return entry.switch().map(|is_on| vec![is_on.to_string().into()]);
    }
    let items = match flag.is_repeatable && entry.is_list() {
        true => entry.list()?,
        false => vec![entry.clone()],
    };
    if items.is_empty() {
        return Err(entry.wrong("the list needs a value; for the default leave the key out"));
    }
    let mut values = Vec::new();
    for item in items {
        let text = match flag.unit {
            Unit::File | Unit::Text(_) | Unit::Secret(_) | Unit::Choice(..) => item.text()?.to_string(),
            _ => item.text_or_number()?,
        };
        let parts: Vec<&str> = match flag.is_repeatable {
            true => text.split(',').collect(),
            false => vec![&text],
        };
        for part in parts {
            let value = match flag.unit {
                Unit::File => item.file.beside(part).into_os_string(),
                _ => part.into(),
            };
            (flag.check)(flag, &value).map_err(|problem| item.wrong(&problem))?;
            values.push(value);
        }
    }
    Ok(values)
}
