//! The table of rights: each action, by each role, under each rule of a room.

use chinwag::access::rights::{Place, may};
use chinwag::access::{Action, Allowed, Denied, Grant, Grants, Identity, Role, RoomRules};
use chinwag::text::{Name, RoomName};

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn identity(role: Role) -> Identity {
    let account = (role != Role::Guest).then(|| Name::parse("ann").unwrap());
    Identity { account, role, grants: None }
}

/// The roles that may perform an action, by their first letters: guest, user, moderator, admin.
fn allowed(action: Action, rules: &RoomRules, login_required: bool) -> String {
    let name = room("radio");
    let place = Place { login_required, room: Some((&name, rules)) };
    let letters = Role::ALL.map(|role| (role, &role.as_str()[..1]));
    letters
        .into_iter()
        .filter(|(role, _)| may(&identity(*role), action, place).is_ok())
        .map(|(_, c)| c)
        .collect()
}

fn rules(enter: Allowed, speak: Allowed) -> RoomRules {
    RoomRules { enter, speak, ..RoomRules::OPEN }
}

fn accounts(name: &str) -> Allowed {
    Allowed::Accounts(vec![Name::parse(name).unwrap()])
}

#[test]
fn each_role_has_the_rights_of_the_table() {
    use Role::{Admin, Guest, Moderator, User};
    let by = Allowed::Role;
    // Enter and speak; then the roles that may enter, speak, and set the topic.
    let table = [
        (by(Guest), by(Guest), ["guma", "guma", "ma"]),
        (by(Guest), by(User), ["guma", "uma", "ma"]),
        (by(Guest), by(Moderator), ["guma", "ma", "ma"]),
        (by(Guest), by(Admin), ["guma", "a", "ma"]),
        (by(User), by(Guest), ["uma", "uma", "ma"]),
        (by(Moderator), by(Guest), ["ma", "ma", "ma"]),
        (by(Admin), by(Guest), ["a", "a", "a"]),
        (by(Admin), by(User), ["a", "a", "a"]),
        (by(Guest), accounts("ANN"), ["guma", "uma", "ma"]),
        (by(Guest), accounts("bob"), ["guma", "ma", "ma"]),
        (accounts("ann"), by(Guest), ["uma", "uma", "ma"]),
        (accounts("bob"), by(Guest), ["a", "a", "a"]),
        (accounts("bob"), accounts("bob"), ["a", "a", "a"]),
    ];
    for (enter, speak, expected) in table {
        let rules = rules(enter, speak);
        for (action, expected) in [Action::Enter, Action::Speak, Action::SetTopic].into_iter().zip(expected) {
            assert_eq!(allowed(action, &rules, false), expected, "{action:?} with {rules:?}");
            let logged_in: String = expected.chars().filter(|c| *c != 'g').collect();
            assert_eq!(allowed(action, &rules, true), logged_in, "{action:?} with a login and {rules:?}");
        }
        for (action, open, login) in [
            (Action::Connect, "guma", "guma"),
            (Action::Converse, "guma", "uma"),
            (Action::Moderate, "ma", "ma"),
        ] {
            assert_eq!(allowed(action, &rules, false), open, "{action:?} with {rules:?}");
            assert_eq!(allowed(action, &rules, true), login, "{action:?} with a login and {rules:?}");
        }
    }
}

#[test]
fn grants_of_a_token_narrow_the_role_and_never_widen_it() {
    let grants: Grants = [(room("radio"), Grant::Read), (room("board"), Grant::Write)].into_iter().collect();
    let closed = rules(Allowed::Role(Role::Guest), Allowed::Role(Role::Admin));
    for (name, rules, may_enter, may_speak) in [
        ("radio", &RoomRules::OPEN, true, false),
        ("board", &RoomRules::OPEN, true, true),
        ("other", &RoomRules::OPEN, false, false),
        ("board", &closed, true, false),
    ] {
        let (identity, name) =
            (Identity { grants: Some(grants.clone()), ..identity(Role::User) }, room(name));
        let place = Place { login_required: false, room: Some((&name, rules)) };
        assert_eq!(may(&identity, Action::Enter, place).is_ok(), may_enter, "{name}");
        assert_eq!(may(&identity, Action::Speak, place).is_ok(), may_speak, "{name}");
    }
}

#[test]
fn guest_is_told_to_log_in_and_an_account_that_it_has_no_right() {
    let (name, closed) = (room("staff"), rules(Allowed::Role(Role::Admin), Allowed::Role(Role::Admin)));
    let place = Place { login_required: false, room: Some((&name, &closed)) };
    assert_eq!(may(&identity(Role::Guest), Action::Enter, place), Err(Denied::LoginRequired));
    assert_eq!(may(&identity(Role::User), Action::Enter, place), Err(Denied::NoRight));
}
