//! Texts of others are shown as text, whatever they contain.

use serde_json::json;

use crate::server::Server;
use crate::webdriver::Browser;

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn markup_in_messages_and_names_is_shown_as_text() {
    const NAME: &str = "<img/src=x/onerror=harmed=1>";
    const SAID: &str = "<img src=x onerror=\"window.harmed = 1\"><script>window.harmed = 1</script>";
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let before = ann.value("document.querySelectorAll('img, script').length", json!([]));
    let mut eve = server.join(NAME);
    eve.say(SAID);
    eve.say(&format!("/msg ann {SAID}"));
    ann.expect(SAID);
    ann.click("#requests");
    assert_eq!(ann.all("#request-list .label"), [NAME]);
    assert_eq!(ann.all("#request-list .text"), [SAID]);
    ann.click("#request-list button:not(.quiet)");
    ann.see("#private-list .row");
    ann.click("#private-list .row");
    ann.expect(SAID);

    assert_eq!(ann.all("#entries .name"), [NAME]);
    assert_eq!(ann.all("#private-list .label"), [NAME]);
    assert_eq!(ann.value("window.harmed", json!([])), json!(null));
    assert_eq!(ann.value("document.querySelectorAll('img, script').length", json!([])), before);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn only_web_addresses_become_links() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let mut eve = server.join("eve");
    let said = "javascript:alert(1) data:text/html,x https://example.org/a_(b)?c=d. http://";
    eve.say(said);
    ann.expect(said);
    let links =
        "[...document.querySelectorAll('#entries a')].map((a) => [a.getAttribute('href'), a.rel, a.target])";
    let expected = json!([["https://example.org/a_(b)?c=d", "noopener noreferrer nofollow", "_blank"]]);
    assert_eq!(ann.value(links, json!([])), expected);
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_can_not_chat_through_the_line_listener() {
    // A page can send this without permission; it never reads the answer, and need not.
    const FORGE: &str = "(() => { window.ended = 0; \
        const body = '\\n/nick boss\\nforged\\n'; \
        for (const path of ['/', '/%0Aann%0Aforged', '/' + 'x'.repeat(6000)]) \
            for (const method of ['POST', 'GET', 'HEAD']) \
                fetch(arguments[0] + path, { mode: 'no-cors', method, body: method === 'POST' ? body : undefined }) \
                    .finally(() => { window.ended += 1; }); \
        const form = new Blob([body], { type: 'text/plain' }); \
        navigator.sendBeacon(arguments[0] + '/', form); \
        return true; })()";
    for flags in ["", "--guests"] {
        let server = Server::start(flags);
        let browser = Browser::start();
        let page = browser.join(server.http(), "ann");
        page.value(FORGE, json!([format!("http://{}", server.line())]));
        page.wait("window.ended === 9", json!([]));
        // Anything else on its way would arrive before this.
        page.say("that was all");
        page.expect("that was all");
        let shown = page.value("document.body.innerText", json!([])).to_string();
        assert!(!["boss", "forged", "guest-"].iter().any(|part| shown.contains(part)), "{flags} {shown}");
        page.expect_texts(&["that was all"]);
    }
}
