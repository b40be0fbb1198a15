//! The text of the state file: JSON with a version.

use std::fmt::Display;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SavedState;
use crate::access::{
    AccessChange, AccessEntry, AccessRecord, BANS_MAX, Ban, BanTarget, Mute, REGISTERED_MAX, Registered,
    TokenHash,
};
use crate::text::{Name, Text};

/// The version of the format. A change that older programs would misread needs a higher one.
const VERSION: u32 = 1;

/// The whole file. No key may be missing, so that a misspelt one can't empty a list.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    registered: Vec<RegisteredForm>,
    bans: Vec<BanForm>,
    mutes: Vec<MuteForm>,
}

/// The one key that every version has.
#[derive(Deserialize)]
struct VersionForm {
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisteredForm {
    name: Quoted<Name>,
    token: Quoted<TokenHash>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BanForm {
    target: Quoted<BanTarget>,
    by: Quoted<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Quoted<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_unix_millis: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MuteForm {
    account: Quoted<Name>,
    by: Quoted<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_unix_millis: Option<u64>,
}

/// The tombstone of an entry in Redis.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LiftedForm {
    lifted_by: Quoted<Name>,
    until_unix_millis: u64,
}

/// A value that is written as a string.
struct Quoted<T>(T);

/// A value of the file that has a rule for its text.
trait Readable: Display + Sized {
    /// # Errors
    /// The rule that the text breaks.
    fn read(raw: &str) -> Result<Self, String>;
}

impl Readable for Name {
    /// Reads the names of guests and of the server too.
    fn read(raw: &str) -> Result<Name, String> {
        Name::of_remote(raw).map_or_else(|| Name::parse(raw).map_err(|error| error.to_string()), Ok)
    }
}

impl Readable for BanTarget {
    fn read(raw: &str) -> Result<BanTarget, String> {
        raw.parse()
    }
}

impl Readable for TokenHash {
    fn read(raw: &str) -> Result<TokenHash, String> {
        raw.parse()
    }
}

impl Readable for Text {
    fn read(raw: &str) -> Result<Text, String> {
        Text::clean_lines(raw).ok_or_else(|| "a reason must not be blank".into())
    }
}

impl<T: Readable> Serialize for Quoted<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: Readable> Deserialize<'de> for Quoted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quoted<T>, D::Error> {
        let raw = String::deserialize(deserializer)?;
        T::read(&raw).map(Quoted).map_err(D::Error::custom)
    }
}

/// The text for a state, with a line for each value.
pub fn write(state: &SavedState) -> Result<Vec<u8>, serde_json::Error> {
    let document = Document {
        version: VERSION,
        registered: state.registered.iter().cloned().map(RegisteredForm::from).collect(),
        bans: state.bans.iter().cloned().map(BanForm::from).collect(),
        mutes: state.mutes.iter().cloned().map(MuteForm::from).collect(),
    };
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    Ok(text)
}

/// Reads the text of a state file.
///
/// # Errors
/// `LINE:COLUMN: PROBLEM`, or the problem alone if it is the version.
pub fn read(text: &[u8]) -> Result<SavedState, String> {
    if let Ok(VersionForm { version }) = serde_json::from_slice(text)
        && version != VERSION
    {
        return Err(format!(
            " it has version {version}, and this program reads version {VERSION}; run the program that wrote it"
        ));
    }
    let document: Document = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let place = format!(" at line {line} column {column}");
        let problem = error.to_string();
        format!("{line}:{column}: it is damaged ({})", problem.trim_end_matches(&place))
    })?;
    if document.bans.len() > BANS_MAX || document.registered.len() > REGISTERED_MAX {
        return Err(format!(
            " it has more than {BANS_MAX} bans or {REGISTERED_MAX} registered names; delete some of them"
        ));
    }
    Ok(SavedState {
        registered: document.registered.into_iter().map(Registered::from).collect(),
        bans: document.bans.into_iter().map(Ban::from).collect(),
        mutes: document.mutes.into_iter().map(Mute::from).collect(),
    })
}

/// The key and the value in Redis of an entry after a change. A tombstone is kept until that time. The end of an entry is the
/// last field of its JSON, since a script searches for it there.
pub fn write_record(change: AccessChange, lifted_until: u64) -> (String, String) {
    let (AccessChange::Added(entry) | AccessChange::Lifted { entry, .. }) = &change;
    let key = entry.key();
    let value = match change {
        AccessChange::Added(AccessEntry::Ban(ban)) => to_json(&BanForm::from(ban)),
        AccessChange::Added(AccessEntry::Mute(mute)) => to_json(&MuteForm::from(mute)),
        AccessChange::Added(AccessEntry::Name(registered)) => to_json(&RegisteredForm::from(registered)),
        AccessChange::Lifted { by, .. } => {
            to_json(&LiftedForm { lifted_by: Quoted(by), until_unix_millis: lifted_until })
        }
    };
    (key, value)
}

fn to_json(form: &impl Serialize) -> String {
    // Strings and numbers can always be written.
    serde_json::to_string(form).unwrap_or_default()
}

/// Reads a value in Redis. `None` if it is of another program.
pub fn read_record(key: &str, value: &str) -> Option<AccessRecord> {
    if let Ok(LiftedForm { lifted_by: Quoted(by), .. }) = serde_json::from_str(value) {
        return Some(AccessRecord::Lifted { by });
    }
    let entry = match key.split_once(' ')?.0 {
        "ban" => AccessEntry::Ban(serde_json::from_str::<BanForm>(value).ok()?.into()),
        "mute" => AccessEntry::Mute(serde_json::from_str::<MuteForm>(value).ok()?.into()),
        "name" => AccessEntry::Name(serde_json::from_str::<RegisteredForm>(value).ok()?.into()),
        _ => return None,
    };
    (entry.key() == key).then_some(AccessRecord::Entry(entry))
}

impl From<Registered> for RegisteredForm {
    fn from(Registered { name, token }: Registered) -> RegisteredForm {
        RegisteredForm { name: Quoted(name), token: Quoted(token) }
    }
}

impl From<RegisteredForm> for Registered {
    fn from(form: RegisteredForm) -> Registered {
        Registered { name: form.name.0, token: form.token.0 }
    }
}

impl From<Ban> for BanForm {
    fn from(Ban { target, by, reason, until_unix_millis }: Ban) -> BanForm {
        BanForm { target: Quoted(target), by: Quoted(by), reason: reason.map(Quoted), until_unix_millis }
    }
}

impl From<BanForm> for Ban {
    fn from(form: BanForm) -> Ban {
        Ban {
            target: form.target.0,
            by: form.by.0,
            reason: form.reason.map(|reason| reason.0),
            until_unix_millis: form.until_unix_millis,
        }
    }
}

impl From<Mute> for MuteForm {
    fn from(Mute { account, by, until_unix_millis }: Mute) -> MuteForm {
        MuteForm { account: Quoted(account), by: Quoted(by), until_unix_millis }
    }
}

impl From<MuteForm> for Mute {
    fn from(form: MuteForm) -> Mute {
        Mute { account: form.account.0, by: form.by.0, until_unix_millis: form.until_unix_millis }
    }
}
