//! Sections of the configuration file: `[rooms.NAME]`, `[accounts.NAME]` and `[filter]`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use super::file::{Entry, FileText, Section};
use super::flag::OnReload;
use super::table::FLAGS;
use crate::access::{
    AccountSettings, Allowed, Filter, FilterAction, FilterSettings, Role, RoomRules, Settings,
    TOPIC_MAX_BYTES, TokenHash,
};
use crate::text::{Looks, Name, RoomName, Text};

/// Names of the sections. No flag may have one of them.
pub const NAMES: [&str; 3] = ["rooms", "accounts", "filter"];

const ROOM_KEYS: [&str; 6] = ["enter", "speak", "topic", "history", "listed", "announce"];
const ACCOUNT_KEYS: [&str; 3] = ["role", "token", "tokens"];
const FILTER_KEYS: [&str; 3] = ["words", "file", "action"];

/// Reads all sections.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key.
pub fn read(top: Section<'_>) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for entry in top.entries("").iter().filter(|entry| NAMES.contains(&entry.key)) {
        match entry.key {
            "rooms" => settings.rooms = rooms(entry.section()?)?,
            "accounts" => settings.accounts = accounts(entry.section()?)?,
            _ => settings.filter = Some(filter(entry)?),
        }
    }
    Ok(settings)
}

/// The message about an unknown key of a section.
fn unknown(entry: &Entry<'_>, known: &[&str]) -> String {
    let is_flag =
        |name: &str| FLAGS.iter().any(|flag| flag.name() == name && flag.on_reload != OnReload::NotInFile);
    match is_flag(entry.key) {
        true => entry.wrong_key("it is a flag, and must be above the first section"),
        false => entry.unknown(known),
    }
}

fn rooms(section: Section<'_>) -> Result<BTreeMap<RoomName, RoomRules>, String> {
    let mut rooms: BTreeMap<RoomName, RoomRules> = BTreeMap::new();
    let mut places: BTreeMap<RoomName, usize> = BTreeMap::new();
    for entry in section.entries("rooms") {
        let name = RoomName::parse(entry.key).map_err(|error| entry.wrong_key(&error.to_string()))?;
        let rules = room(&entry)?;
        match places.entry(name.clone()) {
            Occupied(first) => {
                let place = entry.file.place(*first.get());
                return Err(entry.wrong_key(&format!("it is the same room as in {place}")));
            }
            Vacant(place) => {
                place.insert(entry.at());
                rooms.insert(name, rules);
            }
        }
    }
    Ok(rooms)
}

fn room(room: &Entry<'_>) -> Result<RoomRules, String> {
    let mut rules = RoomRules::default();
    for entry in room.section()?.entries(&format!("rooms.{}", room.key)) {
        match entry.key {
            "enter" => rules.enter = allowed(&entry)?,
            "speak" => rules.speak = allowed(&entry)?,
            "topic" => rules.topic = Some(topic(&entry)?),
            "history" => rules.history = Some(entry.count()?),
            "listed" => rules.listed = entry.switch()?,
            "announce" => rules.announce = entry.switch()?,
            _ => return Err(unknown(&entry, &ROOM_KEYS)),
        }
    }
    Ok(rules)
}

fn allowed(entry: &Entry<'_>) -> Result<Allowed, String> {
    if !entry.is_list() {
        let role = entry.text()?.parse::<Role>();
        return role.map(Allowed::Role).map_err(|error| {
            entry.wrong(&format!("{error}; a list of accounts is in brackets, as in [\"ann\", \"poller\"]"))
        });
    }
    let mut names = Vec::new();
    for item in entry.list()? {
        let raw = item.text()?;
        names.push(Name::parse(raw).map_err(|error| match raw.parse::<Role>() {
            Ok(role) => {
                item.wrong(&format!("a list has names of accounts; for the role write \"{role}\" alone"))
            }
            Err(_) => item.wrong(&format!("'{raw}' can't be an account: {error}")),
        })?);
    }
    Ok(Allowed::Accounts(names))
}

fn topic(entry: &Entry<'_>) -> Result<Text, String> {
    let raw = entry.text()?;
    match Text::clean(raw) {
        _ if raw.len() > TOPIC_MAX_BYTES => {
            Err(entry.wrong(&format!("a topic has at most {TOPIC_MAX_BYTES} bytes")))
        }
        Some(text) if text.as_str() == raw => Ok(text),
        Some(_) => Err(entry.wrong("a topic is one line without control characters")),
        None => Err(entry.wrong("a topic must not be blank; leave the key out for none")),
    }
}

fn accounts(section: Section<'_>) -> Result<Vec<AccountSettings>, String> {
    let mut accounts: Vec<AccountSettings> = Vec::new();
    // The position of the first account with each look-alike key, and with each token.
    let mut looks: BTreeMap<String, (Name, usize)> = BTreeMap::new();
    let mut tokens: BTreeMap<TokenHash, usize> = BTreeMap::new();
    for entry in section.entries("accounts") {
        let name = Name::parse(entry.key).map_err(|error| entry.wrong_key(&error.to_string()))?;
        let keys = Looks::of(name.as_str());
        for key in keys.keys() {
            if let Some((other, at)) = looks.get(key) {
                let relation = if name.same_as(other.as_str()) { "is the same as" } else { "looks like" };
                let place = entry.file.place(*at);
                return Err(entry.wrong_key(&format!("the name {relation} the account {other} in {place}")));
            }
        }
        looks.extend(keys.keys().map(|key| (key.into(), (name.clone(), entry.at()))));
        accounts.push(account(&entry, name, &mut tokens)?);
    }
    Ok(accounts)
}

fn account(
    account: &Entry<'_>,
    name: Name,
    known: &mut BTreeMap<TokenHash, usize>,
) -> Result<AccountSettings, String> {
    let (mut role, mut tokens) = (Role::User, None);
    for entry in account.section()?.entries(&format!("accounts.{}", account.key)) {
        let items = match entry.key {
            "role" => {
                role = account_role(&entry)?;
                continue;
            }
            "token" => vec![entry.clone()],
            "tokens" => entry.list()?,
            _ => return Err(unknown(&entry, &ACCOUNT_KEYS)),
        };
        if items.is_empty() {
            return Err(entry.wrong("the list needs a token"));
        }
        if tokens.is_some() {
            return Err(entry.wrong_key("write either token or tokens"));
        }
        let mut hashes = Vec::new();
        for item in items {
            let hash = item.text()?.parse::<TokenHash>().map_err(|error| item.wrong(&error))?;
            if let Some(at) = known.insert(hash, account.at()) {
                let place = item.file.place(at);
                return Err(item.wrong(&format!("the account in {place} has the same token")));
            }
            hashes.push(hash);
        }
        tokens = Some(hashes);
    }
    match tokens {
        Some(tokens) => Ok(AccountSettings { name, role, tokens }),
        None => Err(account.wrong_key("an account needs a token")),
    }
}

fn account_role(entry: &Entry<'_>) -> Result<Role, String> {
    match entry.text()?.parse::<Role>() {
        Ok(role) if role > Role::Guest => Ok(role),
        _ => Err(entry.wrong("the role of an account is user, moderator or admin")),
    }
}

fn filter(filter: &Entry<'_>) -> Result<FilterSettings, String> {
    let (mut words, mut action) = (None, FilterAction::default());
    for entry in filter.section()?.entries("filter") {
        match entry.key {
            "action" => {
                action = filter_action(&entry)?;
                continue;
            }
            "words" | "file" if words.is_some() => {
                return Err(entry.wrong_key("write either words or file"));
            }
            "words" => words = Some(listed_words(&entry)?),
            "file" => words = Some(words_of_file(&entry)?),
            _ => return Err(unknown(&entry, &FILTER_KEYS)),
        }
    }
    match words {
        Some(words) => {
            let settings = FilterSettings { words, action };
            Filter::new(&settings).map_err(|problem| filter.wrong_key(&problem))?;
            Ok(settings)
        }
        None => Err(filter.wrong_key("the filter needs words or file")),
    }
}

fn filter_action(entry: &Entry<'_>) -> Result<FilterAction, String> {
    match entry.text()? {
        "mask" => Ok(FilterAction::Mask),
        "refuse" => Ok(FilterAction::Refuse),
        "flag" => Ok(FilterAction::Flag),
        _ => Err(entry.wrong("an action is mask, refuse or flag")),
    }
}

fn listed_words(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let word = |item: Entry<'_>| filter_word(item.text()?).map_err(|problem| item.wrong(problem));
    entry.list()?.into_iter().map(word).collect()
}

/// Reads the words of a file, one a line. Blank lines and lines that begin with `#` are skipped.
fn words_of_file(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let file =
        FileText::read(&entry.file.beside(entry.text()?), "").map_err(|problem| entry.wrong(&problem))?;
    let mut words = Vec::new();
    let mut at = 0;
    for line in file.text().split_inclusive('\n') {
        let is_skipped = line.trim().is_empty() || line.starts_with('#');
        if !is_skipped {
            words.push(filter_word(line).map_err(|problem| file.wrong(at, problem))?);
        }
        at += line.len();
    }
    Ok(words)
}

/// A word without the white space around it.
fn filter_word(raw: &str) -> Result<String, &'static str> {
    let word = raw.trim();
    match word {
        _ if word.trim_matches('*').trim().is_empty() => {
            Err("a word of the filter needs a character besides *")
        }
        _ if word.chars().any(char::is_control) => Err("a word of the filter has no control characters"),
        _ => Ok(word.into()),
    }
}
