//! The table of rights: each action, by each role, under each rule of a room.

use chinwag::access::rights::{Scope, may};
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
    let scope = Scope { login_required, room: Some((&name, rules)) };
    let letters = Role::ALL.map(|role| (role, &role.as_str()[..1]));
    letters
        .into_iter()
        .filter(|(role, _)| may(&identity(*role), action, scope).is_ok())
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
    for (enter, speak, [enters, speaks, sets_topic]) in table {
        let rules = rules(enter, speak);
        for action in Action::ALL {
            let (open, login) = match action {
                Action::Connect => ("guma", "guma"),
                Action::Converse => ("guma", "uma"),
                Action::Moderate => ("ma", "ma"),
                Action::Enter => (enters, enters.trim_start_matches('g')),
                Action::Speak => (speaks, speaks.trim_start_matches('g')),
                Action::SetTopic => (sets_topic, sets_topic),
            };
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
        let scope = Scope { login_required: false, room: Some((&name, rules)) };
        assert_eq!(may(&identity, Action::Enter, scope).is_ok(), may_enter, "{name}");
        assert_eq!(may(&identity, Action::Speak, scope).is_ok(), may_speak, "{name}");
        let moderator = Identity { role: Role::Moderator, ..identity };
        let may_write = name.as_str() == "board";
        assert_eq!(may(&moderator, Action::SetTopic, scope).is_ok(), may_write, "{name}");
    }
}

#[test]
fn guest_is_told_to_log_in_and_an_account_that_it_has_no_right() {
    let (name, closed) = (room("staff"), rules(Allowed::Role(Role::Admin), Allowed::Role(Role::Admin)));
    let scope = Scope { login_required: false, room: Some((&name, &closed)) };
    assert_eq!(may(&identity(Role::Guest), Action::Enter, scope), Err(Denied::LoginRequired));
    assert_eq!(may(&identity(Role::User), Action::Enter, scope), Err(Denied::NoRight));
}
