//! Questions of the chat to the other processes, which they answer before it handles a request.

use chinwag::access::{BanTarget, LoginToken, Role};
use chinwag::chat::ClientId;
use chinwag::protocol::{
    Arrival, ClaimOver, Dialect, Facts, ForwardedRequest, Holder, MessageKind, Moderation, Moderator,
    Problem, Question, Request, Topic, UniqueId,
};
use chinwag::text::RoomName;

use crate::hall::arrival;
use crate::settle::ALONE;
use crate::talk::{ANN, BOB, CY, DAN, Talk, history, join, leave, nick, quit, say, tell, who};
use crate::words::{name, room, say_request, text, typed};

/// The accounts `ann` and `bea` with the tokens `a` and `b`, and a room that not everybody may enter.
const SECTIONS: &str = r#"
[accounts.ann]
role = "admin"
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
[accounts.bea]
token = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
[rooms.staff]
enter = "moderator"
"#;

fn asked(talk: &Talk, id: ClientId, request: Request) -> Vec<Question> {
    talk.chat.questions(id, &request, talk.now)
}

fn claim(client: u32, who: &str) -> Question {
    Question::Claim { client, name: name(who), over: ClaimOver::Nobody, is_account: false }
}

fn claim_of_account(client: u32, who: &str, over: ClaimOver) -> Question {
    Question::Claim { client, name: name(who), over, is_account: true }
}

fn follow(to: &str) -> Question {
    Question::Room { room: room(to), members: 10 }
}

fn find(who: &str) -> Question {
    Question::Find { name: typed(who), request: None }
}

fn login(account: &str, token: &str) -> Request {
    Request::Login { name: Some(name(account)), token: LoginToken::parse(token).expect("a token") }
}

fn kick(who: &str) -> Request {
    Request::Moderate(Moderation::Kick { name: typed(who), reason: None })
}

fn ban(target: BanTarget) -> Request {
    Request::Moderate(Moderation::Ban { target, time: None, reason: None })
}

/// Ann and Bob by lines, Dan without a name, and Cy by JSON, all in the lobby but Dan.
fn all_kinds() -> Talk {
    let mut talk = Talk::with("", &["ann", "bob"]).with_others();
    talk.enters(CY, arrival(Dialect::Json, "cy", "lobby"), &ALONE);
    talk.connects(DAN);
    talk
}

#[test]
fn name_is_claimed_unless_the_client_has_it_or_another_one_here() {
    let talk = all_kinds();
    assert_eq!(asked(&talk, ANN, nick("eve")), [claim(1, "eve")]);
    assert_eq!(asked(&talk, ANN, nick("ann")), []);
    assert_eq!(asked(&talk, ANN, nick("Ann")), [claim(1, "Ann")], "another spelling of its own");
    for taken in ["bob", "BOB", "ВОВ"] {
        assert_eq!(asked(&talk, ANN, nick(taken)), [], "{taken}");
    }
    assert_eq!(asked(&talk, CY, nick("eve")), [claim(3, "eve")]);
}

#[test]
fn first_name_of_a_line_client_is_claimed_and_its_first_room_followed() {
    let talk = all_kinds();
    assert_eq!(asked(&talk, DAN, nick("eve")), [claim(4, "eve"), follow("lobby")]);
    assert_eq!(asked(&talk, DAN, nick("bob")), [follow("lobby")], "the text may become a message");
    assert_eq!(asked(&talk, DAN, Request::StayGuest), [follow("lobby")]);
    assert_eq!(asked(&talk, ANN, Request::StayGuest), []);
}

#[test]
fn request_about_a_room_asks_for_its_members() {
    let talk = all_kinds();
    let list = |to: &str, max| [Question::Who { room: room(to), max }];
    assert_eq!(asked(&talk, ANN, join("dev")), [follow("dev")]);
    assert_eq!(asked(&talk, ANN, leave()), [follow("lobby")], "a line client goes to the lobby");
    assert_eq!(asked(&talk, ANN, who("dev")), list("dev", 50));
    for id in [ANN, DAN] {
        assert_eq!(asked(&talk, id, Request::Who(None)), list("lobby", 50));
    }
    assert_eq!(asked(&talk, CY, who("dev")), list("dev", 1000));
    assert_eq!(asked(&talk, ANN, Request::Rooms), [Question::Rooms { max: 50 }]);
    assert_eq!(asked(&talk, CY, Request::Rooms), [Question::Rooms { max: 1000 }]);
    assert_eq!(talk.chat.questions_about_rooms(), [Question::Rooms { max: 1000 }]);
}

#[test]
fn program_that_leaves_a_room_asks_only_for_one_that_it_is_in() {
    let mut talk = all_kinds();
    for from in [None, Some(RoomName::lobby())] {
        assert_eq!(asked(&talk, CY, Request::Leave(from)), [follow("lobby")]);
    }
    assert_eq!(asked(&talk, CY, Request::Leave(Some(room("dev")))), [], "the room is not followed for it");
    talk.asks(CY, join("dev"));
    assert_eq!(asked(&talk, CY, Request::Leave(None)), [], "it must say which");
}

#[test]
fn line_client_that_leaves_a_room_asks_for_the_room_that_it_goes_to() {
    let mut talk = all_kinds();
    talk.asks(ANN, join("dev"));
    assert_eq!(asked(&talk, ANN, Request::Leave(None)), [follow("lobby")]);
}

#[test]
fn client_that_is_not_here_is_searched_elsewhere() {
    let talk = all_kinds();
    let whois = |who: &str| Request::Whois(typed(who));
    assert_eq!(asked(&talk, ANN, tell("eve", "hi")), [find("eve")]);
    let request = Some(ForwardedRequest::Whois { name: typed("eve"), with_address: false });
    assert_eq!(asked(&talk, ANN, whois("eve")), [Question::Find { name: typed("eve"), request }]);
    for request in [tell("bob", "hi"), tell("BOB", "hi"), whois("bob")] {
        assert_eq!(asked(&talk, ANN, request.clone()), [], "{request:?}");
    }
    assert_eq!(asked(&talk, ANN, tell("ВОВ", "hi")), [find("ВОВ")], "a look-alike is another client");
    assert_eq!(talk.chat.find_elsewhere(&typed("eve"), None), [find("eve")]);
}

#[test]
fn answer_asks_for_the_last_sender() {
    let mut talk = all_kinds();
    let answer = || Request::Answer(text("hi"));
    assert_eq!(asked(&talk, ANN, answer()), []);
    talk.asks(BOB, tell("ann", "psst"));
    assert_eq!(asked(&talk, ANN, answer()), [], "it is here");
    talk.receives(chinwag::protocol::RemoteEvent::Private {
        to: 1,
        name: name("ann"),
        by: UniqueId { process: 7, serial: 1 },
        from: name("eve"),
        text: text("psst"),
    });
    assert_eq!(asked(&talk, ANN, answer()), [find("eve")]);
}

#[test]
fn request_that_concerns_only_this_process_asks_nothing() {
    let talk = all_kinds();
    let emote = say_request(MessageKind::Emote, text("waves"));
    let requests = [
        say("hi"),
        emote,
        history(None),
        quit(Some("bye")),
        Request::Help,
        Request::Ping,
        Request::Away(None),
        Request::Ignore(Some(typed("eve"))),
        Request::Unignore(typed("eve")),
        Request::Register,
        Request::Topic { room: None, text: None },
        Request::Topic { room: None, text: Some(Topic(None)) },
    ];
    for request in requests {
        for id in [ANN, CY] {
            assert_eq!(asked(&talk, id, request.clone()), [], "{request:?}");
        }
    }
}

#[test]
fn registration_claims_the_name_for_the_account() {
    let mut talk = Talk::under("--registration", "").with_others();
    talk.comes(ANN, "ann");
    assert_eq!(asked(&talk, ANN, Request::Register), [claim_of_account(1, "ann", ClaimOver::Nobody)]);
}

#[test]
fn login_claims_the_name_of_the_account_from_everybody_or_only_from_guests() {
    for (flags, over) in [("", ClaimOver::Everybody), ("--takeover older", ClaimOver::Guests)] {
        let mut talk = Talk::under(flags, SECTIONS).with_others();
        talk.comes(ANN, "zed");
        talk.connects(BOB);
        assert_eq!(asked(&talk, ANN, login("bea", "b")), [claim_of_account(1, "bea", over)]);
        let first = [claim_of_account(2, "bea", over), follow("lobby")];
        assert_eq!(asked(&talk, BOB, login("bea", "b")), first);
        assert_eq!(asked(&talk, ANN, login("bea", "wrong")), [], "only the right token claims");
        talk.asks(BOB, nick("bea"));
        let token = Request::Login { name: None, token: LoginToken::parse("b").expect("a token") };
        assert_eq!(asked(&talk, BOB, token), first, "after the question for the token");
        talk.asks(ANN, login("bea", "b"));
        assert_eq!(
            asked(&talk, ANN, nick("Bea")),
            [Question::Claim { client: 1, name: name("Bea"), over: ClaimOver::Nobody, is_account: true }]
        );
        assert_eq!(asked(&talk, ANN, nick("zoë")), [claim(1, "zoë")], "that is no account");
    }
}

#[test]
fn client_without_the_right_asks_nothing() {
    let mut talk = Talk::under("", SECTIONS).with_others();
    talk.comes(BOB, "bob");
    let staff = || room("staff");
    let topic = Request::Topic { room: Some(staff()), text: None };
    for request in [join("staff"), who("staff"), topic, kick("eve"), ban(BanTarget::Name(name("eve")))] {
        assert_eq!(asked(&talk, BOB, request.clone()), [], "{request:?}");
    }
    let staff_only = arrival(Dialect::Json, "", "staff");
    assert_eq!(talk.chat.questions_of_arrival(9, &staff_only), []);
    talk.connects(ANN);
    talk.asks(ANN, login("ann", "a"));
    assert_eq!(asked(&talk, ANN, join("staff")), [follow("staff")]);
    for request in [kick("eve"), ban(BanTarget::Name(name("eve")))] {
        let Request::Moderate(moderation) = request.clone() else {
            panic!("{request:?}");
        };
        let by = Moderator { name: name("ann"), role: Role::Admin };
        let forwarded = Some(ForwardedRequest::Moderate { by, moderation });
        let find = Question::Find { name: typed("eve"), request: forwarded };
        assert_eq!(asked(&talk, ANN, request.clone()), [find], "{request:?}");
    }
    assert_eq!(asked(&talk, ANN, kick("bob")), []);
    let network = BanTarget::Network("192.0.2.0/24".parse().expect("a network"));
    assert_eq!(asked(&talk, ANN, ban(network)), []);
    assert_eq!(asked(&talk, ANN, Request::Moderate(Moderation::Bans)), []);
}

#[test]
fn arrival_claims_its_name_and_follows_its_room() {
    let talk = all_kinds();
    let of = |arrival: Arrival| talk.chat.questions_of_arrival(9, &arrival);
    assert_eq!(of(arrival(Dialect::Json, "eve", "dev")), [claim(9, "eve"), follow("dev")]);
    assert_eq!(of(arrival(Dialect::Raw, "eve", "")), [claim(9, "eve")]);
    assert_eq!(of(arrival(Dialect::Json, "bob", "dev")), [follow("dev")], "the name is taken here");
    assert_eq!(of(arrival(Dialect::Json, "", "dev")), [follow("dev")]);
    assert_eq!(of(arrival(Dialect::Events, "eve", "dev")), [follow("dev")]);
}

#[test]
fn arrival_with_a_token_claims_the_name_of_its_account() {
    for (flags, over) in [("", ClaimOver::Everybody), ("--takeover older", ClaimOver::Guests)] {
        let mut talk = Talk::under(flags, SECTIONS).with_others();
        let token = LoginToken::parse("b").expect("a token");
        let login = talk.chat.check_token(Some(&name("bea")), &token, talk.now);
        let login = login.map_err(|_| Problem::LoginFailed);
        let with_token =
            |who: &str| Arrival { login: Some(login.clone()), ..arrival(Dialect::Json, who, "") };
        for who in ["", "zed"] {
            let questions = talk.chat.questions_of_arrival(9, &with_token(who));
            assert_eq!(questions, [claim_of_account(9, "bea", over)]);
        }
        talk.comes(ANN, "zed");
        assert_eq!(talk.chat.questions_of_arrival(9, &with_token("zed")).len(), 1);
        // A session here has the name.
        talk.comes(BOB, "bob");
        talk.asks(BOB, self::login("bea", "b"));
        assert_eq!(talk.chat.questions_of_arrival(9, &with_token("")), [claim_of_account(9, "bea", over)]);
    }
}

#[test]
fn line_of_a_client_without_a_name_is_its_name_only_if_nobody_has_it() {
    let mut talk = all_kinds();
    let now = talk.now;
    let mut accepts = |who: &str, facts| talk.chat.accepts_unnamed(DAN, &Ok(nick(who)), (now, facts));
    let id = UniqueId { process: 7, serial: 1 };
    let holder = Facts { holder: Some(Holder { id, name: name("eve") }), ..Facts::default() };
    assert!(accepts("eve", &ALONE));
    assert!(!accepts("eve", &holder) && !accepts("bob", &ALONE));
}

#[test]
fn login_of_a_client_without_a_name_asks_about_the_room_that_the_account_may_enter() {
    let sections = format!("{SECTIONS}[rooms.lobby]\nenter = \"user\"\n");
    let mut talk = Talk::under("", &sections).with_others();
    talk.connects(ANN);
    assert_eq!(asked(&talk, ANN, Request::StayGuest), []);
    let questions = asked(&talk, ANN, login("bea", "b"));
    assert_eq!(questions, [claim_of_account(1, "bea", ClaimOver::Everybody), follow("lobby")]);
}
