//! Accounts: names, logging in, registering, and the effect of a reload on sessions.

use chinwag::access::{
    AccountSettings, Accounts, JwtKey, Login, LoginFailed, LoginToken, Proof, REGISTERED_MAX, RegisterError,
    Registered, Role, TokenHash, Validity,
};
use chinwag::text::Name;
use data_encoding::BASE64URL_NOPAD;
use ring::hmac;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn name(raw: &str) -> Name {
    Name::parse(raw).unwrap()
}

fn token(raw: &str) -> LoginToken {
    LoginToken::parse(raw).unwrap()
}

fn configured(raw: &str, role: Role, tokens: &[&str]) -> AccountSettings {
    let tokens = tokens.iter().map(|raw| token(raw).hash()).collect();
    AccountSettings { name: name(raw), role, tokens }
}

fn registered(raw: &str, secret: &str) -> Registered {
    Registered { name: name(raw), token: token(secret).hash() }
}

/// An account of each source.
fn accounts() -> Accounts {
    let settings = [configured("Ann", Role::Moderator, &["ann-1", "ann-2"])];
    Accounts::new(&settings, vec![registered("bob", "bob-1")], None)
}

fn log_in(accounts: &Accounts, raw: Option<&str>, secret: &str) -> Result<Login, LoginFailed> {
    accounts.log_in(raw.map(name).as_ref(), &token(secret), 0)
}

fn register(accounts: &mut Accounts, name: Name) -> Result<LoginToken, RegisterError> {
    let token = accounts.new_token(&name)?;
    accounts.replace(Registered { name, token: token.hash() })?;
    Ok(token)
}

fn owner<'a>(accounts: &'a Accounts, raw: &str) -> Option<&'a str> {
    accounts.owner(raw).map(Name::as_str)
}

fn names(accounts: &Accounts) -> Vec<&str> {
    accounts.registered().map(|registered| registered.name.as_str()).collect()
}

/// A token of `ann` until second 100, signed by `SECRET`.
fn web_token(claims: &str) -> String {
    let part = |part: &[u8]| BASE64URL_NOPAD.encode(part);
    let message = format!("{}.{}", part(br#"{"alg":"HS256"}"#), part(claims.as_bytes()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", part(signature.as_ref()))
}

fn jwt_key() -> Option<JwtKey> {
    JwtKey::from_pem_or_secret(SECRET, None).ok()
}

#[test]
fn name_and_its_look_alikes_belong_to_the_account() {
    let accounts = accounts();
    for (raw, expected) in [
        ("Ann", Some("Ann")),
        ("ann", Some("Ann")),
        ("ANN", Some("Ann")),
        ("аnn", Some("Ann")),
        ("Ａｎｎ", Some("Ann")),
        ("bob", Some("bob")),
        ("b0b", Some("bob")),
        ("anna", None),
        ("", None),
    ] {
        assert_eq!(owner(&accounts, raw), expected, "{raw}");
    }
}

#[test]
fn name_of_an_account_beats_a_name_that_looks_like_it() {
    // `Ivan` looks like both, which do not look like each other.
    let list = vec![registered("lvan", "1"), registered("ivan", "2")];
    for list in [list.clone(), list.into_iter().rev().collect()] {
        let accounts = Accounts::new(&[], list, None);
        assert_eq!([owner(&accounts, "Ivan"), owner(&accounts, "lvan")], [Some("ivan"), Some("lvan")]);
    }
}

#[test]
fn token_logs_in_alone_or_with_the_name_of_its_account() {
    let accounts = accounts();
    for (raw, secret, account, role) in [
        (None, "ann-1", "Ann", Role::Moderator),
        (Some("ann"), "ann-2", "Ann", Role::Moderator),
        (Some("ANN"), "ann-1", "Ann", Role::Moderator),
        (None, "bob-1", "bob", Role::User),
        (Some("bob"), "bob-1", "bob", Role::User),
    ] {
        let login = log_in(&accounts, raw, secret).unwrap();
        assert_eq!(login.identity.account.map(|name| name.to_string()).as_deref(), Some(account));
        assert_eq!((login.identity.role, login.identity.grants), (role, None));
        assert_eq!((login.expires_unix, login.proof), (None, Proof::Token(token(secret).hash())));
    }
    for (raw, secret) in [
        (None, "ann-3"),
        (Some("ann"), "bob-1"),
        (Some("ann"), "ANN-1"),
        (Some("nobody"), "ann-1"),
        (Some("nobody"), "x"),
        // A look-alike is another name.
        (Some("аnn"), "ann-1"),
        // The hash is no token.
        (None, &token("ann-1").hash().to_string()),
        (None, "a.b.c"),
    ] {
        assert_eq!(log_in(&accounts, raw, secret), Err(LoginFailed), "{raw:?} {secret}");
    }
}

#[test]
fn web_token_logs_in_its_subject() {
    let settings = [configured("poller", Role::Admin, &["a.b.c"])];
    let accounts = Accounts::new(&settings, Vec::new(), jwt_key());
    let ann = web_token(r#"{"sub":"ann","exp":100,"role":"moderator"}"#);
    for raw in [None, Some("ann"), Some("Ann")] {
        let login = log_in(&accounts, raw, &ann).unwrap();
        assert_eq!(
            (login.identity.role, login.expires_unix, login.proof),
            (Role::Moderator, Some(100), Proof::Jwt)
        );
        assert_eq!(login.identity.account, Some(name("ann")));
    }
    assert_eq!(log_in(&accounts, Some("bob"), &ann), Err(LoginFailed));
    assert_eq!(accounts.log_in(None, &token(&ann), 100), Err(LoginFailed));
    assert_eq!(log_in(&accounts, None, &ann.replacen('.', "", 1)), Err(LoginFailed));
    // A token of an account may have two dots as well.
    assert_eq!(log_in(&accounts, None, "a.b.c").unwrap().identity.role, Role::Admin);
    let without_key = Accounts::new(&settings, Vec::new(), None);
    assert_eq!(log_in(&without_key, None, &ann), Err(LoginFailed));
}

#[test]
fn registered_account_is_a_user_with_a_token_of_its_own() {
    let mut accounts = accounts();
    let secret = register(&mut accounts, name("Zoë")).unwrap();
    let login = accounts.log_in(Some(&name("zoë")), &secret, 0).unwrap();
    assert_eq!((login.identity.account, login.identity.role), (Some(name("Zoë")), Role::User));
    let added = Registered { name: name("Zoë"), token: secret.hash() };
    assert_eq!(accounts.registered().last(), Some(&added));
    for taken in ["Zoë", "zoë", "ann", "аnn", "bob", "b0b"] {
        assert_eq!(register(&mut accounts, name(taken)), Err(RegisterError::Taken), "{taken}");
    }
    assert_eq!(names(&accounts), ["bob", "Zoë"]);
}

#[test]
fn unregistered_name_is_free_and_its_token_has_no_effect() {
    let mut accounts = accounts();
    for other in ["nobody", "b0b", "Ann", "аnn", ""] {
        assert!(!accounts.unregister(other), "{other}");
    }
    assert!(accounts.unregister("BOB"));
    assert!(!accounts.unregister("bob"));
    assert_eq!(log_in(&accounts, None, "bob-1"), Err(LoginFailed));
    assert_eq!((owner(&accounts, "bob"), owner(&accounts, "b0b")), (None, None));
    let secret = register(&mut accounts, name("b0b")).unwrap();
    assert!(accounts.log_in(Some(&name("b0b")), &secret, 0).is_ok());
    assert_eq!(names(&accounts), ["b0b"]);
}

#[test]
fn configured_account_hides_registered_look_alikes_but_keeps_them() {
    let settings = [configured("Ann", Role::Admin, &["ann-1"])];
    let list = vec![registered("ann", "old"), registered("bob", "bob-1"), registered("аnn", "alike")];
    let mut accounts = Accounts::new(&settings, list, None);
    assert_eq!(log_in(&accounts, None, "ann-1").unwrap().identity.role, Role::Admin);
    for hidden in ["old", "alike"] {
        assert_eq!(log_in(&accounts, None, hidden), Err(LoginFailed));
    }
    let kept: Vec<Registered> = accounts.registered().cloned().collect();
    assert_eq!(names(&accounts), ["bob", "ann", "аnn"]);
    // Without the configured account the first of them is back.
    let back = Accounts::new(&[], kept, None);
    assert!(log_in(&back, Some("ann"), "old").is_ok());
    assert_eq!(log_in(&back, None, "alike"), Err(LoginFailed));
    assert!(accounts.unregister("ann"));
    assert_eq!(names(&accounts), ["bob", "аnn"]);
}

#[test]
fn name_that_looks_like_a_hidden_account_is_not_registered() {
    let settings = [configured("ivan", Role::User, &["1"])];
    let mut accounts = Accounts::new(&settings, vec![registered("Ivan", "2")], None);
    assert_eq!(owner(&accounts, "lvan"), None);
    assert_eq!(register(&mut accounts, name("lvan")), Err(RegisterError::Taken));
}

#[test]
fn session_ends_or_changes_its_role_with_the_account() {
    let proof = |secret: &str| Proof::Token(token(secret).hash());
    let now = Accounts::new(
        &[configured("ann", Role::User, &["ann-2"]), configured("carl", Role::User, &["bob-1"])],
        Vec::new(),
        jwt_key(),
    );
    for (account, proof, validity) in [
        ("Ann", proof("ann-2"), Validity::Role(Role::User)),
        ("Ann", proof("ann-1"), Validity::Ends),
        ("bob", proof("bob-1"), Validity::Ends),
        ("ann", Proof::Jwt, Validity::Unchanged),
        ("nobody", Proof::Jwt, Validity::Unchanged),
    ] {
        assert_eq!(now.still_valid(&name(account), &proof), validity, "{account} {proof:?}");
    }
    assert_eq!(accounts().still_valid(&name("ann"), &Proof::Jwt), Validity::Ends);
    assert_eq!(accounts().still_valid(&name("bob"), &proof("bob-1")), Validity::Role(Role::User));
}

#[test]
fn many_accounts_are_found_by_tables() {
    let list =
        (0..20_000).map(|number| registered(&format!("user{number}x"), &format!("t{number}"))).collect();
    let mut accounts = Accounts::new(&[], list, None);
    for number in 0..20_000 {
        let login = log_in(&accounts, None, &format!("t{number}")).unwrap();
        assert!(login.identity.account.unwrap().as_str().contains(&number.to_string()));
    }
    for number in 0..20_000 {
        let user = format!("USER{number}X");
        assert!(owner(&accounts, &user).is_some() && accounts.unregister(&user), "{user}");
    }
    assert_eq!(accounts.registered().count(), 0);
}

#[test]
fn debug_output_has_no_token() {
    let mut accounts = accounts();
    let secret = register(&mut accounts, name("carl")).unwrap();
    let text = format!("{accounts:?} {:?}", log_in(&accounts, None, "ann-1"));
    assert!(!text.contains(secret.expose()) && !text.contains("ann-1"));
    assert!(text.contains(&TokenHash::to_string(&secret.hash())));
}

#[test]
fn number_of_registered_names_is_limited() {
    let registered = (0..REGISTERED_MAX - 1).map(|number| Registered {
        name: Name::parse(&format!("n{number}x")).expect("a name"),
        token: TokenHash([0; 32]),
    });
    let mut accounts = Accounts::new(&[], registered.collect(), None);
    assert_eq!(register(&mut accounts, name("bob")).map(drop), Ok(()));
    assert_eq!(register(&mut accounts, name("eve")), Err(RegisterError::TooMany));
    let another = Registered { name: name("bob"), token: TokenHash([1; 32]) };
    assert_eq!(accounts.replace(another), Ok(()));
}

#[test]
fn look_alikes_are_hidden_alike_whatever_the_order_in_which_they_come() {
    for [first, second] in [["Ivan", "lvan"], ["lvan", "Ivan"]] {
        let mut accounts = Accounts::new(&[], Vec::new(), None);
        for raw in [first, second] {
            accounts.replace(registered(raw, raw)).unwrap();
        }
        accounts.settle();
        assert_eq!(owner(&accounts, "Ivan"), Some("Ivan"));
        assert!(log_in(&accounts, None, "Ivan").is_ok() && log_in(&accounts, None, "lvan").is_err());
        accounts.unregister("Ivan");
        accounts.settle();
        assert!(log_in(&accounts, None, "lvan").is_ok());
    }
}

#[test]
fn name_that_looks_like_an_account_has_not_its_role() {
    let accounts = accounts();
    for (raw, role) in
        [("Ann", Role::Moderator), ("ANN", Role::Moderator), ("аnn", Role::Guest), ("b0b", Role::Guest)]
    {
        assert_eq!(accounts.role(&name(raw)), role, "{raw}");
    }
}

#[test]
fn web_token_whose_subject_looks_like_an_account_does_not_log_in() {
    let settings = [configured("bob", Role::User, &["b"])];
    let accounts = Accounts::new(&settings, Vec::new(), jwt_key());
    let token_of = |subject: &str| web_token(&format!(r#"{{"sub":"{subject}","exp":100}}"#));
    assert_eq!(log_in(&accounts, None, &token_of("bоb")), Err(LoginFailed));
    assert!(log_in(&accounts, None, &token_of("BOB")).is_ok());
    // The account is newer than the login.
    let before = Accounts::new(&[], Vec::new(), jwt_key());
    let login = log_in(&before, None, &token_of("bоb")).expect("no account has such a name yet");
    assert_eq!((before.renew(login.clone(), 0), accounts.renew(login.clone(), 0)), (Some(login), None));
}

#[test]
fn login_by_a_web_token_that_has_expired_is_not_renewed() {
    let accounts = Accounts::new(&[], Vec::new(), jwt_key());
    let login = log_in(&accounts, None, &web_token(r#"{"sub":"ann","exp":100}"#)).expect("a login");
    assert_eq!(accounts.renew(login.clone(), 99), Some(login.clone()));
    assert_eq!(accounts.renew(login, 101), None);
}
