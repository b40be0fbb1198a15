//! JSON Web Tokens: the keys that are accepted, and the rules that a token must keep.
//!
//! `OPENSSL` has keys and tokens of another implementation. All others are signed here.

use chinwag::access::jwt::JwtRefused::{
    self, Algorithm, Audience, Expired, Malformed, NotYet, Rooms, Signature, Subject,
};
use chinwag::access::jwt::Verified;
use chinwag::access::{Grant, JwtKey, LoginToken, Role, TOKEN_MAX_BYTES};
use chinwag::text::RoomName;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// The time of all tests, in seconds since the Unix epoch.
const NOW: u64 = 1_000;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Public keys, each with a token for `ann` until second 2,000 (OpenSSL 3.0).
const OPENSSL: [(&str, &str, &str); 4] = [
    (
        "EdDSA",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA9+TE7ImJQj99qLCpQxEdEl6pECaFQaOoHB8KvH3+eCI=\n-----END PUBLIC KEY-----\n",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDB9.6Qb4WgPslVJDCDsk3CmQKJommJmQGU4taBUTuEHDp8unHZbaQcZTXbw9QRH50kQ52ywQbQZ4WopzOywlKn8bCA",
    ),
    (
        "ES256",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+oGYr8Faa2phrdD1gYACN9FbYg6Y\nS7GQOXdj7GdZf0RolkMK4JERBBdsBZNcXXnNbwHXESUUDMKtxFTMsIxyoQ==\n-----END PUBLIC KEY-----\n",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDB9.njnCHb4BerKdvCAL2XJrhS5SITCrOVmrvkzwURwHmBy5pHK4ScJxSiZzkfkICdCJPAlRCTrc4nlxt3X2PS2CwQ",
    ),
    (
        "RS256",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2JsdIbQPfIIcOa4wKJDF\n9q8RJeagk0tcVH8ICNFrmQz/3hPATBriAeaax0OmWljwTLDKEw/MqEUG8yCJs5KZ\nhU/uY0uqFmn3cAyEfNX33t2NRpczXr/pxxeUTNinmsTf+0+kv44vv3+D4TPl25OZ\nDGLtLiyr+eKCtUfntqI5rc2S71Y7ulaIBCqh0qjjbI6DiKH9VAxgU6Ue8HyROjwF\n4Asn1M2E7DhXih4dbWQUj8nd8OM0SVTfFhI45iPmtL+Ss2ltSvnYOJ8SYeh8Fa3H\nnSj19dw2XJ9xLAsUuFj3ApHh6qXPWdnGyx5gYCpwJenxO9CWpXR5CDA278tg9aAJ\niwIDAQAB\n-----END PUBLIC KEY-----\n",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDB9.A5mFh1M90eNwVSQyjSTHsl1siuMBnSN3bVbLYmSZZnp2qXGQxDfKlmNMOnLgZ2m9OLpo-DWkT9kldLfA08heCmlQXUt3HX0IcBSJSYJ81IUxm9xmKB1vGLmDFSUQFjKGDoJmUkwMwwH96XWVXIAsXRdBhhwF9j5dagSNolvEuqIrdfgS6oMOEot6ZKOSHIeVOCnSnAfAoLszorZ7XK0VZKQGsMMv4wsy68osIdjhym7Qr0tPiiK5cks_q5HRMXTW2O6erVpn4SXrA7Rbv21ElIl7DyGKvE5vE3oRBPIfLHMP5xBlj_KBAHwN3Ad6DMVp2LZcBdVXoCi0Bb_cynRLfA",
    ),
    (
        "RS256",
        "-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEA2JsdIbQPfIIcOa4wKJDF9q8RJeagk0tcVH8ICNFrmQz/3hPATBri\nAeaax0OmWljwTLDKEw/MqEUG8yCJs5KZhU/uY0uqFmn3cAyEfNX33t2NRpczXr/p\nxxeUTNinmsTf+0+kv44vv3+D4TPl25OZDGLtLiyr+eKCtUfntqI5rc2S71Y7ulaI\nBCqh0qjjbI6DiKH9VAxgU6Ue8HyROjwF4Asn1M2E7DhXih4dbWQUj8nd8OM0SVTf\nFhI45iPmtL+Ss2ltSvnYOJ8SYeh8Fa3HnSj19dw2XJ9xLAsUuFj3ApHh6qXPWdnG\nyx5gYCpwJenxO9CWpXR5CDA278tg9aAJiwIDAQAB\n-----END RSA PUBLIC KEY-----\n",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjIwMDB9.A5mFh1M90eNwVSQyjSTHsl1siuMBnSN3bVbLYmSZZnp2qXGQxDfKlmNMOnLgZ2m9OLpo-DWkT9kldLfA08heCmlQXUt3HX0IcBSJSYJ81IUxm9xmKB1vGLmDFSUQFjKGDoJmUkwMwwH96XWVXIAsXRdBhhwF9j5dagSNolvEuqIrdfgS6oMOEot6ZKOSHIeVOCnSnAfAoLszorZ7XK0VZKQGsMMv4wsy68osIdjhym7Qr0tPiiK5cks_q5HRMXTW2O6erVpn4SXrA7Rbv21ElIl7DyGKvE5vE3oRBPIfLHMP5xBlj_KBAHwN3Ad6DMVp2LZcBdVXoCi0Bb_cynRLfA",
    ),
];

/// Public keys that have no algorithm here, each with a part of the error.
const OTHER_KEYS: [(&str, &str); 4] = [
    (
        "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDKA7dIOhO1yHq8FMpf8ziYB4b\n02f+dOa+a8PC+AnAF5ZxC673jJQx+rOWFU786VL+4SVv8aO28qS6gMzSMTcYOr2b\nDo5sBveGqcY0BXbwJhjaIWtmkTfLYf/g0rJp7LMKZaYdChoguV95ksIiYLQdfp61\nIcSJhHUL8l9ZpViNSwIDAQAB\n-----END PUBLIC KEY-----\n",
        "RSA key of 1024 bits; give one of 2048 to 8192",
    ),
    (
        "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKXctXuviS3thMINlo0cCx/Y23Kv3KlX5\nKWr5omaDYZCOtqEVfGFP+2R8LtLDC/7R2kIq3jNRCdT5Wfuj+KlSG2sFbdiVnH3r\nKDnbRjGS+14Ds/C6ndka/ZsNFGLs9f7W\n-----END PUBLIC KEY-----\n",
        "its curve is not P-256",
    ),
    (
        "-----BEGIN PUBLIC KEY-----\nMDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgAD8rwEdzfXFFGcaiLTY7IkvsPcR6tE\nPwMs9oyLjC5K3YU=\n-----END PUBLIC KEY-----\n",
        "its point is compressed",
    ),
    (
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA5W2LSNbx9XL9+pE9bGf/5NMbRTur8JGc9Lw2btskdAY=\n-----END PUBLIC KEY-----\n",
        "it is neither Ed25519, P-256 nor RSA",
    ),
];

/// A key that signs tokens.
enum Signer {
    Secret(&'static [u8]),
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    fn ed25519() -> Signer {
        Signer::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
    }

    fn p256() -> Signer {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Signer::P256(EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Signer::Secret(_) => "HS256",
            Signer::Ed25519(_) => "EdDSA",
            Signer::P256(_) => "ES256",
        }
    }

    /// The file for `--jwt-key`: the secret, or the public key behind the head of its DER.
    fn file(&self) -> Vec<u8> {
        let (head, key) = match self {
            Signer::Secret(secret) => return secret.to_vec(),
            Signer::Ed25519(pair) => ("MCowBQYDK2VwAyEA", pair.public_key().as_ref()),
            Signer::P256(pair) => ("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE", &pair.public_key().as_ref()[1..]),
        };
        let der = [BASE64.decode(head.as_bytes()).unwrap().as_slice(), key].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der)).into()
    }

    fn key(&self) -> JwtKey {
        JwtKey::from_pem_or_secret(&self.file(), None).unwrap()
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let part = |part: &[u8]| BASE64URL_NOPAD.encode(part);
        let message = format!("{}.{}", part(header.as_bytes()), part(claims.as_bytes()));
        let signature = match self {
            Signer::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec()
            }
            Signer::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Signer::P256(pair) => {
                pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
            }
        };
        format!("{message}.{}", part(&signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"typ": "JWT", "alg": self.algorithm()}).to_string(), &claims.to_string())
    }
}

fn verify(key: &JwtKey, raw: &str, at: u64) -> Result<Verified, JwtRefused> {
    key.verify(&LoginToken::parse(raw).unwrap_or_else(|| panic!("{raw:?} is no token")), at)
}

/// Claims of `ann` for 100 s, with others that replace or add some. `null` takes a claim away.
fn claims(others: Value) -> Value {
    let mut claims = json!({"sub": "ann", "exp": NOW + 100});
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let object = claims.as_object_mut().unwrap();
    object.retain(|_, value| !value.is_null());
    claims
}

#[test]
fn token_of_each_algorithm_is_accepted_until_its_end() {
    for (algorithm, pem, token) in OPENSSL {
        let key = JwtKey::from_pem_or_secret(pem.as_bytes(), None).unwrap();
        let verified = verify(&key, token, 1_999).unwrap();
        assert_eq!((verified.expires_unix, verified.identity.role), (2_000, Role::User), "{algorithm}");
        assert_eq!(verified.identity.account.unwrap().as_str(), "ann");
        assert_eq!(verify(&key, token, 2_000), Err(Expired), "{algorithm}");
    }
    for signer in [Signer::Secret(SECRET), Signer::ed25519(), Signer::p256()] {
        assert!(verify(&signer.key(), &signer.token(&claims(json!({}))), NOW).is_ok());
    }
}

#[test]
fn token_with_any_changed_byte_is_refused() {
    for (algorithm, pem, token) in OPENSSL {
        let key = JwtKey::from_pem_or_secret(pem.as_bytes(), None).unwrap();
        for place in 0..token.len() {
            for byte in *b"A.~" {
                let mut bytes = token.as_bytes().to_vec();
                if bytes[place] != byte {
                    bytes[place] = byte;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(verify(&key, &changed, NOW).is_err(), "{algorithm} at {place}: {changed}");
                }
            }
        }
    }
}

#[test]
fn algorithm_is_fixed_by_the_key() {
    let (secret, edwards, curve) = (Signer::Secret(SECRET), Signer::ed25519(), Signer::p256());
    let claims = claims(json!({})).to_string();
    let header = |algorithm: &str| json!({"typ": "JWT", "alg": algorithm}).to_string();
    for other in ["HS384", "HS512", "EdDSA", "ES256", "ES384", "RS256", "RS512", "PS256"] {
        assert_eq!(
            verify(&secret.key(), &secret.sign(&header(other), &claims), NOW),
            Err(Algorithm),
            "{other}"
        );
    }
    // The public key is no secret: nobody can sign with it.
    for public in [edwards, curve] {
        let file: &'static [u8] = Vec::leak(public.file());
        for secret in [file, file.trim_ascii(), b""] {
            let forged = Signer::Secret(secret).sign(&header("HS256"), &claims);
            assert_eq!(verify(&public.key(), &forged, NOW), Err(Algorithm));
        }
        let unsigned = public.sign(&header(public.algorithm()), &claims);
        let unsigned = unsigned.rsplit_once('.').unwrap().0;
        assert_eq!(verify(&public.key(), &format!("{unsigned}."), NOW), Err(Signature));
    }
    for none in ["none", "None", "NONE", "", "hs256"] {
        let head = BASE64URL_NOPAD.encode(header(none).as_bytes());
        let body = BASE64URL_NOPAD.encode(claims.as_bytes());
        assert_eq!(verify(&secret.key(), &format!("{head}.{body}."), NOW), Err(Malformed), "{none}");
        assert_eq!(
            verify(&secret.key(), &secret.sign(&header(none), &claims), NOW),
            Err(Malformed),
            "{none}"
        );
    }
    let other = Signer::Secret(b"another secret that is long enough");
    assert_eq!(verify(&secret.key(), &other.sign(&header("HS256"), &claims), NOW), Err(Signature));
}

#[test]
fn header_may_name_a_key_but_not_extensions() {
    let signer = Signer::Secret(SECRET);
    let claims = claims(json!({})).to_string();
    for (header, result) in [
        (json!({"alg": "HS256"}), Ok(())),
        // There is one key, so its identifier has no meaning.
        (json!({"alg": "HS256", "kid": "another"}), Ok(())),
        (json!({"alg": "HS256", "typ": "at+jwt", "x": {"y": 1}}), Ok(())),
        // RFC 7515, section 4.1.11: extensions that must be understood, and are not.
        (json!({"alg": "HS256", "crit": ["exp"], "exp": 1}), Err(Malformed)),
        (json!({"alg": "HS256", "crit": ["b64"], "b64": false}), Err(Malformed)),
        (json!({"alg": ["HS256"]}), Err(Malformed)),
        (json!({"typ": "JWT"}), Err(Malformed)),
        (json!([]), Err(Malformed)),
    ] {
        let token = signer.sign(&header.to_string(), &claims);
        assert_eq!(verify(&signer.key(), &token, NOW).map(drop), result, "{header}");
    }
}

#[test]
fn times_are_checked_by_the_given_clock() {
    let signer = Signer::Secret(SECRET);
    for (others, result) in [
        (json!({"exp": null}), Err(Malformed)),
        (json!({"exp": "1100"}), Err(Malformed)),
        (json!({"exp": [1100]}), Err(Malformed)),
        (json!({"exp": NOW}), Err(Expired)),
        (json!({"exp": NOW - 1}), Err(Expired)),
        (json!({"exp": -1}), Err(Expired)),
        (json!({"exp": 0}), Err(Expired)),
        (json!({"exp": NOW + 1}), Ok(NOW + 1)),
        (json!({"exp": 1000.5}), Ok(NOW)),
        (json!({"exp": 1e300}), Ok(253_402_300_799)),
        (json!({"exp": u64::MAX}), Ok(253_402_300_799)),
        (json!({"nbf": NOW}), Ok(NOW + 100)),
        (json!({"nbf": NOW + 5}), Ok(NOW + 100)),
        (json!({"nbf": NOW + 6}), Err(NotYet)),
        (json!({"nbf": 1005.5}), Err(NotYet)),
        (json!({"nbf": "0"}), Err(Malformed)),
        (json!({"nbf": false}), Err(Malformed)),
        (json!({"iat": NOW + 50, "iss": "app", "jti": "7"}), Ok(NOW + 100)),
    ] {
        let verified = verify(&signer.key(), &signer.token(&claims(others.clone())), NOW);
        assert_eq!(verified.map(|verified| verified.expires_unix), result, "{others}");
    }
    let raw = |claims: &str| verify(&signer.key(), &signer.sign(r#"{"alg":"HS256"}"#, claims), NOW).map(drop);
    assert_eq!(raw(r#"{"sub":"ann","exp":1e999}"#), Err(Malformed));
    assert_eq!(raw(r#"{"sub":"ann","exp":1,"exp":2000}"#), Err(Malformed));
    assert_eq!(raw(r#"{"sub":"ann","exp":2000}"#), Ok(()));
}

#[test]
fn audience_is_that_of_the_flag() {
    let signer = Signer::ed25519();
    let none = signer.key();
    let chat = JwtKey::from_pem_or_secret(&signer.file(), Some("chat")).unwrap();
    for (audience, without_flag, with_flag) in [
        (json!(null), Ok(()), Err(Audience)),
        (json!("chat"), Err(Audience), Ok(())),
        (json!(["mail", "chat"]), Err(Audience), Ok(())),
        (json!("mail"), Err(Audience), Err(Audience)),
        (json!("Chat"), Err(Audience), Err(Audience)),
        (json!(["mail"]), Err(Audience), Err(Audience)),
        (json!([]), Err(Audience), Err(Audience)),
        (json!(""), Err(Audience), Err(Audience)),
        (json!(7), Err(Audience), Err(Audience)),
        (json!([["chat"]]), Err(Audience), Err(Audience)),
    ] {
        let token = signer.token(&claims(json!({"aud": audience})));
        assert_eq!(verify(&none, &token, NOW).map(drop), without_flag, "{audience}");
        assert_eq!(verify(&chat, &token, NOW).map(drop), with_flag, "{audience}");
    }
}

#[test]
fn subject_role_and_rooms_are_read_or_refused() {
    let signer = Signer::Secret(SECRET);
    let identity = |others: &Value| {
        verify(&signer.key(), &signer.token(&claims(others.clone())), NOW).map(|verified| verified.identity)
    };
    for (others, refused) in [
        (json!({"sub": null}), Malformed),
        (json!({"sub": 7}), Malformed),
        (json!({"sub": ""}), Subject),
        (json!({"sub": "a b"}), Subject),
        (json!({"sub": "admin"}), Subject),
        (json!({"sub": "guest-7"}), Subject),
        (json!({"sub": "x".repeat(1_000)}), Subject),
        (json!({"role": "guest"}), JwtRefused::Role),
        (json!({"role": "Admin"}), JwtRefused::Role),
        (json!({"role": ""}), JwtRefused::Role),
        (json!({"role": ["admin"]}), Malformed),
        (json!({"rooms": {"radio": "admin"}}), Rooms),
        (json!({"rooms": {"radio": ""}}), Rooms),
        (json!({"rooms": {"a b": "read"}}), Rooms),
        (json!({"rooms": {"radio": "read", "Radio": "write"}}), Rooms),
        (json!({"rooms": {"radio": true}}), Malformed),
        (json!({"rooms": ["radio"]}), Malformed),
    ] {
        assert_eq!(identity(&others), Err(refused), "{others}");
    }
    let plain = identity(&json!({})).unwrap();
    assert_eq!((plain.role, plain.grants), (Role::User, None));
    let full = json!({"sub": "Zoë", "role": "moderator", "rooms": {"radio": "read", "#board": "write"}});
    let full = identity(&full).unwrap();
    assert_eq!((full.account.unwrap().as_str(), full.role), ("Zoë", Role::Moderator));
    let grant = |room: &str| full.grants.as_ref().unwrap().get(&RoomName::parse(room).unwrap()).copied();
    assert_eq!(
        (grant("radio"), grant("board"), grant("lobby")),
        (Some(Grant::Read), Some(Grant::Write), None)
    );
    // An empty list allows no room at all.
    assert_eq!(identity(&json!({"rooms": {}})).unwrap().grants.map(|grants| grants.len()), Some(0));
}

#[test]
fn key_that_ends_anywhere_or_has_any_other_byte_is_read_or_refused() {
    for (_, pem, _) in OPENSSL {
        let label = pem.lines().next().unwrap().trim_matches('-').trim_start_matches("BEGIN ");
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64.decode(body.as_bytes()).unwrap();
        let read = |der: &[u8]| {
            let body = BASE64.encode(der);
            let file = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            JwtKey::from_pem_or_secret(file.as_bytes(), None).map(drop)
        };
        assert_eq!(read(&der), Ok(()));
        for end in 0..der.len() {
            assert!(read(&der[..end]).is_err(), "{label} {end}");
        }
        assert!(read(&[&der[..], b"x"].concat()).is_err());
        for place in 0..der.len().min(40) {
            for byte in [0, 0x7f, 0x80, 0x81, 0x82, 0xff] {
                let mut der = der.clone();
                der[place] = byte;
                let _ = read(&der);
            }
        }
    }
}

#[test]
fn garbage_is_refused() {
    let signer = Signer::ed25519();
    let key = signer.key();
    let longest = |part: &str| {
        let text = part.repeat(TOKEN_MAX_BYTES / part.len());
        assert!(text.len() > TOKEN_MAX_BYTES - 8);
        text
    };
    for raw in ["x", ".", "..", "...", "a.b.c", "e30.e30.", "e30.e30.e30", "=.=.=", "bnVsbA.bnVsbA.bnVsbA"] {
        assert_eq!(verify(&key, raw, NOW), Err(Malformed), "{raw}");
    }
    for part in ["A", ".", "e30.", "eyJhbGciOiJFZERTQSJ9.", "W1tb", "{{"] {
        assert!(verify(&key, &longest(part), NOW).is_err(), "{part}");
    }
    let deep = signer.sign(r#"{"alg":"EdDSA"}"#, &"[".repeat(4_000));
    assert_eq!(verify(&key, &deep, NOW), Err(Malformed));
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let length = random.usize(1..200);
        let raw: String = std::iter::repeat_with(|| random.char('!'..='~')).take(length).collect();
        assert!(verify(&key, &raw, NOW).is_err(), "{raw}");
    }
}

#[test]
fn secret_has_a_least_length_without_its_line_end() {
    let read = |secret: &[u8]| JwtKey::from_pem_or_secret(secret, None).map(drop);
    let signer = Signer::Secret(SECRET);
    let token = signer.token(&claims(json!({})));
    for (end, is_same) in
        [("", true), ("\n", true), ("\r\n", true), ("\n\n", false), ("\r", false), (" ", false)]
    {
        let file = [SECRET, end.as_bytes()].concat();
        let key = JwtKey::from_pem_or_secret(&file, None).unwrap();
        assert_eq!(verify(&key, &token, NOW).is_ok(), is_same, "{end:?}");
    }
    for (secret, length) in [(&SECRET[..31], 31), (b"short\n", 5), (b"", 0), (b"\n", 0)] {
        let error = read(secret).unwrap_err();
        assert!(error.contains(&format!("the secret has {length} bytes, but needs 32")), "{error}");
    }
    assert_eq!(read(&[0xff; 32]), Ok(()));
    assert!(!format!("{:?}", signer.key()).contains("0123"));
}

#[test]
fn other_keys_are_refused_with_a_hint() {
    let error = |file: &[u8]| JwtKey::from_pem_or_secret(file, None).map(drop).unwrap_err();
    for (pem, part) in OTHER_KEYS {
        let error = error(pem.as_bytes());
        assert!(error.contains(part), "{error}");
    }
    let (_, public, _) = OPENSSL[0];
    let body = public.lines().nth(1).unwrap();
    let pem = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes();
    let der = BASE64.decode(body.as_bytes()).unwrap();
    let damaged = public.replacen("MCow", "MCox", 1);
    let half = &public[..public.len() - 30];
    for (file, part) in [
        (pem("PRIVATE KEY"), "it is a private key, which only the application may have"),
        (pem("EC PRIVATE KEY"), "openssl pkey -pubout"),
        (pem("ENCRYPTED PRIVATE KEY"), "it is a private key"),
        (pem("CERTIFICATE"), "openssl x509 -pubkey -noout"),
        (pem("CERTIFICATE REQUEST"), "it is no public key"),
        (pem("RSA PUBLIC KEY"), "it is damaged"),
        (public.repeat(2).into(), "it has several keys"),
        (damaged.into(), "it is damaged"),
        (half.into(), "it is damaged"),
        (der, "it is a key in DER, which is no secret"),
        (body.into(), "it is a key in DER, encoded in Base64"),
        (
            br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#.to_vec(),
            "JSON",
        ),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAA ann".to_vec(), "it is a key of SSH"),
    ] {
        let error = error(&file);
        assert!(error.contains(part), "{part}: {error}");
        assert!(!error.contains(&body[16..24]) && !error.contains('\n'), "{error}");
    }
    for (line_end, around) in [("\r\n", ""), ("\n", "\n\n"), ("\n", "Key of the application\n")] {
        let file = format!("{around}{}{around}", public.replace('\n', line_end));
        assert!(JwtKey::from_pem_or_secret(file.as_bytes(), None).is_ok(), "{file:?}");
    }
}
