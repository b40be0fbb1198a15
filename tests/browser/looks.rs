//! Screenshots of the page for a person to judge, in `target/screenshots/`. Measurable properties are asserted.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::access::{Guarded, open_member, wait_for_line};
use crate::server::{Person, Server};
use crate::webdriver::{Browser, Page};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A screenshot of an empty page is far smaller.
const PNG_LEAST_BYTES: usize = 10_000;

fn resize(page: &Page, width: u32, height: u32) {
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700 });
    page.chromium("Emulation.setDeviceMetricsOverride", size);
    page.wait("innerWidth === arguments[0]", json!([width]));
}

fn prefer(page: &Page, scheme: &str) {
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    page.chromium("Emulation.setEmulatedMedia", features);
    page.wait("matchMedia(`(prefers-color-scheme: ${arguments[0]})`).matches", json!([scheme]));
    // A colour in transition would be neither.
    page.wait("document.getAnimations().every((animation) => animation.playState !== 'running')", json!([]));
}

fn keep(page: &Page, name: &str, width: u32, height: u32) {
    let png = page.screenshot();
    assert!(png.starts_with(PNG) && png.len() > PNG_LEAST_BYTES, "{name} is {} bytes", png.len());
    assert_eq!(png[16..24], [width.to_be_bytes(), height.to_be_bytes()].concat(), "the size of {name}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(format!("{name}.png")), png).expect("a file");
}

/// Fills a room with messages and their senders.
fn furnish(server: &Server, ann: &Page) -> [Person; 2] {
    let (mut bob, mut cy) = (server.join("bob"), server.join("Cy"));
    bob.say("morning. the new build is on the test machine, have a look when you can");
    bob.say("notes are at https://example.org/notes?draft=1");
    cy.say("/me puts the kettle on");
    ann.expect("Cy puts the kettle on");
    ann.say("reading them now");
    bob.expect("ann: reading them now");
    cy.say("the second half is unclear to me, so I have put a question at the end of it");
    server.publish("ci", "the build is green");
    ann.expect("the build is green");
    ann.say("/msg bob are you there?");
    ann.see(".own.sent");
    ann.click("#room-list .row");
    bob.say("/msg ann got a minute?");
    ann.see("#private-list .badge:not([hidden])");
    cy.say("/msg ann may I show you something? it is about the second half, and it is a long story");
    ann.see("#requests:not([hidden])");
    [bob, cy]
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_is_readable_wide_and_narrow_light_and_dark() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let _others = furnish(&server, &ann);
    for (size, width, height) in [("desktop", 1280, 800), ("phone", 360, 740)] {
        resize(&ann, width, height);
        for scheme in ["light", "dark"] {
            prefer(&ann, scheme);
            keep(&ann, &format!("{size}-{scheme}"), width, height);
        }
        assert_eq!(ann.value("document.documentElement.scrollWidth <= innerWidth", json!([])), true);
        ann.value("document.getElementById('requests').click()", json!([]));
        for scheme in ["light", "dark"] {
            prefer(&ann, scheme);
            keep(&ann, &format!("{size}-requests-{scheme}"), width, height);
        }
        ann.click("#requests-close");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn dialogs_of_accounts_are_readable_wide_and_narrow_light_and_dark() {
    let guarded = Guarded::start("--registration");
    let browser = Browser::start();
    let [ann, cy] = ["ann", "cy"].map(|name| browser.join(guarded.server.http(), name));
    let moderator = guarded.moderator(&browser);
    moderator.say("/topic What we do about the second half, and who writes the notes of Thursday");
    moderator.say("/mute ann 10m");
    wait_for_line(&moderator, "ann is muted for 10 min");
    ann.see("#input:disabled");
    cy.click("#keep-name");
    cy.see("#token-dialog[open]");
    open_member(&moderator, "ann");
    moderator.wait("document.querySelectorAll('#member-facts dt').length > 1", json!([]));
    let shots = |what: &str, page: &Page| {
        for (size, width, height) in [("desktop", 1280, 800), ("phone", 360, 740)] {
            resize(page, width, height);
            for scheme in ["light", "dark"] {
                prefer(page, scheme);
                keep(page, &format!("{size}-{what}-{scheme}"), width, height);
            }
            assert_eq!(page.value("document.documentElement.scrollWidth <= innerWidth", json!([])), true);
        }
        resize(page, 1280, 800);
    };
    shots("member", &moderator);
    moderator.click("#member-close");
    shots("topic", &moderator);
    shots("mute", &ann);
    ann.click("#silence-login");
    shots("login", &ann);
    shots("token", &cy);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn narrow_page_has_drawers() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    resize(&ann, 360, 740);
    ann.click("[data-opens=conversations]");
    ann.see("#conversations.open");
    ann.wait("document.querySelector('#conversations').contains(document.activeElement)", json!([]));
    ann.wait("document.getAnimations().every((animation) => animation.playState !== 'running')", json!([]));
    keep(&ann, "phone-drawer", 360, 740);
    ann.type_into("#conversations [data-closes]", "\u{e00c}");
    ann.see("#conversations:not(.open)");
    ann.wait("document.activeElement === document.querySelector('[data-opens=conversations]')", json!([]));
}
