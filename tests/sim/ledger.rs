//! The ledger checks that every accepted message reached every member of its room once, in one order. If not, the
//! member must have been told.
//!
//! It uses only what clients read. Each room has an *observer* that reads everything at once and never leaves. Between
//! `-- ann joined` and `-- ann left` the observer reads exactly the lines that ann must have read, except her own. A
//! dropped client read a prefix of them. A skipped client read them with gaps of exactly the reported lengths.

/// A line that went to a whole room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Name of the client that caused it.
    pub by: String,
    /// The line as it was printed.
    pub text: String,
}

/// Meaning of a line of a client's stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A line for the whole room.
    Room(Line),
    /// The client is in a room from here on.
    Entered(String),
    /// This number of lines for the room was skipped.
    Missed(usize),
    /// A line for this client alone.
    Own(String),
}

/// Classifies one line of a stream.
pub fn read(line: &str) -> Entry {
    let room = |by: &str| Entry::Room(Line { by: by.into(), text: line.into() });
    let Some(notice) = line.strip_prefix("-- ") else {
        return match (line.strip_prefix("* "), line.strip_prefix('[')) {
            (Some(act), _) => room(act.split(' ').next().unwrap()),
            (None, Some(_)) => Entry::Own(line.into()),
            (None, None) => room(line.split(": ").next().unwrap()),
        };
    };
    let words: Vec<&str> = notice.split(' ').collect();
    match words[..] {
        [name, "joined"] | [name, "left", ..] => room(name),
        ["you", "missed", count, ..] => Entry::Missed(count.parse().unwrap()),
        [.., "already"] => Entry::Own(line.into()),
        _ => match notice.split_once("in #").filter(|(before, _)| before.contains("you are ")) {
            Some((_, rest)) => Entry::Entered(rest.split([' ', '.']).next().unwrap().into()),
            None => Entry::Own(line.into()),
        },
    }
}

/// One stay of a client in a room.
#[derive(Debug, Default)]
pub struct Stay {
    pub room: String,
    pub entries: Vec<Entry>,
}

/// Splits all that a client has read into its stays.
pub fn stays(text: &str) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for line in text.split_terminator('\n') {
        match (read(line), stays.last_mut()) {
            (Entry::Entered(room), _) => stays.push(Stay { room, entries: Vec::new() }),
            (entry @ (Entry::Room(_) | Entry::Missed(_)), Some(stay)) => stay.entries.push(entry),
            (Entry::Room(line), None) => panic!("a room's line before any room: {line:?}"),
            (Entry::Missed(_) | Entry::Own(_), _) => {}
        }
    }
    stays
}

/// Returns what a room's observer saw during the `count`th stay of `name` (from 0): the lines of others between its
/// join and its leave. The flag says whether it saw the leave.
pub fn expected(observed: &[Line], name: &str, count: usize) -> (Vec<Line>, bool) {
    let joined = format!("-- {name} joined");
    let mut comings = observed.iter().enumerate().filter(|(_, line)| line.text == joined);
    let Some((start, _)) = comings.nth(count) else {
        return (Vec::new(), false);
    };
    let rest = &observed[start + 1..];
    let left = |line: &Line| line.by == name && line.text.starts_with(&format!("-- {name} left"));
    let end = rest.iter().position(left);
    let lines = rest[..end.unwrap_or(rest.len())].iter().filter(|line| line.by != name).cloned().collect();
    (lines, end.is_some())
}

/// Compares a stay with the expected lines. If `whole`, it must not end early.
pub fn compare(name: &str, stay: &Stay, expected: &[Line], whole: bool) {
    let mut at = 0;
    for entry in &stay.entries {
        match entry {
            Entry::Missed(count) => at += count,
            Entry::Room(line) => {
                assert_eq!(Some(line), expected.get(at), "{name} in {}: line {at} differs", stay.room);
                at += 1;
            }
            Entry::Entered(_) | Entry::Own(_) => unreachable!("not part of a stay"),
        }
    }
    assert!(at <= expected.len(), "{name} read of more missed lines than there were");
    assert!(!whole || at == expected.len(), "{name} in {}: {at} of {} lines", stay.room, expected.len());
}

/// Returns the numbers of the messages of `name` that the observers saw, in the order of each room.
pub fn numbers(observed: &[Line], name: &str) -> Vec<usize> {
    let of = |line: &Line| {
        let (_, text) =
            line.text.split_once(&format!("{name} ")).or(line.text.split_once(&format!("{name}: ")))?;
        text.split(' ').next()?.strip_prefix('m')?.parse().ok()
    };
    observed.iter().filter(|line| line.by == name).filter_map(of).collect()
}

#[test]
fn lines_are_classified_by_their_kind() {
    let line = |by: &str, text: &str| Entry::Room(Line { by: by.into(), text: text.into() });
    assert_eq!(read("ann: m1 x"), line("ann", "ann: m1 x"));
    assert_eq!(read("* ann m2"), line("ann", "* ann m2"));
    assert_eq!(read("-- ann joined"), line("ann", "-- ann joined"));
    assert_eq!(read("-- ann left (too slow)"), line("ann", "-- ann left (too slow)"));
    assert_eq!(read("-- hello ann. you are alone in #lobby. /help"), Entry::Entered("lobby".into()));
    assert_eq!(read("-- you are in #dev with bob"), Entry::Entered("dev".into()));
    assert_eq!(read("-- you are in #dev already"), Entry::Own("-- you are in #dev already".into()));
    assert_eq!(read("-- you missed 7 messages: you read too slowly"), Entry::Missed(7));
    assert_eq!(read("-- 5 s ago bob: hi"), Entry::Own("-- 5 s ago bob: hi".into()));
}

#[test]
#[should_panic(expected = "line 0 differs")]
fn a_message_that_comes_twice_is_noticed() {
    let line = Line { by: "b".into(), text: "b: m0".into() };
    let stay =
        Stay { room: "lobby".into(), entries: vec![Entry::Room(line.clone()), Entry::Room(line.clone())] };
    let other = Line { by: "b".into(), text: "b: m1".into() };
    compare("a", &stay, &[other, line], false);
}

#[test]
#[should_panic(expected = "0 of 1 lines")]
fn a_message_that_does_not_come_is_noticed() {
    let line = Line { by: "b".into(), text: "b: m0".into() };
    compare("a", &Stay::default(), &[line], true);
}
