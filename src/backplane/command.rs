//! The bytes of commands. Most call a script (`scripts/*.lua`), which each session loads.
//!
//! Redis may execute commands of a broken connection late. The beginning of every script refuses those of an earlier session.
//! Commands without a script must do no harm then: they read, reserve numbers, or publish what is not kept.

use std::fmt::Display;

use super::queue::{LinkCommand, Submission};
use super::{Backplane, GUESTS_RESERVED, entry};
use crate::codec::resp;
use crate::protocol::{Change, ClaimOver, Epoch, MessageId, Question, UniqueId};
use crate::text::{Looks, Name};

/// The lease of a process in milliseconds: three heartbeats may be late.
const LEASE_MILLIS: u64 = 14_000;

/// The fewest entries that Redis keeps of a room.
const KEPT_ENTRIES_MIN: usize = 100;

/// The time for which Redis keeps an entry of the hash after its end, since the clocks of processes differ.
const ENDED_KEPT_MILLIS: u64 = 3600 * 1000;

/// The number of times that the expiry of a room is renewed at most within its length. Renewing it with each message would cost
/// more.
const EXPIRY_PERIODS: u128 = 16;

/// The most bytes of entries in one reply to `sync`.
const SYNC_BYTES: usize = 1024 * 1024;

/// Declares the scripts and their texts in the same order.
macro_rules! scripts {
    ($($script:ident $file:literal)*) => {
        #[derive(Clone, Copy)]
        enum Script { $($script),* }

        pub const SCRIPTS: &[&str] = &[$(include_str!(concat!("scripts/", $file, ".lua"))),*];
    };
}

scripts! {
    Append "append" Bury "bury" Claim "claim" Enter "enter" Heartbeat "heartbeat" Hello "hello" Leave "leave"
    Members "members" Record "record" Relay "relay" Release "release" Rename "rename" Rooms "rooms" Sync "sync"
    Table "table" Topic "topic" Who "who"
}

/// A process's number as text.
pub fn hex(process: u64) -> String {
    format!("{process:016x}")
}

impl Backplane {
    pub(super) fn encode(&mut self, command: &LinkCommand) -> Vec<u8> {
        self.epochs = self.epochs.wrapping_add(1);
        let keys = self.keys.clone();
        let words = match command {
            LinkCommand::Load(index) => {
                let script = [include_str!("scripts/common.lua"), SCRIPTS[*index]].concat();
                words(&[&"SCRIPT", &"LOAD", &script])
            }
            LinkCommand::Hello => {
                let again = u8::from(self.must_register());
                self.script(Script::Hello, &[&LEASE_MILLIS, &again, &self.new_epoch(), &GUESTS_RESERVED])
            }
            LinkCommand::Members { room, most, members } => {
                let members = members.iter().map(|(client, name)| entry::member(*client, name));
                let head = self.script(Script::Members, &[&room.as_str(), most]);
                head.into_iter().chain(members).collect()
            }
            LinkCommand::Sync(room) => {
                let position = self.rooms.by_name.get(room).and_then(|room| room.position);
                let epoch = position.map(|position| position.epoch.to_string()).unwrap_or_default();
                let seq = position.map_or(0, |position| position.seq);
                let id = position.and_then(|position| Some(position.id?.to_string())).unwrap_or_default();
                let (new, most) = (self.new_epoch(), self.kept_entries());
                let words: [&dyn Display; 8] =
                    [&room.as_str(), &epoch, &seq, &id, &new, &most, &SYNC_BYTES, &self.expiry_millis];
                self.script(Script::Sync, &words)
            }
            LinkCommand::Barrier => words(&[&"PING"]),
            LinkCommand::Heartbeat => self.script(Script::Heartbeat, &[&LEASE_MILLIS]),
            LinkCommand::Bury { process } => {
                let reason = r#""its server is gone""#;
                self.script(Script::Bury, &[&hex(*process), &self.announce_max, &reason])
            }
            LinkCommand::Table(entries) => {
                let now = self.unix_millis.saturating_sub(ENDED_KEPT_MILLIS);
                let head = self.script(Script::Table, &[&now]);
                head.into_iter().chain(entries.iter().cloned()).collect()
            }
            LinkCommand::Record { serial, key, value } => {
                let before = self.queue.last_ordered();
                self.script(Script::Record, &[serial, &before, &self.expiry_millis, key, value])
            }
            LinkCommand::Guests => words(&[&"INCRBY", &format!("{keys}@guests"), &GUESTS_RESERVED]),
            LinkCommand::Publish { process, payload, .. } => {
                words(&[&"PUBLISH", &self.process_channel(*process), payload])
            }
            LinkCommand::Release { client, keys } => {
                let head = self.script(Script::Release, &[client]);
                head.into_iter().chain(keys.iter().cloned()).collect()
            }
            LinkCommand::Ask { question, .. } => self.question(question),
            LinkCommand::Submit(submission) => self.submission(submission),
        };
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let mut bytes = Vec::new();
        resp::encode(&words, &mut bytes);
        bytes
    }

    fn question(&self, question: &Question) -> Vec<String> {
        match question {
            Question::Claim { client, name, over, is_account } => {
                let over = match over {
                    ClaimOver::Nobody => 0,
                    ClaimOver::Guests => 1,
                    ClaimOver::Everybody => 2,
                };
                let own = u8::from(*is_account);
                let head = self.script(Script::Claim, &[client, &over, &own, name]);
                head.into_iter().chain(keys_of(name)).collect()
            }
            Question::Find { name, .. } => {
                words(&[&"HGET", &format!("{}@names", self.keys), &Looks::of(name.as_str()).first()])
            }
            Question::Who { room, max } | Question::Room { room, members: max } => {
                self.script(Script::Who, &[&room.as_str(), max])
            }
            Question::Rooms { max } => self.script(Script::Rooms, &[max]),
        }
    }

    fn submission(&self, submission: &Submission) -> Vec<String> {
        let Submission { serial, room, change, .. } = submission;
        let id = MessageId { process: self.process, serial: *serial };
        let (entry, room) = (entry::encode(id, change), room.as_str());
        let (most, expiry, new) = (self.announce_max, self.expiry_millis, self.new_epoch());
        let before = self.queue.last_ordered();
        let member = |by: &UniqueId, name: &Name| entry::member(by.serial, name);
        match change {
            _ if submission.is_appended() => {
                let period = u128::from(self.unix_millis) / (expiry / EXPIRY_PERIODS).max(1);
                let words: [&dyn Display; 8] =
                    [&room, serial, &before, &self.kept_entries(), &expiry, &period, &new, &entry];
                self.script(Script::Append, &words)
            }
            Change::Topic { .. } => {
                let topic = entry::encode_topic(change);
                self.script(Script::Topic, &[&room, serial, &before, &topic, &expiry, &new, &entry])
            }
            Change::Joined { by, name, .. } => {
                self.script(Script::Enter, &[&room, &member(by, name), &most, &entry])
            }
            Change::Left { by, name, .. } => {
                self.script(Script::Leave, &[&room, &member(by, name), &most, &entry])
            }
            Change::Renamed { by, from, to, .. } => {
                let (old, new) = (member(by, from), member(by, to));
                self.script(Script::Rename, &[&old, &new, &most, &entry, &room])
            }
            _ => self.script(Script::Relay, &[&room, &entry]),
        }
    }

    /// A call of a script. Redis refuses it after the `hello` of a later session.
    fn script(&self, script: Script, arguments: &[&dyn Display]) -> Vec<String> {
        let hash = self.hashes.get(script as usize).map(String::as_str).unwrap_or_default();
        let process = hex(self.process);
        let head: [&dyn Display; 7] =
            [&"EVALSHA", &hash, &0, &self.keys, &self.channels, &process, &self.session];
        words(&[&head[..], arguments].concat())
    }

    /// The entries that Redis keeps of a room: enough to read what a process has missed, even without a history.
    fn kept_entries(&self) -> usize {
        self.history.max(KEPT_ENTRIES_MIN)
    }

    /// An epoch for a room without one.
    fn new_epoch(&self) -> Epoch {
        Epoch { process: self.process, room: self.epochs }
    }
}

/// The keys that other names must not share.
pub fn keys_of(name: &Name) -> Vec<String> {
    Looks::of(name.as_str()).keys().map(String::from).collect()
}

fn words(words: &[&dyn Display]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}
