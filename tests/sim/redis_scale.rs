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

/// Clients that a process accepts by default.
const FULL: usize = 10_000;
/// Clients that one command writes to Redis.
const CLIENTS_A_COMMAND: usize = 500;
/// The hash of the first process's clients.
const HASH: &str = "chinwag:@00000000000003e8";

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

    rooms.iter().flatten().for_each(|guest| cluster.say(*guest, "/quit"));
    cluster.pass(9 * SECOND);
    assert_eq!(subscribed(&cluster), each_once, "the subscription outlasts its last member");
    cluster.pass(11 * SECOND);
    assert_eq!(subscribed(&cluster), BTreeMap::new());
    assert_eq!(count(&cluster, "UNSUBSCRIBE"), PROCESSES * (1 + ROOMS));
    for process in 0..PROCESSES {
        let counts = cluster.counts(process);
        // A subscription to a pattern would be an error: this Redis has none.
        assert_eq!((counts.sessions, counts.errors, counts.shed, counts.lost), (1, 0, 0, 0));
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
        cluster.pass(SECOND / 2);
        let eve = cluster.connect(1, "eve");
        let crowd: Vec<Guest> = (0..FULL).map(|number| cluster.connect(0, &format!("n{number}"))).collect();
        cluster.run();
        assert_eq!(cluster.stage(0).server.chat().census().clients, FULL);
        FullHouse { cluster, crowd, eve }
    }

    /// Starts Redis without data. Each process must write its clients once, and list the clients of both.
    #[track_caller]
    fn expect_one_chat(&mut self, word: &str) {
        self.cluster.unread(self.eve);
        self.cluster.say(self.crowd[0], word);
        let sets = count(&self.cluster, "HSET");
        self.cluster.set_redis_down(false, false);
        self.cluster.pass(10 * SECOND);
        // Each process also writes its version and one heartbeat.
        assert_eq!(count(&self.cluster, "HSET") - sets, FULL / CLIENTS_A_COMMAND + 1 + 2 + 2);
        assert_eq!(self.cluster.redis.hash(HASH, self.cluster.millis()).len(), FULL + 2);
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
                cluster.run();
                assert_eq!(cluster.stage(1).server.chat().census().remote, FULL, "no process can know yet");
                cluster.pass(20 * SECOND);
            }
            false => {
                cluster.stage(0).world().signal(Signal::Terminate);
                cluster.run();
                assert!(!cluster.stage(0).stopped);
            }
        }
        let census = cluster.stage(1).server.chat().census();
        assert_eq!((census.clients, census.remote, census.names, census.members), (1, 0, 1, 1));
        assert_eq!(cluster.redis.hash(HASH, cluster.millis()).len(), 0);
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
const CROWD: usize = 5_000;

/// Sends the names of all clients.
fn give_names(cluster: &mut Cluster, crowd: &[Guest]) {
    crowd.iter().enumerate().for_each(|(number, guest)| cluster.say(*guest, &format!("n{number}")));
    cluster.run();
}

/// Counts the clients that have read a line with that part.
fn count_readers(cluster: &mut Cluster, crowd: &[Guest], part: &str) -> usize {
    let has_read = |guest: &&Guest| cluster.unread(**guest).iter().any(|line| line.contains(part));
    crowd.iter().filter(has_read).count()
}

#[test]
fn all_clients_of_a_large_process_that_died_get_their_names_elsewhere_three_seconds_later() {
    let mut cluster = Cluster::new(PROCESSES, "");
    let eve = cluster.join(2, "eve");
    (0..CROWD).for_each(|number| _ = cluster.connect(0, &format!("n{number}")));
    cluster.run();
    cluster.kill(0);
    let crowd: Vec<Guest> =
        (0..CROWD).map(|_| Guest { process: 1, wire: cluster.stage(1).connect() }).collect();
    cluster.run();
    count_readers(&mut cluster, &crowd, "");
    let (asked, published) = (count(&cluster, "PUBSUB"), count(&cluster, "PUBLISH"));

    // All ask before another process can know that theirs is gone.
    let millis = cluster.millis();
    cluster.redis.set_stalled(true, millis);
    give_names(&mut cluster, &crowd);
    cluster.pass(SECOND);
    assert_eq!(count_readers(&mut cluster, &crowd, "is taken"), CROWD);
    cluster.redis.set_stalled(false, millis);
    cluster.run();
    assert_eq!(count(&cluster, "PUBSUB") - asked, 1, "their process is asked for once");
    cluster.pass(3 * SECOND);
    assert_eq!(cluster.stage(1).server.chat().census().remote, 1, "eve");

    let polls = cluster.stage(2).world().polls;
    give_names(&mut cluster, &crowd);
    cluster.pass(SECOND);
    assert_eq!(count_readers(&mut cluster, &crowd, "-- hello "), CROWD);
    let published = count(&cluster, "PUBLISH") - published;
    assert!(published < 20, "published {published} times");
    let polls = cluster.stage(2).world().polls - polls;
    assert!(polls < 20, "{polls} ticks");
    // The third process asks now, and has the answer three seconds later.
    cluster.pass(3 * SECOND);
    let census = cluster.stage(2).server.chat().census();
    assert_eq!((census.remote, census.names, census.members), (CROWD, CROWD + 1, CROWD + 1));
    cluster.unread(eve);
    cluster.ask(eve, "/rooms", &[&format!("-- rooms: #lobby ({})", CROWD + 1)]);
    cluster.ask(eve, "/nick N17", &["-- the name N17 is taken"]);
    cluster.end();
}

#[test]
fn later_of_two_crowds_with_the_same_names_become_guests_after_an_outage() {
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
    cluster.pass(10 * SECOND);
    let lost = crowds.map(|crowd| count_readers(&mut cluster, &crowd, "had the name "));
    assert_eq!(lost, [0, CROWD]);
    for process in 0..2 {
        let census = cluster.stage(process).server.chat().census();
        assert_eq!((census.clients, census.remote, census.names), (CROWD, CROWD, 2 * CROWD));
    }
    cluster.end();
}
