//! Accounts and moderation: people log in, keep their names, and moderators act on members.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Proxy, Server};
use crate::webdriver::{Browser, Page};

const MODS_TOKEN: &str = "token-of-mod";
const BEAS_TOKEN: &str = "token-of-bea";

/// The hashes are of the tokens above.
const SECTIONS: &str = r#"
[accounts.mod]
role = "moderator"
token = "sha256:692423cb6629ea5b2da43395675a544c51f2327a5070eec5d99af6dc23578fdf"
[accounts.bea]
token = "sha256:c9ff6c5433107c65e8c114b6d9fee3b8806474959cfb0853a9001a4978a93a43"
[rooms.radio]
speak = "user"
topic = "What is playing"
"#;

const ENTER: char = '\u{e007}';
const ESCAPE: &str = "\u{e00c}";

/// A server with the accounts above, and its configuration file.
pub struct Guarded {
    pub server: Server,
    _folder: TempDir,
}

impl Guarded {
    pub fn start(flags: &str) -> Guarded {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chinwag.toml");
        fs::write(&file, SECTIONS).expect("a file");
        let server = Server::start(&format!("{flags} --config {}", file.display()));
        Guarded { server, _folder: folder }
    }

    /// Opens the page of a moderator in the lobby.
    pub fn moderator<'a>(&self, browser: &'a Browser) -> Page<'a> {
        let page = browser.join(self.server.http(), "max");
        log_in(&page, MODS_TOKEN);
        wait_for_account(&page, "mod, moderator");
        page
    }
}

/// Logs in by the dialog.
#[track_caller]
pub fn log_in(page: &Page<'_>, token: &str) {
    page.click("#log-in");
    page.type_into("#login-token", &format!("{token}{ENTER}"));
}

#[track_caller]
fn wait_for_account(page: &Page<'_>, expected: &str) {
    wait_for_text(page, "#own-account", expected);
    page.see("#login-dialog:not([open])");
}

/// Waits until an element is shown with exactly this text.
#[track_caller]
fn wait_for_text(page: &Page<'_>, selector: &str, expected: &str) {
    let condition = "((element) => element?.checkVisibility() && element.textContent === arguments[1])\
        (document.querySelector(arguments[0]))";
    page.wait(condition, json!([selector, expected]));
}

/// Waits for a line of the page's own with exactly this text.
#[track_caller]
pub fn wait_for_line(page: &Page<'_>, expected: &str) {
    let lines = "[...document.querySelectorAll('.line span')].some((e) => e.textContent === arguments[0])";
    page.wait(lines, json!([expected]));
}

/// Opens the dialog about a member.
#[track_caller]
pub fn open_member(page: &Page<'_>, name: &str) {
    page.click(&format!("[aria-label='About {name}']"));
    wait_for_text(page, "#member-name", name);
}

/// Signs a JSON Web Token with HS256 (RFC 7515, 3.1).
fn jwt(secret: &str, claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let [header, claims] = [&header, claims].map(|part| BASE64URL_NOPAD.encode(part.to_string().as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

fn stored_token(page: &Page<'_>) -> Value {
    page.value("localStorage.getItem('chinwag.token')", json!([]))
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn reader_logs_in_and_the_token_is_stored_only_on_request() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let page = browser.join(guarded.server.http(), "ann");
    log_in(&page, "wrong");
    wait_for_text(&page, "#login-error", "the name or the token is wrong, or the token has expired");
    page.see("#login-dialog[open]");
    page.value("document.getElementById('login-token').value = ''", json!([]));
    page.type_into("#login-token", &format!("{BEAS_TOKEN}{ENTER}"));
    wait_for_account(&page, "bea, user");
    wait_for_text(&page, "#own-name", "bea");
    assert_eq!(stored_token(&page), json!(null));
    page.say("hello");
    page.see(".own.sent");

    page.click("#log-out");
    page.see("#log-in:not([hidden])");
    page.wait("document.body.dataset.connection === 'open'", json!([]));
    page.click("#log-in");
    page.type_into("#login-token", BEAS_TOKEN);
    page.click("#login-keep");
    page.click("#login-submit");
    wait_for_account(&page, "bea, user");
    page.value("location.reload()", json!([]));
    wait_for_account(&page, "bea, user");
    page.see("#name-dialog:not([open])");
    page.click("#log-out");
    page.see("#log-in:not([hidden])");
    assert_eq!(stored_token(&page), json!(null));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn stored_token_that_is_wrong_leads_to_the_login_dialog() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let page = browser.join(guarded.server.http(), "ann");
    page.value("localStorage.setItem('chinwag.token', '\"revoked\"')", json!([]));
    page.value("location.reload()", json!([]));
    wait_for_text(&page, "#login-error", "the name or the token is wrong, or the token has expired");
    assert_eq!(stored_token(&page), json!(null));
    page.wait("document.body.dataset.connection === 'closed'", json!([]));
    page.type_into("#login-token", &format!("{BEAS_TOKEN}{ENTER}"));
    wait_for_account(&page, "bea, user");
    page.say("hello");
    page.see(".own.sent");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn reader_is_logged_in_again_after_the_connection_broke() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let proxy = Proxy::to(guarded.server.http());
    let page = browser.join(proxy.address(), "ann");
    log_in(&page, BEAS_TOKEN);
    wait_for_account(&page, "bea, user");
    proxy.cut();
    wait_for_text(&page, "#log-in", "Log in");
    proxy.mend(guarded.server.http());
    wait_for_account(&page, "bea, user");
    wait_for_text(&page, "#own-name", "bea");
    page.see("#name-dialog:not([open])");
    page.say("hello");
    page.see(".own.sent");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn reader_is_told_that_the_login_ends_and_renews_it() {
    const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    fs::write(&key, SECRET).expect("a file");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a private file");
    let server = Server::start(&format!("--jwt-key {}", key.display()));
    let token = |expires: u64| jwt(SECRET, &json!({ "sub": "zoe", "exp": expires }));
    let browser = Browser::start();
    let page = browser.join(server.http(), "ann");
    // The browser may take seconds to start.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
    log_in(&page, &token(now + 8));
    wait_for_account(&page, "zoe, user");
    wait_for_line(&page, "Your login ends in 30 s. Log in with a fresh token to stay connected");
    log_in(&page, &token(now + 3600));
    page.see("#login-dialog:not([open])");
    page.see("#log-in[hidden]");
    wait_for_account(&page, "zoe, user");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_opens_the_login_dialog_if_the_server_requires_a_login_and_joins_afterwards() {
    let guarded = Guarded::start("--access login");
    let browser = Browser::start();
    let page = browser.open(guarded.server.http(), "?name=ann#dev");
    page.see("#login-dialog[open]");
    page.type_into("#login-token", &format!("{BEAS_TOKEN}{ENTER}"));
    wait_for_account(&page, "bea, user");
    page.wait("document.title === '#dev – chinwag'", json!([]));
    page.say("hello");
    page.see(".own.sent");

    // The login can come before the name, too.
    page.value("localStorage.clear()", json!([]));
    let second = browser.open(guarded.server.http(), "");
    second.see("#name-dialog[open]");
    second.click("#name-login");
    second.type_into("#login-token", &format!("{MODS_TOKEN}{ENTER}"));
    wait_for_account(&second, "mod, moderator");
    second.see("#name-dialog:not([open])");
    second.say("good morning");
    second.see(".own.sent");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn registered_name_has_a_token_that_logs_in() {
    let guarded = Guarded::start("--registration");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    ann.click("#keep-name");
    ann.see("#token-dialog[open]");
    // Escape does not lose the token.
    ann.type_into("#token-copy", ESCAPE);
    ann.click("#token-copy");
    ann.wait("document.getElementById('token-copied').textContent", json!([]));
    let token = ann.value("document.getElementById('token-value').value", json!([]));
    ann.click("#token-close");
    wait_for_account(&ann, "ann, user");
    assert_eq!(ann.value("document.getElementById('token-value').value", json!([])), json!(""));
    assert_eq!(ann.all("#keep-name:not([hidden])"), Vec::<String>::new());
    ann.click("#log-out");
    ann.see("#log-in:not([hidden])");
    ann.wait("document.body.dataset.connection === 'open'", json!([]));
    log_in(&ann, token.as_str().expect("a text"));
    wait_for_account(&ann, "ann, user");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_says_that_names_can_not_be_registered() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    ann.click("#keep-name");
    wait_for_line(&ann, "names can't be registered here. ask an administrator for an account");
    ann.see("#keep-name[hidden]");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn topic_is_shown_and_moderators_edit_it() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    let moderator = guarded.moderator(&browser);
    assert_eq!(ann.all("#edit-topic:not([hidden])"), Vec::<String>::new());
    moderator.click("#edit-topic");
    moderator.type_into("#topic-field", &format!("Tea & <b>biscuits</b>{ENTER}"));
    moderator.see("#topic-dialog:not([open])");
    for page in [&moderator, &ann] {
        wait_for_text(page, "#topic", "Tea & <b>biscuits</b>");
        wait_for_line(page, "mod has set the topic: Tea & <b>biscuits</b>");
    }
    moderator.say("/topic -");
    wait_for_line(&ann, "mod has removed the topic");
    ann.see("#topic[hidden]");
    // An account could have the right, so the page offers the login.
    ann.say("/topic mine");
    wait_for_text(&ann, "#login-error", "That needs an account");
    ann.type_into("#login-token", &format!("{BEAS_TOKEN}{ENTER}"));
    wait_for_account(&ann, "bea, user");
    ann.say("/topic mine");
    wait_for_line(&ann, "only moderators may set the topic");
    ann.say("/join radio");
    wait_for_text(&ann, "#topic", "What is playing");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn muted_reader_sees_the_reason_in_place_of_the_box() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    let moderator = guarded.moderator(&browser);
    open_member(&moderator, "ann");
    moderator.click("[data-moderates=mute][data-seconds='600']");
    wait_for_line(&moderator, "ann is muted for 10 min");
    wait_for_text(&ann, "#silence-text", "a moderator has muted you for 10 min");
    ann.see("#input:disabled");
    // The server refuses it still.
    ann.click("#silence-retry");
    ann.say("let me");
    ann.see(".failed");
    ann.see("#input:disabled");
    open_member(&moderator, "ann");
    moderator.click("[data-moderates=unmute]");
    ann.see("#input:enabled");
    ann.say("thanks");
    ann.see(".own.sent");

    // In a room for accounts a login helps.
    ann.say("/join radio");
    ann.see("#input:disabled");
    ann.click("#silence-login");
    ann.type_into("#login-token", &format!("{BEAS_TOKEN}{ENTER}"));
    ann.see("#input:enabled");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn moderator_kicks_a_member_which_is_told_why_and_stays_away() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    let moderator = guarded.moderator(&browser);
    // By the keyboard alone.
    moderator.type_into("[aria-label='About ann']", &ENTER.to_string());
    wait_for_text(&moderator, "#member-name", "ann");
    moderator.type_into("#member-reason", "spam");
    moderator.type_into("[data-moderates=kick]", &ENTER.to_string());
    moderator.see("#member-dialog:not([open])");
    wait_for_line(&moderator, "ann was removed");
    wait_for_line(&moderator, "ann left (kicked by mod: spam)");
    wait_for_line(&ann, "mod has removed you: spam");
    wait_for_text(&ann, "#banner-text", "Not connected: a moderator has removed you");
    ann.wait("document.body.dataset.connection === 'closed'", json!([]));
    ann.click("#retry");
    ann.wait("document.body.dataset.connection === 'open'", json!([]));

    // A role that is not below the moderator's is refused in the dialog.
    log_in(&ann, MODS_TOKEN);
    wait_for_account(&ann, "mod, moderator");
    moderator.wait("document.getElementById('own-name').textContent !== 'mod'", json!([]));
    open_member(&moderator, "mod");
    moderator.click("[data-moderates=kick]");
    let refusal = "mod is moderator, and you can only act on roles below your own";
    wait_for_text(&moderator, "#member-error", refusal);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn banned_name_is_refused_until_the_ban_is_lifted() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let moderator = guarded.moderator(&browser);
    let ann = browser.join(guarded.server.http(), "ann");
    open_member(&moderator, "ann");
    moderator.click("[data-moderates=ban][data-seconds='3600']");
    wait_for_text(&ann, "#banner-text", "Not connected: a moderator has banned you");
    wait_for_line(&moderator, "ann is banned for 60 min");
    moderator.say("/bans");
    moderator.wait(
        "[...document.querySelectorAll('.line span')].some((e) => e.textContent.startsWith('ann is banned by mod until '))",
        json!([]),
    );
    moderator.say("/unban ann");
    wait_for_line(&moderator, "the ban of ann is lifted");
    ann.click("#retry");
    wait_for_text(&ann, "#own-name", "ann");
    ann.wait("document.body.dataset.connection === 'open'", json!([]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn whois_shows_the_account_and_moderators_see_the_address() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let ann = browser.join(guarded.server.http(), "ann");
    let bea = browser.join(guarded.server.http(), "bob");
    log_in(&bea, BEAS_TOKEN);
    wait_for_account(&bea, "bea, user");
    bea.say("/away lunch");
    wait_for_line(&bea, "you are away");
    let facts = |page: &Page<'_>| {
        page.wait("document.querySelectorAll('#member-facts dt').length > 1", json!([]));
        page.all("#member-facts dt, #member-facts dd")
    };
    open_member(&ann, "bea");
    let seen = facts(&ann);
    assert_eq!(seen[..2], ["Account", "bea (user)"]);
    assert!(seen.contains(&"lunch".into()) && seen.contains(&"Here since".into()), "{seen:?}");
    assert!(!seen.contains(&"Address".into()), "{seen:?}");
    assert_eq!(ann.value("document.getElementById('member-moderation').hidden", json!([])), json!(true));
    ann.click("#member-close");

    let moderator = guarded.moderator(&browser);
    open_member(&moderator, "ann");
    let seen = facts(&moderator);
    assert_eq!(seen[..2], ["Account", "none, a guest"]);
    assert!(seen.contains(&"Address".into()), "{seen:?}");
    moderator.click("#member-close");
    moderator.say("/whois nobody-here");
    wait_for_line(&moderator, "nobody is called nobody-here. /who lists the names");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn login_command_is_never_sent_as_a_message() {
    let guarded = Guarded::start("");
    let browser = Browser::start();
    let mut bob = guarded.server.join("bob");
    let ann = browser.join(guarded.server.http(), "ann");
    let attempts = [
        format!("/login bea {BEAS_TOKEN} now"),
        format!("/login: bea {BEAS_TOKEN}"),
        format!("/login{BEAS_TOKEN}"),
        format!("/ login {BEAS_TOKEN}"),
        format!(" /LOGIN bea, {BEAS_TOKEN} please"),
        // Shift and Enter start a line.
        format!("hi\u{e008}{ENTER}\u{e008}/login {BEAS_TOKEN}"),
    ];
    for attempt in attempts {
        ann.value("document.getElementById('input').value = ''", json!([]));
        ann.say(&attempt);
        ann.wait("document.getElementById('input').value === ''", json!([]));
    }
    ann.say(&format!("/login bea {BEAS_TOKEN}"));
    wait_for_account(&ann, "bea, user");
    wait_for_line(&ann, "You are logged in as bea (user)");
    ann.say("that was all");
    bob.expect("bea: that was all");
    ann.expect_texts(&["that was all"]);
    let shown = ann.value("document.body.innerText", json!([])).to_string();
    assert!(!shown.contains(BEAS_TOKEN), "{shown}");
}
