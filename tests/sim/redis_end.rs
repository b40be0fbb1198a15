//! Shutdown of one of several processes: its clients leave the others at once, and are disconnected one after the
//! other.

use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::{Cluster, Guest};
use crate::web::get;

const CLIENTS: usize = 12;
const GONE: &str = "-- the server is shutting down";

/// Two processes, one with many clients and one with one. The first was told to end.
fn ending(flags: &str) -> (Cluster, Vec<Guest>, Guest) {
    let mut cluster = Cluster::new(2, flags);
    let eve = cluster.join(1, "eve");
    let guests: Vec<Guest> = (0..CLIENTS).map(|number| cluster.join(0, &format!("n{number}"))).collect();
    cluster.run();
    guests.iter().chain([&eve]).for_each(|guest| drop(cluster.unread(*guest)));
    cluster.stage(0).world().signal(Signal::Terminate);
    cluster.run();
    (cluster, guests, eve)
}

fn count_told(cluster: &mut Cluster, guests: &[Guest]) -> usize {
    guests.iter().filter(|guest| String::from_utf8_lossy(cluster.read(**guest)).contains(GONE)).count()
}

#[test]
fn other_processes_remove_all_clients_of_an_ending_one_at_once() {
    let (mut cluster, _, eve) = ending("--grace 8s");
    let mut expected: Vec<String> =
        (0..CLIENTS).map(|number| format!("-- n{number} left (its server is gone)")).collect();
    expected.sort();
    assert_eq!(cluster.unread(eve), expected);
    cluster.ask(eve, "/who", &["-- in #lobby: eve"]);
    // Its name is free, so the next client that asks for it gets it.
    let again = cluster.join(1, "n3");
    cluster.ask(again, "/who", &["-- in #lobby: eve, n3"]);
    cluster.expect(eve, &["-- n3 joined"]);
    cluster.pass(Duration::from_secs(30));
    cluster.ask(eve, "/who", &["-- in #lobby: eve, n3"]);
    assert!(cluster.stage(0).stopped);
}

#[test]
fn clients_of_an_ending_process_are_told_evenly_over_three_quarters_of_the_grace() {
    let (mut cluster, guests, _) = ending("--grace 8s");
    for number in 0..CLIENTS {
        assert_eq!(count_told(&mut cluster, &guests), number + 1, "after {} ms", 500 * number);
        assert!(!cluster.stage(0).stopped);
        cluster.pass(Duration::from_millis(499));
        assert_eq!(count_told(&mut cluster, &guests), number + 1);
        cluster.pass(Duration::from_millis(1));
    }
    assert_eq!(count_told(&mut cluster, &guests), CLIENTS);
    cluster.pass(Duration::from_secs(2));
    assert!(cluster.stage(0).stopped);
}

#[test]
fn client_of_an_ending_process_chats_with_all_until_it_is_told() {
    let (mut cluster, guests, eve) = ending("--grace 8s");
    let last = guests[CLIENTS - 1];
    cluster.unread(eve);
    cluster.say(last, "one more thing");
    cluster.expect(eve, &["n11: one more thing"]);
    cluster.say(eve, "yes?");
    cluster.expect(last, &["eve: yes?"]);
    cluster.say(guests[0], "hello?");
    cluster.expect(last, &[]);
    cluster.pass(Duration::from_secs(5));
    cluster.say(last, "the last word");
    cluster.expect(eve, &["n11: the last word"]);
}

#[test]
fn ending_process_leaves_nothing_in_redis() {
    let (mut cluster, ..) = ending("--grace 8s");
    cluster.pass(Duration::from_secs(9));
    let millis = cluster.millis();
    let left: Vec<String> = cluster.redis.keys(millis);
    assert!(left.iter().all(|key| !key.contains("00000000000003e8")), "{left:?}");
    assert_eq!(cluster.redis.set("chinwag:@processes", millis).len(), 1, "the other one");
    assert_eq!(cluster.claims(), ["00000000000007d0 0 0 eve"]);
    assert!(cluster.stage(0).stopped);
    cluster.kill(0);
    assert_eq!(cluster.redis.numsub("chinwag:lobby"), 1);
}

#[test]
fn process_ends_within_the_grace_without_a_redis() {
    let mut cluster = Cluster::new(1, "--grace 4s");
    let ann = cluster.join(0, "ann");
    cluster.set_redis_down(true, false);
    cluster.pass(Duration::from_secs(2));
    cluster.stage(0).world().signal(Signal::Terminate);
    cluster.pass(Duration::from_millis(1));
    assert!(String::from_utf8_lossy(cluster.read(ann)).contains(GONE));
    cluster.pass(Duration::from_secs(4));
    assert!(cluster.stage(0).stopped);
}

#[test]
fn ending_process_answers_that_it_takes_no_more_clients() {
    let mut cluster = Cluster::new(2, "--grace 8s --max-clients 2");
    cluster.join(0, "ann");
    let probe = cluster.stage(0).connect_http();
    cluster.run();
    let ready = |cluster: &mut Cluster| {
        let before = cluster.stage(0).raw(probe).len();
        cluster.stage(0).send(probe, get("/readyz").as_bytes());
        cluster.run();
        String::from_utf8_lossy(&cluster.stage(0).raw(probe)[before..]).into_owned()
    };
    assert!(ready(&mut cluster).starts_with("HTTP/1.1 200 "));
    cluster.join(0, "bob");
    let answer = ready(&mut cluster);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"full""#), "{answer}");
    cluster.stage(0).world().signal(Signal::Terminate);
    cluster.run();
    let answer = ready(&mut cluster);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""code":"draining""#), "{answer}");
}
