//! Tokens: their notation, and what the log may show of them.

use std::collections::BTreeSet;

use chinwag::access::{LoginToken, TOKEN_MAX_BYTES, TokenHash};

fn token(raw: &str) -> LoginToken {
    LoginToken::parse(raw).unwrap_or_else(|| panic!("{raw:?} is no token"))
}

#[test]
fn token_is_printable_ascii_of_bounded_length() {
    let longest = "x".repeat(TOKEN_MAX_BYTES);
    for good in ["x", "a.b.c", "!~", "k3-_=+/", &longest] {
        assert_eq!(token(good).expose(), good);
    }
    let too_long = format!("{longest}x");
    for bad in ["", " ", "a b", " a", "a\n", "a\tb", "é", "a\0", "\x7f", "\u{a0}", &too_long] {
        assert_eq!(LoginToken::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn random_tokens_are_distinct_and_can_be_typed() {
    let tokens: BTreeSet<String> =
        (0..1_000).map(|_| LoginToken::random().unwrap().expose().to_string()).collect();
    assert_eq!(tokens.len(), 1_000);
    for random in &tokens {
        assert!(random.len() == 32 && random.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
        assert_eq!(LoginToken::parse(random).as_ref().map(LoginToken::expose), Some(random.as_str()));
    }
    // 160 random bits use every letter and digit at every place.
    for place in 0..32 {
        let used: BTreeSet<u8> = tokens.iter().map(|token| token.as_bytes()[place]).collect();
        assert_eq!(used.len(), 32, "at {place}");
    }
}

#[test]
fn hash_of_a_token_is_sha_256() {
    let hash = token("abc").hash();
    let written = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((hash.to_string().as_str(), format!("{hash:?}").as_str()), (written, written));
    assert_eq!(written.parse::<TokenHash>(), Ok(hash));
    assert_eq!(written.to_uppercase().replace("SHA", "sha").parse::<TokenHash>(), Ok(hash));
    assert_ne!(token("abd").hash(), hash);
}

#[test]
fn tokens_are_compared_by_all_their_bytes_and_not_shown() {
    assert_eq!(token("secret"), token("secret"));
    for other in ["Secret", "secreT", "secre", "secrets"] {
        assert_ne!(token("secret"), token(other));
    }
    assert_eq!(
        format!("{:?} {:?}", token("secret"), Some(token("x"))),
        "LoginToken(..) Some(LoginToken(..))"
    );
}
