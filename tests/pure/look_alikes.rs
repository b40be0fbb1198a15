//! Names that look alike: only one of them is present at a time, locally and on other processes.

use chinwag::protocol::{LocalEvent, Presence, Problem, RemoteEvent, UniqueId};

use crate::talk::*;
use crate::words::{name, text};

const HERE: u64 = 50;
const FAR: u64 = 7;

#[test]
fn look_alike_of_a_present_name_is_refused_everywhere() {
    let table = [
        ("ann", "аnn"),
        ("anna", "ΑΝΝΑ"),
        ("bob", "ВОВ"),
        ("Ivan", "lvan"),
        ("alice", "aIice"),
        ("mark", "rnark"),
        ("b0b", "bob"),
        ("علی\u{200c}رضا", "عليرضا"),
    ];
    for (holder, wanted) in table {
        let alike = || Problem::NameConfusable { name: name(wanted), holder: name(holder) };
        let mut talk = Talk::with("", &[holder, "zoë"]);
        talk.connects(CY);
        assert_eq!(talk.asks(CY, nick(wanted)), [unnamed_problem(CY, alike())]);
        assert_eq!(talk.asks(BOB, nick(wanted)), [problem(BOB, alike())]);
        assert_eq!(
            talk.chat.name_taken(&name(wanted), chinwag::time::Now::default()),
            Some(alike()),
            "by HTTP"
        );
    }
}

#[test]
fn other_case_of_a_present_name_is_taken() {
    let mut talk = Talk::with("", &["ann", "علی\u{200c}رضا", "❤\u{fe0f}"]);
    talk.connects(DAN);
    for spelling in ["ANN", "Ａnn", "ann\u{fe0f}", "علیرضا", "❤", "❤\u{fe0e}"] {
        let taken = Problem::NameTaken(name(spelling));
        assert_eq!(talk.asks(DAN, nick(spelling)), [unnamed_problem(DAN, taken)], "{spelling}");
    }
}

#[test]
fn look_alike_of_two_names_is_free_when_both_are_gone() {
    let mut talk = Talk::with("", &["Ivan", "bob", "cy"]);
    // `lvan` looks like `Ivan`, and not like `ivan`.
    let alike = Problem::NameConfusable { name: name("lvan"), holder: name("Ivan") };
    assert_eq!(talk.asks(BOB, nick("lvan")), [problem(BOB, alike)]);
    talk.asks(ANN, nick("ivan"));
    assert_eq!(talk.asks(BOB, nick("lvan"))[0], reply(BOB, you_are("lvan")));
    // `Ivan` looks like two names now, one of which is its own.
    let alike = Problem::NameConfusable { name: name("Ivan"), holder: name("lvan") };
    assert_eq!(talk.asks(ANN, nick("Ivan")), [problem(ANN, alike)]);
    assert!(talk.asks(CY, nick("IVAN")).iter().any(|sent| matches!(sent, Outcome::Reply(..))));
    assert_eq!(talk.chat.name(CY).unwrap().as_str(), "cy");
    talk.leaves(ANN, None);
    talk.leaves(BOB, None);
    assert_eq!(talk.asks(CY, nick("Ivan"))[0], reply(CY, you_are("Ivan")));
    assert_eq!((talk.chat.census().names, talk.chat.census().further_keys), (1, 1));
    talk.leaves(CY, None);
    assert_eq!((talk.chat.census().names, talk.chat.census().further_keys), (0, 0));
}

#[test]
fn private_message_never_goes_to_a_look_alike() {
    let mut talk = Talk::with("", &["ann", "aIice", "❤\u{fe0f}"]);
    for absent in ["alice", "аIice"] {
        let nobody = problem(ANN, Problem::NoSuchClient(text(absent)));
        assert_eq!(talk.asks(ANN, tell(absent, "secret")), [nobody], "{absent}");
    }
    for present in ["aIice", "AIICE", "aiice"] {
        assert_eq!(talk.asks(ANN, tell(present, "hi")), [pass(BOB, private("ann", "hi"))], "{present}");
    }
    assert_eq!(talk.asks(ANN, tell("❤", "hi")), [pass(CY, private("ann", "hi"))], "a spelling of it");
}

#[test]
fn client_may_take_a_look_alike_of_its_own_name() {
    let mut talk = Talk::with("", &["ann", "bob"]);
    assert_eq!(
        talk.asks(ANN, nick("аnn")),
        [reply(ANN, you_are("аnn")), announce([BOB], renamed("ann", "аnn"))]
    );
    let alike = Problem::NameConfusable { name: name("ann"), holder: name("аnn") };
    assert_eq!(talk.asks(BOB, nick("ann")), [problem(BOB, alike)]);
    assert_eq!(talk.chat.census().names, 1 + 1);
}

fn is_far(client: u32, who: &str, since_unix_millis: u64) -> RemoteEvent {
    let presence = Presence { name: name(who), since_unix_millis, rooms: vec![] };
    RemoteEvent::Present { id: UniqueId { process: FAR, serial: client }, presence }
}

/// Returns the process that a private message to that name goes to.
fn is_reached_at(talk: &mut Talk, to: &str) -> Option<u64> {
    talk.asks(CY, tell(to, "hi")).iter().find_map(|sent| match sent {
        Outcome::LocalEvent(LocalEvent::Private { process, .. }) => Some(*process),
        _ => None,
    })
}

#[test]
fn look_alikes_at_two_processes_are_settled_as_equal_names_are() {
    for (later_millis, yields) in [(-1, true), (1, false)] {
        let mut talk = Talk::shared(HERE, &["ann", "bob", "cy"]);
        let since = talk.unix_millis().saturating_add_signed(later_millis);
        let sent = talk.receives(is_far(1, "аnn", since));
        let loses = problem(ANN, Problem::NameLost { name: name("ann"), to: name("аnn") });
        assert_eq!(sent.contains(&loses), yields);
        assert_eq!(talk.chat.name(ANN) == Some(&name("ann")), !yields);
        assert_eq!(is_reached_at(&mut talk, "аnn"), yields.then_some(FAR));
    }
}

#[test]
fn remote_name_that_looks_like_two_local_ones_makes_both_yield() {
    let mut talk = Talk::shared(HERE, &["ivan", "lvan", "cy"]);
    let sent = talk.receives(is_far(1, "Ivan", 1));
    for (id, own) in [(ANN, "ivan"), (BOB, "lvan")] {
        let loses = problem(id, Problem::NameLost { name: name(own), to: name("Ivan") });
        assert!(sent.contains(&loses), "{sent:?}");
    }
    assert_eq!(is_reached_at(&mut talk, "ivan"), Some(FAR));
}

#[test]
fn remote_look_alikes_keep_their_names_when_a_name_is_freed() {
    for leaves in [false, true] {
        let mut talk = Talk::shared(HERE, &["Ivan", "bob", "cy"]);
        let later = talk.unix_millis() + 1;
        for (client, who) in [(1, "ivan"), (2, "lvan"), (3, "lvan")] {
            talk.receives(is_far(client, who, later));
        }
        assert_eq!(talk.chat.census().conflicts, 3);
        assert_eq!(is_reached_at(&mut talk, "lvan"), None);
        match leaves {
            true => talk.leaves(ANN, None),
            false => talk.asks(ANN, nick("igor")),
        };
        for who in ["ivan", "lvan"] {
            assert_eq!(is_reached_at(&mut talk, who), Some(FAR), "{who}");
        }
        assert_eq!(talk.chat.census().conflicts, 1);
        talk.receives(RemoteEvent::ProcessGone { process: FAR });
        assert_eq!((talk.chat.census().conflicts, talk.chat.census().further_keys), (0, 0));
    }
}

#[test]
fn claim_is_renewed_only_by_a_rename_to_a_name_that_was_not_claimed_before() {
    let table = [
        ("ann", &["ANN"][..], false),
        ("ann", &["ann"], false),
        ("ann", &["Ann", "aNN", "ann"], false),
        ("ann", &["аnn"], false),
        ("Ivan", &["lvan"], false),
        ("lvan", &["Ivan"], true),
        ("ann", &["anna"], true),
        ("ann", &["anna", "ann"], true),
    ];
    for (first, names, renewed) in table {
        let mut talk = Talk::shared(HERE, &[first, "bob", "cy"]);
        let between = talk.unix_millis() + 1000;
        talk.after_seconds(10);
        let mut claims = Vec::new();
        for next in names {
            claims.extend(talk.asks(ANN, nick(next)));
        }
        let last = name(names.last().unwrap());
        let shared = claims.iter().rev().find_map(|sent| match sent {
            Outcome::LocalEvent(LocalEvent::Present { presence, .. }) => {
                Some(presence.since_unix_millis > between)
            }
            _ => None,
        });
        assert!(shared.is_none_or(|later| later == renewed), "{first} {names:?}: {claims:?}");
        talk.receives(is_far(1, last.as_str(), between));
        assert_eq!(talk.chat.name(ANN) != Some(&last), renewed, "{first} {names:?}");
    }
}
