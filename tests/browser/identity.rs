//! Names prove nothing: the page recognises its reader's own messages by id.

use serde_json::json;

use crate::server::{Proxy, Server};
use crate::webdriver::Browser;

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn message_published_under_the_readers_name_is_not_shown_as_the_readers_own() {
    let server = Server::start("");
    let browser = Browser::start();
    let proxy = Proxy::to(server.http());
    let ann = browser.join(proxy.address(), "ann");
    let mut bob = server.join("bob");
    ann.say("mine");
    bob.expect("ann: mine");

    proxy.cut();
    ann.wait("document.body.dataset.connection !== 'open'", json!([]));
    bob.expect("-- ann left");
    // A message in the send queue must not count as sent because another client sent the same text.
    ann.say("the same");
    ann.see(".pending");
    server.publish("ann", "I resign");
    server.publish("ann", "the same");
    bob.expect("ann (http): the same");
    proxy.mend(server.http());

    bob.expect("ann: the same");
    ann.see(".own.sent + .own.sent, .own.sent ~ .own.sent");
    ann.expect_texts(&["mine", "I resign", "the same", "the same"]);
    assert_eq!(ann.all(".own .text"), ["mine", "the same"]);
    assert_eq!(ann.all(".message:not(.own) .via"), ["via http"; 2]);
    assert_eq!(ann.all(".own .via, .failed"), Vec::<String>::new());

    // Own messages stay own under another connection, and after a reload.
    ann.value("location.reload()", json!([]));
    ann.wait("document.querySelectorAll('.own .text').length === 2", json!([]));
    assert_eq!(ann.all(".own .text"), ["mine", "the same"]);
    let stranger = browser.join(server.http(), "cy");
    stranger.expect("I resign");
    assert_eq!(stranger.all(".own"), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn rename_of_the_next_owner_of_the_readers_old_name_is_not_shown_as_the_readers() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    ann.say("before");
    ann.say("/nick amy");
    ann.wait("document.getElementById('own-name').textContent === 'amy'", json!([]));
    let mut other = server.join("ann");
    other.say("I am ann");
    ann.expect("I am ann");
    other.say("/nick eve");
    other.expect("-- you are now eve");
    ann.wait(
        "[...document.querySelectorAll('.line span')].some((e) => e.textContent === 'ann is eve now')",
        json!([]),
    );
    assert_eq!(ann.all("#own-name"), ["amy"]);
    assert_eq!(ann.all(".own .text"), ["before"]);
}
