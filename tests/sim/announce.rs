//! Messages of one tick are fanned out as a batch, and clients read the same lines as without batches.

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::post;
use crate::world::Wire;

/// A stage and its clients in the lobby, with nothing unread.
fn lobby(flags: &str, names: &[&str]) -> (Stage, Vec<Wire>) {
    let mut stage = Stage::new(&format!("--rate off --announce-max 100 {flags}"));
    let wires: Vec<Wire> = names.iter().map(|name| stage.join(name)).collect();
    for wire in &wires {
        stage.unread(*wire);
    }
    (stage, wires)
}

#[test]
fn messages_of_one_tick_reach_every_other_member_in_one_order() {
    let names = ["ann", "bob", "cy", "di"];
    let (mut stage, wires) = lobby("", &names);
    let before = stage.server.metrics().deliveries;
    for wire in &wires[..3] {
        stage.say(*wire, "one\ntwo");
    }
    let writes = stage.world().writes;
    stage.run();
    assert_eq!(stage.world().writes - writes, 4, "one each");
    assert_eq!(stage.server.metrics().deliveries - before, 3 * 2 * 3);
    let all = stage.unread(wires[3]);
    assert_eq!(all.len(), 6);
    for (name, wire) in names.iter().zip(&wires).take(3) {
        let others: Vec<String> =
            all.iter().filter(|line| !line.starts_with(&format!("{name}:"))).cloned().collect();
        assert_eq!(stage.unread(*wire), others);
        let token = stage.world().token(*wire).unwrap();
        let frames = stage.server.roster().get(token).unwrap().outbox.frames();
        assert!(frames >= 4, "{frames}");
    }
    stage.end();
}

#[test]
fn private_message_keeps_its_place_among_the_messages_of_a_tick() {
    let (mut stage, wires) = lobby("", &["ann", "bob"]);
    stage.say(wires[0], "one\n/msg bob two\nthree\n/who\nfour");
    stage.expect(wires[1], &["ann: one", "[ann] two", "ann: three", "ann: four"]);
    stage.expect(wires[0], &["-- in #lobby: ann, bob"]);
    stage.end();
}

#[test]
fn client_that_moves_between_two_messages_reaches_the_right_room_with_each() {
    let (mut stage, wires) = lobby("", &["ann", "bob", "cy"]);
    stage.say(wires[2], "/join dev");
    stage.run();
    wires.iter().for_each(|wire| drop(stage.unread(*wire)));
    stage.say(wires[0], "one\n/join dev\ntwo\n/leave\nthree");
    stage.expect(wires[1], &["ann: one", "-- ann left", "-- ann joined", "ann: three"]);
    stage.expect(wires[2], &["-- ann joined", "ann: two", "-- ann left"]);
    stage.end();
}

#[test]
fn published_message_is_not_counted_with_those_before_it() {
    let (mut stage, wires) = lobby("", &["ann", "bob", "cy"]);
    let http = stage.connect_http();
    stage.run();
    stage.say(wires[0], "one\ntwo");
    stage.send(http, post("/rooms/lobby/messages?from=ci", "", "green").as_bytes());
    stage.run();
    let answer = String::from_utf8_lossy(stage.raw(http)).into_owned();
    assert!(answer.contains("\"queued_for\":3"), "{answer}");
    stage.expect(wires[1], &["ann: one", "ann: two", "ci (http): green"]);
    stage.end();
}

#[test]
fn published_message_is_not_counted_with_those_that_come_back_from_redis_before_it() {
    let mut cluster = Cluster::new(1, "--rate off --announce-max 100");
    let guests = ["ann", "bob", "cy"].map(|name| cluster.join(0, name));
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    cluster.say(guests[0], "one\ntwo");
    cluster.run();
    // Without a name in its query the request asks no other process first, so all three come back at once.
    let http = cluster.stage(0).connect_http();
    cluster.stage(0).send(http, post("/rooms/lobby/messages", "", "green").as_bytes());
    cluster.run();
    cluster.redis.set_stalled(false, millis);
    cluster.run();
    let answer = String::from_utf8_lossy(cluster.stage(0).raw(http)).into_owned();
    assert!(answer.contains("\"queued_for\":3"), "{answer}");
    cluster.expect(guests[1], &["-- cy joined", "ann: one", "ann: two", "http: green"]);
    cluster.end();
}

#[test]
fn client_with_a_nearly_full_buffer_gets_what_fits_and_is_told_how_much_is_missing() {
    let flags = "--line-max 1k --write-buffer 4k --write-buffer-soft off --slow-client skip";
    let (mut stage, wires) = lobby(flags, &["ann", "bob", "cy"]);
    let bob = wires[1];
    stage.stall(bob);
    // 60 lines of 100 bytes with their names: 40 fit into 4 KiB.
    let lines: Vec<String> = (0..60).map(|number| format!("{number:094}")).collect();
    stage.say(wires[0], &lines.join("\n"));
    let received: Vec<String> = lines.iter().map(|line| format!("ann: {line}")).collect();
    stage.run_past_holds();
    stage.expect(wires[2], &received.iter().map(String::as_str).collect::<Vec<_>>());
    stage.read_again(bob);
    stage.run();
    let mut of_bob = received[..40].to_vec();
    of_bob.push("-- you missed 20 messages: you read too slowly".to_string());
    assert_eq!(stage.unread(bob), of_bob);
    assert_eq!(stage.server.metrics().missed, 20);
    stage.end();
}

#[test]
fn client_with_an_echo_reads_its_own_messages_in_the_order_of_the_room() {
    let mut stage = Stage::new("--rate off");
    let mut echo = Socket::open(&mut stage, "/ws?name=echo&room=a&echo=1");
    let other = Socket::open(&mut stage, "/ws?name=other&room=a");
    stage.run();
    echo.texts(&mut stage);
    // The order of turns differs from round to round.
    for round in 0..20 {
        other.say(&mut stage, r#"{"type":"say","room":"a","text":"x"}"#);
        echo.say(&mut stage, r#"{"type":"say","room":"a","text":"x"}"#);
        let texts = echo.texts(&mut stage);
        let places: Vec<_> = (1..=2)
            .map(|place| format!("\"seq\":{},", 2 * round + place))
            .map(|seq| texts.iter().position(|text| text.contains(&seq)))
            .collect();
        assert_eq!(places, [Some(0), Some(1)], "{texts:?}");
    }
    stage.end();
}
