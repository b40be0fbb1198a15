//! Processes reach the same state from single changes and from a whole snapshot. Of two claims to a name, the earlier
//! by the wall clock wins.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::{Cluster, Guest};

const SECOND: Duration = Duration::from_secs(1);

/// Returns all names and rooms that a client in the lobby can list.
fn seen(cluster: &mut Cluster, guest: Guest) -> (Vec<String>, BTreeSet<String>) {
    let who = cluster.who(guest);
    cluster.say(guest, "/rooms");
    cluster.run();
    let lines = cluster.unread(guest);
    let rooms = lines[0].strip_prefix("-- rooms: ").expect("rooms").split(", ").map(String::from);
    (who, rooms.collect())
}

#[test]
fn changes_of_one_tick_leave_the_same_state_everywhere() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut cluster = Cluster::new(2, "--rate off");
        let watcher = cluster.join(1, "watcher");
        let mut there: Vec<Guest> = (0..6).map(|number| cluster.join(0, &format!("n{number}"))).collect();
        let mut joined = there.len();
        for _ in 0..4 {
            // Nothing runs between these, so the process reads all of them in one tick.
            for _ in 0..rng.usize(1..12) {
                match rng.u8(0..5) {
                    0 => {
                        there.push(cluster.connect(0, &format!("n{}", rng.usize(0..joined + 2))));
                        joined += 1;
                    }
                    1 if !there.is_empty() => {
                        let gone = there.swap_remove(rng.usize(0..there.len()));
                        cluster.say(gone, "/quit");
                    }
                    2 if !there.is_empty() => {
                        let guest = there[rng.usize(0..there.len())];
                        cluster.say(guest, &format!("/nick n{}", rng.usize(0..joined + 2)));
                    }
                    3 if !there.is_empty() => {
                        let gone = there.swap_remove(rng.usize(0..there.len()));
                        cluster.stage(0).world().reset(gone.wire);
                    }
                    _ if !there.is_empty() => {
                        let guest = there[rng.usize(0..there.len())];
                        cluster.say(guest, ["/join dev", "/leave"][rng.usize(0..2)]);
                    }
                    _ => {}
                }
            }
            cluster.run();
        }
        // Clients that have asked for a taken name, and got none, were closed by then.
        cluster.pass(61 * SECOND);
        let own = cluster.join(0, "own");
        let late = cluster.start();
        cluster.run();
        let newcomer = cluster.join(late, "newcomer");
        cluster.run();
        let [own, watcher, newcomer] = [own, watcher, newcomer].map(|guest| seen(&mut cluster, guest));
        assert_eq!((&own, &own), (&watcher, &newcomer), "seed {seed}");
        let names: BTreeSet<&String> = own.0.iter().collect();
        assert_eq!(names.len(), own.0.len(), "seed {seed}: a name given twice: {own:?}");
        // Redis has each client, and nothing of clients that are gone.
        let millis = cluster.millis();
        let clients: usize = cluster
            .redis
            .keys(millis)
            .iter()
            .map(|key| {
                let fields = cluster.redis.hash(key, millis);
                fields.keys().filter(|field| field.bytes().all(|byte| byte.is_ascii_digit())).count()
            })
            .sum();
        let here: usize = (0..3).map(|process| cluster.stage(process).server.chat().presences().len()).sum();
        assert_eq!(clients, here, "seed {seed}");
        cluster.end();
    }
}

#[test]
fn name_belongs_to_the_first_claim_by_the_wall_clock() {
    for renames in [false, true] {
        let mut cluster = Cluster::new(2, "");
        cluster.stage(1).world().epoch_millis -= 3_600_000;
        let take = |cluster: &mut Cluster, process: usize| match renames {
            false => cluster.join(process, "ann"),
            true => {
                let guest = cluster.join(process, ["zoe", "moe"][process]);
                cluster.say(guest, "/nick ann");
                cluster.run();
                cluster.unread(guest);
                guest
            }
        };
        cluster.set_two_cut_off(true);
        let first = take(&mut cluster, 0);
        cluster.pass(SECOND / 10);
        let second = take(&mut cluster, 1);
        cluster.set_two_cut_off(false);
        cluster.run();
        let lines = cluster.unread(first);
        assert!(lines.iter().any(|line| line.contains("had the name ann before you")), "{lines:?}");
        let lines = cluster.unread(second);
        assert!(!lines.iter().any(|line| line.contains("before you")), "{lines:?}");
        // The number of its first guest name is not given again.
        assert_eq!(cluster.who(second), ["ann", "guest-1002"]);
        assert_eq!(cluster.who(first), ["ann", "guest-1002"]);
        cluster.end();
    }
}

#[test]
fn stall_shorter_than_redis_timeout_keeps_the_session_and_a_longer_one_ends_it() {
    for (stall, down) in [(11, false), (30, true)] {
        let mut cluster = Cluster::new(2, "--redis-timeout 12s");
        let (ann, bob) = (cluster.join(0, "ann"), cluster.join(1, "bob"));
        cluster.expect(ann, &["-- bob joined"]);
        cluster.pass(10 * SECOND);
        let millis = cluster.millis();
        cluster.redis.set_stalled(true, millis);
        cluster.say(ann, "during");
        cluster.pass(stall * SECOND);
        assert_eq!(cluster.link(0).up, !down, "{stall} s");
        let millis = cluster.millis();
        cluster.redis.set_stalled(false, millis);
        cluster.pass(30 * SECOND);
        let sessions = cluster.counts(0).sessions;
        assert_eq!(sessions > 1, down, "{stall} s");
        let lines = cluster.unread(bob);
        assert_eq!(lines.iter().filter(|line| *line == "ann: during").count(), 1, "{lines:?}");
        assert_eq!(lines.len(), if down { 3 } else { 1 }, "{lines:?}");
        // Afterwards the state is the same as before.
        for guest in [ann, bob] {
            assert_eq!(cluster.who(guest), ["ann", "bob"]);
        }
        assert_eq!((cluster.link(0).queue_bytes, cluster.link(0).peers), (0, 1));
        cluster.end();
    }
}
