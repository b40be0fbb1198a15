//! A virtual Redis: [`Redis`] takes the bytes of its clients and has bytes for them, without a socket, a thread or a
//! clock. Tests make it fail as real ones fail: it stalls, restarts, loads, refuses, closes, and sends garbage.
//!
//! Its answers are those of Redis 7.0, byte for byte; `redis_real.rs` compares them. It has only some commands and few of
//! their options, and takes requests only as arrays. Fields come in the order in which they were set, as in the small
//! hashes of a real one. Members of sets and what `UNSUBSCRIBE` of everything ends are sorted.

mod commands;
mod connections;
mod hashes;
mod keys;
mod lua;
pub mod resp;
mod scripts;
mod sets;
mod sorted_sets;
mod streams;
mod strings;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::rc::Rc;

use resp::{Answer, array, bulk, error, parse};
use values::{Entry, Fields, Keyspace, Members, Stream};

/// A client's connection; no number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Conn(usize);

#[derive(Default)]
struct Client {
    /// A request that is not complete yet.
    input: Vec<u8>,
    output: Vec<u8>,
    channels: BTreeSet<Vec<u8>>,
    authenticated: bool,
    database: usize,
    /// Redis has closed it; only its output is left.
    closed: bool,
}

const DATABASES: usize = 16;

/// Input of clients that comes during a stall.
enum Arrival {
    Input(Conn, Vec<u8>),
    Gone(Conn),
}

/// The keys of a database.
pub struct Saved(Keyspace);

#[derive(Default)]
pub struct Redis {
    clients: BTreeMap<Conn, Client>,
    opened: usize,
    databases: [Keyspace; DATABASES],
    /// The database of the request that is being executed.
    database: usize,
    /// The sources of the scripts by their SHA1.
    scripts: BTreeMap<String, Rc<[u8]>>,
    has_script_written: bool,
    /// The only user and its password, if one is required.
    required: Option<(String, String)>,
    loading: bool,
    stalled: bool,
    arrivals: Vec<Arrival>,
    output_max: Option<usize>,
    refused: BTreeMap<String, String>,
    refused_names: BTreeMap<Vec<u8>, String>,
    /// Commands that are refused the next time only.
    refused_once: BTreeMap<String, String>,
    commands: BTreeMap<String, usize>,
}

impl Redis {
    pub fn new() -> Redis {
        Redis::default()
    }

    // Calls of clients.

    pub fn open(&mut self) -> Conn {
        let conn = Conn(self.opened);
        self.opened += 1;
        self.clients.insert(conn, Client { authenticated: self.required.is_none(), ..Client::default() });
        conn
    }

    /// Closes a connection. A stalled Redis handles that behind all that the client has sent before.
    pub fn close(&mut self, conn: Conn) {
        match self.stalled {
            true => self.arrivals.push(Arrival::Gone(conn)),
            false => self.kill(conn),
        }
    }

    /// Executes the client's requests, or queues them while stalled.
    pub fn receive(&mut self, conn: Conn, bytes: &[u8], now_millis: u64) {
        match self.stalled {
            true => self.arrivals.push(Arrival::Input(conn, bytes.to_vec())),
            false => self.take_in(conn, bytes, now_millis),
        }
    }

    pub fn take_output(&mut self, conn: Conn) -> Vec<u8> {
        self.clients.get_mut(&conn).map(|client| mem::take(&mut client.output)).unwrap_or_default()
    }

    pub fn has_output(&self, conn: Conn) -> bool {
        self.clients.get(&conn).is_some_and(|client| !client.output.is_empty())
    }

    /// Returns whether Redis has closed the connection: nothing follows its last output.
    pub fn is_closed(&self, conn: Conn) -> bool {
        self.clients.get(&conn).is_none_or(|client| client.closed)
    }

    // Faults that tests cause, which happen at once even during a stall.

    /// Makes new connections authenticate. Without a user it is `requirepass`; with one, the default user is off.
    pub fn require(&mut self, user: Option<&str>, password: &str) {
        self.required = Some((user.unwrap_or("default").into(), password.into()));
    }

    pub fn set_loading(&mut self, loading: bool) {
        self.loading = loading;
    }

    /// Starts or ends a stall. What arrives during a stall is executed at its end, in the order of arrival.
    pub fn set_stalled(&mut self, stalled: bool, now_millis: u64) {
        self.stalled = stalled;
        if stalled {
            return;
        }
        for arrival in mem::take(&mut self.arrivals) {
            match arrival {
                Arrival::Input(conn, bytes) => self.take_in(conn, &bytes, now_millis),
                Arrival::Gone(conn) => self.kill(conn),
            }
        }
    }

    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Restarts Redis, not stalled. Connections are closed; their output, what arrived in a stall and all scripts are
    /// lost. Other settings of tests remain.
    pub fn restart(&mut self, keep_data: bool) {
        self.clients.clear();
        self.arrivals.clear();
        self.stalled = false;
        self.scripts.clear();
        if !keep_data {
            self.flush_all();
        }
    }

    /// Closes a connection as `CLIENT KILL` does; its output is lost.
    pub fn kill(&mut self, conn: Conn) {
        self.clients.remove(&conn);
    }

    /// Closes subscribers as `CLIENT KILL TYPE pubsub` does.
    pub fn kill_pubsub(&mut self) {
        self.clients.retain(|_, client| client.channels.is_empty());
    }

    /// Appends these bytes to the output as they are.
    pub fn garble(&mut self, conn: Conn, bytes: &[u8]) {
        self.deliver(conn, bytes);
    }

    /// Sets the output limit of subscribers. One over it is closed, and its output is lost.
    pub fn set_output_max(&mut self, bytes: usize) {
        self.output_max = Some(bytes);
    }

    /// Answers that command, in upper case, with that error from now on; `None` makes it work again. A script that uses
    /// the command fails with that error, unless it has written before and the error is about no right.
    pub fn refuse(&mut self, command: &str, error: Option<&str>) {
        match error {
            Some(error) => self.refused.insert(command.to_string(), error.to_string()),
            None => self.refused.remove(command),
        };
    }

    /// Answers the next command of that name with that error, as [`Redis::refuse`] does.
    pub fn refuse_once(&mut self, command: &str, error: &str) {
        self.refused_once.insert(command.to_string(), error.to_string());
    }

    /// Answers each command with that key or channel, but `SUBSCRIBE`, with that error; `None` makes it work again.
    pub fn refuse_name(&mut self, name: &str, error: Option<&str>) {
        match error {
            Some(error) => self.refused_names.insert(name.into(), error.to_string()),
            None => self.refused_names.remove(name.as_bytes()),
        };
    }

    /// Publishes, and returns the number of receivers. Subscribers that this message closes as too slow are counted,
    /// too.
    pub fn publish(&mut self, channel: &str, payload: &[u8]) -> usize {
        let message = [array(3), bulk("message"), bulk(channel), bulk(payload)].concat();
        let subscribers = self.subscribers(channel);
        for conn in &subscribers {
            self.deliver(*conn, &message);
        }
        subscribers.len()
    }

    /// Deletes the keys of all databases.
    pub fn flush_all(&mut self) {
        self.databases = Default::default();
    }

    /// Returns all keys of database 0 as they are, for [`Redis::restore`].
    pub fn save(&self) -> Saved {
        Saved(self.databases[0].clone())
    }

    /// Replaces all keys of database 0 by older ones, as a replica that lags does when it takes over.
    pub fn restore(&mut self, saved: &Saved) {
        self.databases[0] = saved.0.clone();
    }

    /// Forgets all scripts, as `SCRIPT FLUSH` does.
    pub fn flush_scripts(&mut self) {
        self.scripts.clear();
    }

    /// Deletes a key of database 0 at once, as if its time to live had ended.
    pub fn expire(&mut self, key: &str) {
        self.databases[0].remove(key.as_bytes());
    }

    // State that tests look at.

    /// Returns the open connections.
    pub fn connections(&self) -> Vec<Conn> {
        self.clients.iter().filter(|(_, client)| !client.closed).map(|(conn, _)| *conn).collect()
    }

    pub fn subscribers(&self, channel: &str) -> Vec<Conn> {
        let listens = |client: &Client| client.channels.contains(channel.as_bytes());
        self.clients.iter().filter(|(_, client)| listens(client)).map(|(conn, _)| *conn).collect()
    }

    /// Returns the number of subscribers, as `PUBSUB NUMSUB` does.
    pub fn numsub(&self, channel: &str) -> usize {
        self.subscribers(channel).len()
    }

    /// Returns the channels with subscribers, and how many they have.
    pub fn channels(&self) -> BTreeMap<String, usize> {
        let mut channels = BTreeMap::new();
        for channel in self.clients.values().flat_map(|client| &client.channels) {
            *channels.entry(text(channel)).or_default() += 1;
        }
        channels
    }

    /// Returns the keys of database 0, as the following functions look at its keys.
    pub fn keys(&self, now_millis: u64) -> Vec<String> {
        self.keys_of(0, now_millis)
    }

    pub fn keys_of(&self, database: usize, now_millis: u64) -> Vec<String> {
        self.databases[database].keys(now_millis).map(text).collect()
    }

    /// Returns the fields of a hash, or none if the key is missing or not a hash.
    pub fn hash(&self, key: &str, now_millis: u64) -> BTreeMap<String, String> {
        let fields = self.entry(key, now_millis).and_then(Entry::value::<Fields>);
        let fields = fields.into_iter().flat_map(Fields::iter);
        fields.map(|(field, value)| (text(field), text(value))).collect()
    }

    /// Returns the members of a set, or none if the key is missing or not a set.
    pub fn set(&self, key: &str, now_millis: u64) -> BTreeSet<String> {
        let members = self.entry(key, now_millis).and_then(Entry::value::<Members>);
        members.into_iter().flatten().map(|member| text(member)).collect()
    }

    /// Returns the number of each entry of a stream and the value of its last field. There is none if the key is missing or no
    /// stream.
    pub fn stream(&self, key: &str, now_millis: u64) -> Vec<(String, String)> {
        let stream = self.entry(key, now_millis).and_then(Entry::value::<Stream>);
        let entries = stream.into_iter().flat_map(|stream| &stream.entries);
        entries.map(|(id, words)| (id.to_string(), text(&words[words.len() - 1]))).collect()
    }

    /// Returns the time to live of a key; `None` if it is missing or has no limit.
    pub fn ttl_millis(&self, key: &str, now_millis: u64) -> Option<u64> {
        Some(self.entry(key, now_millis)?.until_millis? - now_millis)
    }

    /// Returns how often each command was executed, by its first word in upper case. Refused ones don't count; those of
    /// scripts do.
    pub fn commands(&self) -> &BTreeMap<String, usize> {
        &self.commands
    }

    // Internals.

    fn entry(&self, key: &str, now_millis: u64) -> Option<&Entry> {
        self.databases[0].get(key.as_bytes()).filter(|entry| entry.is_there(now_millis))
    }

    fn live(&mut self, conn: Conn) -> Option<&mut Client> {
        self.clients.get_mut(&conn).filter(|client| !client.closed)
    }

    fn take_in(&mut self, conn: Conn, bytes: &[u8], now_millis: u64) {
        let Some(client) = self.live(conn) else {
            return;
        };
        let mut input = mem::take(&mut client.input);
        input.extend(bytes);
        let mut rest = &input[..];
        while let Some(client) = self.live(conn) {
            match parse(rest, client.authenticated) {
                Ok(Some((words, behind))) => {
                    self.execute(conn, &words, now_millis);
                    rest = behind;
                }
                Ok(None) => {
                    client.input = rest.to_vec();
                    return;
                }
                Err(text) => {
                    client.output.extend(error(&format!("ERR Protocol error: {text}")));
                    client.closed = true;
                    client.channels.clear();
                }
            }
        }
    }

    fn execute(&mut self, conn: Conn, words: &[Vec<u8>], now_millis: u64) {
        if words.is_empty() {
            return;
        }
        self.databases.iter_mut().for_each(|keyspace| keyspace.sweep(now_millis));
        self.database = self.clients[&conn].database;
        let reply = self.answer(conn, words, now_millis).unwrap_or_else(Answer::Error);
        self.deliver(conn, &reply.encode());
    }

    /// Returns the keys of the database of the request that is being executed.
    fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.databases[self.database]
    }

    fn deliver(&mut self, conn: Conn, bytes: &[u8]) {
        let output_max = self.output_max.unwrap_or(usize::MAX);
        let Some(client) = self.live(conn) else {
            return;
        };
        client.output.extend(bytes);
        if !client.channels.is_empty() && client.output.len() > output_max {
            self.kill(conn);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
