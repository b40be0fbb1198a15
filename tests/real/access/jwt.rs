//! JSON Web Tokens that PyJWT and jose have signed, with keys of OpenSSL.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{Files, ROOMS, bearer, events_status, python, status};
use crate::harness::{Client, Server, require};
use crate::programs::shell;

/// Algorithms, each with the arguments of `openssl genpkey` for its key. A secret needs none.
const ALGORITHMS: [(&str, &str); 4] = [
    ("HS256", ""),
    ("EdDSA", "-algorithm ED25519"),
    ("ES256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
    ("RS256", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
];

/// A library that signs tokens.
#[derive(Clone, Copy, PartialEq)]
enum Library {
    PyJwt,
    Jose,
}

impl Library {
    /// Signs tokens, each of which is a list of an algorithm, the file of a key, and claims.
    fn sign(self, tokens: &[Value]) -> Vec<String> {
        let list = json!(tokens).to_string();
        let mut script = match self {
            Library::PyJwt => python("sign.py", &[&list]),
            Library::Jose => {
                require("node");
                let script = format!("{}/tests/real/scripts/sign.js", env!("CARGO_MANIFEST_DIR"));
                // The path of Debian's packages, for a `node` from elsewhere.
                Client::through("env", &["NODE_PATH=/usr/share/nodejs", "node", &script, &list])
            }
        };
        let signed: Vec<String> = std::iter::from_fn(|| script.line()).collect();
        assert_eq!(signed.len(), tokens.len());
        signed
    }
}

/// Makes a key and its public half: `NAME.key` and `NAME.pub`. A secret is its own public half.
fn make_key(folder: &Path, name: &str, kind: &str) {
    let (key, public) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pub")));
    let (key, public) = (key.display(), public.display());
    let line = match kind {
        "" => format!("openssl rand -hex 32 >{key} && cp {key} {public}"),
        _ => format!("openssl genpkey {kind} -out {key} && openssl pkey -in {key} -pubout -out {public}"),
    };
    let output = shell("openssl", &line);
    assert!(output.status.success(), "{output:?}");
    // The line end behind a secret does not belong to it, but the libraries would take it.
    let text = fs::read_to_string(folder.join(format!("{name}.key"))).unwrap();
    fs::write(folder.join(format!("{name}.key")), text.trim_end()).unwrap();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A server that accepts tokens of a new key, with the audience `chat`.
struct Trusting {
    files: Files,
    server: Server,
    algorithm: &'static str,
}

impl Trusting {
    fn new((algorithm, kind): (&'static str, &'static str)) -> Trusting {
        let files = Files::new(ROOMS);
        make_key(files.folder.path(), "good", kind);
        make_key(files.folder.path(), "other", kind);
        let server = files.start("--jwt-key @/good.pub --jwt-audience chat --log debug");
        Trusting { files, server, algorithm }
    }

    fn file(&self, name: &str) -> Value {
        json!(self.files.path(name).display().to_string())
    }

    /// A token to sign, with the right key and algorithm. Claims that are `null` are left out.
    fn good(&self, changes: Value) -> Value {
        let mut claims = json!({"sub": "ann", "exp": now() + 600, "aud": "chat"});
        for (claim, value) in changes.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        json!([self.algorithm, self.file("good.key"), claims])
    }

    /// The same with another algorithm or key.
    fn forged(&self, algorithm: &str, key: Value) -> Value {
        let mut token = self.good(json!({}));
        (token[0], token[1]) = (json!(algorithm), key);
        token
    }

    /// A line client that has sent a login.
    fn login(&self, token: &str) -> Client {
        let mut client = self.server.client();
        client.skip_to("-- welcome");
        client.say(&format!("/login {token}"));
        client
    }

    /// Checks the results of the login in every protocol: WebSockets as `login.py` prints them, HTTP statuses, and the line.
    #[track_caller]
    fn assert_all(&self, tokens: &[String], websockets: &str, statuses: [&str; 2], line: &str) {
        let base = format!("ws://{}", self.server.http_address());
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let mut script = python("login.py", &[&[base.as_str(), "members"], tokens.as_slice()].concat());
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(script.line().as_deref(), Some(websockets), "{} {index}", self.algorithm);
            let events = events_status(&self.server, &["--oauth2-bearer", token]);
            assert_eq!(events, statuses[0], "{} {index}", self.algorithm);
            let post = format!("{} --data hi http://@/rooms/members/messages", bearer(token));
            assert_eq!(status(&self.server, &post), statuses[1], "{} {index}", self.algorithm);
            self.login(token).skip_to(line);
        }
    }

    fn assert_accepted(&self, tokens: &[String]) {
        self.assert_all(tokens, "ann ann ann open open", ["200", "202"], "-- hello ann.");
    }

    fn assert_refused(&self, tokens: &[String]) {
        let websockets = "login_failed 401 login_failed 401 401";
        self.assert_all(tokens, websockets, ["401", "401"], "-- the name or the token is wrong");
    }
}

fn check_good_tokens(library: Library) {
    for algorithm in ALGORITHMS {
        let trusting = Trusting::new(algorithm);
        let tokens = library.sign(&[
            trusting.good(json!({})),
            trusting.good(json!({"aud": ["shop", "chat"], "nbf": now() - 10, "iat": now(), "iss": "shop"})),
            trusting.good(json!({"role": "admin", "nbf": now() + 3})),
        ]);
        trusting.assert_accepted(&tokens);
    }
}

fn check_bad_tokens(library: Library) {
    for algorithm in ALGORITHMS {
        let trusting = Trusting::new(algorithm);
        let mut signed = vec![
            trusting.good(json!({})),
            trusting.good(json!({"exp": now() - 1})),
            trusting.good(json!({"exp": null})),
            trusting.good(json!({"nbf": now() + 600})),
            trusting.good(json!({"aud": "shop"})),
            trusting.good(json!({"aud": null})),
            trusting.good(json!({"sub": null})),
            trusting.good(json!({"sub": "two words"})),
            trusting.good(json!({"role": "king"})),
            trusting.good(json!({"role": "guest"})),
            trusting.good(json!({"rooms": {"radio": "rule"}})),
            trusting.forged(trusting.algorithm, trusting.file("other.key")),
            trusting.forged("none", Value::Null),
        ];
        // The public key is known to everybody, so it must not count as a secret. PyJWT refuses to sign with it.
        if library == Library::Jose && trusting.algorithm != "HS256" {
            signed.push(trusting.forged("HS256", trusting.file("good.pub")));
        }
        if trusting.algorithm == "RS256" {
            signed.extend(["RS512", "PS256"].map(|other| trusting.forged(other, trusting.file("good.key"))));
        }
        let mut tokens = library.sign(&signed);
        let good = tokens.remove(0);
        let (message, _) = good.rsplit_once('.').unwrap();
        tokens.extend([good[..good.len() - 4].to_string(), message.to_string(), format!("{message}.")]);
        trusting.assert_refused(&tokens);
        trusting.assert_accepted(&[good]);
    }
}

#[test]
#[ignore = "needs python3-jwt, python3-websockets, openssl and curl"]
fn tokens_of_pyjwt_log_in_by_every_protocol() {
    check_good_tokens(Library::PyJwt);
}

#[test]
#[ignore = "needs python3-jwt, python3-websockets, openssl and curl"]
fn bad_tokens_of_pyjwt_are_refused_by_every_protocol() {
    check_bad_tokens(Library::PyJwt);
}

#[test]
#[ignore = "needs node-jose, python3-websockets, openssl and curl"]
fn tokens_of_jose_log_in_by_every_protocol() {
    check_good_tokens(Library::Jose);
}

#[test]
#[ignore = "needs node-jose, python3-websockets, openssl and curl"]
fn bad_tokens_of_jose_are_refused_by_every_protocol() {
    check_bad_tokens(Library::Jose);
}

#[test]
#[ignore = "needs python3-jwt, python3-websockets, openssl and curl"]
fn token_of_100_kilobytes_is_refused_before_its_signature() {
    let trusting = Trusting::new(ALGORITHMS[0]);
    let tokens = Library::PyJwt.sign(&[trusting.good(json!({"padding": "x".repeat(75_000)}))]);
    assert!(tokens[0].len() > 100_000);
    let line = "-- that line was not sent: it is over 4096 bytes";
    trusting.assert_all(&tokens, "431 431 closed 1009 431 431", ["431", "431"], line);
    // A good token of 4 KB fits into a head, but not into a line.
    let tokens = Library::PyJwt.sign(&[trusting.good(json!({"padding": "x".repeat(3_000)}))]);
    trusting.assert_all(&tokens, "ann ann ann open open", ["200", "202"], line);
}

#[test]
#[ignore = "needs python3-jwt, openssl and curl"]
fn claims_of_a_token_narrow_its_rights() {
    let trusting = Trusting::new(ALGORITHMS[1]);
    let rooms = json!({"radio": "read", "board": "write", "members": "write"});
    let signed = [
        trusting.good(json!({"rooms": rooms})),
        trusting.good(json!({"rooms": rooms, "role": "moderator"})),
        trusting.good(json!({"role": "moderator"})),
        trusting.good(json!({"sub": "poller"})),
    ];
    let [user, both, moderator, poller] = &Library::PyJwt.sign(&signed)[..] else { panic!("four tokens") };
    let get = |path: &str| format!("http://@{path}");
    let read = |room: &str| get(&format!("/rooms/{room}/messages"));
    let write = |room: &str| format!("--data hi {}", read(room));
    for (token, args, expected) in [
        (moderator, write("radio"), "202"),
        (user, read("radio"), "200"),
        (user, write("radio"), "403"),
        (user, write("board"), "202"),
        (user, write("members"), "202"),
        (user, read("lobby"), "403"),
        (user, get("/admin/bans"), "403"),
        (both, write("radio"), "403"),
        (both, read("lobby"), "403"),
        (both, get("/admin/bans"), "200"),
        (moderator, write("lobby"), "202"),
        (poller, write("radio"), "202"),
        (poller, get("/admin/bans"), "403"),
    ] {
        assert_eq!(status(&trusting.server, &format!("{} {args}", bearer(token))), expected, "{args}");
    }
    let mut ann = trusting.login(user);
    ann.skip_to("-- hello ann. you are alone in #board.");
    ann.say("/join lobby");
    ann.skip_to("-- you may not enter #lobby");
    ann.say("/join radio");
    ann.skip_to("-- you are alone in #radio");
    ann.say("hi");
    ann.skip_to("-- you may read in #radio, but not speak");
}

#[test]
#[ignore = "needs python3-jwt and openssl"]
fn expired_session_is_warned_and_goes_on_with_a_fresh_token() {
    let trusting = Trusting::new(ALGORITHMS[2]);
    let [short, fresh] = &Library::PyJwt
        .sign(&[trusting.good(json!({"exp": now() + 4})), trusting.good(json!({"role": "moderator"}))])[..]
    else {
        panic!("two tokens")
    };
    let mut ann = trusting.login(short);
    ann.skip_to("-- you are logged in as ann (user)");
    ann.skip_to("-- your session ends in 30 s. /login with a new token to stay");
    ann.say(&format!("/login {fresh}"));
    ann.skip_to("-- you are logged in as ann (moderator)");
    ann.say("/bans");
    ann.skip_to("-- there are no bans");
    let mut late = trusting.login(short);
    late.skip_to("-- the name or the token is wrong, or the token has expired");
}
