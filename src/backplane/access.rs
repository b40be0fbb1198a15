//! The kept tables of access (bans, mutes and registered names), which processes share by a hash in Redis.
//!
//! A process adds its own entries at the beginning of each session. So nothing is lost if Redis has lost its data, nor if two
//! servers with entries are joined. A lifted entry stays as a tombstone, so that no process brings it back.

use std::collections::BTreeMap;
use std::mem;

use super::reply::{list, text};
use super::{Backplane, LinkAction, LinkCommand};
use crate::access::{AccessChange, AccessEntry, AccessRecord};
use crate::codec::resp::Reply;
use crate::state;
use crate::time::Now;

/// The payload by which scripts announce that the hash has changed.
pub const CHANGED: &[u8] = b"chinwag changed";

/// The time for which Redis keeps a tombstone: a year.
const TOMBSTONE_MILLIS: u64 = 365 * 24 * 3600 * 1000;

/// Whether the hash is being read.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TableRead {
    #[default]
    Idle,
    /// A read is unanswered.
    Waiting,
    /// The hash has changed since then, and is read again afterwards.
    WaitingAgain,
}

impl Backplane {
    /// Sends a change that was applied here to the other processes, at once or when Redis is back.
    pub fn record(&mut self, change: AccessChange, now: Now) {
        let (key, value) = state::write_record(change, now.unix_millis.saturating_add(TOMBSTONE_MILLIS));
        self.serial += 1;
        self.push(LinkCommand::Record { serial: self.serial, key, value });
    }

    /// Adds the entries of this process to the hash, and reads it. [`LinkAction::Table`] follows.
    pub fn read_table(&mut self, entries: impl Iterator<Item = AccessEntry>) {
        // The session may have ended meanwhile, and the next one asks again.
        if self.is_serving() {
            let records = entries.map(|entry| state::write_record(AccessChange::Added(entry), 0));
            let command = LinkCommand::Table(records.flat_map(|(key, value)| [key, value]).collect());
            self.queue.push_for_session(command);
            self.table_read = TableRead::Waiting;
        }
    }

    /// Reads the hash after a notice.
    pub(super) fn handle_changed(&mut self) {
        match self.table_read {
            TableRead::Idle => self.read_table([].into_iter()),
            TableRead::Waiting | TableRead::WaitingAgain => self.table_read = TableRead::WaitingAgain,
        }
    }

    /// Handles the hash. `None` if the reply is malformed.
    pub(super) fn handle_table(&mut self, reply: &Reply) -> Option<()> {
        let pairs = list(reply)?.chunks_exact(2);
        let all = pairs.len();
        let texts = pairs.filter_map(|pair| Some((text(&pair[0])?.into(), text(&pair[1])?.into())));
        let mut table: BTreeMap<String, String> = texts.collect();
        self.counts.ignored += (all - table.len()) as u64;
        self.add_unconfirmed(&mut table);
        self.actions.push_back(LinkAction::Table(table));
        if mem::take(&mut self.table_read) == TableRead::WaitingAgain {
            self.read_table([].into_iter());
        }
        Some(())
    }

    /// The content of the hash after all changes of this process. Values of other programs are ignored.
    pub fn parse_table(&mut self, mut table: BTreeMap<String, String>) -> BTreeMap<String, AccessRecord> {
        // Actions between the reply and this one may have made changes.
        self.add_unconfirmed(&mut table);
        let all = table.len();
        let records = table.into_iter().filter_map(|(key, value)| {
            let record = state::read_record(&key, &value)?;
            Some((key, record))
        });
        let records: BTreeMap<String, AccessRecord> = records.collect();
        self.counts.ignored += (all - records.len()) as u64;
        records
    }

    /// Puts the changes that Redis executes after the read into what was read.
    fn add_unconfirmed(&self, table: &mut BTreeMap<String, String>) {
        table.extend(self.queue.iter().filter_map(|command| match command {
            LinkCommand::Record { key, value, .. } => Some((key.clone(), value.clone())),
            _ => None,
        }));
    }
}
