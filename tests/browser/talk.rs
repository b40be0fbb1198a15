//! People chat, some of them in a browser.

use serde_json::json;

use crate::server::Server;
use crate::webdriver::{Browser, Page};

/// Waits for a row in the list of conversations with that name and number of unread messages.
fn unread(page: &Page, list: &str, name: &str, count: &str) {
    let row = "[...document.querySelectorAll(arguments[0] + ' .row')]\
        .find((row) => row.querySelector('.label').textContent === arguments[1])";
    let badge =
        "row && (row.querySelector('.badge').hidden ? '' : row.querySelector('.badge b').textContent)";
    let condition = format!("((row) => ({badge}) === arguments[2])({row})");
    page.wait(&condition.replace("arguments[2]", &format!("{count:?}")), json!([list, name]));
}

fn title(page: &Page, expected: &str) {
    page.wait("document.title === arguments[0]", json!([expected]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn three_pages_and_a_line_client_see_each_other_and_each_message_once() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let pages = ["ann", "cy", "dan"].map(|name| (name, browser.join(server.http(), name)));
    for (name, page) in &pages {
        page.wait("document.querySelectorAll('#member-list li').length === 4", json!([]));
        page.say(&format!("hi from {name}"));
    }
    bob.say("hi from bob");
    for (name, _) in &pages {
        bob.expect(&format!("{name}: hi from {name}"));
    }
    // Anything else on its way would arrive before this.
    bob.say("that was all");
    let seen = pages.each_ref().map(|(_, page)| {
        page.expect("that was all");
        assert_eq!(page.all(".pending, .failed"), Vec::<String>::new());
        page.texts()
    });
    let mut sorted = seen[0].clone();
    sorted.sort();
    assert_eq!(sorted, ["hi from ann", "hi from bob", "hi from cy", "hi from dan", "that was all"]);
    assert_eq!((&seen[1], &seen[2]), (&seen[0], &seen[0]), "one order for all");
    assert_eq!(bob.count("ann: hi from ann"), 1);
    assert_eq!(pages[0].1.all(".own .text"), ["hi from ann"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn unread_messages_are_counted_and_private_ones_are_separate() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let ann = browser.join(server.http(), "ann");
    title(&ann, "#lobby – chinwag");
    ann.say("/join dev");
    title(&ann, "#dev – chinwag");
    bob.say("anybody?");
    unread(&ann, "#room-list", "lobby", "1");
    bob.say("/msg ann psst");
    bob.say("/msg ann here");
    // A stranger needs the reader's consent, however much it writes.
    title(&ann, "(2) #dev – chinwag");
    ann.click("#requests");
    ann.wait("document.querySelector('#request-list .note').textContent === '2 messages'", json!([]));
    ann.click("#request-list button:not(.quiet)");
    title(&ann, "(1) bob – chinwag");
    unread(&ann, "#private-list", "bob", "");
    ann.expect_texts(&["psst", "here"]);
    ann.say("what is it?");
    bob.expect("[ann] what is it?");
    ann.see(".own.sent");
    ann.expect_texts(&["psst", "here", "what is it?"]);

    ann.click("#room-list .row");
    title(&ann, "#lobby – chinwag");
    ann.expect("anybody?");
    bob.say("/msg ann one");
    bob.say("/msg ann two");
    unread(&ann, "#private-list", "bob", "2");
    title(&ann, "(2) #lobby – chinwag");
    assert_eq!(bob.count("ann: what is it?"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_asks_for_a_name_and_again_if_it_is_taken() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let page = browser.open(server.http(), "#dev");
    page.see("#name-dialog[open]");
    page.type_into("#name-field", "bob\u{e007}");
    page.wait("document.getElementById('name-error').textContent", json!([]));
    page.type_into("#name-field", "ann\u{e007}");
    page.see("#name-dialog:not([open])");
    page.wait("document.getElementById('own-name').textContent === 'ann'", json!([]));
    title(&page, "#dev – chinwag");
    page.say("//slash");
    page.say("/me waves");
    page.expect("/slash");
    bob.say("/join dev");
    bob.say("hello");
    page.expect("hello");

    // The page remembers the name in a window that never asked for one; but the name is taken there.
    let second = browser.open(server.http(), "");
    second.see("#name-dialog[open]");
    assert_eq!(second.value("document.getElementById('name-field').value", json!([])), "ann");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn refused_message_can_be_sent_again() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    ann.say("/msg eve are you there?");
    ann.see(".failed .failure");
    let mut eve = server.join("eve");
    ann.click(".failure button");
    eve.expect("[ann] are you there?");
    ann.see(".own.sent");
    assert_eq!(ann.all(".failed"), Vec::<String>::new());
}

/// A browser gives up a connection if none of its offered subprotocols is accepted.
#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_gets_the_subprotocol_it_offers() {
    let server = Server::start("");
    let browser = Browser::start();
    let page = browser.open(server.http(), "");
    let rows = [
        ("/ws", json!([]), ""),
        ("/ws", json!("chinwag.json"), "chinwag.json"),
        ("/ws", json!(["other", "chinwag.json"]), "chinwag.json"),
        ("/ws", json!(["other"]), "closed 1006"),
        ("/raw/files", json!(["mqtt", "other"]), "mqtt"),
        ("/raw/files", json!([]), ""),
    ];
    for (path, offered, expected) in rows {
        let open = "(() => { const socket = new WebSocket(`ws://${location.host}${arguments[0]}`, arguments[1]);\
            delete window.agreed;\
            socket.onopen = () => { window.agreed = socket.protocol; socket.close(); };\
            socket.onclose = (event) => { window.agreed ??= `closed ${event.code}`; };\
            return true; })()";
        page.value(open, json!([path, offered]));
        page.wait("window.agreed !== undefined", json!([]));
        assert_eq!(page.value("window.agreed", json!([])), json!(expected), "{path} {offered}");
    }
}
