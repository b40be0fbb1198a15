//! The connection to the server breaks, and the page reconnects.

use serde_json::json;

use crate::server::{Proxy, Redis, Server};
use crate::webdriver::{Browser, Page};

fn wait_until_cut_off(page: &Page) {
    page.wait("document.body.dataset.connection !== 'open'", json!([]));
    page.see("#banner:not([hidden])");
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_catches_up_on_messages_sent_while_it_was_offline() {
    let server = Server::start("");
    let browser = Browser::start();
    let proxy = Proxy::to(server.http());
    let ann = browser.join(proxy.address(), "ann");
    let mut bob = server.join("bob");
    bob.say("before");
    ann.expect("before");

    proxy.cut();
    wait_until_cut_off(&ann);
    bob.expect("-- ann left");
    for text in ["one", "two", "three"] {
        bob.say(text);
    }
    ann.say("written meanwhile");
    ann.see(".pending");
    proxy.mend(server.http());

    bob.expect("ann: written meanwhile");
    ann.see(".own.sent");
    bob.say("after");
    ann.expect("after");
    ann.expect_texts(&["before", "one", "two", "three", "written meanwhile", "after"]);
    assert_eq!(ann.all(".gap, .failed"), Vec::<String>::new());
    assert_eq!(bob.count("ann: written meanwhile"), 1);
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_says_how_much_it_missed() {
    const SAID: usize = 9;
    let server = Server::start("--history 5");
    let browser = Browser::start();
    let proxy = Proxy::to(server.http());
    let ann = browser.join(proxy.address(), "ann");
    let (mut bob, mut cy) = (server.join("bob"), server.join("cy"));
    bob.say("before");
    ann.expect("before");

    proxy.cut();
    wait_until_cut_off(&ann);
    for n in 1..=SAID {
        bob.say(&n.to_string());
    }
    cy.expect(&format!("bob: {SAID}"));
    proxy.mend(server.http());

    ann.expect(&SAID.to_string());
    ann.expect_texts(&["before", "5", "6", "7", "8", "9"]);
    assert_eq!(ann.all(".gap span"), ["You missed 4 messages"]);
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_notices_that_the_server_was_restarted() {
    let (old, new) = (Server::start(""), Server::start(""));
    let browser = Browser::start();
    let proxy = Proxy::to(old.http());
    let ann = browser.join(proxy.address(), "ann");
    let (mut bob, mut cy) = (old.join("bob"), new.join("cy"));
    for text in ["one", "two", "three"] {
        bob.say(text);
    }
    ann.expect("three");

    proxy.cut();
    wait_until_cut_off(&ann);
    cy.say("in the new one");
    proxy.mend(new.http());

    cy.expect("-- ann joined");
    cy.say("welcome back");
    ann.expect("welcome back");
    ann.expect_texts(&["one", "two", "three", "in the new one", "welcome back"]);
    assert_eq!(ann.all(".gap span"), ["You may have missed messages"]);
}

#[test]
#[ignore = "needs chromium, chromium-driver and redis-server"]
fn page_gets_what_was_said_while_its_process_did_not_follow_the_room() {
    let redis = Redis::start();
    let [here, there] = ["here", "there"].map(|user| Server::start(&redis.flag_as(user)));
    let browser = Browser::start();
    let proxy = Proxy::to(here.http());
    let mut bob = there.join("bob");
    let ann = browser.join(proxy.address(), "ann");
    bob.expect("-- ann joined");
    bob.say("one");
    ann.expect("one");

    // The page reconnects to the same process. That would have stayed subscribed for a while, but its link breaks while
    // the room has no other member.
    proxy.cut();
    wait_until_cut_off(&ann);
    bob.expect("-- ann left");
    redis.interrupt("here", &here);
    bob.say("meanwhile");
    proxy.mend(here.http());
    bob.expect("-- ann joined");
    bob.say("two");
    ann.expect("two");
    ann.expect_texts(&["one", "meanwhile", "two"]);

    // The page reconnects to another process that has received `two`, and was not subscribed since.
    proxy.cut();
    wait_until_cut_off(&ann);
    let mut cy = here.join("cy");
    bob.expect("-- cy joined");
    drop(bob);
    cy.expect("-- bob left");
    redis.interrupt("there", &there);
    proxy.mend(there.http());
    cy.expect("-- ann joined");
    cy.say("three");
    ann.expect("three");
    ann.expect_texts(&["one", "meanwhile", "two", "three"]);
    assert_eq!(ann.all(".gap, .failed"), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium, chromium-driver and redis-server"]
fn page_that_reconnects_to_another_process_shows_missed_messages_once() {
    let redis = Redis::start();
    let (here, there) = (Server::start(&redis.flag()), Server::start(&redis.flag()));
    let browser = Browser::start();
    let proxy = Proxy::to(here.http());
    let mut bob = here.join("bob");
    // The other process has no member yet and does not receive this, so its numbers are lower.
    bob.say("zero");
    let mut cy = there.join("cy");
    bob.expect("-- cy joined");
    let ann = browser.join(proxy.address(), "ann");
    cy.expect("-- ann joined");
    for text in ["one", "two"] {
        bob.say(text);
    }
    ann.say("three");
    ann.see(".own.sent");
    cy.expect("ann: three");

    proxy.cut();
    wait_until_cut_off(&ann);
    cy.expect("-- ann left");
    bob.say("four");
    cy.expect("bob: four");
    proxy.mend(there.http());

    cy.expect("-- ann joined");
    cy.say("five");
    ann.expect("five");
    ann.expect_texts(&["zero", "one", "two", "three", "four", "five"]);
    assert_eq!(ann.all(".gap, .failed"), Vec::<String>::new());
}
