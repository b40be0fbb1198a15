//! Names across processes: Redis gives each to one client, and everybody else is told who has it.

use std::fs;
use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::{Cluster, Guest};
use crate::socket::handshake;
use crate::stage::WIDE;
use crate::web::get;
use crate::world::Weather;

const SECOND: Duration = Duration::from_secs(1);
const WELCOME: &str = "-- welcome to chinwag. what's your name?";
const CONNECTED: &str = "-- the other servers are within reach again";
const DISCONNECTED: &str =
    "-- the other servers are out of reach: until they are back you see only messages of this one";

/// The token of `ann` is `a`.
const ACCOUNT: &str = r#"
[accounts.ann]
token = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
"#;

/// Stops Redis for a moment in which `act` happens.
fn while_stalled(cluster: &mut Cluster, act: impl FnOnce(&mut Cluster)) {
    cluster.run();
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    act(cluster);
    cluster.run();
    cluster.redis.set_stalled(false, millis);
    cluster.run();
}

/// The names that are claimed in Redis, sorted.
fn claimed_names(cluster: &Cluster) -> Vec<String> {
    let claims = cluster.claims();
    let names = claims.iter().filter_map(|claim| claim.splitn(4, ' ').nth(3));
    let mut names: Vec<String> = names.map(String::from).collect();
    names.sort_unstable();
    names
}

/// The names of all clients of all processes that look like `ann`.
fn look_alikes_of_ann(cluster: &mut Cluster) -> Vec<String> {
    let mut names = Vec::new();
    for process in 0..cluster.count() {
        let presences = cluster.stage(process).server.chat().presences();
        names.extend(presences.into_iter().map(|presence| presence.name.as_str().to_string()));
    }
    names.retain(|name| ["ann", "Ann", "аnn"].contains(&name.as_str()));
    names
}

#[test]
fn name_of_a_client_on_another_process_is_taken() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.ask(bob, "/nick Ann", &["-- the name Ann is taken"]);
    let guest = cluster.connect(1, "ann");
    cluster.pass(SECOND);
    cluster.expect(guest, &[WELCOME, "-- the name ann is taken. what's your name?"]);
    cluster.say(guest, "");
    cluster
        .expect(guest, &["-- hello guest-1002. you are in #lobby with ann, bob. /help lists the commands"]);
    cluster.expect(bob, &["-- guest-1002 joined"]);
    cluster.say(ann, "/nick anna");
    cluster.expect(bob, &["-- ann is now anna"]);
    cluster.ask(bob, "/nick ann", &["-- you are now ann"]);
    cluster.say(ann, "/quit");
    cluster.run();
    cluster.unread(bob);
    cluster.ask(bob, "/nick anna", &["-- you are now anna"]);
    cluster.end();
}

#[test]
fn raw_client_with_the_name_of_a_client_on_another_process_is_refused() {
    let mut cluster = Cluster::new(2, "");
    let _ann = cluster.join(0, "ann");
    for (process, name, status) in [(0, "ann", 409), (1, "ann", 409), (1, "Ann", 409), (1, "bob", 101)] {
        let answer = cluster.ask_http(process, &handshake(&format!("/raw/lobby?name={name}"), ""));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{process} {name}: {answer}");
        assert_eq!(answer.contains("name_taken"), status == 409, "{answer}");
    }
    cluster.end();
}

#[test]
fn sse_client_whose_room_can_no_longer_be_opened_is_closed() {
    let mut cluster = Cluster::new(1, "--max-rooms 2");
    let [ann, _bob] = ["ann", "bob"].map(|name| cluster.join(0, name));
    let wire = cluster.stage(0).connect_http();
    while_stalled(&mut cluster, |cluster| {
        cluster.say(ann, "/join first");
        cluster.run();
        cluster.stage(0).send(wire, get("/rooms/second/events").as_bytes());
        cluster.run();
    });
    let answer = String::from_utf8_lossy(cluster.stage(0).raw(wire)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("the server is full"), "{answer}");
    cluster.end();
}

#[test]
fn sse_client_that_may_not_read_its_room_any_more_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, ACCOUNT).expect("a file");
    let mut cluster = Cluster::new(1, &format!("--config {}", file.display()));
    let bob = cluster.join(0, "bob");
    let paths = ["/rooms/staff/events", "/rooms/lobby/events?token=a", "/rooms/dev/events"];
    let wires = paths.map(|_| cluster.stage(0).connect_http());
    // The rules change after the requests were accepted, and before Redis has answered.
    while_stalled(&mut cluster, |cluster| {
        for (wire, path) in wires.into_iter().zip(paths) {
            cluster.stage(0).send(wire, get(path).as_bytes());
        }
        cluster.run();
        fs::write(&file, "[rooms.staff]\nenter = \"user\"\n").expect("a file");
        cluster.stage(0).world().signal(Signal::Reload);
    });
    for text in ["one", "two", "three"] {
        cluster.say(bob, text);
    }
    cluster.run();
    let ends = ["you may not be in this room any more", "the login has failed"];
    for (wire, end) in wires.into_iter().zip(ends.map(Some).into_iter().chain([None])) {
        let answer = String::from_utf8_lossy(cluster.stage(0).raw(wire)).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("three"), "{answer}");
        assert_eq!(answer.contains("event: bye"), end.is_some(), "{answer}");
        assert!(end.is_none_or(|end| answer.contains(end)), "{answer}");
    }
    cluster.end();
}

#[test]
fn one_of_two_simultaneous_claims_to_look_alikes_wins() {
    for names in [["ann", "ann"], ["ann", "аnn"], ["Ivan", "lvan"]] {
        let mut cluster = Cluster::new(2, "");
        let guests: [Guest; 2] = [0, 1].map(|process| cluster.connect(process, names[process]));
        cluster.pass(2 * SECOND);
        let lines = guests.map(|guest| cluster.unread(guest));
        let greeted: Vec<usize> =
            (0..2).filter(|index| lines[*index].iter().any(|line| line.starts_with("-- hello"))).collect();
        let [winner] = greeted[..] else {
            panic!("{lines:?}");
        };
        let refusal = format!("-- the name {} is taken", names[1 - winner]);
        assert!(lines[1 - winner][1].starts_with(&refusal), "{lines:?}");
        cluster.ask(guests[winner], "/who", &[&format!("-- in #lobby: {}", names[winner])]);
        cluster.say(guests[1 - winner], "");
        cluster.run();
        assert_eq!(cluster.who(guests[winner]).len(), 2);
        cluster.end();
    }
}

#[test]
fn name_is_never_given_twice_whatever_the_order_of_claims() {
    for seed in 0..40 {
        let mut cluster = Cluster::with_weather(3, "--rate off", seed, Weather::storm());
        let mut rng = fastrand::Rng::with_seed(seed);
        let guests: Vec<Guest> =
            (0..6).map(|number| cluster.connect(number % 3, &format!("n{number}"))).collect();
        cluster.pass(2 * SECOND);
        for _ in 0..10 {
            for _ in 0..rng.usize(1..8) {
                let guest = guests[rng.usize(0..guests.len())];
                let name = ["ann", "Ann", "аnn", "n0", "n1"][rng.usize(0..5)];
                cluster.say(guest, &format!("/nick {name}"));
                if rng.bool() {
                    (0..3).for_each(|process| {
                        cluster.step(process);
                    });
                }
                assert!(look_alikes_of_ann(&mut cluster).len() < 2, "seed {seed}");
            }
            cluster.run();
            let names = look_alikes_of_ann(&mut cluster);
            assert!(names.len() < 2, "seed {seed}: {names:?}");
        }
        // A name that nobody has is free.
        if look_alikes_of_ann(&mut cluster).is_empty() {
            cluster.say(guests[0], "/nick ann");
            cluster.run();
            assert_eq!(look_alikes_of_ann(&mut cluster).len(), 1, "seed {seed}");
        }
        cluster.end();
    }
}

#[test]
fn client_that_closes_while_its_claim_is_under_way_leaves_no_claim() {
    let mut cluster = Cluster::new(2, "");
    let ann = cluster.join(0, "ann");
    let before = cluster.claims();
    assert_eq!(before.len(), 1);
    let bob = cluster.join(1, "bob");
    while_stalled(&mut cluster, |cluster| {
        let line = cluster.connect(1, "cy");
        cluster.say(bob, "/nick zoe");
        let wire = cluster.stage(1).connect_http();
        cluster.stage(1).send(wire, handshake("/ws?name=tab&room=lobby", "").as_bytes());
        cluster.run();
        [line.wire, bob.wire, wire].into_iter().for_each(|wire| cluster.stage(1).world().reset(wire));
        cluster.run();
    });
    assert_eq!(cluster.claims(), before);
    for name in ["cy", "zoe", "tab", "bob"] {
        cluster.say(ann, &format!("/nick {name}"));
        cluster.run();
        assert!(cluster.unread(ann).contains(&format!("-- you are now {name}")), "{name}");
    }
    assert_eq!(cluster.claims().len(), 1);
    cluster.end();
}

#[test]
fn name_that_is_claimed_and_not_used_is_free_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, "").expect("a file");
    let mut cluster = Cluster::new(1, &format!("--config {}", file.display()));
    let other = cluster.start_with("");
    let (bob, cy) = (cluster.join(0, "bob"), cluster.join(other, "cy"));
    cluster.expect(bob, &["-- cy joined"]);
    // The name becomes one of an account before Redis has given it to a guest.
    while_stalled(&mut cluster, |cluster| {
        cluster.say(bob, "/nick ann");
        cluster.run();
        fs::write(&file, ACCOUNT).expect("a file");
        cluster.stage(0).world().signal(Signal::Reload);
    });
    let lines = cluster.unread(bob);
    assert!(lines.len() == 1 && !lines[0].contains("you are now"), "{lines:?}");
    assert_eq!(cluster.claims().len(), 2);
    cluster.ask(cy, "/nick ann", &["-- you are now ann"]);
    cluster.expect(bob, &["-- cy is now ann"]);
    cluster.end();
}

#[test]
fn name_claimed_for_a_client_that_enters_as_a_guest_is_free_again() {
    for (behind, ends) in [("", true), ("\nyo\n", false), ("\nyo\n", true), ("\n\n", false)] {
        let mut cluster = Cluster::new(2, "");
        let (_ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        let script = cluster.connect(0, "ann");
        cluster.pass(SECOND);
        cluster.stage(0).send(script.wire, b"green");
        cluster.pass(SECOND);
        cluster.stage(0).send(script.wire, behind.as_bytes());
        if ends {
            cluster.stage(0).world().end(script.wire);
        }
        cluster.pass(SECOND);
        let lines = cluster.unread(bob);
        assert!(lines.iter().any(|line| line.ends_with(": green")), "{behind:?} {ends}: {lines:?}");
        let names = claimed_names(&cluster);
        assert!(!names.contains(&"green".into()), "{behind:?} {ends}: {names:?}");
        assert_eq!(names.len(), if ends { 2 } else { 3 }, "{behind:?} {ends}: {names:?}");
        cluster.ask(bob, "/nick green", &["-- you are now green"]);
        cluster.end();
    }
}

#[test]
fn name_claimed_for_a_login_over_the_limit_is_free_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, ACCOUNT).expect("a file");
    for flags in ["", "--guests"] {
        let mut cluster = Cluster::new(2, &format!("{flags} --config {}", file.display()));
        let try_token = |cluster: &mut Cluster, token: &str| {
            let wire = cluster.stage(0).connect_from(Some("10.0.0.1"), WIDE);
            cluster.run();
            cluster.stage(0).say(wire, &format!("/login ann {token}"));
            cluster.run();
            cluster.stage(0).text(wire)
        };
        (0..5).for_each(|_| assert!(!try_token(&mut cluster, "x").contains("too many logins")));
        assert!(try_token(&mut cluster, "a").contains("too many logins"), "{flags}");
        let names = claimed_names(&cluster);
        assert!(!names.contains(&"ann".into()), "{flags}: {names:?}");
        cluster.end();
    }
}

#[test]
fn client_that_is_removed_before_redis_has_lost_its_data_leaves_no_claim() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, format!("{ACCOUNT}role = \"admin\"\n")).expect("a file");
    let mut cluster = Cluster::new(2, &format!("--config {}", file.display()));
    let (ann, bob) = (cluster.connect(0, "/login ann a"), cluster.join(0, "bob"));
    cluster.pass(10 * SECOND);
    // The claim waits for the next session, and so does the release.
    cluster.set_redis_down(true, false);
    cluster.say(bob, "/nick green");
    cluster.run();
    cluster.say(ann, "/kick bob");
    cluster.run();
    assert!(cluster.unread(ann).contains(&"-- bob was removed".into()));
    cluster.set_redis_down(false, false);
    cluster.pass(10 * SECOND);
    assert_eq!(claimed_names(&cluster), ["ann"]);
    cluster.end();
}

#[test]
fn name_granted_before_redis_has_lost_its_data_is_claimed_again_before_it_is_given() {
    let mut cluster = Cluster::new(2, "");
    let (_ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    let slow = cluster.connect(0, "ann");
    cluster.pass(10 * SECOND);
    cluster.unread(slow);
    // The line waits for silence, and Redis has given the name.
    cluster.say(slow, "green");
    cluster.run();
    assert_eq!(claimed_names(&cluster), ["ann", "bob", "green"]);
    cluster.expect(slow, &[]);
    cluster.redis.flush_all();
    let conn = cluster.conns(0)[0];
    cluster.redis.kill(conn);
    cluster.pass(SECOND);
    let lines = cluster.unread(slow);
    assert!(lines.len() == 1 && lines[0].starts_with("-- hello green. "), "{lines:?}");
    cluster.pass(10 * SECOND);
    cluster.unread(bob);
    cluster.ask(bob, "/nick green", &["-- the name green is taken"]);
    cluster.end();
}

#[test]
fn names_given_while_redis_is_away_are_claimed_when_it_is_back_even_if_they_are_taken_later() {
    let mut cluster = Cluster::new(2, "");
    let _ann = cluster.join(0, "ann");
    let slow: Vec<Guest> = (0..20).map(|_| cluster.connect(0, "ann")).collect();
    cluster.pass(SECOND);
    cluster.set_redis_down(true, true);
    cluster.pass(2 * SECOND);
    cluster.set_redis_down(false, true);
    // Redis is back while at least one of them is silent.
    for (number, slow) in slow.iter().enumerate() {
        cluster.say(*slow, &format!("n{number}"));
        cluster.pass(SECOND / 5);
    }
    cluster.pass(10 * SECOND);
    let mut presences = cluster.stage(0).server.chat().presences();
    presences.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    let names: Vec<&str> = presences.iter().map(|presence| presence.name.as_str()).collect();
    assert_eq!(names.len(), 21);
    assert_eq!(claimed_names(&cluster), names);
    cluster.end();
}

#[test]
fn newer_login_at_another_process_takes_the_name_over_and_an_older_one_keeps_it() {
    for takeover in ["newer", "older"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chinwag.toml");
        fs::write(&file, ACCOUNT).expect("a file");
        let mut cluster = Cluster::new(2, &format!("--takeover {takeover} --config {}", file.display()));
        let (one, two) = (cluster.join(0, "one"), cluster.join(1, "two"));
        cluster.say(one, "/login ann a");
        cluster.run();
        assert!(cluster.unread(one).contains(&"-- you are now ann".into()));
        cluster.unread(two);
        cluster.say(two, "/login ann a");
        cluster.run();
        let (old, new) = (cluster.unread(one), cluster.unread(two));
        let (kept, lost) = if takeover == "newer" { (two, one) } else { (one, two) };
        match takeover {
            "newer" => {
                assert_eq!(old[0], "-- you have logged in elsewhere as ann, so you are guest-2 here now");
                assert!(new.contains(&"-- you are now ann".into()), "{new:?}");
                assert_eq!(cluster.who(kept), ["ann", "guest-2"]);
            }
            _ => {
                assert!(new.contains(&"-- the name ann is taken".into()), "{new:?}");
                assert_eq!(cluster.who(kept), ["ann", "two"]);
            }
        }
        cluster.unread(lost);
        cluster.say(lost, "/msg ann you?");
        cluster.run();
        assert!(cluster.unread(kept).iter().any(|line| line.ends_with("] you?")), "{takeover}");
        assert_eq!(cluster.claims().len(), 2);
        cluster.end();
    }
}

#[test]
fn owner_of_an_account_takes_its_name_from_a_guest_of_a_process_without_that_account() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, ACCOUNT).expect("a file");
    for takeover in ["newer", "older"] {
        let mut cluster = Cluster::new(1, "");
        let knowing = cluster.start_with(&format!("--takeover {takeover} --config {}", file.display()));
        let guest = cluster.join(0, "ann");
        let owner = cluster.join(knowing, "owner");
        cluster.unread(guest);
        cluster.say(owner, "/login ann a");
        cluster.run();
        let lines = cluster.unread(guest);
        assert_eq!(lines[0], "-- the owner of the name ann has logged in, so you are guest-2 now");
        assert_eq!(cluster.who(owner), ["ann", "guest-2"], "{takeover}");
        cluster.end();
    }
}

#[test]
fn name_taken_over_while_the_link_of_its_process_is_broken_is_lost_when_the_link_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, ACCOUNT).expect("a file");
    let mut cluster = Cluster::new(1, "");
    let knowing = cluster.start_with(&format!("--config {}", file.display()));
    let guest = cluster.join(0, "ann");
    let owner = cluster.join(knowing, "owner");
    cluster.unread(guest);
    // The notice of the loss is published while nobody receives it.
    let conn = cluster.conns(0)[0];
    cluster.redis.kill(conn);
    cluster.say(owner, "/login ann a");
    cluster.pass(10 * SECOND);
    let lines = cluster.unread(guest);
    assert!(lines.contains(&"-- somebody on another server has the name ann now".into()), "{lines:?}");
    assert_eq!(cluster.who(owner), ["ann", "guest-2"]);
    assert_eq!(claimed_names(&cluster), ["ann", "guest-2"]);
    let sessions = cluster.counts(0).sessions;
    assert_eq!(sessions, 2, "clients were not told of an outage");
    cluster.end();
}

#[test]
fn claim_waits_a_second_for_redis_and_is_granted_by_the_process_then() {
    let mut cluster = Cluster::new(2, "");
    cluster.set_redis_down(true, true);
    let ann = cluster.connect(0, "ann");
    cluster.pass(SECOND * 9 / 10);
    cluster.expect(ann, &[WELCOME]);
    cluster.pass(SECOND / 5);
    cluster.expect(ann, &["-- hello ann. you are alone in #lobby. /help lists the commands", DISCONNECTED]);
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    cluster.expect(ann, &[CONNECTED]);
    assert_eq!(cluster.claims().len(), 1);
    cluster.end();
}

#[test]
fn claim_that_waits_for_a_short_restart_of_redis_is_answered_then() {
    for keep_data in [true, false] {
        let mut cluster = Cluster::new(2, "");
        let bob = cluster.join(1, "bob");
        cluster.pass(10 * SECOND);
        cluster.set_redis_down(true, keep_data);
        let (ann, other) = (cluster.connect(0, "ann"), cluster.connect(1, "ann"));
        cluster.pass(SECOND / 2);
        cluster.set_redis_down(false, keep_data);
        cluster.pass(10 * SECOND);
        let lines = [ann, other].map(|guest| cluster.unread(guest)).concat();
        let greeted = lines.iter().filter(|line| line.starts_with("-- hello ann.")).count();
        assert_eq!(greeted, 1, "{keep_data}: {lines:?}");
        assert!(lines.contains(&"-- the name ann is taken. what's your name?".into()), "{lines:?}");
        assert_eq!(cluster.who(bob), ["ann", "bob"]);
        cluster.end();
    }
}

#[test]
fn names_taken_twice_while_redis_is_away_are_settled_when_it_is_back() {
    let mut cluster = Cluster::new(2, "");
    let watchers = [cluster.join(0, "cy"), cluster.join(1, "di")];
    cluster.set_redis_down(true, true);
    cluster.pass(3 * SECOND);
    let guests = [cluster.join(0, "ann"), cluster.join(1, "ann")];
    cluster.pass(SECOND);
    let tab = cluster.open(0, "/ws?name=zoe&room=lobby");
    let mut tabs = [tab, cluster.open(1, "/ws?name=zoe&room=lobby")];
    (0..2).for_each(|process| drop(cluster.texts(process, &mut tabs[process])));
    watchers.into_iter().chain(guests).for_each(|guest| drop(cluster.unread(guest)));
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    let lines = guests.map(|guest| cluster.unread(guest));
    let told = "-- somebody on another server has the name ann now".to_string();
    let lost: Vec<usize> = (0..2).filter(|index| lines[*index].contains(&told)).collect();
    let [lost] = lost[..] else {
        panic!("{lines:?}");
    };
    assert!(lines[lost].iter().any(|line| line.starts_with("-- you are now guest-")), "{lines:?}");
    assert!(!lines[1 - lost].iter().any(|line| line.contains("you are now")), "{lines:?}");
    let texts = [0, 1].map(|process| cluster.texts(process, &mut tabs[process]).join("\n"));
    assert_eq!(texts.iter().filter(|texts| texts.contains(r#""code":"name_taken""#)).count(), 1, "{texts:?}");
    // Everybody lists the same names, and each of them once.
    let names = watchers.map(|guest| cluster.who(guest));
    assert_eq!(names[0], names[1]);
    assert_eq!(names[0].len(), 6, "{names:?}");
    assert_eq!(
        names[0].iter().filter(|name| ["ann", "zoe"].contains(&name.as_str())).count(),
        2,
        "{names:?}"
    );
    cluster.say(watchers[0], "/msg ann you?");
    cluster.run();
    assert!(cluster.unread(guests[1 - lost]).contains(&"[cy] you?".into()));
    assert!(!cluster.unread(guests[lost]).contains(&"[cy] you?".into()));
    cluster.end();
}

#[test]
fn owner_of_a_name_is_not_told_of_a_rename_of_hers() {
    let mut cluster = Cluster::new(2, "");
    let watchers = [cluster.join(0, "cy"), cluster.join(1, "di")];
    cluster.set_redis_down(true, true);
    cluster.pass(3 * SECOND);
    let guests = [cluster.join(0, "ann"), cluster.join(1, "ann")];
    cluster.pass(SECOND);
    watchers.into_iter().chain(guests).for_each(|guest| drop(cluster.unread(guest)));
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    let is_loser = |lines: &Vec<String>| lines.iter().any(|line| line.contains("you are now"));
    let lines = guests.map(|guest| cluster.unread(guest));
    let winner = usize::from(is_loser(&lines[0]));
    let seen = [lines[winner].clone(), cluster.unread(watchers[winner])];
    assert!(!seen.concat().iter().any(|line| line.starts_with("-- ann ")), "{seen:?}");
    cluster.end();
}

#[test]
fn name_of_a_client_of_a_crashed_process_is_free_when_its_lease_has_ended() {
    for process in [0, 2] {
        let mut cluster = Cluster::new(2, "");
        let (ann, _) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.expect(ann, &["-- bob joined"]);
        cluster.pass(10 * SECOND);
        cluster.kill(1);
        cluster.start();
        let early = cluster.connect(process, "bob");
        cluster.pass(2 * SECOND);
        cluster.expect(early, &[WELCOME, "-- the name bob is taken. what's your name?"]);
        cluster.pass(12 * SECOND);
        cluster.say(early, "bob");
        cluster.pass(SECOND);
        let lines = cluster.unread(early);
        assert!(lines.last().is_some_and(|line| line.starts_with("-- hello bob.")), "{lines:?}");
        // The removal of the dead process leaves the name to its new owner.
        cluster.pass(20 * SECOND);
        let lines = cluster.unread(ann);
        let left = lines.iter().filter(|line| *line == "-- bob left (its server is gone)").count();
        assert_eq!(left, 1, "{lines:?}");
        assert_eq!(cluster.who(ann), ["ann", "bob"]);
        cluster.ask(ann, "/nick bob", &["-- the name bob is taken"]);
        cluster.ask(ann, "/msg bob welcome back", &[]);
        cluster.expect(early, &["[ann] welcome back"]);
        cluster.end();
    }
}

#[test]
fn client_that_leaves_in_a_blip_and_its_successor_are_told_apart() {
    for by_web in [false, true] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.ask(bob, "/msg ann psst", &[]);
        cluster.pass(10 * SECOND);
        // The second process is not sent these changes, and they are not kept.
        let conn = cluster.conns(1)[0];
        cluster.redis.kill(conn);
        cluster.run();
        assert!(!cluster.link(1).up);
        cluster.stage(0).world().reset(ann.wire);
        cluster.run();
        match by_web {
            true => drop(cluster.open(0, "/ws?name=mallory&room=lobby")),
            false => drop(cluster.join(0, "mallory")),
        }
        cluster.pass(10 * SECOND);
        cluster.expect(bob, &[]);
        assert_eq!(cluster.who(bob), ["bob", "mallory"]);
        cluster.ask(bob, "/msg ann psst", &["-- nobody is called ann. /who lists the names"]);
        cluster.end();
    }
}

#[test]
fn guests_of_all_processes_have_different_numbers() {
    let mut cluster = Cluster::new(3, "");
    let guests: Vec<Guest> = (0..9).map(|number| cluster.connect(number % 3, "")).collect();
    cluster.run();
    assert_eq!(
        cluster.who(guests[0]),
        ["1", "1001", "1002", "1003", "2", "2001", "2002", "2003", "3"]
            .map(|number| format!("guest-{number}"))
    );
    cluster.end();
}

#[test]
fn name_in_a_pipe_that_is_refused_is_not_claimed_and_the_message_behind_it_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("chinwag.toml");
    fs::write(&file, "[filter]\nwords = [\"heck\"]\n").expect("a file");
    let mut cluster = Cluster::new(2, &format!("--config {}", file.display()));
    let bob = cluster.join(1, "bob");
    cluster.connect(0, "heck\njob is green");
    cluster.pass(SECOND);
    let lines = cluster.unread(bob);
    assert!(lines.len() == 2 && lines[1].ends_with(": job is green"), "{lines:?}");
    assert!(!cluster.claims().concat().contains("heck"), "{:?}", cluster.claims());
    cluster.end();
}
