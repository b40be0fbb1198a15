//! Names across processes: each has one owner, the client that took it first.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::socket::Socket;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn name_of_a_client_on_another_process_is_taken() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.ask(bob, "/nick Ann", &["-- the name Ann is taken"]);
    let guest = cluster.connect(1, "ann");
    cluster.pass(SECOND);
    cluster.expect(
        guest,
        &["-- welcome to chinwag. what's your name?", "-- the name ann is taken. what's your name?"],
    );
    cluster.say(guest, "");
    cluster
        .expect(guest, &["-- hello guest-2002. you are in #lobby with bob, ann. /help lists the commands"]);
    cluster.expect(bob, &["-- guest-2002 joined"]);
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
fn later_of_two_claims_to_a_name_becomes_a_guest_and_is_told() {
    for first in [0, 1] {
        let mut cluster = Cluster::new(2, "");
        let cy = cluster.join(0, "cy");
        // The two processes do not learn of each other's client: both are cut off.
        cluster.set_two_cut_off(true);
        let early = cluster.join(first, "ann");
        cluster.pass(SECOND / 10);
        let late = cluster.join(1 - first, "ann");
        cluster.unread(cy);
        cluster.set_two_cut_off(false);
        cluster.run();
        let guest = format!("guest-{}", if first == 0 { 2002 } else { 1003 });
        let lines = cluster.unread(late);
        assert_eq!(
            lines[..2],
            [
                "-- somebody on another server had the name ann before you".to_string(),
                format!("-- you are now {guest}")
            ]
        );
        cluster.unread(early);
        cluster.unread(cy);
        cluster.say(early, "it is mine");
        cluster.expect(late, &["ann: it is mine"]);
        cluster.say(late, "it was mine");
        cluster.expect(early, &[&format!("{guest}: it was mine")]);
        let who = if first == 0 {
            "-- in #lobby: cy, ann, guest-2002"
        } else {
            "-- in #lobby: cy, guest-1003, ann"
        };
        cluster.unread(cy);
        cluster.ask(cy, "/who", &[who]);
        cluster.say(cy, "/msg ann you?");
        cluster.expect(early, &["[cy] you?"]);
        cluster.expect(late, &[]);
        cluster.end();
    }
}

#[test]
fn one_of_two_simultaneous_claims_to_a_name_wins() {
    let mut cluster = Cluster::new(2, "");
    let (one, two) = (cluster.connect(0, "ann"), cluster.connect(1, "ann"));
    cluster.run();
    let (first, second) = (cluster.unread(one), cluster.unread(two));
    assert!(first.iter().all(|line| !line.contains("before you")), "{first:?}");
    assert!(second.iter().any(|line| line.contains("had the name ann before you")), "{second:?}");
    cluster.ask(one, "/who", &["-- in #lobby: ann, guest-2002"]);
    cluster.ask(two, "/who", &["-- in #lobby: guest-2002, ann"]);
    cluster.end();
}

#[test]
fn names_taken_twice_while_redis_is_away_are_settled_when_it_is_back() {
    let mut cluster = Cluster::new(2, "");
    let cy = cluster.join(0, "cy");
    cluster.set_redis_down(true, true);
    cluster.pass(3 * SECOND);
    let early = cluster.join(1, "ann");
    cluster.pass(SECOND);
    let late = cluster.join(0, "ann");
    cluster.unread(cy);
    cluster.set_redis_down(false, true);
    cluster.pass(10 * SECOND);
    assert_eq!(
        cluster.unread(late),
        [
            "-- the other servers are within reach again",
            "-- somebody on another server had the name ann before you",
            "-- you are now guest-1003",
        ]
    );
    assert_eq!(
        cluster.unread(cy),
        ["-- the other servers are within reach again", "-- ann is now guest-1003"]
    );
    cluster.ask(cy, "/who", &["-- in #lobby: cy, guest-1003, ann"]);
    cluster.unread(early);
    cluster.ask(early, "/who", &["-- in #lobby: ann, cy, guest-1003"]);
    cluster.end();
}

#[test]
fn name_given_up_by_the_later_claim_stays_with_the_first() {
    let mut cluster = Cluster::new(3, "");
    let cy = cluster.join(2, "cy");
    cluster.set_two_cut_off(true);
    let early = cluster.join(0, "ann");
    cluster.pass(SECOND / 10);
    let late = cluster.join(1, "ann");
    // The third process receives the later claim first.
    cluster.set_cut_off(1, false);
    cluster.run();
    cluster.set_cut_off(0, false);
    cluster.run();
    cluster.say(cy, "/nick ann");
    cluster.run();
    let lines = cluster.unread(cy);
    assert_eq!(lines.last().unwrap(), "-- the name ann is taken", "{lines:?}");
    assert_eq!(cluster.who(late), ["ann", "cy", "guest-2002"]);
    cluster.unread(early);
    cluster.ask(cy, "/msg ann you?", &[]);
    cluster.expect(early, &["[cy] you?"]);
    cluster.end();
}

#[test]
fn name_stays_taken_by_its_first_owner_when_the_later_one_gives_it_up() {
    let mut cluster = Cluster::new(3, "");
    let (bob, cy) = (cluster.join(1, "bob"), cluster.join(2, "cy"));
    cluster.set_two_cut_off(true);
    let early = cluster.join(0, "ann");
    cluster.pass(SECOND / 10);
    // The later owner gives the name up before it must, by leaving or by another name.
    let late = cluster.join(1, "ann");
    cluster.say(bob, "/nick zoe");
    cluster.set_cut_off(1, false);
    cluster.run();
    cluster.say(late, "/quit");
    cluster.set_cut_off(0, false);
    cluster.run();
    cluster.unread(cy);
    cluster.ask(cy, "/nick ann", &["-- the name ann is taken"]);
    cluster.say(early, "/nick anna");
    cluster.run();
    cluster.unread(cy);
    cluster.ask(cy, "/nick ann", &["-- you are now ann"]);
    cluster.end();
}

#[test]
fn json_client_that_loses_its_name_gets_an_error_and_a_nick_event() {
    let mut cluster = Cluster::new(2, "");
    let cy = cluster.join(1, "cy");
    cluster.set_cut_off(1, true);
    let early = cluster.join(0, "ann");
    cluster.pass(SECOND / 10);
    let mut tab = Socket::open(cluster.stage(1), "/ws?name=Ann&room=lobby");
    tab.texts(cluster.stage(1));
    cluster.unread(cy);
    cluster.set_cut_off(1, false);
    cluster.run();
    let texts = tab.texts(cluster.stage(1));
    assert!(texts[0].contains(r#""code":"name_taken""#), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains(r#""to":"guest-2002""#)), "{texts:?}");
    cluster.expect(cy, &["-- Ann is now guest-2002", "-- ann joined"]);
    assert_eq!(cluster.who(early), ["ann", "cy", "guest-2002"]);
    cluster.end();
}

#[test]
fn client_of_a_crashed_process_has_its_name_back_as_soon_as_the_crash_is_noticed() {
    let mut cluster = Cluster::new(2, "");
    let (ann, _) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.kill(1);
    let third = cluster.start();
    let bob = cluster.connect(third, "bob");
    cluster.pass(3 * SECOND);
    let lines = cluster.unread(ann);
    assert!(lines.contains(&"-- bob left (its server is gone)".into()), "{lines:?}");
    assert_eq!(cluster.who(ann), ["ann", "bob"]);
    cluster.unread(bob);
    cluster.say(ann, "/msg bob welcome back");
    cluster.expect(bob, &["[ann] welcome back"]);
    cluster.expect(ann, &[]);
    cluster.end();
}

#[test]
fn client_of_a_crashed_process_can_take_its_name_elsewhere_three_seconds_later() {
    let mut cluster = Cluster::new(2, "");
    let (ann, _) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    cluster.expect(ann, &["-- bob joined"]);
    cluster.kill(1);
    let bob = cluster.connect(0, "bob");
    cluster.pass(SECOND);
    cluster.expect(
        bob,
        &["-- welcome to chinwag. what's your name?", "-- the name bob is taken. what's your name?"],
    );
    cluster.expect(ann, &[]);
    cluster.pass(3 * SECOND);
    cluster.expect(ann, &["-- bob left (its server is gone)"]);
    cluster.say(bob, "bob");
    cluster.pass(SECOND);
    cluster.expect(bob, &["-- hello bob. you are in #lobby with ann. /help lists the commands"]);
    cluster.end();
}

#[test]
fn newcomer_in_the_slot_of_a_client_that_left_in_a_blip_is_another_client() {
    for by_web in [false, true] {
        let mut cluster = Cluster::new(2, "");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.pass(10 * SECOND);
        // The second process is not sent these changes, and finds them in Redis later.
        let conn = cluster.conns(1)[0];
        cluster.redis.kill(conn);
        cluster.run();
        assert!(!cluster.link(1).up);
        cluster.stage(0).world().reset(ann.wire);
        cluster.run();
        match by_web {
            true => drop(Socket::open(cluster.stage(0), "/ws?name=mallory&room=lobby")),
            false => drop(cluster.join(0, "mallory")),
        }
        cluster.expect(bob, &[]);
        cluster.pass(10 * SECOND);
        cluster.expect(bob, &["-- ann left", "-- mallory joined"]);
        assert_eq!(cluster.who(bob), ["bob", "mallory"]);
        cluster.end();
    }
}

/// Returns all renames, joins and leaves that a WebSocket client has read, in order.
fn moves(cluster: &mut Cluster, tab: &mut Socket, process: usize) -> Vec<String> {
    cluster.run();
    let texts = tab.texts(cluster.stage(process));
    let moves = ["nick", "joined", "left"].map(|kind| format!(r#"{{"type":"{kind}""#));
    texts.into_iter().filter(|text| moves.iter().any(|kind| text.starts_with(kind.as_str()))).collect()
}

#[test]
fn owner_of_a_name_is_not_told_of_a_rename_of_hers() {
    for outage in [false, true] {
        let mut cluster = Cluster::new(2, "");
        let cy = cluster.join(1, "cy");
        match outage {
            true => cluster.set_redis_down(true, true),
            false => cluster.set_two_cut_off(true),
        }
        cluster.pass(SECOND * if outage { 3 } else { 0 });
        let mut ann = Socket::open(cluster.stage(1), "/ws?name=ann&room=lobby");
        cluster.pass(SECOND / 10);
        let mut late = Socket::open(cluster.stage(0), "/ws?name=ann&room=lobby");
        moves(&mut cluster, &mut ann, 1);
        moves(&mut cluster, &mut late, 0);
        cluster.unread(cy);
        match outage {
            true => cluster.set_redis_down(false, true),
            false => cluster.set_two_cut_off(false),
        }
        cluster.pass(10 * SECOND);
        let moved = moves(&mut cluster, &mut ann, 1);
        assert!(!moved.iter().any(|text| text.contains(r#""ann""#)), "outage: {outage}: {moved:?}");
        let lines = cluster.unread(cy);
        assert!(!lines.iter().any(|line| line.contains("-- ann ")), "outage: {outage}: {lines:?}");
        // After a blip the other one is announced; after an outage it is only listed.
        let joined = lines.iter().filter(|line| *line == "-- guest-1001 joined").count();
        assert_eq!(joined, usize::from(!outage), "{lines:?}");
        assert_eq!(cluster.who(cy), ["ann", "cy", "guest-1001"]);
        let moved = moves(&mut cluster, &mut late, 0);
        assert!(moved.iter().any(|text| text.contains(r#""to":"guest-1001""#)), "{moved:?}");
        // From now on each is announced under its own name.
        late.say(cluster.stage(0), r#"{"type":"nick","name":"zoe"}"#);
        cluster.expect(cy, &["-- guest-1001 is now zoe"]);
        ann.say(cluster.stage(1), r#"{"type":"nick","name":"anna"}"#);
        cluster.expect(cy, &["-- ann is now anna"]);
    }
}

#[test]
fn loser_of_a_name_that_leaves_first_does_not_leave_as_the_owner() {
    for moves in [false, true] {
        let mut cluster = Cluster::new(2, "");
        cluster.set_two_cut_off(true);
        let (early, cy) = (cluster.join(1, "ann"), cluster.join(1, "cy"));
        cluster.unread(early);
        cluster.pass(SECOND / 10);
        let late = cluster.join(0, "ann");
        // The owner's process learns all at once that the other came and went.
        if moves {
            cluster.say(late, "/join dev");
            cluster.run();
        }
        cluster.say(late, "/quit");
        cluster.run();
        cluster.set_two_cut_off(false);
        cluster.run();
        for guest in [early, cy] {
            let lines = cluster.unread(guest);
            assert!(!lines.iter().any(|line| line.starts_with("-- ann ")), "moves: {moves}: {lines:?}");
        }
        assert_eq!(cluster.who(cy), ["ann", "cy"]);
        cluster.end();
    }
}

#[test]
fn third_process_announces_two_clients_of_one_name_one_after_the_other() {
    let mut cluster = Cluster::new(3, "");
    let cy = cluster.join(2, "cy");
    cluster.set_two_cut_off(true);
    let early = cluster.join(0, "ann");
    cluster.pass(SECOND / 10);
    let late = cluster.join(1, "ann");
    // The third process takes the later claim for the only one.
    cluster.set_cut_off(1, false);
    cluster.run();
    cluster.expect(cy, &["-- ann joined"]);
    cluster.set_cut_off(0, false);
    cluster.run();
    cluster.expect(cy, &["-- ann is now guest-2002", "-- ann joined"]);
    cluster.say(early, "/quit");
    cluster.expect(cy, &["-- ann left"]);
    cluster.say(late, "/quit");
    cluster.expect(cy, &["-- guest-2002 left"]);
    cluster.end();
}

#[test]
fn client_that_takes_a_name_claimed_meanwhile_is_not_announced_as_its_owner() {
    let mut cluster = Cluster::new(2, "");
    let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
    let cy = cluster.join(1, "cy");
    cluster.run();
    [ann, bob, cy].into_iter().for_each(|guest| drop(cluster.unread(guest)));
    cluster.set_two_cut_off(true);
    cluster.say(bob, "/nick zoe");
    cluster.run();
    cluster.pass(SECOND / 10);
    cluster.say(ann, "/nick zoe");
    cluster.run();
    cluster.unread(cy);
    cluster.set_two_cut_off(false);
    cluster.run();
    cluster.expect(cy, &["-- ann left", "-- guest-1002 joined"]);
    let lines = cluster.unread(ann);
    assert!(lines.iter().any(|line| line.contains("had the name zoe before you")), "{lines:?}");
    assert_eq!(cluster.who(cy), ["cy", "guest-1002", "zoe"]);
    cluster.say(bob, "it is mine");
    cluster.expect(cy, &["zoe: it is mine"]);
    cluster.end();
}
