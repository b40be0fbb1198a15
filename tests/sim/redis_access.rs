//! Bans, mutes of accounts and registered names hold at all processes with one Redis, and outlive each of them.

use std::fs;
use std::time::Duration;

use chinwag::time::Now;
use tempfile::TempDir;

use crate::cluster::{Cluster, Guest};
use crate::redis_faults::{CONNECTED, DISCONNECTED};
use crate::redis_itself::request;
use crate::stage::WIDE;
use crate::world::{Weather, Wire};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const ADDRESS: &str = "10.0.0.1";
const ACCESS: &str = "chinwag:@access";

/// The tokens are `b` and `m`.
const SECTIONS: &str = r#"
[accounts.bea]
token = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
[accounts.mod]
role = "moderator"
token = "sha256:62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a"
"#;

/// Two processes with a state file each, and a moderator at each of them.
pub struct Moderated {
    pub cluster: Cluster,
    folder: TempDir,
    mods: Vec<Guest>,
}

impl Moderated {
    pub fn new() -> Moderated {
        Moderated::with_states(&[None, None])
    }

    /// Starts a process for each state file, which may exist.
    fn with_states(states: &[Option<&str>]) -> Moderated {
        Moderated::in_cluster(Cluster::new(0, ""), states)
    }

    fn in_cluster(cluster: Cluster, states: &[Option<&str>]) -> Moderated {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("chinwag.toml"), SECTIONS).expect("a file");
        let mut moderated = Moderated { cluster, folder, mods: Vec::new() };
        for (number, state) in states.iter().enumerate() {
            if let Some(state) = state {
                fs::write(moderated.state_path(number), state).expect("a file");
            }
            moderated.start(number);
        }
        moderated.cluster.pass(SECOND);
        for process in 0..states.len() {
            let guest = moderated.log_in(process, "m");
            moderated.mods.push(guest);
        }
        moderated
    }

    fn state_path(&self, number: usize) -> String {
        self.folder.path().join(format!("{number}.json")).display().to_string()
    }

    /// Starts a process with the state file of that number.
    fn start(&mut self, number: usize) -> usize {
        let config = self.folder.path().join("chinwag.toml").display().to_string();
        let state = self.state_path(number);
        let flags = "--rate off --registration --takeover older";
        self.cluster.start_with(&format!("{flags} --config {config} --state {state}"))
    }

    fn saved(&self, number: usize) -> String {
        fs::read_to_string(self.state_path(number)).expect("a state file")
    }

    fn log_in(&mut self, process: usize, token: &str) -> Guest {
        let guest = self.cluster.connect(process, &format!("/login {token}"));
        self.cluster.pass(2 * SECOND);
        let lines = self.cluster.unread(guest).join("\n");
        assert!(lines.contains("logged in"), "{lines}");
        guest
    }

    /// The moderator at that process gives an order. Returns what it reads.
    pub fn order(&mut self, process: usize, line: &str) -> String {
        let moderator = self.mods[process];
        self.cluster.run();
        self.cluster.unread(moderator);
        self.cluster.say(moderator, line);
        self.cluster.run();
        self.cluster.unread(moderator).join("\n")
    }

    #[track_caller]
    fn expect_order(&mut self, process: usize, line: &str, answer: &str) {
        let lines = self.order(process, line);
        assert!(lines.contains(answer), "{lines}");
    }

    /// Whether a new client may have the name.
    fn accepts(&mut self, process: usize, name: &str) -> bool {
        let guest = self.cluster.connect(process, name);
        self.cluster.pass(SECOND);
        let is_greeted = self.cluster.unread(guest).join("\n").contains(&format!("hello {name}"));
        self.cluster.say(guest, "/quit");
        self.cluster.run();
        is_greeted
    }

    /// Whether the process lets in a client from the address.
    fn accepts_address(&mut self, process: usize) -> bool {
        let wire = self.remote(process, "/quit");
        self.cluster.run();
        !self.text(process, wire).contains("banned")
    }

    /// Connects a client from a remote address.
    fn remote(&mut self, process: usize, name: &str) -> Wire {
        let stage = self.cluster.stage(process);
        let wire = stage.connect_from(Some(ADDRESS), WIDE);
        stage.say(wire, name);
        wire
    }

    fn text(&mut self, process: usize, wire: Wire) -> String {
        self.cluster.stage(process).text(wire)
    }

    /// Runs, and compares what a client has read apart from joins and leaves.
    #[track_caller]
    fn expect(&mut self, guest: Guest, expected: &[&str]) {
        self.cluster.run();
        let mut lines = self.cluster.unread(guest);
        lines.retain(|line| !line.ends_with(" joined") && !line.contains(" left"));
        assert_eq!(lines, expected);
    }
}

/// A state file.
fn state(registered: &str, bans: &str, mutes: &str) -> String {
    format!(r#"{{"version":1,"registered":[{registered}],"bans":[{bans}],"mutes":[{mutes}]}}"#)
}

fn ban(name: &str) -> String {
    format!(r#"{{"target":"{name}","by":"mod"}}"#)
}

/// A registered name whose token is `x`.
fn registered(name: &str) -> String {
    let hash = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    format!(r#"{{"name":"{name}","token":"sha256:{hash}"}}"#)
}

#[test]
fn ban_of_a_name_holds_for_present_and_new_clients_of_each_process() {
    let mut chat = Moderated::new();
    let eve = chat.remote(1, "eve");
    chat.cluster.run();
    chat.expect_order(0, "/ban Eve 1h spam", "is banned for 60 min");
    assert!(chat.text(1, eve).contains("-- mod has banned you for 60 min: spam"), "{}", chat.text(1, eve));
    for process in 0..2 {
        assert!(!chat.accepts(process, "eve"));
        // The address of a guest is banned with its name.
        assert!(!chat.accepts_address(process));
        assert!(
            chat.saved(process).contains("10.0.0.1") && chat.saved(process).to_lowercase().contains("eve")
        );
        assert!(chat.order(process, "/bans").contains("10.0.0.1"));
    }
    chat.cluster.pass(HOUR);
    assert!((0..2).all(|process| chat.accepts(process, "eve") && chat.accepts_address(process)));
    chat.cluster.end();
}

#[test]
fn ban_of_an_address_holds_for_present_and_new_clients_of_each_process() {
    let mut chat = Moderated::new();
    let wires = [0, 1].map(|process| chat.remote(process, &format!("eve{process}")));
    chat.cluster.run();
    chat.order(0, "/ban 10.0.0.0/24");
    for (process, wire) in wires.into_iter().enumerate() {
        assert!(chat.text(process, wire).contains("-- mod has banned you until a moderator lifts it"));
        assert!(!chat.accepts_address(process));
    }
    chat.expect_order(1, "/unban 10.0.0.0/24", "the ban of 10.0.0.0/24 is lifted");
    assert!((0..2).all(|process| chat.accepts_address(process)));
    assert!(!chat.saved(0).contains("10.0.0.0"), "{}", chat.saved(0));
    chat.cluster.end();
}

#[test]
fn ban_by_a_moderator_that_has_no_account_elsewhere_removes_clients_there() {
    let mut chat = Moderated::with_states(&[None]);
    let (bea, _) = SECTIONS.split_once("[accounts.mod]").expect("two accounts");
    fs::write(chat.folder.path().join("chinwag.toml"), bea).expect("a file");
    chat.start(1);
    chat.cluster.pass(SECOND);
    let eve = chat.remote(1, "eve");
    chat.cluster.run();
    chat.order(0, "/ban 10.0.0.0/24");
    assert!(chat.text(1, eve).contains("-- mod has banned you"), "{}", chat.text(1, eve));
    chat.cluster.end();
}

#[test]
fn moderators_of_other_processes_are_not_removed_by_a_ban() {
    let mut chat = Moderated::new();
    let stage = chat.cluster.stage(1);
    let wire = stage.connect_from(Some(ADDRESS), WIDE);
    stage.say(wire, "/login m");
    chat.cluster.run();
    chat.order(0, "/ban 10.0.0.1");
    assert!(!chat.text(1, wire).contains("banned"), "{}", chat.text(1, wire));
    chat.cluster.end();
}

#[test]
fn mute_of_an_account_reaches_its_sessions_at_each_process_and_so_does_its_end() {
    let mut chat = Moderated::new();
    let bea = chat.log_in(1, "b");
    chat.expect_order(0, "/mute bea", "bea is muted until a moderator lifts it");
    chat.expect(bea, &["-- mod has muted you until a moderator lifts it"]);
    chat.cluster.say(bea, "hi");
    chat.expect(bea, &["-- a moderator has muted you until a moderator lifts it"]);
    chat.expect_order(0, "/unmute bea", "bea may speak again");
    chat.expect(bea, &["-- mod lets you speak again"]);
    chat.cluster.say(bea, "hi");
    chat.expect(chat.mods[0], &["bea: hi"]);
    chat.cluster.end();
}

/// Registers a name at a process, and returns the client and its token.
fn register(chat: &mut Moderated, process: usize, name: &str) -> (Guest, String) {
    let client = chat.cluster.join(process, name);
    chat.cluster.say(client, "/register");
    chat.cluster.run();
    let lines = chat.cluster.unread(client).join(" ");
    let token = lines.split_whitespace().max_by_key(|word| word.len()).expect("a token").to_string();
    (client, token)
}

#[test]
fn session_that_has_registered_its_name_keeps_it_from_a_later_login_at_another_process() {
    let mut chat = Moderated::new();
    let (zoe, token) = register(&mut chat, 0, "zoe");
    let later = chat.cluster.join(1, "later");
    chat.cluster.unread(zoe);
    chat.cluster.say(later, &format!("/login {token}"));
    chat.cluster.run();
    let lines = chat.cluster.unread(later);
    assert!(lines.contains(&"-- the name zoe is taken".into()), "{lines:?}");
    chat.expect(zoe, &[]);
    chat.cluster.end();
}

#[test]
fn registered_name_belongs_to_its_account_at_each_process() {
    let mut chat = Moderated::new();
    let (zoe, token) = register(&mut chat, 0, "zoe");
    chat.cluster.say(zoe, "/quit");
    chat.cluster.run();
    for process in 0..2 {
        assert!(!chat.accepts(process, "zoe") && !chat.accepts(process, "z0e"));
        let zoe = chat.log_in(process, &token);
        chat.cluster.say(zoe, "/quit");
    }
    let zoe = chat.log_in(1, &token);
    chat.expect_order(0, "/unregister zoe", "the name zoe is free");
    chat.expect(zoe, &["-- your session has expired. log in again"]);
    assert!((0..2).all(|process| chat.accepts(process, "zoe")));
    chat.cluster.end();
}

#[test]
fn changes_made_while_redis_is_away_are_shared_once_it_is_back() {
    for keeps_data in [true, false] {
        let mut chat = Moderated::new();
        chat.order(0, "/ban dan");
        let eve = chat.remote(1, "eve");
        chat.cluster.run();
        chat.cluster.set_redis_down(true, keeps_data);
        chat.cluster.pass(2 * SECOND);
        chat.order(0, "/ban eve");
        chat.order(1, "/unban dan");
        assert!(!chat.accepts(0, "eve") && !chat.text(1, eve).contains("banned"));
        assert!(!chat.accepts(0, "dan") && chat.accepts(1, "dan"));
        chat.cluster.set_redis_down(false, true);
        chat.cluster.pass(5 * SECOND);
        assert!(chat.text(1, eve).contains("-- mod has banned you"), "{}", chat.text(1, eve));
        for process in 0..2 {
            assert!(chat.accepts(process, "dan") && !chat.accepts(process, "eve"), "process {process}");
            let lines = chat.cluster.unread(chat.mods[process]);
            assert!(lines.iter().filter(|line| [CONNECTED, DISCONNECTED].contains(&&line[..])).count() < 3);
        }
        chat.cluster.end();
    }
}

#[test]
fn mute_while_redis_is_away_reaches_the_sessions_elsewhere_once_it_is_back_and_so_does_its_end() {
    let mut chat = Moderated::new();
    let bea = chat.log_in(1, "b");
    let orders = [
        ("/mute bea 1h", "-- mod has muted you for 60 min"),
        ("/unmute bea", "-- mod lets you speak again"),
        ("/mute bea", "-- mod has muted you until a moderator lifts it"),
    ];
    for (order, notice) in orders {
        chat.cluster.set_redis_down(true, true);
        chat.cluster.pass(2 * SECOND);
        chat.order(0, order);
        chat.expect(bea, &[DISCONNECTED]);
        chat.cluster.set_redis_down(false, true);
        chat.cluster.pass(5 * SECOND);
        let lines = chat.cluster.unread(bea);
        assert!(lines.iter().any(|line| line == notice), "{order}: {lines:?}");
    }
    chat.cluster.end();
}

#[test]
fn process_with_an_old_state_file_brings_no_lifted_entry_back() {
    let mut chat = Moderated::new();
    chat.order(0, "/ban eve");
    let (zoe, _) = register(&mut chat, 0, "zoe");
    chat.order(0, "/mute zoe");
    assert!(chat.saved(1).contains("eve") && chat.saved(1).contains("zoe"));
    chat.cluster.kill(1);
    chat.order(0, "/unban eve");
    chat.order(0, "/unmute zoe");
    chat.order(0, "/unregister zoe");
    chat.order(0, "/ban dan");
    chat.cluster.pass(30 * SECOND);
    chat.cluster.unread(zoe);
    let late = chat.start(1);
    chat.cluster.pass(2 * SECOND);
    for process in [0, late] {
        assert!(chat.accepts(process, "eve") && chat.accepts(process, "zoe"), "process {process}");
        assert!(!chat.accepts(process, "dan"), "process {process}");
    }
    assert!(!chat.saved(1).contains("eve") && !chat.saved(1).contains("zoe"), "{}", chat.saved(1));
    chat.cluster.end();
}

#[test]
fn two_servers_that_are_joined_have_the_entries_of_both() {
    let mute = r#"{"account":"bea","by":"mod"}"#;
    let states = [
        state(&[registered("zoe"), registered("lvan")].join(","), &ban("eve"), ""),
        state(&registered("Ivan"), &[ban("dan"), ban("10.0.0.1")].join(","), mute),
    ];
    let mut chat = Moderated::with_states(&[Some(&states[0]), Some(&states[1])]);
    for process in 0..2 {
        for name in ["eve", "dan", "zoe", "Ivan", "lvan"] {
            assert!(!chat.accepts(process, name), "{name}");
        }
        assert!(!chat.accepts_address(process));
        let saved = chat.saved(process);
        assert!(
            ["zoe", "Ivan", "lvan", "eve", "dan", "10.0.0.1", "bea"].iter().all(|word| saved.contains(word))
        );
        // Both processes hide the same one of two look-alikes.
        let owner = chat.cluster.stage(process).server.chat().access().accounts().owner("lvan").cloned();
        assert_eq!(owner.expect("an account").as_str(), "Ivan");
    }
    let bea = chat.log_in(0, "b");
    chat.cluster.say(bea, "hi");
    chat.expect(bea, &["-- a moderator has muted you until a moderator lifts it"]);
    chat.cluster.end();
}

#[test]
fn redis_that_has_lost_its_data_gets_the_entries_of_all_processes() {
    let mut chat = Moderated::new();
    chat.order(0, "/ban eve");
    chat.cluster.redis.flush_all();
    chat.order(1, "/ban dan");
    let refused = |chat: &mut Moderated| {
        ["eve", "dan"].iter().all(|name| (0..2).all(|process| !chat.accepts(process, name)))
    };
    assert!(refused(&mut chat));
    chat.cluster.pass(10 * SECOND);
    let kept = chat.cluster.redis.hash(ACCESS, chat.cluster.millis());
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["ban dan", "ban eve"]);
    assert!(refused(&mut chat));
    chat.cluster.end();
}

/// Lifts an entry while the process reads the hash that still has it. Nobody is shown that the entry is there again.
#[test]
fn read_that_was_sent_before_a_change_does_not_undo_it() {
    let mut chat = Moderated::new();
    // The older session has the name, so an order about it at the other process asks for the holder.
    chat.log_in(1, "b");
    let bea = chat.log_in(0, "b");
    chat.order(0, "/mute bea");
    chat.order(0, "/ban 10.0.0.1");
    chat.cluster.unread(bea);
    let millis = chat.cluster.millis();
    // The read is executed before the change.
    chat.cluster.redis.publish("chinwag:@access", b"chinwag changed");
    chat.cluster.redis.set_stalled(true, millis);
    chat.cluster.run();
    chat.order(0, "/unban 10.0.0.1");
    let eve = chat.remote(0, "eve");
    chat.cluster.run();
    chat.cluster.redis.set_stalled(false, millis);
    chat.cluster.run();
    assert!(!chat.text(0, eve).contains("banned"), "{}", chat.text(0, eve));
    // The change waits for a fact whose answer comes with that of the read.
    chat.cluster.redis.set_stalled(true, millis);
    chat.cluster.say(chat.mods[0], "/unmute bea");
    chat.cluster.run();
    chat.cluster.redis.publish("chinwag:@access", b"chinwag changed");
    chat.cluster.run();
    chat.cluster.redis.set_stalled(false, millis);
    chat.expect(bea, &["-- mod lets you speak again"]);
    chat.cluster.end();
}

#[test]
fn change_whose_reply_was_lost_does_not_undo_a_later_change_of_another_process() {
    let mut chat = Moderated::new();
    let before = chat.cluster.counts(0).sessions;
    chat.cluster.lose_replies(0);
    chat.order(0, "/ban 10.0.0.1");
    assert!(!chat.accepts_address(1));
    chat.order(1, "/unban 10.0.0.1");
    assert!(chat.accepts_address(1));
    chat.cluster.pass(30 * SECOND);
    assert_eq!(chat.cluster.counts(0).sessions, before + 1);
    assert!((0..2).all(|process| chat.accepts_address(process)));
    chat.cluster.end();
}

#[test]
fn many_notices_make_two_reads() {
    let mut chat = Moderated::new();
    chat.cluster.run();
    let reads = |chat: &Moderated| chat.cluster.redis.commands().get("HGETALL").copied().unwrap_or_default();
    let (before, millis) = (reads(&chat), chat.cluster.millis());
    chat.cluster.redis.publish("chinwag:@access", b"chinwag changed");
    chat.cluster.redis.set_stalled(true, millis);
    for _ in 0..10 {
        chat.cluster.run();
        chat.cluster.redis.publish("chinwag:@access", b"chinwag changed");
    }
    chat.cluster.run();
    chat.cluster.redis.set_stalled(false, millis);
    chat.cluster.run();
    assert_eq!(reads(&chat) - before, 2 * 2, "two at each process");
    chat.cluster.end();
}

#[test]
fn values_of_other_programs_are_ignored_and_ended_entries_are_deleted() {
    let mut chat = Moderated::new();
    chat.order(0, "/ban eve");
    chat.order(0, "/ban dan 10s");
    let millis = chat.cluster.millis();
    for (key, value) in
        [("ban eve", "{"), ("ban bob", &ban("carl")), ("mute bea", &ban("bea")), ("x", "y"), ("ban z", "")]
    {
        let (redis, words) = (&mut chat.cluster.redis, ["HSET", ACCESS, key, value]);
        let conn = redis.open();
        redis.receive(conn, &request(words), millis);
        redis.close(conn);
    }
    let before = chat.cluster.counts(1).ignored;
    chat.order(0, "/ban gus");
    assert_eq!(chat.cluster.counts(1).ignored - before, 5);
    assert!(!chat.accepts(1, "eve") && chat.accepts(1, "bob") && chat.accepts(1, "carl"));
    let keys = |chat: &Moderated| {
        let kept = chat.cluster.redis.hash(ACCESS, chat.cluster.millis());
        kept.into_keys().filter(|key| key == "ban dan" || key == "ban gus").collect::<Vec<_>>()
    };
    chat.cluster.pass(60 * SECOND);
    assert!(chat.accepts(1, "dan"));
    assert_eq!(keys(&chat), ["ban dan", "ban gus"]);
    chat.cluster.pass(HOUR);
    chat.order(0, "/ban hal");
    assert_eq!(keys(&chat), ["ban gus"]);
    chat.cluster.end();
}

#[test]
fn http_request_is_not_answered_with_the_failure_to_save_an_earlier_change() {
    let mut chat = Moderated::new();
    fs::remove_dir_all(chat.folder.path()).expect("no folder");
    chat.expect_order(0, "/ban eve", "eve is banned");
    let get = "GET /admin/bans HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\n\r\n";
    let answer = chat.cluster.ask_http(1, get);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("eve"), "{answer}");
    chat.cluster.end();
}

/// The kept tables of a process, sorted.
fn tables(chat: &mut Moderated, process: usize) -> Vec<String> {
    let state = chat.cluster.stage(process).server.chat().access().state(Now::default());
    let mut entries: Vec<String> = state.into_entries().map(|entry| format!("{entry:?}")).collect();
    entries.sort();
    entries
}

#[test]
fn processes_have_the_same_tables_after_any_changes_and_outages() {
    for seed in 0..10 {
        let cluster = Cluster::with_weather(0, "", seed, Weather::storm());
        let mut chat = Moderated::in_cluster(cluster, &[None, None, None]);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            for _ in 0..rng.usize(1..5) {
                let moderator = chat.mods[rng.usize(0..3)];
                let words = ["/ban", "/unban", "/mute", "/unmute"];
                let word = words[rng.usize(0..4)];
                let target = match word {
                    "/ban" | "/unban" => ["eve", "dan", "10.0.0.1"][rng.usize(0..3)],
                    _ => "bea",
                };
                chat.cluster.say(moderator, &format!("{word} {target}"));
                if rng.bool() {
                    (0..3).for_each(|process| {
                        chat.cluster.step(process);
                    });
                }
            }
            match rng.u8(0..8) {
                0 => chat.cluster.set_redis_down(true, rng.bool()),
                1 => chat.cluster.set_redis_down(false, true),
                2 => {
                    let process = rng.usize(0..3);
                    let cut_off = rng.bool();
                    chat.cluster.set_cut_off(process, cut_off);
                }
                3 => chat.cluster.pass(SECOND * rng.u32(1..20)),
                _ => chat.cluster.run(),
            }
        }
        if chat.cluster.is_redis_down() {
            chat.cluster.set_redis_down(false, true);
        }
        (0..3).for_each(|process| chat.cluster.set_cut_off(process, false));
        chat.cluster.pass(30 * SECOND);
        let expected = tables(&mut chat, 0);
        for process in 1..3 {
            assert_eq!(tables(&mut chat, process), expected, "seed {seed}, process {process}");
        }
    }
}
