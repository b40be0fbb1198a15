//! Access in the chat: logins, rights in rooms, topics and moderation, as conversations.

use std::time::Duration;

use chinwag::access::{BANS_MAX, LoginToken, Registered};
use chinwag::chat::{ClientId, Publication};
use chinwag::protocol::{
    Body, Change, CloseReason, Dialect, Event, Facts, MessageKind, Moderation, Payload, Problem, Request,
    Topic,
};
use chinwag::state::SavedState;

use crate::hall::arrival;
use crate::settle::ALONE;
use crate::talk::{ANN, BOB, CY, Outcome, Talk, left_because, nick, quit, tell, unnamed_problem};
use crate::words::{name, room, text, typed};

/// The tokens of the accounts, and the SHA-256 hashes of `a`, `b` and `m`.
const ACCOUNTS: &str = r#"
[accounts.ann]
role = "admin"
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.bea]
token = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
"#;

const ROOMS: &str = r#"
[rooms.radio]
speak = ["mod"]
topic = "What is playing"
announce = false
[rooms.staff]
enter = "moderator"
listed = false
"#;

fn token(raw: &str) -> LoginToken {
    LoginToken::parse(raw).expect("a token")
}

fn login(account: &str, raw: &str) -> Request {
    Request::Login { name: Some(name(account)), token: token(raw) }
}

fn join(to: &str) -> Request {
    Request::Join { room: room(to), history: None, echo: false, since: None }
}

fn say(what: &str) -> Request {
    Request::Say { room: None, kind: MessageKind::Say, body: Body::Text(text(what)), receipt: false }
}

fn sections() -> String {
    format!("{ACCOUNTS}{ROOMS}")
}

fn problems(sent: &[Outcome], to: ClientId) -> Vec<Problem> {
    let problem = |outcome: &Outcome| match outcome {
        Outcome::Reply(id, Event::Problem { problem, .. }) if *id == to => Some(problem.clone()),
        _ => None,
    };
    sent.iter().filter_map(problem).collect()
}

fn current_name(talk: &Talk, id: ClientId) -> String {
    talk.chat.name(id).expect("a name").to_string()
}

#[test]
fn registered_name_is_asked_for_its_token_and_then_given() {
    let mut talk = Talk::under("", &sections());
    talk.connects(ANN);
    let sent = talk.asks(ANN, nick("ANN"));
    assert_eq!(sent, [Outcome::Reply(ANN, Event::AskToken(name("ann")))]);
    assert!(talk.chat.is_asked_for_token(ANN));
    let sent = talk.asks(ANN, Request::Login { name: None, token: token("a") });
    assert!(sent.contains(&Outcome::LoggedIn(ANN)) && sent.contains(&Outcome::NameGiven(ANN)), "{sent:?}");
    assert_eq!(current_name(&talk, ANN), "ann");
    assert!(!talk.chat.is_asked_for_token(ANN));
}

#[test]
fn empty_line_instead_of_the_token_makes_a_guest() {
    let mut talk = Talk::under("", &sections());
    talk.connects(ANN);
    talk.asks(ANN, nick("ann"));
    let sent = talk.asks(ANN, Request::StayGuest);
    assert!(sent.contains(&Outcome::NameGiven(ANN)), "{sent:?}");
    assert_eq!(current_name(&talk, ANN), "guest-1");
    assert!(!talk.chat.is_asked_for_token(ANN));
}

#[test]
fn unknown_name_and_wrong_token_get_the_same_answer_and_the_third_closes() {
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    for (account, raw) in [("ann", "x"), ("nobody", "a")] {
        let sent = talk.asks(BOB, login(account, raw));
        assert_eq!(problems(&sent, BOB), [Problem::LoginFailed]);
        assert!(sent.contains(&Outcome::LoginFailed(BOB)));
        assert!(!sent.contains(&Outcome::Closed(BOB, CloseReason::LoginFailed)), "{sent:?}");
    }
    let sent = talk.asks(BOB, login("bea", "a"));
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::LoginFailed)), "{sent:?}");
}

#[test]
fn failed_logins_before_a_good_one_do_not_count() {
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    for raw in ["x", "y", "b", "x", "y"] {
        let sent = talk.asks(BOB, login("bea", raw));
        assert_eq!(problems(&sent, BOB).is_empty(), raw == "b", "{sent:?}");
        assert!(!sent.contains(&Outcome::Closed(BOB, CloseReason::LoginFailed)), "{sent:?}");
    }
}

#[test]
fn owner_takes_its_name_from_a_guest_and_from_its_own_older_session() {
    let mut talk = Talk::under("", "");
    talk.comes(ANN, "bea");
    let mut talk = {
        talk.reloads("", &sections());
        talk
    };
    talk.comes(BOB, "bob");
    let sent = talk.asks(BOB, login("bea", "b"));
    let claimed = Problem::NameClaimed { name: name("bea"), to: name("guest-1") };
    assert!(matches!(&problems(&sent, ANN)[..], [Problem::NameClaimed { .. }]), "{claimed:?} {sent:?}");
    assert_eq!(current_name(&talk, BOB), "bea");
    talk.comes(CY, "cy");
    let sent = talk.asks(CY, login("bea", "b"));
    assert_eq!(problems(&sent, BOB).len(), 1, "the older session is told");
    assert_eq!(current_name(&talk, CY), "bea");
    assert_ne!(current_name(&talk, BOB), "bea");
}

#[test]
fn older_session_keeps_the_name_if_the_flag_says_so() {
    let mut talk = Talk::under("--takeover older", &sections());
    talk.comes(BOB, "bob");
    talk.asks(BOB, login("bea", "b"));
    talk.comes(CY, "cy");
    let sent = talk.asks(CY, login("bea", "b"));
    assert_eq!(problems(&sent, CY), [Problem::NameTaken(name("bea"))]);
    assert_eq!(current_name(&talk, BOB), "bea");
    assert_eq!(current_name(&talk, CY), "cy");
    assert_eq!(talk.chat.access().identity(CY).account, Some(name("bea")));
}

#[test]
fn nobody_else_can_take_a_registered_name_or_a_look_alike() {
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    for wanted in ["ann", "Ann", "аnn"] {
        let sent = talk.asks(BOB, nick(wanted));
        assert_eq!(problems(&sent, BOB), [Problem::NameRegistered(name("ann"))], "{wanted}");
    }
    assert_eq!(current_name(&talk, BOB), "bob");
    // A newcomer with a look-alike is not asked for the token of the account. The first letter is Cyrillic.
    talk.connects(CY);
    let refused = unnamed_problem(CY, Problem::NameRegistered(name("ann")));
    assert_eq!(talk.asks(CY, nick("аnn")), [refused]);
    assert!(!talk.chat.is_asked_for_token(CY));
}

#[test]
fn client_without_the_right_neither_enters_nor_speaks() {
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    assert_eq!(problems(&talk.asks(BOB, join("staff")), BOB), [Problem::LoginRequired]);
    let sent = talk.asks(BOB, join("radio"));
    let silent = Event::MaySpeak { room: room("radio"), denied: Some(Problem::LoginRequired) };
    assert!(sent.contains(&Outcome::Reply(BOB, silent)), "{sent:?}");
    assert_eq!(problems(&talk.asks(BOB, say("hi")), BOB), [Problem::LoginRequired]);
    talk.comes(CY, "cy");
    talk.asks(CY, login("bea", "b"));
    talk.asks(CY, join("radio"));
    let denied = |sent: Vec<Outcome>| matches!(&problems(&sent, CY)[..], [Problem::NotAllowed { .. }]);
    assert!(denied(talk.asks(CY, say("hi"))));
    assert!(denied(talk.asks(CY, join("staff"))));
    assert!(denied(talk.asks(CY, Request::Who(Some(room("staff"))))));
    talk.asks(CY, login("mod", "m"));
    let sent = talk.asks(CY, say("now playing"));
    assert!(problems(&sent, CY).is_empty(), "{sent:?}");
    assert!(sent.iter().any(|outcome| matches!(outcome, Outcome::Announce(to, _) if to == &[BOB])));
}

#[test]
fn room_that_is_not_listed_is_shown_to_those_that_may_enter() {
    let mut talk = Talk::under("", &sections());
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    talk.asks(ANN, join("staff"));
    talk.comes(BOB, "bob");
    let listed = |sent: Vec<Outcome>| match &sent[..] {
        [Outcome::Reply(_, Event::Rooms { rooms, .. })] => {
            rooms.iter().map(|(room, _)| room.to_string()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(talk.asks(BOB, Request::Rooms)), ["#lobby"]);
    assert_eq!(listed(talk.asks(ANN, Request::Rooms)), ["#lobby", "#staff"]);
}

#[test]
fn topic_is_sent_on_joining_and_set_by_moderators_only() {
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    let sent = talk.asks(BOB, join("radio"));
    let topic = |by: Option<&str>, what: Option<&str>| Event::Topic {
        room: room("radio"),
        by: by.map(name),
        text: what.map(text),
    };
    assert!(sent.contains(&Outcome::Reply(BOB, topic(None, Some("What is playing")))), "{sent:?}");
    let set = |what: Option<&str>| Request::Topic { room: None, text: Some(Topic(what.map(text))) };
    assert_eq!(problems(&talk.asks(BOB, set(Some("tea"))), BOB), [Problem::LoginRequired]);
    talk.comes(CY, "cy");
    talk.asks(CY, login("mod", "m"));
    talk.asks(CY, join("radio"));
    let sent = talk.asks(CY, set(Some("tea")));
    let changed = |what: Option<&str>| {
        let topic = || topic(Some("mod"), what);
        [Outcome::Reply(CY, topic()), Outcome::Announce(vec![BOB], topic())]
    };
    assert_eq!(sent, changed(Some("tea")));
    let sent = talk.asks(CY, set(None));
    assert_eq!(sent, changed(None));
    assert_eq!(
        talk.asks(BOB, Request::Topic { room: None, text: None }),
        [Outcome::Reply(BOB, topic(Some("mod"), None))]
    );
}

#[test]
fn joins_are_not_announced_in_a_quiet_room() {
    let mut talk = Talk::under("", &sections());
    talk.comes(ANN, "cy");
    talk.asks(ANN, join("radio"));
    talk.comes(BOB, "bob");
    let sent = talk.asks(BOB, join("radio"));
    assert!(!sent.iter().any(|outcome| matches!(outcome, Outcome::Announce(..))), "{sent:?}");
    let sent = talk.leaves(BOB, None);
    assert_eq!(sent, []);
}

fn kick(target: &str) -> Request {
    Request::Moderate(Moderation::Kick { name: typed(target), reason: Some(text("spam")) })
}

fn mute(who: &str, seconds: Option<u64>) -> Request {
    let time = seconds.map(Duration::from_secs);
    Request::Moderate(Moderation::Mute { name: typed(who), time })
}

fn ban(target: &str, seconds: Option<u64>) -> Request {
    let (target, time) = (target.parse().unwrap(), seconds.map(Duration::from_secs));
    Request::Moderate(Moderation::Ban { target, time, reason: None })
}

/// The reasons why a client may not speak, in each notice that it is sent about that; `None` if it may.
fn denials(sent: &[Outcome], to: ClientId) -> Vec<Option<Problem>> {
    let denied = |outcome: &Outcome| match outcome {
        Outcome::Reply(id, Event::MaySpeak { denied, .. }) if *id == to => Some(denied.clone()),
        _ => None,
    };
    sent.iter().filter_map(denied).collect()
}

fn with_moderator(people: &[(ClientId, &str)]) -> Talk {
    let mut talk = Talk::under("", &sections());
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    for (id, who) in people {
        talk.comes(*id, who);
    }
    talk
}

#[test]
fn kicked_client_and_the_others_are_told_by_whom_and_why() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    let sent = talk.asks(ANN, kick("bob"));
    let reason = |outcome: &Outcome| match outcome {
        Outcome::Announce(to, Event::Left { reason, .. }) if to == &[ANN] => reason.clone(),
        _ => None,
    };
    assert_eq!(sent.iter().find_map(reason), Some(text("kicked by mod: spam")), "{sent:?}");
    assert!(sent.iter().any(|o| matches!(o, Outcome::Reply(BOB, Event::Removed(_)))), "{sent:?}");
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::Kicked)));
    assert!(sent.contains(&Outcome::Reply(ANN, Event::Moderated(text("bob was removed")))));
}

#[test]
fn nobody_acts_on_a_role_that_is_not_below_the_own() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    talk.asks(BOB, login("ann", "a"));
    talk.asks(CY, login("bea", "b"));
    for request in [
        kick("ann"),
        kick("mod"),
        Request::Moderate(Moderation::Mute { name: typed("ann"), time: None }),
        Request::Moderate(Moderation::Ban { target: "ann".parse().unwrap(), time: None, reason: None }),
    ] {
        let sent = talk.asks(ANN, request.clone());
        assert!(matches!(&problems(&sent, ANN)[..], [Problem::RoleTooHigh { .. }]), "{request:?} {sent:?}");
    }
    let sent = talk.asks(CY, kick("bob"));
    assert!(matches!(&problems(&sent, CY)[..], [Problem::NotAllowed { .. }]), "{sent:?}");
    // An account that is not connected has its role too.
    talk.leaves(BOB, None);
    let ban = Moderation::Ban { target: "ann".parse().unwrap(), time: None, reason: None };
    let sent = talk.asks(ANN, Request::Moderate(ban));
    assert!(matches!(&problems(&sent, ANN)[..], [Problem::RoleTooHigh { .. }]), "{sent:?}");
}

#[test]
fn muted_client_can_put_no_text_before_others_until_the_time_is_over() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    let mute = Moderation::Mute { name: typed("bob"), time: Some(std::time::Duration::from_secs(60)) };
    let sent = talk.asks(ANN, Request::Moderate(mute));
    assert!(sent.iter().any(|o| matches!(o, Outcome::Reply(BOB, Event::Muted { .. }))), "{sent:?}");
    let private = Request::Private { to: typed("mod"), text: text("x"), receipt: false };
    for request in [say("hi"), private, nick("rob"), Request::Away(Some(text("x")))] {
        let sent = talk.asks(BOB, request.clone());
        assert!(matches!(&problems(&sent, BOB)[..], [Problem::Muted(_)]), "{request:?} {sent:?}");
    }
    // A login does not end a mute.
    talk.asks(BOB, login("bea", "b"));
    assert!(matches!(&problems(&talk.asks(BOB, say("hi")), BOB)[..], [Problem::Muted(_)]));
    let sent = talk.after_seconds(60);
    let may_speak = Event::MaySpeak { room: room("lobby"), denied: None };
    assert_eq!(sent, [Outcome::Reply(BOB, may_speak)]);
    assert_eq!(problems(&talk.asks(BOB, say("hi")), BOB), []);
}

#[test]
fn end_of_a_mute_is_announced_behind_the_end_of_a_shorter_one() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    for (who, seconds) in [("bob", 3_600), ("bea", 60)] {
        talk.asks(ANN, mute(who, Some(seconds)));
    }
    // The mute of the account and that of the guest both hold.
    talk.asks(BOB, login("bea", "b"));
    let sent = talk.after_seconds(60);
    assert!(matches!(&denials(&sent, BOB)[..], [Some(Problem::Muted(_))]), "{sent:?}");
    assert_eq!(denials(&talk.after_seconds(3_540), BOB), [None]);
    // The clock of the machine is set back.
    talk.asks(ANN, mute("bea", Some(60)));
    talk.now.unix_millis -= 30_000;
    let sent = talk.after_seconds(60);
    assert!(matches!(&denials(&sent, BOB)[..], [Some(Problem::Muted(_))]), "{sent:?}");
    assert_eq!(denials(&talk.after_seconds(30), BOB), [None]);
}

#[test]
fn end_of_the_mute_of_an_account_is_announced_to_a_client_that_has_logged_in_meanwhile() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(ANN, mute("bea", Some(60)));
    talk.after_seconds(20);
    talk.asks(BOB, login("bea", "b"));
    assert_eq!(talk.after_seconds(39), []);
    assert_eq!(denials(&talk.after_seconds(1), BOB), [None]);
}

#[test]
fn guest_stays_muted_without_its_moderator_in_a_chat_without_rules() {
    let mut talk = Talk::under("", ACCOUNTS);
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    talk.comes(BOB, "bob");
    talk.asks(ANN, mute("bob", None));
    talk.leaves(ANN, None);
    assert!(matches!(&problems(&talk.asks(BOB, say("hi")), BOB)[..], [Problem::Muted(_)]));
}

#[test]
fn mute_and_ban_that_have_ended_can_not_be_lifted() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(ANN, mute("bob", Some(60)));
    talk.asks(ANN, ban("eve", Some(60)));
    talk.after_seconds(60);
    let unmute = Moderation::Unmute { name: typed("bob") };
    let unban = Moderation::Unban { target: "eve".parse().unwrap() };
    let refused = [unmute, unban].map(|lift| problems(&talk.asks(ANN, Request::Moderate(lift)), ANN));
    assert_eq!(refused, [[Problem::NotMuted(name("bob"))], [Problem::NotBanned("eve".into())]]);
}

#[test]
fn bans_that_have_ended_make_room_for_new_ones() {
    let mut talk = with_moderator(&[]);
    let until_unix_millis = Some(talk.now.unix_millis + 1_000);
    let ended = |number| chinwag::access::Ban {
        target: format!("n{number}").parse().unwrap(),
        by: name("mod"),
        reason: None,
        until_unix_millis,
    };
    talk.chat.restore(SavedState { bans: (0..BANS_MAX).map(ended).collect(), ..SavedState::default() });
    assert!(matches!(&problems(&talk.asks(ANN, ban("eve", None)), ANN)[..], [Problem::CantModerate(_)]));
    talk.after_seconds(2);
    assert_eq!(problems(&talk.asks(ANN, ban("eve", None)), ANN), []);
}

#[test]
fn mute_of_an_account_outlasts_its_connection_and_can_be_lifted() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(BOB, login("bea", "b"));
    let sent = talk.asks(ANN, Request::Moderate(Moderation::Mute { name: typed("bea"), time: None }));
    assert!(sent.iter().any(|o| matches!(o, Outcome::Saved(ANN, Event::Moderated(_)))), "{sent:?}");
    talk.leaves(BOB, None);
    talk.comes(CY, "dan");
    talk.asks(CY, login("bea", "b"));
    assert!(matches!(&problems(&talk.asks(CY, say("hi")), CY)[..], [Problem::Muted(_)]));
    talk.asks(ANN, Request::Moderate(Moderation::Unmute { name: typed("bea") }));
    assert_eq!(problems(&talk.asks(CY, say("hi")), CY), []);
    let sent = talk.asks(ANN, Request::Moderate(Moderation::Unmute { name: typed("bea") }));
    assert_eq!(problems(&sent, ANN), [Problem::NotMuted(name("bea"))]);
}

#[test]
fn banned_name_is_removed_and_can_not_come_back_until_the_ban_is_lifted() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    let target = "bob".parse().unwrap();
    let ban = Moderation::Ban { target, time: None, reason: None };
    let sent = talk.asks(ANN, Request::Moderate(ban));
    assert!(sent.contains(&Outcome::AddressBanned(BOB)), "a guest's address is banned too: {sent:?}");
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::Banned)));
    assert!(sent.iter().any(|o| matches!(o, Outcome::Saved(ANN, Event::Moderated(_)))), "{sent:?}");
    talk.leaves(BOB, None);
    talk.connects(CY);
    assert!(matches!(&problems(&talk.asks(CY, nick("BOB")), CY)[..], [Problem::Banned(_)]));
    let unban = Request::Moderate(Moderation::Unban { target: "bob".parse().unwrap() });
    talk.asks(ANN, unban.clone());
    assert_eq!(problems(&talk.asks(CY, nick("bob")), CY), []);
    assert_eq!(problems(&talk.asks(ANN, unban), ANN), [Problem::NotBanned("bob".into())]);
}

#[test]
fn banned_account_can_not_log_in() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    let ban = Moderation::Ban { target: "bea".parse().unwrap(), time: None, reason: None };
    talk.asks(ANN, Request::Moderate(ban));
    let sent = talk.asks(BOB, login("bea", "b"));
    assert!(matches!(&problems(&sent, BOB)[..], [Problem::Banned(_)]), "{sent:?}");
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::Banned)));
}

#[test]
fn client_that_must_log_in_can_do_nothing_else() {
    let mut talk = Talk::under("--access login", &sections());
    talk.connects(BOB);
    for request in [nick("bob"), Request::StayGuest, Request::Rooms, Request::Who(None), join("dev")] {
        let sent = talk.asks(BOB, request.clone());
        assert_eq!(problems(&sent, BOB), [Problem::LoginRequired], "{request:?}");
    }
    let sent = talk.asks(BOB, login("bea", "b"));
    assert!(sent.contains(&Outcome::NameGiven(BOB)), "{sent:?}");
    assert_eq!(problems(&talk.asks(BOB, say("hi")), BOB), []);
}

#[test]
fn client_registers_its_name_and_logs_in_with_the_token() {
    let mut talk = Talk::under("--registration", &sections());
    talk.comes(BOB, "bob");
    let sent = talk.asks(BOB, Request::Register);
    let token = |outcome: &Outcome| match outcome {
        Outcome::Saved(BOB, Event::Registered { token, .. }) => Some(token.clone()),
        _ => None,
    };
    let token = sent.iter().find_map(token).expect("a token");
    assert!(sent.contains(&Outcome::LoggedIn(BOB)));
    assert_eq!(problems(&talk.asks(BOB, Request::Register), BOB), [Problem::CantRegister]);
    talk.leaves(BOB, None);
    talk.connects(CY);
    talk.asks(CY, nick("bob"));
    let sent = talk.asks(CY, Request::Login { name: None, token });
    assert!(sent.contains(&Outcome::LoggedIn(CY)), "{sent:?}");
}

#[test]
fn guest_name_and_a_server_without_registration_register_nothing() {
    let mut talk = Talk::under("--registration", &sections());
    talk.connects(BOB);
    talk.asks(BOB, Request::StayGuest);
    assert_eq!(problems(&talk.asks(BOB, Request::Register), BOB), [Problem::CantRegister]);
    let mut talk = Talk::under("", &sections());
    talk.comes(BOB, "bob");
    assert_eq!(problems(&talk.asks(BOB, Request::Register), BOB), [Problem::RegistrationOff]);
}

#[test]
fn reload_ends_sessions_without_an_account_and_moves_clients_out_of_closed_rooms() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    talk.asks(CY, join("dev"));
    talk.asks(BOB, login("bea", "b"));
    let sent =
        talk.reloads("", &format!("{}[rooms.dev]\nenter = \"user\"\n", ACCOUNTS.replace(".bea]", ".eve]")));
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::SessionEnded)), "{sent:?}");
    assert_eq!(
        problems(&sent, CY),
        [Problem::NotAllowed { action: chinwag::access::Action::Enter, room: Some(room("dev")) }]
    );
    assert!(!sent.contains(&Outcome::Closed(ANN, CloseReason::SessionEnded)));
    let rooms: Vec<_> =
        talk.chat.rooms_of(CY).iter().filter_map(|id| talk.chat.room_name(*id)).cloned().collect();
    assert_eq!(rooms, [room("lobby")]);
}

#[test]
fn private_message_can_be_answered_and_absence_is_told() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    assert_eq!(problems(&talk.asks(BOB, Request::Answer(text("x"))), BOB), [Problem::NobodyToAnswer]);
    let private = |to: &str| Request::Private { to: typed(to), text: text("psst"), receipt: false };
    talk.asks(CY, private("bob"));
    let sent = talk.asks(BOB, Request::Answer(text("yes")));
    assert!(matches!(&sent[..], [Outcome::Pass(CY, Event::Private { .. })]), "{sent:?}");
    talk.asks(BOB, Request::Away(Some(text("lunch"))));
    let sent = talk.asks(CY, private("bob"));
    let is_away = Event::IsAway { name: name("bob"), text: text("lunch") };
    assert!(sent.contains(&Outcome::Reply(CY, is_away)), "{sent:?}");
    talk.asks(BOB, Request::Away(None));
    assert_eq!(talk.asks(CY, private("bob")).len(), 1);
}

#[test]
fn whois_shows_the_address_to_moderators_only() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    for (by, is_shown) in [(ANN, true), (BOB, false)] {
        let sent = talk.asks(by, Request::Whois(typed("bob")));
        assert!(
            matches!(&sent[..], [Outcome::Whois(to, whois, shown)]
                if *to == by && *shown == is_shown && whois.account.is_none()),
            "{sent:?}"
        );
    }
}

fn filtered(action: &str) -> Talk {
    let filter = format!("[filter]\nwords = [\"heck\", \"darn*\"]\naction = \"{action}\"\n");
    let mut talk = Talk::under("", &format!("{ACCOUNTS}{filter}"));
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    talk.comes(BOB, "bob");
    talk
}

fn said(sent: &[Outcome]) -> Vec<String> {
    let text = |outcome: &Outcome| match outcome {
        Outcome::Announce(_, Event::Message { message, .. }) => Some(message.body.as_line().into_owned()),
        Outcome::Pass(_, Event::Private { text, .. }) => Some(text.to_string()),
        _ => None,
    };
    sent.iter().filter_map(text).collect()
}

#[test]
fn filter_masks_every_text_that_others_see() {
    let mut talk = filtered("mask");
    assert_eq!(said(&talk.asks(BOB, say("oh h3ck, DARNED"))), ["oh ****, ****ED"]);
    let private = Request::Private { to: typed("mod"), text: text("heck"), receipt: false };
    assert_eq!(said(&talk.asks(BOB, private)), ["****"]);
    talk.asks(BOB, Request::Away(Some(text("heck"))));
    let private = Request::Private { to: typed("bob"), text: text("hi"), receipt: false };
    let sent = talk.asks(ANN, private);
    let is_away = Event::IsAway { name: name("bob"), text: text("****") };
    assert!(sent.contains(&Outcome::Reply(ANN, is_away)), "{sent:?}");
    let kick = Moderation::Kick { name: typed("bob"), reason: Some(text("heck")) };
    let sent = talk.asks(ANN, Request::Moderate(kick));
    let left = |outcome: &Outcome| match outcome {
        Outcome::Announce(_, Event::Left { reason, .. }) => reason.clone(),
        _ => None,
    };
    assert_eq!(sent.iter().find_map(left), Some(text("kicked by mod: ****")));
}

/// Texts that others are shown, by any event.
fn shown(sent: &[Outcome]) -> Vec<String> {
    let text = |outcome: &Outcome| match outcome {
        Outcome::Announce(_, Event::Message { message, .. }) => Some(message.body.as_line().into_owned()),
        Outcome::Announce(_, Event::Relayed(payload)) => Some(format!("{payload:?}")),
        Outcome::Announce(_, Event::Left { reason, .. }) => {
            Some(reason.as_ref().map_or("left", |reason| reason.as_str()).into())
        }
        Outcome::Announce(_, Event::Topic { text, .. }) => text.as_ref().map(ToString::to_string),
        Outcome::Pass(_, Event::Private { text, .. }) => Some(text.to_string()),
        _ => None,
    };
    sent.iter().filter_map(text).collect()
}

#[test]
fn filter_masks_or_refuses_answers_topics_reasons_and_relayed_texts() {
    let heck = || Some(text("heck"));
    let banned = Moderation::Ban { target: "bob".parse().unwrap(), time: None, reason: heck() };
    let rows = [
        (BOB, quit(Some("heck")), "****", Some("left")),
        (ANN, Request::Answer(text("heck")), "****", None),
        (ANN, Request::Topic { room: None, text: Some(Topic(heck())) }, "****", None),
        (ANN, Request::Moderate(banned), "banned by mod: ****", None),
        (CY, Request::Relay(Payload::Text("heck".into())), "Text(\"****\") ****", None),
    ];
    for action in ["mask", "refuse"] {
        let ask = |(by, request, ..): &(_, Request, _, _)| {
            let mut talk = filtered(action);
            talk.enters(CY, arrival(Dialect::Raw, "dan", "lobby"), &ALONE);
            talk.asks(BOB, tell("mod", "hi"));
            let sent = talk.asks(*by, request.clone());
            let refused = problems(&sent, *by).contains(&Problem::Filtered);
            (refused, shown(&sent).join(" "))
        };
        let expected = |(_, _, masked, allowed): &(_, _, &str, Option<&str>)| match action {
            "mask" => (false, masked.to_string()),
            _ => (allowed.is_none(), allowed.unwrap_or_default().to_string()),
        };
        let (sent, expected): (Vec<_>, Vec<_>) = rows.iter().map(|row| (ask(row), expected(row))).unzip();
        assert_eq!(sent, expected, "{action}");
    }
    let mut talk = filtered("refuse");
    assert!(talk.asks(BOB, quit(Some("heck"))).contains(&Outcome::Quit(BOB)), "it may always leave");
    let sent = filtered("mask").asks(BOB, quit(Some("heck")));
    assert!(sent.contains(&Outcome::Announce(vec![ANN], left_because("bob", "****"))), "{sent:?}");
}

#[test]
fn room_of_the_configuration_and_open_rooms_are_entered_whatever_their_names() {
    let filter = |word: &str| format!("{ACCOUNTS}[rooms.heck]\n[filter]\nwords = [\"{word}\"]\n");
    let mut talk = Talk::under("", &filter("heck"));
    talk.comes(BOB, "bob");
    let entered = problems(&talk.asks(BOB, join("heck")), BOB);
    talk.asks(BOB, join("gosh"));
    talk.reloads("", &filter("gosh"));
    talk.comes(CY, "dan");
    assert_eq!([entered, problems(&talk.asks(CY, join("gosh")), CY)], [[], []]);
}

#[test]
fn filter_refuses_names_and_new_rooms() {
    for action in ["mask", "refuse"] {
        // The name that a WebSocket client asks for.
        let mut talk = filtered(action);
        let sent = talk.enters(CY, arrival(Dialect::Json, "heck", ""), &ALONE);
        assert_eq!(
            (problems(&sent, CY), current_name(&talk, CY)),
            (vec![Problem::Filtered], "guest-3".into())
        );
        let mut talk = filtered(action);
        assert_eq!(problems(&talk.asks(BOB, nick("heck")), BOB), [Problem::Filtered], "{action}");
        assert_eq!(problems(&talk.asks(BOB, join("heck")), BOB), [Problem::Filtered], "{action}");
        assert_eq!(problems(&talk.asks(BOB, join("hecks")), BOB), [], "{action}");
    }
}

#[test]
fn filter_refuses_or_flags_a_text_as_it_is_set() {
    let mut talk = filtered("refuse");
    let sent = talk.asks(BOB, say("heck"));
    assert_eq!((problems(&sent, BOB), said(&sent)), (vec![Problem::Filtered], vec![]));
    let mut talk = filtered("flag");
    let sent = talk.asks(BOB, say("heck"));
    assert_eq!(said(&sent), ["heck"]);
    let flagged = Event::Flagged { author: Some(name("bob")), text: text("heck") };
    assert!(sent.contains(&Outcome::Pass(ANN, flagged.clone())), "{sent:?}");
    assert!(!sent.contains(&Outcome::Pass(BOB, flagged)), "{sent:?}");
    // The name of a room has no author.
    let rows = [(nick("heck"), Some("bob")), (join("heck"), None)];
    let sent = rows.map(|(request, author)| (talk.asks(BOB, request), author));
    for (sent, author) in sent {
        let flagged = Event::Flagged { author: author.map(name), text: text("heck") };
        assert!(sent.contains(&Outcome::Pass(ANN, flagged)), "{author:?} {sent:?}");
    }
}

#[test]
fn filter_of_another_file_is_used_after_a_reload() {
    let mut talk = filtered("mask");
    talk.reloads("", &format!("{ACCOUNTS}[filter]\nwords = [\"gosh\"]\n"));
    assert_eq!(said(&talk.asks(BOB, say("heck, gosh"))), ["heck, ****"]);
    talk.reloads("", ACCOUNTS);
    assert_eq!(said(&talk.asks(BOB, say("heck, gosh"))), ["heck, gosh"]);
}

fn ignore(who: &str) -> Request {
    Request::Ignore(Some(typed(who)))
}

#[test]
fn ignored_client_is_left_out_in_rooms_in_private_and_in_the_history() {
    // The name of the client has a capital, as that in the request.
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "Dan")]);
    let listed = |names: &[&str]| Event::Ignoring(names.iter().map(|name| text(name)).collect());
    assert_eq!(talk.asks(BOB, ignore("DAN")), [Outcome::Reply(BOB, listed(&["dan"]))]);
    let reached = |sent: &[Outcome]| match sent {
        [Outcome::Announce(to, Event::Message { .. })] => to.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reached(&talk.asks(CY, say("one"))), [ANN]);
    let private = |to: &str| Request::Private { to: typed(to), text: text("psst"), receipt: false };
    assert_eq!(talk.asks(CY, private("bob")), []);
    let history = |sent: Vec<Outcome>| {
        sent.iter().filter(|o| matches!(o, Outcome::Reply(_, Event::HistoryEntry { .. }))).count()
    };
    let ask = || Request::History { room: None, count: None, after: None };
    assert_eq!(history(talk.asks(BOB, ask())), 0);
    assert_eq!(history(talk.asks(ANN, ask())), 1);
    // The rename of an ignored client changes nothing.
    talk.asks(CY, nick("daniel"));
    assert_eq!(reached(&talk.asks(CY, say("two"))), [ANN]);
    talk.asks(BOB, Request::Unignore(typed("daniel")));
    assert_eq!(reached(&talk.asks(CY, say("three"))), [ANN, BOB]);
    // The old name stays ignored until it is named.
    assert_eq!(talk.asks(BOB, Request::Ignore(None)), [Outcome::Reply(BOB, listed(&["dan"]))]);
    assert_eq!(talk.asks(BOB, Request::Unignore(typed("DAN"))), [Outcome::Reply(BOB, listed(&[]))]);
}

#[test]
fn number_of_ignored_names_is_limited() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    for number in 0..100 {
        assert_eq!(problems(&talk.asks(BOB, ignore(&format!("n{number}"))), BOB), []);
    }
    assert_eq!(problems(&talk.asks(BOB, ignore("n7")), BOB), []);
    assert_eq!(problems(&talk.asks(BOB, ignore("more")), BOB), [Problem::TooManyIgnored { max: 100 }]);
}

#[test]
fn moderator_frees_a_registered_name_and_no_other() {
    let mut talk = Talk::under("--registration", &sections());
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    talk.comes(BOB, "bob");
    talk.asks(BOB, Request::Register);
    let unregister = |who: &str| Request::Moderate(Moderation::Unregister { name: typed(who) });
    assert_eq!(problems(&talk.asks(BOB, unregister("bob")), BOB).len(), 1, "a user is no moderator");
    let sent = talk.asks(ANN, unregister("BOB"));
    assert!(sent.contains(&Outcome::Closed(BOB, CloseReason::SessionEnded)), "{sent:?}");
    assert!(sent.contains(&Outcome::Saved(ANN, Event::Moderated(text("the name bob is free")))), "{sent:?}");
    talk.leaves(BOB, None);
    talk.comes(CY, "bob");
    for who in ["bob", "bea"] {
        assert_eq!(problems(&talk.asks(ANN, unregister(who)), ANN), [Problem::NotRegistered(typed(who))]);
    }
    assert!(matches!(&problems(&talk.asks(ANN, unregister("ann")), ANN)[..], [Problem::RoleTooHigh { .. }]));
}

#[test]
fn account_that_looked_like_an_unregistered_one_can_log_in_again() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    let registered = [("Ivan", "x"), ("lvan", "y")]
        .map(|(who, raw)| Registered { name: name(who), token: token(raw).hash() });
    talk.chat.restore(SavedState { registered: registered.to_vec(), ..SavedState::default() });
    assert_eq!(problems(&talk.asks(BOB, login("lvan", "y")), BOB), [Problem::LoginFailed]);
    talk.asks(ANN, Request::Moderate(Moderation::Unregister { name: typed("Ivan") }));
    assert_eq!(problems(&talk.asks(BOB, login("lvan", "y")), BOB), []);
}

#[test]
fn muted_moderator_gives_no_reasons() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    talk.asks(CY, login("ann", "a"));
    talk.asks(CY, Request::Moderate(Moderation::Mute { name: typed("mod"), time: None }));
    assert!(matches!(&problems(&talk.asks(ANN, kick("bob")), ANN)[..], [Problem::Muted(_)]));
    let silent = Moderation::Kick { name: typed("bob"), reason: None };
    assert_eq!(problems(&talk.asks(ANN, Request::Moderate(silent)), ANN), []);
}

#[test]
fn size_of_a_history_changes_with_the_rules_of_its_room() {
    let mut talk = Talk::under("", ACCOUNTS);
    talk.comes(BOB, "bob");
    talk.asks(BOB, join("dev"));
    for number in 0..5 {
        talk.asks(BOB, say(&format!("m{number}")));
    }
    let history = |talk: &mut Talk| {
        let sent = talk.asks(BOB, Request::History { room: None, count: Some(50), after: None });
        sent.iter().filter(|o| matches!(o, Outcome::Reply(_, Event::HistoryEntry { .. }))).count()
    };
    assert_eq!(history(&mut talk), 5);
    talk.reloads("", &format!("{ACCOUNTS}[rooms.dev]\nhistory = 2\n"));
    assert_eq!(history(&mut talk), 2);
    talk.asks(BOB, say("more"));
    assert_eq!(history(&mut talk), 2);
    talk.reloads("", &format!("{ACCOUNTS}[rooms.dev]\nhistory = 0\n"));
    assert_eq!(history(&mut talk), 0);
}

#[test]
fn account_that_logs_in_twice_stays_ignored() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    talk.asks(BOB, ignore("bea"));
    talk.asks(CY, login("bea", "b"));
    talk.comes(crate::talk::DAN, "eve");
    talk.asks(crate::talk::DAN, login("bea", "b"));
    for id in [CY, crate::talk::DAN] {
        let sent = talk.asks(id, say("hi"));
        let reached = sent.iter().any(|o| matches!(o, Outcome::Announce(to, _) if to.contains(&BOB)));
        assert!(!reached, "{sent:?}");
    }
}

#[test]
fn name_in_the_list_of_a_room_can_not_be_registered() {
    for (list, who) in [("speak", "poller"), ("enter", "poller"), ("enter", "pоller")] {
        let mut talk = Talk::under("--registration", &format!("[rooms.radio]\n{list} = [\"poller\"]\n"));
        talk.comes(BOB, who);
        let refused = problems(&talk.asks(BOB, Request::Register), BOB);
        assert_eq!(refused, [Problem::NameRegistered(name(who))], "{list}");
    }
}

#[test]
fn answer_does_not_go_to_the_next_owner_of_a_name() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    let private = Request::Private { to: typed("bob"), text: text("psst"), receipt: false };
    talk.asks(CY, private);
    talk.leaves(CY, None);
    talk.comes(CY, "dan");
    assert_eq!(problems(&talk.asks(BOB, Request::Answer(text("x"))), BOB), [Problem::NobodyToAnswer]);
}

#[test]
fn muted_client_leaves_without_its_reason() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(ANN, Request::Moderate(Moderation::Mute { name: typed("bob"), time: None }));
    let sent = talk.asks(BOB, Request::Quit(Some(text("shout"))));
    assert!(sent.contains(&Outcome::Quit(BOB)), "{sent:?}");
    assert!(!format!("{sent:?}").contains("shout"), "{sent:?}");
}

#[test]
fn mute_of_an_account_reaches_all_its_sessions_and_a_longer_one_replaces_it() {
    let mut talk = Talk::under("--takeover older", &sections());
    talk.comes(ANN, "cy");
    talk.asks(ANN, login("mod", "m"));
    for (id, who) in [(BOB, "bob"), (CY, "dan")] {
        talk.comes(id, who);
        talk.asks(id, login("bea", "b"));
    }
    let mute = |seconds| {
        let time = Some(std::time::Duration::from_secs(seconds));
        Request::Moderate(Moderation::Mute { name: typed("bea"), time })
    };
    let sent = talk.asks(ANN, mute(60));
    for id in [BOB, CY] {
        assert!(sent.iter().any(|o| matches!(o, Outcome::Reply(to, Event::Muted { .. }) if *to == id)));
    }
    talk.asks(ANN, mute(3_600));
    assert_eq!(talk.after_seconds(60), []);
    assert_eq!(talk.after_seconds(3_540).len(), 2, "both are told that they may speak");
}

#[test]
fn ban_by_a_higher_role_is_neither_lifted_nor_replaced() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(BOB, login("ann", "a"));
    let ban = |time| Moderation::Ban { target: "eve".parse().unwrap(), time, reason: None };
    assert_eq!(problems(&talk.asks(BOB, Request::Moderate(ban(None))), BOB), []);
    let second = Some(std::time::Duration::from_secs(1));
    for moderation in [Moderation::Unban { target: "eve".parse().unwrap() }, ban(second)] {
        let sent = talk.asks(ANN, Request::Moderate(moderation));
        assert!(matches!(&problems(&sent, ANN)[..], [Problem::RoleTooHigh { .. }]), "{sent:?}");
    }
    assert_eq!(problems(&talk.asks(BOB, Request::Moderate(ban(second))), BOB), []);
}

#[test]
fn ban_by_a_higher_role_that_has_ended_may_be_replaced() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(BOB, login("ann", "a"));
    let ban = |seconds| {
        let time = Some(std::time::Duration::from_secs(seconds));
        Request::Moderate(Moderation::Ban { target: "eve".parse().unwrap(), time, reason: None })
    };
    talk.asks(BOB, ban(60));
    talk.after_seconds(59);
    assert!(matches!(&problems(&talk.asks(ANN, ban(5)), ANN)[..], [Problem::RoleTooHigh { .. }]));
    talk.after_seconds(1);
    assert_eq!(problems(&talk.asks(ANN, ban(5)), ANN), []);
}

#[test]
fn new_name_of_an_ignored_client_takes_the_place_of_the_old_one_at_the_limit() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    (0..99).for_each(|number| drop(talk.asks(BOB, ignore(&format!("n{number}")))));
    talk.asks(BOB, ignore("dan"));
    talk.asks(CY, nick("don"));
    let heard = |talk: &mut Talk| {
        let sent = talk.asks(CY, say("hi"));
        sent.iter().any(|outcome| matches!(outcome, Outcome::Announce(to, _) if to.contains(&BOB)))
    };
    assert!(!heard(&mut talk), "it is ignored under its new name");
    let listed = talk.asks(BOB, Request::Ignore(None));
    let [Outcome::Reply(BOB, Event::Ignoring(names))] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((names.len(), names.contains(&text("don")), names.contains(&text("dan"))), (100, true, false));
    // Another client has the old name, which nobody ignores any more.
    talk.leaves(CY, None);
    talk.comes(CY, "dan");
    assert!(heard(&mut talk));
    // The next client in the slot of the one that ignored them ignores nobody.
    talk.leaves(BOB, None);
    talk.comes(BOB, "new");
    for who in ["don", "n7"] {
        assert_eq!(problems(&talk.asks(CY, nick(who)), CY), []);
        assert!(heard(&mut talk), "{who}");
    }
}

/// Publishes by HTTP for an account.
fn publish(
    talk: &mut Talk,
    to: &str,
    (from, account): (&str, Option<&str>),
    what: &str,
) -> Result<Publication, Problem> {
    let (account, body, facts) = (account.map(name), Body::Text(text(what)), Facts::default());
    let now = (talk.now, &facts);
    talk.chat.check_publication(room(to), (name(from), account.as_ref()), body, now, &mut Vec::new())
}

fn refusal_to_publish(talk: &mut Talk, to: &str, from: &str, account: Option<&str>) -> Option<Problem> {
    publish(talk, to, (from, account), "hi").err()
}

#[test]
fn publisher_may_use_its_own_name_unless_that_is_banned() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    for (from, account, is_refused) in [
        ("bea", Some("bea"), false),
        ("BEA", Some("bea"), false),
        ("bea", None, true),
        ("bea", Some("mod"), true),
        ("bob", Some("bea"), true),
        ("ci", Some("bea"), false),
    ] {
        let problem = refusal_to_publish(&mut talk, "lobby", from, account);
        assert_eq!(problem.is_some(), is_refused, "{from} {account:?}: {problem:?}");
    }
    for who in ["bea", "ci"] {
        let ban = Moderation::Ban { target: who.parse().unwrap(), time: None, reason: None };
        talk.asks(ANN, Request::Moderate(ban));
        let problem = refusal_to_publish(&mut talk, "lobby", who, Some("bea"));
        assert!(matches!(problem, Some(Problem::Banned(_))), "{who}: {problem:?}");
    }
}

#[test]
fn filter_refuses_what_a_publisher_would_show_others() {
    for (action, shown) in [("mask", Ok("oh ****")), ("refuse", Err(Problem::Filtered))] {
        let mut talk = filtered(action);
        let published = publish(&mut talk, "lobby", ("ci", None), "oh heck").map(|sent| match sent.change {
            Change::Message(message) => message.body.as_line().into_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(published, shown.map(String::from));
        let refused = |talk: &mut Talk, to, from| refusal_to_publish(talk, to, from, None);
        assert_eq!(refused(&mut talk, "heck", "ci"), Some(Problem::Filtered), "{action}");
        assert_eq!(refused(&mut talk, "lobby", "heck"), Some(Problem::Filtered), "{action}");
        assert_eq!(refused(&mut talk, "hecks", "ci"), None, "{action}");
    }
}

#[test]
fn line_client_is_told_of_its_mute_once_and_where_it_may_speak_afterwards() {
    let mut talk = with_moderator(&[(BOB, "bob")]);
    talk.asks(BOB, join("radio"));
    let mute = Moderation::Mute { name: typed("bob"), time: None };
    assert_eq!(denials(&talk.asks(ANN, Request::Moderate(mute)), BOB), []);
    let sent = talk.asks(ANN, Request::Moderate(Moderation::Unmute { name: typed("bob") }));
    assert!(
        matches!(&denials(&sent, BOB)[..], [Some(Problem::LoginRequired | Problem::NotAllowed { .. })]),
        "{sent:?}"
    );
}

#[test]
fn list_of_bans_is_sorted_and_gives_the_number_of_those_left_out() {
    let mut talk = with_moderator(&[]);
    for (bans, more) in [(50, 0), (60, 10)] {
        for number in 0..bans {
            let target = format!("n{number:02}").parse().unwrap();
            talk.asks(ANN, Request::Moderate(Moderation::Ban { target, time: None, reason: None }));
        }
        let sent = talk.asks(ANN, Request::Moderate(Moderation::Bans));
        let [Outcome::Reply(ANN, Event::Bans { bans: listed, more: left_out, .. })] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!((listed.len(), *left_out), (50, more));
        let targets: Vec<String> = listed.iter().map(|ban| ban.target.to_string()).collect();
        assert_eq!((&targets[0][..], &targets[49][..]), ("n00", "n49"));
    }
}

#[test]
fn answer_goes_to_the_sender_under_its_new_name() {
    let mut talk = with_moderator(&[(BOB, "bob"), (CY, "dan")]);
    talk.asks(CY, Request::Private { to: typed("bob"), text: text("psst"), receipt: false });
    talk.asks(CY, nick("don"));
    let sent = talk.asks(BOB, Request::Answer(text("yes")));
    assert!(matches!(&sent[..], [Outcome::Pass(CY, Event::Private { .. })]), "{sent:?}");
}

#[test]
fn room_without_members_closes_when_its_history_is_switched_off() {
    let mut talk = Talk::under("", ACCOUNTS);
    talk.comes(BOB, "bob");
    for to in ["dev", "ops"] {
        talk.asks(BOB, join(to));
        talk.asks(BOB, say("hi"));
    }
    talk.asks(BOB, join("lobby"));
    talk.reloads("", &format!("{ACCOUNTS}[rooms.dev]\nhistory = 0\n"));
    let is_open = |to: &str| talk.chat.find_room(&room(to)).is_some();
    assert_eq!((is_open("dev"), is_open("ops")), (false, true));
}

#[test]
fn client_that_asks_for_the_history_gets_a_message_though_a_join_shows_none() {
    let mut talk = Talk::under("--history-shown 0", ACCOUNTS);
    talk.comes(BOB, "bob");
    (0..3).for_each(|number| drop(talk.asks(BOB, say(&format!("m{number}")))));
    for (count, shown) in [(None, 1), (Some(0), 1), (Some(1), 1), (Some(2), 2), (Some(9), 3)] {
        let sent = talk.asks(BOB, Request::History { room: None, count, after: None });
        let is_entry = |o: &&Outcome| matches!(o, Outcome::Reply(BOB, Event::HistoryEntry { .. }));
        assert_eq!(sent.iter().filter(is_entry).count(), shown, "{count:?}");
    }
}
