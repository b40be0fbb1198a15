//! The kept tables of access that processes share: their text in Redis, and their limits.

use std::collections::BTreeMap;

use chinwag::access::{AccessChange, AccessEntry, AccessRecord, BANS_MAX, Ban, Mute, Registered, TokenHash};
use chinwag::chat::{Chat, Effect};
use chinwag::config::Config;
use chinwag::protocol::RemoteEvent;
use chinwag::state::{read_record, write_record};
use chinwag::time::Now;

use crate::words::{name, text};

fn ban(target: &str) -> AccessEntry {
    let (target, reason) = (target.parse().unwrap(), Some(text("\"until_unix_millis\":1}")));
    AccessEntry::Ban(Ban { target, by: name("mod"), reason, until_unix_millis: Some(7) })
}

fn apply(chat: &mut Chat, table: BTreeMap<String, AccessRecord>) -> Vec<Effect> {
    let mut effects = Vec::new();
    chat.apply_remote(RemoteEvent::Access(table), Now::default(), &mut effects);
    effects
}

#[test]
fn entries_are_read_as_they_were_written_under_one_key_for_all_spellings() {
    let mute = Mute { account: name("Zoë"), by: name("mod"), until_unix_millis: None };
    let registered = Registered { name: name("Zoë"), token: TokenHash([7; 32]) };
    for (entry, key) in [
        (ban("Eve"), "ban eve"),
        (ban("10.0.0.0/8"), "ban 10.0.0.0/8"),
        (AccessEntry::Mute(mute), "mute zoë"),
        (AccessEntry::Name(registered), "name zoë"),
    ] {
        let (written, value) = write_record(AccessChange::Added(entry.clone()), 9);
        assert_eq!(written, key);
        assert_eq!(read_record(key, &value), Some(AccessRecord::Entry(entry.clone())), "{value}");
        assert_eq!(read_record("ban other", &value), None, "{value}");
        let (lifted, tombstone) = write_record(AccessChange::Lifted { entry, by: name("ann") }, 9);
        assert_eq!((&lifted[..], &tombstone[..]), (key, r#"{"lifted_by":"ann","until_unix_millis":9}"#));
        assert_eq!(read_record(key, &tombstone), Some(AccessRecord::Lifted { by: name("ann") }));
    }
}

#[test]
fn bans_beyond_the_limit_are_not_taken_over() {
    let mut chat = Chat::new(&Config::from_flags(""), 1);
    let entries = (0..=BANS_MAX).map(|number| ban(&format!("n{number}x")));
    let table = entries.map(|entry| (entry.key(), AccessRecord::Entry(entry))).collect();
    assert!(matches!(apply(&mut chat, table)[..], [Effect::Save { change: None, answer: None }]));
    assert_eq!(chat.access().bans().active(0).count(), BANS_MAX);
    // A lifted one makes room for another one of the same table.
    let lifted = (ban("n5x").key(), AccessRecord::Lifted { by: name("mod") });
    let last = ban(&format!("n{BANS_MAX}y"));
    apply(&mut chat, BTreeMap::from([lifted, (last.key(), AccessRecord::Entry(last))]));
    assert_eq!(chat.access().bans().active(0).count(), BANS_MAX);
    assert!(chat.access().bans().get(&"n5x".parse().unwrap(), 0).is_none());
    // A table without an entry lifts nothing, and nothing is written.
    assert!(apply(&mut chat, BTreeMap::new()).is_empty());
    assert_eq!(chat.access().bans().active(0).count(), BANS_MAX);
}
