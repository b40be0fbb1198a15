//! Several processes with as many rooms and clients as they are made for. The tests compare who reads what, and how
//! many commands Redis gets.

use std::collections::BTreeMap;
use std::time::Duration;

use chinwag::net::Signal;

use crate::cluster::{Cluster, Guest};

const SECOND: Duration = Duration::from_secs(1);

const PROCESSES: usize = 3;
const ROOMS: usize = 1_000;
/// Members of each room on each process.
const MEMBERS: usize = 2;
/// A message is sent in one room of so many.
const SAMPLE: usize = 20;

/// Clients of a large process.
const FULL: usize = 4_000;
/// The first process's members of the lobby.
const MEMBERS_OF_FIRST: &str = "chinwag:@members:00000000000003e8:lobby";

/// Returns the members of each room on all processes.
fn enter_rooms(cluster: &mut Cluster) -> Vec<Vec<Guest>> {
    let places = || (0..PROCESSES).flat_map(|process| (0..MEMBERS).map(move |number| (process, number)));
    let mut enter = |room, process, number| {
        let guest = cluster.connect(process, &format!("r{room}p{process}n{number}"));
        cluster.say(guest, &format!("/join r{room}"));
        guest
    };
    (0..ROOMS).map(|room| places().map(|(process, number)| enter(room, process, number)).collect()).collect()
}

/// Returns the channels of rooms with the number of their subscriptions.
fn subscribed(cluster: &Cluster) -> BTreeMap<String, usize> {
    let channels = cluster.redis.channels().into_iter();
    channels.filter(|(channel, _)| !channel.starts_with("chinwag:@")).collect()
}

/// Returns how often Redis executed the command.
fn count(cluster: &Cluster, command: &str) -> usize {
    cluster.redis.commands().get(command).copied().unwrap_or_default()
}

#[test]
fn a_thousand_rooms_on_three_processes_are_one_subscription_per_room_and_process() {
    let mut cluster = Cluster::new(PROCESSES, "");
    let rooms = enter_rooms(&mut cluster);
    // Every client passes through the lobby, which stays subscribed until it was empty for a while.
    cluster.pass(20 * SECOND);
    let each_once: BTreeMap<_, _> = (0..ROOMS).map(|room| (format!("chinwag:r{room}"), PROCESSES)).collect();
    assert_eq!(subscribed(&cluster), each_once);
    assert_eq!(count(&cluster, "SUBSCRIBE"), PROCESSES * (1 + 1 + ROOMS), "no room twice");
    rooms.iter().flatten().for_each(|guest| drop(cluster.unread(*guest)));

    let published = count(&cluster, "PUBLISH");
    for (number, members) in rooms.iter().enumerate().step_by(SAMPLE) {
        cluster.say(members[number / SAMPLE % members.len()], &format!("word {number}"));
    }
    cluster.run();
    assert_eq!(count(&cluster, "PUBLISH") - published, ROOMS / SAMPLE);
    for (number, members) in rooms.iter().enumerate() {
        let speaker = (number % SAMPLE == 0).then_some(number / SAMPLE % members.len());
        for (index, guest) in members.iter().enumerate() {
            let receives = speaker.is_some_and(|speaker| speaker != index);
            let lines = cluster.unread(*guest);
            assert_eq!(lines.len(), usize::from(receives), "{lines:?}");
            assert!(lines.iter().all(|line| line.ends_with(&format!(": word {number}"))), "{lines:?}");
        }
    }

    let millis = cluster.millis();
    let sizes =
        |cluster: &Cluster| cluster.redis.keys(millis).iter().filter(|key| key.contains("@members:")).count();
    assert_eq!(sizes(&cluster), PROCESSES * ROOMS);

    rooms.iter().flatten().for_each(|guest| cluster.say(*guest, "/quit"));
    cluster.pass(9 * SECOND);
    assert_eq!(subscribed(&cluster), each_once, "the subscription outlasts its last member");
    cluster.pass(11 * SECOND);
    assert_eq!(subscribed(&cluster), BTreeMap::new());
    assert_eq!(count(&cluster, "UNSUBSCRIBE"), PROCESSES * (2 + ROOMS));
    let millis = cluster.millis();
    let left = |key: &&String| ["@members:", "@names", "@rooms"].iter().any(|kind| key.contains(kind));
    assert_eq!(cluster.redis.keys(millis).iter().find(left), None, "nobody is left in Redis");
    for process in 0..PROCESSES {
        let counts = cluster.counts(process);
        // A subscription to a pattern would be an error: this Redis has none.
        assert_eq!((counts.sessions, counts.errors, counts.shed), (1, 0, 0));
    }
    cluster.end();
}

/// A full first process, and an observer on the second.
struct FullHouse {
    cluster: Cluster,
    crowd: Vec<Guest>,
    eve: Guest,
}

impl FullHouse {
    /// Connects the clients while Redis is down.
    fn new() -> FullHouse {
        // Smaller than the list of so many clients.
        let mut cluster = Cluster::new(2, "--redis-queue 64k");
        cluster.set_redis_down(true, false);
        cluster.pass(2 * SECOND);
        let eve = cluster.connect(1, "eve");
        let crowd: Vec<Guest> = (0..FULL).map(|number| cluster.connect(0, &format!("n{number}"))).collect();
        cluster.run();
        assert_eq!(cluster.stage(0).server.chat().census().clients, FULL);
        FullHouse { cluster, crowd, eve }
    }

    /// Starts Redis without data. Each process must register its clients once.
    #[track_caller]
    fn expect_one_chat(&mut self, word: &str) {
        self.cluster.unread(self.eve);
        self.cluster.say(self.crowd[0], word);
        let scripts = count(&self.cluster, "EVALSHA");
        self.cluster.set_redis_down(false, false);
        self.cluster.pass(10 * SECOND);
        // A claim each, and little else.
        let scripts = count(&self.cluster, "EVALSHA") - scripts;
        assert!((FULL..FULL + 50).contains(&scripts), "{scripts} calls");
        assert_eq!(self.cluster.redis.set(MEMBERS_OF_FIRST, self.cluster.millis()).len(), FULL);
        let lines = self.cluster.unread(self.eve);
        assert_eq!(lines.iter().filter(|line| **line == format!("n0: {word}")).count(), 1, "{lines:?}");
        for guest in [self.eve, self.crowd[0]] {
            self.cluster.unread(guest);
            self.cluster.ask(guest, "/rooms", &[&format!("-- rooms: #lobby ({})", FULL + 1)]);
        }
        let counts = self.cluster.counts(0);
        assert_eq!((counts.shed, counts.errors, self.cluster.link(0).queue_bytes), (0, 0, 0));
    }
}

#[test]
fn clients_of_a_full_process_are_listed_elsewhere_from_the_start_of_each_session() {
    let mut full = FullHouse::new();
    full.expect_one_chat("first");
    full.expect_one_chat("again");
    full.cluster.end();
}

#[test]
fn clients_of_a_full_process_leave_elsewhere_when_it_ends_or_is_dead() {
    for dies in [false, true] {
        let mut full = FullHouse::new();
        full.expect_one_chat("first");
        let FullHouse { mut cluster, eve, .. } = full;
        match dies {
            true => {
                cluster.kill(0);
                cluster.pass(20 * SECOND);
            }
            false => {
                cluster.stage(0).world().signal(Signal::Terminate);
                cluster.run();
                assert!(!cluster.stage(0).stopped);
            }
        }
        let census = cluster.stage(1).server.chat().census();
        assert_eq!((census.clients, census.names), (1, 1));
        assert_eq!(cluster.redis.set(MEMBERS_OF_FIRST, cluster.millis()).len(), 0);
        if !dies {
            cluster.kill(0);
        }
        cluster.pass(10 * SECOND);
        cluster.unread(eve);
        cluster.ask(eve, "/rooms", &["-- rooms: #lobby (1)"]);
        cluster.end();
    }
}

/// Clients of a process that dies.
const CROWD: usize = 2_000;

/// Counts the clients that have read a line with that part.
fn count_readers(cluster: &mut Cluster, crowd: &[Guest], part: &str) -> usize {
    let has_read = |guest: &&Guest| cluster.unread(**guest).iter().any(|line| line.contains(part));
    crowd.iter().filter(has_read).count()
}

/// Sends the names of all clients.
fn give_names(cluster: &mut Cluster, crowd: &[Guest]) {
    crowd.iter().enumerate().for_each(|(number, guest)| cluster.say(*guest, &format!("n{number}")));
    cluster.run();
}

#[test]
fn all_clients_of_a_large_process_that_died_get_their_names_elsewhere_as_soon_as_its_lease_has_ended() {
    let mut cluster = Cluster::new(PROCESSES, "");
    let eve = cluster.join(2, "eve");
    (0..CROWD).for_each(|number| _ = cluster.connect(0, &format!("n{number}")));
    cluster.run();
    cluster.kill(0);
    let crowd: Vec<Guest> =
        (0..CROWD).map(|_| Guest { process: 1, wire: cluster.stage(1).connect() }).collect();
    cluster.run();
    count_readers(&mut cluster, &crowd, "");
    give_names(&mut cluster, &crowd);
    cluster.pass(SECOND);
    let first = cluster.unread(crowd[0]);
    assert_eq!(count_readers(&mut cluster, &crowd[1..], "is taken"), CROWD - 1, "{first:?}");
    cluster.pass(20 * SECOND);
    let published = count(&cluster, "PUBLISH");
    crowd.iter().enumerate().for_each(|(number, guest)| cluster.say(*guest, &format!("/nick n{number}")));
    cluster.pass(SECOND);
    assert_eq!(count_readers(&mut cluster, &crowd, "-- hello n"), CROWD);
    cluster.pass(15 * SECOND);
    // Only the first joins of a large room are announced one by one.
    let published = count(&cluster, "PUBLISH") - published;
    assert!(published < 100, "published {published} times");
    cluster.unread(eve);
    cluster.ask(eve, "/rooms", &[&format!("-- rooms: #lobby ({})", CROWD + 1)]);
    cluster.ask(eve, "/nick N17", &["-- the name N17 is taken"]);
    cluster.end();
}

#[test]
fn one_of_two_crowds_with_the_same_names_become_guests_after_an_outage() {
    let mut cluster = Cluster::new(2, "");
    cluster.set_redis_down(true, true);
    cluster.pass(2 * SECOND);
    let crowds = [0, 1].map(|process| {
        let crowd: Vec<Guest> =
            (0..CROWD).map(|number| cluster.connect(process, &format!("n{number}"))).collect();
        cluster.pass(SECOND);
        crowd
    });
    crowds.iter().for_each(|crowd| _ = count_readers(&mut cluster, crowd, ""));
    cluster.set_redis_down(false, true);
    cluster.pass(15 * SECOND);
    let lost = crowds.map(|crowd| count_readers(&mut cluster, &crowd, "on another server has the name "));
    assert_eq!(lost[0] + lost[1], CROWD, "{lost:?}");
    for process in 0..2 {
        let census = cluster.stage(process).server.chat().census();
        assert_eq!((census.clients, census.names), (CROWD, CROWD));
    }
    assert_eq!(cluster.redis.hash("chinwag:@names", cluster.millis()).len(), 2 * CROWD);
    cluster.end();
}

#[test]
fn processes_without_clients_count_each_other() {
    let mut cluster = Cluster::new(2, "");
    cluster.pass(Duration::from_secs(10));
    assert_eq!([cluster.link(0).peers, cluster.link(1).peers], [1, 1]);
    cluster.end();
}
