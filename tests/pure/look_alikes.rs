//! Names that look alike: only one of them is present at a time.

use chinwag::protocol::Problem;

use crate::talk::*;
use crate::words::{name, typed};

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
            talk.chat.refused_name(None, &name(wanted), Default::default(), &Default::default()),
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
        let nobody = problem(ANN, Problem::NoSuchClient(typed(absent)));
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
