//! Names on the wire, as every dialect accepts, refuses, and answers them.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::socket::{Socket, handshake};
use crate::stage::Stage;
use crate::web::{ask_once, post};

/// Names that look like one that is reserved for the server.
const FORGED: [&str; 6] = ["аdmin", "ѕуѕtem", "guest-٧", "guest-lO", "ｒedis", "һttр"];

/// Names with joiners and selectors that their scripts need.
const PROPER: [&str; 5] = ["❤\u{fe0f}", "☕\u{fe0f}", "علی\u{200c}رضا", "👩\u{200d}🚀", "क्\u{200d}ष"];

const KEPT: &str = "that name is kept for the server, or looks like one that is: choose another";

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn name_that_looks_like_one_of_the_server_is_refused_in_every_dialect() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    for forged in FORGED {
        stage.unread(ann);
        let asked = stage.connect();
        stage.say(asked, forged);
        stage.pass(Duration::from_secs(1));
        stage.expect(
            asked,
            &["-- welcome to chinwag. what's your name?", &format!("-- {KEPT}. what's your name?")],
        );
        stage.say(ann, &format!("/nick {forged}"));
        stage.expect(ann, &[&format!("-- {KEPT}")]);
        tab.texts(&mut stage);
        tab.say(&mut stage, &format!(r#"{{"type":"nick","name":"{forged}"}}"#));
        let texts = tab.texts(&mut stage);
        assert!(texts[0].contains(r#""code":"bad_name""#) && texts[0].contains(KEPT), "{texts:?}");
        let mut late = Socket::open(&mut stage, &format!("/ws?name={}", encoded(forged)));
        let texts = late.texts(&mut stage);
        assert!(texts[0].contains(r#""code":"bad_name""#) && texts[1].contains("guest-"), "{texts:?}");
        let raw = ask_once(&mut stage, &handshake(&format!("/raw/lobby?name={}", encoded(forged)), ""));
        assert!(raw.starts_with("HTTP/1.1 400 ") && raw.contains(KEPT), "{raw}");
        let path = format!("/rooms/lobby/messages?from={}", encoded(forged));
        let answer = ask_once(&mut stage, &post(&path, "", "x"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(KEPT), "{answer}");
    }
    stage.end();
}

#[test]
fn name_with_the_joiners_and_selectors_of_its_script_is_kept_as_written() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    for proper in PROPER {
        let wire = stage.join(proper);
        stage.say(wire, "hi");
        stage.expect(ann, &[&format!("-- {proper} joined"), &format!("{proper}: hi")]);
        stage.say(ann, &format!("/msg {proper} psst"));
        stage.run();
        stage.unread(wire);
        stage.say(ann, &format!("/msg {} psst", proper.replace('\u{fe0f}', "")));
        stage.expect(wire, &["[ann] psst"]);
        stage.say(wire, "/quit");
        stage.run();
        stage.unread(ann);
        stage.unread(wire);
        let path = format!("/rooms/lobby/messages?from={}", encoded(proper));
        assert!(ask_once(&mut stage, &post(&path, "", "x")).starts_with("HTTP/1.1 202 "));
        stage.expect(ann, &[&format!("{proper} (http): x")]);
    }
    stage.end();
}

#[test]
fn look_alike_of_a_present_name_is_taken_in_every_dialect() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    let bob = stage.join("bob");
    let taken = "the name аnn is taken: it looks like ann, who is here. choose another";
    let asked = stage.connect();
    stage.say(asked, "аnn");
    stage.pass(Duration::from_secs(1));
    stage.expect(
        asked,
        &["-- welcome to chinwag. what's your name?", &format!("-- {taken}. what's your name?")],
    );
    stage.say(bob, "/nick аnn");
    stage.expect(bob, &[&format!("-- {taken}")]);
    let mut tab = Socket::open(&mut stage, &format!("/ws?name={}", encoded("аnn")));
    tab.say(&mut stage, r#"{"type":"nick","name":"аnn"}"#);
    let texts = tab.texts(&mut stage).join("\n");
    assert_eq!(texts.matches(taken).count(), 2, "{texts}");
    assert_eq!(texts.matches(r#""code":"name_taken""#).count(), 2, "{texts}");
    let path = format!("/raw/lobby?name={}", encoded("аnn"));
    let answer = ask_once(&mut stage, &handshake(&path, ""));
    assert!(answer.starts_with("HTTP/1.1 409 ") && answer.contains(taken), "{answer}");
    let path = format!("/rooms/lobby/messages?from={}", encoded("аnn"));
    let answer = ask_once(&mut stage, &post(&path, "", "x"));
    assert!(answer.starts_with("HTTP/1.1 409 ") && answer.contains(taken), "{answer}");
    stage.unread(ann);
    stage.unread(bob);
    stage.say(bob, "/msg аnn secret");
    stage.expect(bob, &["-- nobody is called аnn. /who lists the names"]);
    tab.say(&mut stage, r#"{"type":"tell","to":"аnn","text":"secret"}"#);
    assert!(tab.texts(&mut stage)[0].contains(r#""code":"nobody""#));
    stage.expect(ann, &[]);
    stage.end();
}

#[test]
fn look_alike_of_a_name_at_another_process_is_taken() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    let taken = "-- the name аnn is taken: it looks like ann, who is here. choose another";
    cluster.ask(bob, "/nick аnn", &[taken]);
    cluster.say(ann, "/quit");
    cluster.run();
    cluster.unread(bob);
    cluster.ask(bob, "/nick аnn", &["-- you are now аnn"]);
    cluster.end();
}

#[test]
fn one_of_two_look_alikes_given_while_redis_is_away_becomes_a_guest_and_is_told() {
    for (one, other) in [("ann", "аnn"), ("Ivan", "lvan")] {
        let mut cluster = Cluster::new(2, "");
        cluster.set_redis_down(true, true);
        cluster.pass(Duration::from_secs(3));
        let guests = [cluster.join(0, one), cluster.join(1, other)];
        cluster.set_redis_down(false, true);
        cluster.pass(Duration::from_secs(10));
        let lines = guests.map(|guest| cluster.unread(guest));
        let lost: Vec<usize> =
            (0..2).filter(|index| lines[*index].iter().any(|line| line.contains("you are now"))).collect();
        assert_eq!(lost.len(), 1, "{lines:?}");
        let [lost, kept] = if lost == [0] { [one, other] } else { [other, one] };
        let lines = lines.concat();
        let told = format!("-- somebody on another server has the name {kept} now, and {lost} looks like it");
        assert_eq!(lines.iter().filter(|line| **line == told).count(), 1, "{lines:?}");
        let names = cluster.who(guests[0]);
        assert!(
            names.len() == 2 && names.contains(&kept.into()) && !names.contains(&lost.into()),
            "{names:?}"
        );
        cluster.end();
    }
}

#[test]
fn room_that_looks_like_the_lobby_is_refused_and_a_joiner_makes_no_other_room() {
    let mut stage = Stage::new("--rate off");
    let ann = stage.join("ann");
    stage.say(ann, "/join lоbby");
    stage.expect(ann, &["-- that room name looks like lobby and is not: choose another"]);
    let path = format!("/rooms/{}/messages", encoded("lobbу"));
    assert!(ask_once(&mut stage, &post(&path, "", "x")).starts_with("HTTP/1.1 400 "));
    stage.say(ann, "/join علی\u{200c}رضا");
    stage.expect(ann, &["-- you are alone in #علیرضا"]);
    stage.say(ann, "/join علیرضا");
    stage.expect(ann, &["-- you are in #علیرضا already"]);
    stage.end();
}
