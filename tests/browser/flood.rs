//! The page keeps and draws a bounded amount whatever strangers send. The tests count elements, not time.

use serde_json::{Value, json};

use crate::server::{Person, Server};
use crate::webdriver::{Browser, Page};

/// Counts the elements that are created from now on.
fn count_elements(page: &Page) {
    page.value(
        "((make) => { window.made = 0; document.createElement = (tag) => { window.made++; \
         return make.call(document, tag); }; })(document.createElement)",
        json!([]),
    );
}

fn number(page: &Page, expression: &str) -> u64 {
    page.value(expression, json!([])).as_u64().expect("a number")
}

fn elements(page: &Page, selector: &str) -> u64 {
    let count = page.value("document.querySelectorAll(arguments[0]).length", json!([selector]));
    count.as_u64().expect("a number")
}

fn crowd(server: &Server, count: usize) -> Vec<Person> {
    (0..count).map(|number| server.join(&format!("s{number:03}"))).collect()
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn two_hundred_strangers_share_one_entry_until_the_reader_accepts_one() {
    const STRANGERS: usize = 200;
    const MESSAGES: usize = 9;
    let server = Server::start("");
    let browser = Browser::start();
    let (mut watcher, mut strangers) = (server.join("watcher"), crowd(&server, STRANGERS));
    let ann = browser.join(server.http(), "ann");
    count_elements(&ann);
    for number in 0..MESSAGES {
        for stranger in &mut strangers {
            stranger.say(&format!("/msg ann psst {number}"));
        }
    }
    // The server may read all of one client before it reads another.
    strangers.iter_mut().for_each(|stranger| stranger.say("/msg watcher done"));
    (0..STRANGERS).for_each(|_| watcher.expect("[s"));
    watcher.say("that was all");
    ann.expect("that was all");
    ann.wait("document.getElementById('requests-count').textContent === '100'", json!([]));
    assert_eq!(elements(&ann, "#private-list li"), 0);
    let made = number(&ann, "window.made");
    assert!(made < STRANGERS as u64, "{made} elements for {} messages", STRANGERS * MESSAGES);

    ann.click("#requests");
    ann.see("#requests-dialog[open]");
    assert_eq!(elements(&ann, "#request-list li"), 100);
    assert!(ann.all("#request-more")[0].starts_with("Left out: "));
    // While the reader looks at the list, it stays as it is.
    let shown = ann.all("#request-list .label");
    let mut late = server.join("late");
    late.say("/msg ann me too");
    late.say("/msg watcher done");
    watcher.expect("[late] done");
    watcher.say("late has said it");
    ann.expect("late has said it");
    assert_eq!(ann.all("#request-list .label"), shown);

    ann.click("#request-list li:nth-child(2) button.quiet");
    ann.wait("document.querySelectorAll('#request-list li').length === 99", json!([]));
    let focused = ann.value("document.activeElement.getAttribute('aria-label')", json!([]));
    assert_eq!(focused, format!("Ignore {}", shown[2]), "a keyboard goes on from there");
    ann.click("#request-list li button:not(.quiet)");
    ann.see("#requests-dialog:not([open])");
    ann.wait("document.querySelectorAll('#private-list li').length === 1", json!([]));
    assert_eq!(ann.all("#private-list .label"), [shown[0].clone()]);
    // Messages of a stranger beyond a hundred waiting ones are left out, so the first of them may be missing.
    let (all, kept) = ((0..MESSAGES).map(|number| format!("psst {number}")).collect::<Vec<_>>(), ann.texts());
    assert!(!kept.is_empty() && all.ends_with(&kept), "{kept:?}");
    ann.wait("document.getElementById('requests-count').textContent === '98'", json!([]));

    // An accepted stranger needs no further request; messages of an ignored one are not shown.
    let at = |label: &str| label[1..].parse::<usize>().expect("a number");
    let (accepted, ignored) = (at(&shown[0]), at(&shown[1]));
    strangers[ignored].say("/msg ann are you there?");
    strangers[accepted].say("/msg ann thank you");
    ann.expect("thank you");
    assert_eq!(ann.all("#requests-count"), ["98"]);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn answer_to_a_private_message_of_the_reader_opens_directly() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let ann = browser.join(server.http(), "ann");
    ann.say("/msg bob hi");
    bob.expect("[ann] hi");
    bob.say("/msg ann hello");
    ann.expect("hello");
    assert_eq!(ann.value("document.getElementById('requests').hidden", json!([])), true);

    // The name may have another owner now, and the page says so.
    drop(bob);
    ann.click("#room-list .row");
    ann.wait(
        "[...document.querySelectorAll('.line span')].some((e) => e.textContent === 'bob left')",
        json!([]),
    );
    let mut again = server.join("bob");
    again.say("/msg ann hello again");
    ann.see("#private-list .badge:not([hidden])");
    ann.click("#private-list .row");
    ann.expect("hello again");
    assert!(ann.all(".line span").contains(&"bob is here anew, or is somebody else now".into()));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_keeps_a_bounded_number_of_private_conversations_and_names_the_closed_ones() {
    let server = Server::start("--rate 1000/s --burst 100");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    ann.say("/msg first draft");
    for number in 0..50 {
        ann.say(&format!("/msg x{number} "));
    }
    // The first conversation was idle longest, and is kept because a message in it failed.
    ann.wait("document.title === 'x49 – chinwag'", json!([]));
    ann.wait("document.querySelectorAll('#private-list li').length === 50", json!([]));
    ann.wait("document.querySelector('#private-list li:last-child .label').textContent === 'x49'", json!([]));
    assert!(!ann.all("#private-list .label").contains(&"first".into()));
    let notices = "[...document.querySelectorAll('.line span')].map((e) => e.textContent)";
    let notices = ann.value(notices, json!([]));
    assert!(
        notices.to_string().contains("Closed the conversation with first: no more than 50 are kept"),
        "{notices}"
    );
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn flood_of_messages_leaves_a_bounded_number_of_entries() {
    const TALKERS: usize = 60;
    let server = Server::start("");
    let browser = Browser::start();
    let (mut watcher, mut talkers) = (server.join("watcher"), crowd(&server, TALKERS));
    let ann = browser.join(server.http(), "ann");
    for number in 0..9 {
        for talker in &mut talkers {
            talker.say(&format!("flood {number}"));
        }
    }
    // The server may read all of one client before it reads another.
    (0..9 * TALKERS).for_each(|_| watcher.expect("s"));
    watcher.say("that was all");
    ann.expect("that was all");
    assert_eq!(elements(&ann, "#entries li"), 500);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn joins_and_leaves_displace_no_message() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let ann = browser.join(server.http(), "ann");
    bob.say("to be kept");
    ann.expect("to be kept");
    for _ in 0..6 {
        let guests = crowd(&server, 40);
        bob.expect("-- s039 joined");
        drop(guests);
        for _ in 0..40 {
            bob.expect("-- s0");
        }
    }
    bob.say("that was all");
    ann.expect("that was all");
    assert_eq!(elements(&ann, "#entries .line"), 100);
    ann.expect_texts(&["to be kept", "that was all"]);
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn page_without_animation_frames_still_counts_unread_messages() {
    let server = Server::start("");
    let browser = Browser::start();
    let mut bob = server.join("bob");
    let ann = browser.join(server.http(), "ann");
    ann.say("/join dev");
    ann.wait("document.title === '#dev – chinwag'", json!([]));
    // A hidden tab gets no animation frames either.
    ann.value("(window.requestAnimationFrame = () => 0) && null", json!([]));
    bob.say("anybody?");
    bob.say("/msg ann psst");
    ann.wait("document.title === '(2) #dev – chinwag'", json!([]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A chat and a session of the page's own modules, with a WebSocket that only records what is sent. Then runs
/// `script`.
fn with_session(page: &Page, script: &str) -> Value {
    let begin = "const names = ['state', 'session', 'client'];\
        const [{ Chat }, { Session }, { Client }] = await Promise.all(names.map((name) => import(`/${name}.js`)));\
        const chat = new Chat();\
        const connection = new Client();\
        const session = new Session(connection, chat, 'ann');\
        const real = window.WebSocket;\
        const socket = { readyState: 1, sent: [], send(text) { this.sent.push(JSON.parse(text)); }, close() {} };\
        window.WebSocket = function () { return socket; };\
        connection.open();\
        await new Promise((done) => setTimeout(done));\
        window.WebSocket = real;\
        const receive = (object) => socket.onmessage({ data: JSON.stringify(object) });\
        const id = (type) => socket.sent.findLast((request) => request.type === type).id;\
        const message = (seq) => ({ from: 'bob', by: 'b', text: `m${seq}`, seq, at: seq });\
        receive({ type: 'welcome', id: 'a', name: 'ann' });\
        session.join('dev');\
        receive({ type: 'joined', room: 'dev', name: 'ann', by: 'a', count: 2, epoch: 'e', seq: 4, id: id('join') });\
        const room = chat.find('room', 'dev');\
        const history = (...seqs) => {\
            receive({ type: 'history', room: 'dev', epoch: 'e', messages: seqs.map(message) });\
            receive({ type: 'pong', id: id('ping') });\
        };\
        const texts = () => room.entries.map((entry) => entry.text);";
    page.value(&format!("(async () => {{ {begin} {script} }})()"), json!([]))
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn long_answers_may_come_in_pieces() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let history = with_session(
        &ann,
        "receive({ type: 'who', room: 'dev', names: ['ann'], count: 3, id: id('who') });\
         const before = texts();\
         history(1, 2, 3, 4);\
         receive({ type: 'message', room: 'dev', ...message(5) });\
         receive({ type: 'who', room: 'dev', names: ['bob', 'cy'], count: 3, id: id('who') });\
         receive({ type: 'message', room: 'dev', ...message(6) });\
         return [before, texts(), [...room.members]];",
    );
    assert_eq!(history, json!([[], ["m1", "m2", "m3", "m4", "m5", "m6"], ["ann", "bob", "cy"]]));

    let anew = with_session(
        &ann,
        "receive({ type: 'who', room: 'dev', names: ['ann', 'bob'], count: 2, id: id('who') });\
         session.who(room);\
         receive({ type: 'who', room: 'dev', names: ['ann', 'cy'], count: 2, id: id('who') });\
         return [...room.members];",
    );
    assert_eq!(anew, json!(["ann", "cy"]), "an answer to another request is not a piece of the last");

    // The last number may be that of a gap. The room is ready all the same.
    let gap = with_session(
        &ann,
        "session.say(room, 'hi');\
         const early = socket.sent.some(({ type }) => type === 'say');\
         history(1, 2);\
         return [early, texts(), connection.position('dev'), socket.sent.at(-1).text];",
    );
    assert_eq!(gap, json!([false, ["m1", "m2", "hi"], "e-4", "hi"]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn reader_who_was_removed_from_a_room_comes_back_to_the_messages_since() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let again = with_session(
        &ann,
        "history(3, 4);\
         receive({ type: 'left', room: 'dev', name: 'ann', by: 'a', count: 1, reason: 'kicked' });\
         const joined = room.joined;\
         session.join('dev');\
         const { epoch, since } = socket.sent.findLast(({ type }) => type === 'join');\
         receive({ type: 'joined', room: 'dev', name: 'ann', by: 'a', count: 2, epoch: 'e', seq: 5, id: id('join') });\
         receive({ type: 'message', room: 'dev', ...message(5) });\
         return [joined, epoch, since, texts()];",
    );
    assert_eq!(again, json!([false, "e", 4, ["m3", "m4", "You left (kicked)", "m5"]]));
    let left = with_session(
        &ann,
        "session.leave(room);\
         receive({ type: 'left', room: 'dev', name: 'ann', by: 'a', count: 1, id: id('leave') });\
         return [...chat.conversations.keys()];",
    );
    assert_eq!(left, json!([]));
}

#[test]
#[ignore = "needs chromium and chromium-driver"]
fn long_lists_of_names_and_rooms_are_shown_in_part() {
    let server = Server::start("");
    let browser = Browser::start();
    let ann = browser.join(server.http(), "ann");
    let parts = "Promise.all([import('/state.js'), import('/dialogs.js'), import('/lists.js')])";
    let script = format!(
        "(async () => {{ const [{{ Chat }}, {{ RoomDialog }}, {{ Lists }}] = await {parts};\
         const chat = new Chat();\
         chat.name = 'zz';\
         new Lists(chat, {{}}, () => {{}});\
         new RoomDialog(chat, () => {{}});\
         const room = chat.ensure('room', 'big');\
         chat.show(room);\
         chat.setMembers(room, Array.from({{ length: 1000 }}, (_, n) => `n${{n}}`).concat('zz'), 1500);\
         const rooms = (from) => Array.from({{ length: 5000 }}, (_, n) => ({{ room: `r${{from + n}}`, count: n }}));\
         chat.emit('rooms', {{ rooms: rooms(0), more: false }});\
         chat.emit('rooms', {{ rooms: rooms(5000), more: true }});\
         await new Promise((done) => setTimeout(done, 600)); }})()"
    );
    ann.value(&script, json!([]));
    ann.wait("document.querySelectorAll('#member-list li').length === 201", json!([]));
    assert_eq!(ann.all("#member-more"), ["and 1,299 more"]);
    assert_eq!(ann.all("#member-list .you:not([hidden])").len(), 1);
    assert_eq!(elements(&ann, "#all-rooms li"), 200);
    assert_eq!(ann.all("#all-rooms-none"), ["And 9,800 more rooms: write a part of its name."]);
}
