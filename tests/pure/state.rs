//! The state file: on a disk that fails or loses power at any operation, and on a real one.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use chinwag::access::{BANS_MAX, Ban, Mute, REGISTERED_MAX, Registered, TokenHash};
use chinwag::state::{Disk, OsDisk, SavedState, StateFile};
use chinwag::text::Text;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::random::check;
use crate::words::{name, text};

const FILE: &str = "/state/chinwag.json";
const NEW: &str = "/state/chinwag.json.new";

#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// The operation fails.
    Error,
    /// A write takes only one byte. The next operation fails.
    ShortWrite,
    /// A signal interrupts a write, which takes nothing. Other operations succeed.
    Interrupt,
    /// The power is lost before the operation.
    Crash,
}

#[derive(Clone, Default, Debug)]
struct Content {
    written: Vec<u8>,
    /// The content after the last sync.
    synced: Vec<u8>,
}

/// A folder that keeps after a crash what has been synced, and any part of the rest.
#[derive(Clone, Default, Debug)]
struct ModelDisk {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    operations: usize,
    faults: Vec<(usize, Fault)>,
    is_down: bool,
}

impl ModelDisk {
    fn step(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.faults.iter().find(|(at, _)| *at == self.operations).map(|(_, fault)| *fault);
        self.operations += 1;
        self.is_down |= fault == Some(Fault::Crash);
        match fault {
            _ if self.is_down => Err(io::Error::other("no power")),
            Some(Fault::Error) => Err(ErrorKind::StorageFull.into()),
            fault => Ok(fault),
        }
    }

    /// The disk after a crash. The bits of `choice` decide what is kept of each change that was not synced.
    fn after_crash(&self, choice: u64) -> ModelDisk {
        let mut bits = (0..).map(|bit| choice.rotate_right(bit) & 1 == 1);
        let mut is_kept = || bits.next().unwrap();
        let mut disk = ModelDisk::default();
        let both: BTreeMap<_, _> = self.names.iter().chain(&self.synced_names).collect();
        for path in both.into_keys() {
            let names = if is_kept() { &self.names } else { &self.synced_names };
            if let Some(content) = names.get(path) {
                disk.names.insert(path.clone(), *content);
            }
        }
        for Content { written, synced } in &self.contents {
            let part = &written[..written.len() * (choice % 8) as usize / 7];
            let kept = if written != synced && is_kept() { part } else { synced };
            disk.contents.push(Content { written: kept.into(), synced: kept.into() });
        }
        disk.synced_names = disk.names.clone();
        disk
    }
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Disk for &mut ModelDisk {
    type File = usize;

    fn resolve(&mut self, path: &Path) -> io::Result<PathBuf> {
        self.step().map(|_| path.into())
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.step()?;
        let content = self.names.get(path).ok_or_else(not_found)?;
        Ok(self.contents[*content].written.clone())
    }

    fn create(&mut self, path: &Path) -> io::Result<usize> {
        self.step()?;
        assert!(!self.names.contains_key(path), "the file exists");
        self.contents.push(Content::default());
        self.names.insert(path.into(), self.contents.len() - 1);
        Ok(self.contents.len() - 1)
    }

    fn write(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self.step()? {
            Some(Fault::ShortWrite) => {
                let at = self.operations;
                self.faults.push((at, Fault::Error));
                1
            }
            Some(Fault::Interrupt) => return Err(ErrorKind::Interrupted.into()),
            _ => bytes.len().min(100),
        };
        self.contents[*file].written.extend(&bytes[..taken]);
        Ok(taken)
    }

    fn sync(&mut self, file: &mut usize) -> io::Result<()> {
        self.step()?;
        let content = &mut self.contents[*file];
        content.synced = content.written.clone();
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        let content = self.names.remove(from).ok_or_else(not_found)?;
        self.names.insert(to.into(), content);
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.names.remove(path).map(drop).ok_or_else(not_found)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.step()?;
        assert_eq!(folder, Path::new("/state"));
        self.synced_names = self.names.clone();
        Ok(())
    }
}

fn ban(target: &str) -> Ban {
    Ban {
        target: target.parse().unwrap(),
        by: name("mod"),
        reason: Some(text("spam")),
        until_unix_millis: Some(9),
    }
}

/// A state with so many bans, which needs several writes.
fn state(bans: usize) -> SavedState {
    SavedState {
        registered: vec![Registered { name: name("ann"), token: TokenHash([bans as u8; 32]) }],
        bans: (0..bans).map(|number| ban(&format!("10.0.0.{number}"))).collect(),
        mutes: vec![Mute { account: name("bob"), by: name("mod"), until_unix_millis: None }],
    }
}

/// Opens the file and saves the states, until the power is lost. Returns the states that may be on the disk: the last
/// one that was acknowledged, and those that were tried after it.
fn save_all(disk: &mut ModelDisk, states: &[SavedState], before: SavedState) -> Vec<SavedState> {
    let mut possible = vec![before];
    let Ok((mut file, found)) = StateFile::open(Path::new(FILE), &mut *disk) else {
        return possible;
    };
    assert!(possible.contains(&found));
    for state in states {
        match file.save(state) {
            Ok(()) => possible = vec![state.clone()],
            Err(_) => possible.push(state.clone()),
        }
    }
    possible
}

#[track_caller]
fn assert_reopens(disk: &ModelDisk, possible: &[SavedState], case: &str) {
    for choice in [0, u64::MAX, 0x5555, 0xaaaa, 0x3336, 0xcccb] {
        let mut after = disk.after_crash(choice);
        let (_, found) = StateFile::open(Path::new(FILE), &mut after).expect(case);
        assert!(possible.contains(&found), "{case}: {found:?}");
        assert!(!after.names.contains_key(Path::new(NEW)), "{case}: the new file is left");
    }
}

#[test]
fn crash_at_any_operation_leaves_the_last_state_or_the_next() {
    let states = [state(1), state(3), state(0), state(2)];
    let mut whole = ModelDisk::default();
    assert_eq!(save_all(&mut whole, &states, SavedState::default()), [state(2)]);
    assert_reopens(&whole, &[state(2)], "without a fault");
    for start in [ModelDisk::default(), whole.after_crash(0)] {
        let before = if start.names.is_empty() { SavedState::default() } else { state(2) };
        let mut counting = start.clone();
        save_all(&mut counting, &states, before.clone());
        for at in 0..counting.operations {
            let mut disk = ModelDisk { faults: vec![(at, Fault::Crash)], ..start.clone() };
            let possible = save_all(&mut disk, &states, before.clone());
            assert!(disk.is_down);
            assert_reopens(&disk, &possible, &format!("crash at {at}"));
        }
    }
}

#[test]
fn failed_operation_is_reported_and_the_next_save_succeeds() {
    let states = [state(1), state(3), state(2)];
    let mut whole = ModelDisk::default();
    save_all(&mut whole, &states, SavedState::default());
    for fault in [Fault::Error, Fault::ShortWrite] {
        for at in 0..whole.operations {
            let mut disk = ModelDisk { faults: vec![(at, fault)], ..ModelDisk::default() };
            let possible = save_all(&mut disk, &states, SavedState::default());
            assert_reopens(&disk, &possible, &format!("{fault:?} at {at}"));
            // Later crashes find a disk on which an earlier save has failed.
            for crash in at + 1..disk.operations {
                let faults = vec![(at, fault), (crash, Fault::Crash)];
                let mut disk = ModelDisk { faults, ..ModelDisk::default() };
                let possible = save_all(&mut disk, &states, SavedState::default());
                assert_reopens(&disk, &possible, &format!("{fault:?} at {at}, crash at {crash}"));
            }
        }
    }
}

#[test]
fn interrupted_write_is_continued() {
    let states = [state(1), state(3)];
    let mut whole = ModelDisk::default();
    save_all(&mut whole, &states, SavedState::default());
    for at in 0..whole.operations {
        let mut disk = ModelDisk { faults: vec![(at, Fault::Interrupt)], ..ModelDisk::default() };
        assert_eq!(save_all(&mut disk, &states, SavedState::default()), [state(3)], "signal at {at}");
        assert_reopens(&disk, &[state(3)], &format!("signal at {at}"));
    }
}

#[test]
fn full_disk_keeps_the_old_file_and_is_reported() {
    let mut disk = ModelDisk::default();
    let (mut file, _) = StateFile::open(Path::new(FILE), &mut disk).unwrap();
    file.save(&state(1)).unwrap();
    drop(file);
    let old = disk.names.clone();
    for write in [0, 1] {
        disk.operations = 0;
        // An opening has five operations, and a save two before it writes.
        disk.faults = vec![(5 + 2 + write, Fault::ShortWrite)];
        let (mut file, found) = StateFile::open(Path::new(FILE), &mut disk).unwrap();
        assert_eq!(found, state(1));
        let error = file.save(&state(2)).unwrap_err();
        assert!(
            error.starts_with("/state/chinwag.json: no storage space; the change is not saved"),
            "{error}"
        );
        assert_eq!(disk.names, old, "the new file is removed");
    }
}

#[test]
fn folder_without_space_or_permission_is_found_at_the_start() {
    let mut present = ModelDisk::default();
    StateFile::open(Path::new(FILE), &mut present).unwrap();
    // A disk without the file, and one with it. The path is resolved and the file read before it is created.
    for mut disk in [ModelDisk::default(), present] {
        (disk.operations, disk.faults) = (0, vec![(3, Fault::Error)]);
        let error = StateFile::open(Path::new(FILE), &mut disk).unwrap_err();
        assert!(
            error.ends_with("no storage space; the server must be able to create files in that folder"),
            "{error}"
        );
    }
}

fn states() -> impl Strategy<Value = SavedState> {
    let names = || "[a-z]{1,8}x".prop_map(|raw| name(&raw));
    let until = || option::of(any::<u64>());
    let reasons =
        option::of("(?s).{1,20}".prop_map(|raw| Text::clean_lines(&raw).unwrap_or_else(|| text("-"))));
    let targets = prop_oneof![
        "[a-z]{1,8}x".prop_map(|raw| raw),
        any::<[u8; 4]>().prop_map(|octets| std::net::IpAddr::from(octets).to_string()),
        any::<u64>().prop_map(|half| std::net::Ipv6Addr::from(u128::from(half) << 64).to_string()),
    ];
    let bans = (targets, names(), reasons, until()).prop_map(|(target, by, reason, until_unix_millis)| Ban {
        target: target.parse().unwrap(),
        by,
        reason,
        until_unix_millis,
    });
    let mutes = (names(), names(), until()).prop_map(|(account, by, until_unix_millis)| Mute {
        account,
        by,
        until_unix_millis,
    });
    let registered =
        (names(), any::<[u8; 32]>()).prop_map(|(name, token)| Registered { name, token: TokenHash(token) });
    (vec(registered, 0..4), vec(bans, 0..4), vec(mutes, 0..4))
        .prop_map(|(registered, bans, mutes)| SavedState { registered, bans, mutes })
}

#[test]
fn random_state_is_read_as_it_was_saved() {
    check(500, &states(), |state| {
        let mut disk = ModelDisk::default();
        StateFile::open(Path::new(FILE), &mut disk).unwrap().0.save(&state).unwrap();
        assert_eq!(StateFile::open(Path::new(FILE), &mut disk).unwrap().1, state);
    });
}

/// Opens a file with that text.
fn open(text: &str) -> Result<SavedState, String> {
    let mut disk = ModelDisk::default();
    disk.contents.push(Content { written: text.into(), synced: text.into() });
    disk.names.insert(FILE.into(), 0);
    StateFile::open(Path::new(FILE), &mut disk).map(|(_, state)| state)
}

/// The text that is saved.
fn saved(state: &SavedState) -> String {
    let mut disk = ModelDisk::default();
    StateFile::open(Path::new(FILE), &mut disk).unwrap().0.save(state).unwrap();
    let content = disk.names[Path::new(FILE)];
    String::from_utf8(disk.contents[content].written.clone()).unwrap()
}

#[test]
fn file_can_be_read_by_people() {
    let text = saved(&SavedState { registered: Vec::new(), ..state(1) });
    let expected = r#"{
  "version": 1,
  "registered": [],
  "bans": [
    {
      "target": "10.0.0.0",
      "by": "mod",
      "reason": "spam",
      "until_unix_millis": 9
    }
  ],
  "mutes": [
    {
      "account": "bob",
      "by": "mod"
    }
  ]
}
"#;
    assert_eq!(text, expected);
}

#[test]
fn truncated_file_is_an_error_with_its_position() {
    let text = saved(&state(2));
    for length in 0..text.len() - 2 {
        let error = open(&text[..length]).unwrap_err();
        let place = error.strip_prefix("/state/chinwag.json:").unwrap_or_else(|| panic!("{error}"));
        let mut numbers = place.split(':');
        assert!(numbers.by_ref().take(2).all(|number| number.parse::<usize>().is_ok()), "{length}: {error}");
        assert!(
            error.contains("it is damaged (EOF while parsing") && error.contains("; repair it, or"),
            "{error}"
        );
    }
    assert_eq!(open(&text[..text.len() - 1]), Ok(state(2)), "without the last line end");
}

#[test]
fn damaged_file_is_an_error_that_names_the_line() {
    let good = saved(&state(1));
    for (from, to, expected) in [
        ("\"10.0.0.0\"", "\"10.0.0.1/8\"", ":11:28: it is damaged (the address has bits"),
        ("\"10.0.0.0\"", "\"a b\"", "a name has no space in it"),
        ("\"spam\"", "\" \"", "a reason must not be blank"),
        ("sha256:", "sha256", "a token is sha256:"),
        ("\"bans\"", "\"ban\"", ":9:"),
        ("\"until_unix_millis\"", "\"until\"", "unknown field `until`"),
        ("\"mutes\"", "\"bans\"", "duplicate field `bans`"),
        ("\"by\": \"mod\",\n", "", "missing field `by`"),
        ("\"version\": 1,", "", "missing field `version`"),
        ("}\n", "}\n}\n", "trailing characters"),
        ("{\n  \"version\"", "[\n  \"version\"", ":2:"),
    ] {
        let at = if from == "}\n" { good.rfind(from) } else { good.find(from) }.unwrap();
        let text = format!("{}{to}{}", &good[..at], &good[at + from.len()..]);
        let error = open(&text).unwrap_err();
        assert!(error.starts_with("/state/chinwag.json:") && error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for version in ["2", "0", "77"] {
        let error = open(&format!("{{\"version\": {version}, \"other\": true}}")).unwrap_err();
        assert!(
            error.contains(&format!("it has version {version}, and this program reads version 1")),
            "{error}"
        );
    }
}

#[test]
fn file_with_as_many_values_as_the_server_keeps_is_read_and_one_with_more_is_not() {
    let with = |registered: usize, bans: usize| SavedState {
        registered: vec![Registered { name: name("ann"), token: TokenHash([7; 32]) }; registered],
        bans: vec![ban("10.0.0.1"); bans],
        mutes: Vec::new(),
    };
    let is_read = |registered, bans| open(&saved(&with(registered, bans))).map(drop);
    assert_eq!(is_read(REGISTERED_MAX, BANS_MAX), Ok(()));
    for (registered, bans) in [(REGISTERED_MAX + 1, 0), (0, BANS_MAX + 1)] {
        let error = is_read(registered, bans).unwrap_err();
        assert!(error.contains(&format!("more than {BANS_MAX} bans or {REGISTERED_MAX} ")), "{error}");
    }
}

#[test]
fn entries_of_guests_and_of_the_server_are_read() {
    for by in ["guest-7", "mod"] {
        let bans = vec![Ban { by: name(by), ..ban("10.0.0.1") }];
        let state = SavedState { bans, ..SavedState::default() };
        assert_eq!(open(&saved(&state)), Ok(state));
    }
}

#[test]
fn real_path_without_a_folder_is_beside_the_process() {
    let name = Path::new("no-file-has-this-name.json");
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(OsDisk.resolve(name).unwrap(), here.join(name));
}

#[test]
fn real_file_is_private_and_replaced() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state.json");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    let (mut file, found) = StateFile::open(&path, OsDisk).unwrap();
    assert_eq!((found, mode()), (SavedState::default(), 0o600), "created at once");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(folder.path().join("state.json.new"), "left by a crash").unwrap();
    file.save(&state(2)).unwrap();
    assert_eq!(mode(), 0o600);
    assert_eq!(StateFile::open(&path, OsDisk).unwrap().1, state(2));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
}

#[test]
fn symbolic_link_stays_and_its_file_is_replaced() {
    let folder = TempDir::new().unwrap();
    let (link, other) = (folder.path().join("link.json"), folder.path().join("other"));
    fs::create_dir(&other).unwrap();
    symlink("other/state.json", &link).unwrap();
    let (mut file, _) = StateFile::open(&link, OsDisk).expect("a link to a file that does not exist yet");
    file.save(&state(1)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(StateFile::open(&other.join("state.json"), OsDisk).unwrap().1, state(1));
    assert_eq!(StateFile::open(&link, OsDisk).unwrap().1, state(1));
}

#[test]
fn unusable_path_is_refused_with_advice() {
    let folder = TempDir::new().unwrap();
    let path = |end: &str| folder.path().join(end);
    symlink("loop", path("loop")).unwrap();
    for (path, advice) in [
        (path(""), "it is no regular file; name a readable file"),
        (path("missing/state.json"), "name a file in a folder that exists"),
        (path("loop"), "name a file in a folder that exists"),
        (PathBuf::from("/dev/null"), "it is no regular file"),
        (PathBuf::from("/"), "it is a folder; name a file"),
        (PathBuf::from(""), "name a file in a folder that exists"),
    ] {
        let error = StateFile::open(&path, OsDisk).unwrap_err();
        assert!(error.starts_with(&format!("{}: ", path.display())) && error.contains(advice), "{error}");
    }
}
