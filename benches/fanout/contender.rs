//! Who is compared, what was set for it, and what it can't do.

use crate::family::Family;
use crate::speech::Protocol;
use crate::workload::{BATCHED_RATE, Kind, Workload};

/// How a server is started; see `server.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launch {
    /// With all its doors, whichever is used.
    Chinwag,
    /// The same, with a Redis beside it, and no other process.
    Linked,
    /// The same, and another process, where the talkers are.
    Receiving,
    /// A binary of `benches/variants/` and its arguments.
    Variant(&'static str, &'static [&'static str]),
    /// `benches/variants/go/chat.go`.
    Go,
    /// `benches/variants/node/chat.js`.
    Node,
    Redis,
    Nats,
    Mosquitto,
    MosquittoWebSocket,
    /// nginx with its module nchan.
    Nchan,
    Ncat,
    Ngircd,
}

#[derive(Clone, Debug)]
pub struct Contender {
    pub name: &'static str,
    pub launch: Launch,
    pub protocol: Protocol,
    /// For the report: what it is, and what was set or turned off.
    pub about: &'static str,
    pub families: &'static [Family],
    /// Clients that may be coming in at once.
    pub backlog: usize,
    /// Part of the short version.
    pub short: bool,
    pub clients_max: usize,
    pub line_max_bytes: usize,
    pub has_rooms: bool,
    /// Keeps up with [`BATCHED_RATE`], since it puts several lines into a write.
    pub batches: bool,
}

impl Contender {
    fn new(name: &'static str, launch: Launch, protocol: Protocol, about: &'static str) -> Contender {
        Contender {
            name,
            launch,
            protocol,
            about,
            families: &[Family::Lines],
            backlog: 100,
            short: false,
            clients_max: usize::MAX,
            line_max_bytes: usize::MAX,
            has_rooms: false,
            batches: false,
        }
    }

    fn variant(name: &'static str, args: &'static [&'static str], about: &'static str) -> Contender {
        let binary = args.first().copied().unwrap_or(name);
        let args = args.get(1..).unwrap_or_default();
        Contender::new(name, Launch::Variant(binary, args), Protocol::Plain, about)
    }

    fn within(self, families: &'static [Family]) -> Contender {
        Contender { families, ..self }
    }

    fn short(self) -> Contender {
        Contender { short: true, ..self }
    }

    fn with_rooms(self) -> Contender {
        Contender { has_rooms: true, ..self }
    }

    fn batching(self) -> Contender {
        Contender { batches: true, ..self }
    }

    /// Whether the server can do this at all.
    pub fn can(&self, workload: &Workload) -> bool {
        self.families.contains(&workload.family)
            && workload.clients <= self.clients_max
            && workload.line_bytes <= self.line_max_bytes
            && (workload.room_members.is_none() || self.has_rooms)
            && (workload.kind != Kind::Rate(BATCHED_RATE) || self.batches)
    }
}

pub fn all() -> Vec<Contender> {
    let mut all = chinwag();
    all.extend(variants());
    all.extend(others());
    all.extend(websocket());
    all
}

/// By each of its doors.
fn chinwag() -> Vec<Contender> {
    let line = "this server. --rate off (no flood limit), --history 0, --max-clients 12000, --log warn. Its clients \
                have names, and 8 bytes of each line are the sender's";
    let raw = "the same server by /raw/lobby: a message is relayed as it is";
    let json = "the same server by /ws: objects with the room, the sender, a number and the time";
    let linked = "the same with --redis, alone at its Redis: each line is published too";
    let receiving = "the same, and the talkers are at another process: each line comes by Redis, which with that \
                     process is on the same core";
    let own = |name, protocol, about| Contender::new(name, Launch::Chinwag, protocol, about).short();
    vec![
        own("chinwag", Protocol::Chinwag, line).with_rooms().batching().within(&[
            Family::Lines,
            Family::Doors,
            Family::Link,
        ]),
        Contender::new("chinwag-linked", Launch::Linked, Protocol::Chinwag, linked).within(&[Family::Link]),
        Contender::new("chinwag-receiving", Launch::Receiving, Protocol::ChinwagFar, receiving)
            .within(&[Family::Link]),
        own("chinwag-raw", Protocol::RawWebSocket, raw).within(&[Family::WebSocket, Family::Doors]),
        own("chinwag-ws", Protocol::JsonWebSocket, json).within(&[Family::WebSocket, Family::Doors]),
    ]
}

fn variants() -> Vec<Contender> {
    let tuned = "one task per client, one write a batch, small buffers; one thread";
    let two = "the same on two threads, which share a core";
    vec![
        Contender::variant("bare", &[], "a limit: reads a line, writes it to every socket; no chat in it")
            .short()
            .within(&[Family::Lines, Family::Doors]),
        Contender::variant("bare-batched", &[], "a limit: the bare loop, one write per socket and tick")
            .short()
            .batching(),
        Contender::variant(
            "tokio-textbook",
            &[],
            "a task and an mpsc channel per client, one write a line; one thread",
        )
        .short(),
        Contender::variant("tokio-textbook-2", &["tokio-textbook", "--threads", "2"], two),
        Contender::variant("tokio-broadcast", &[], "tokio's broadcast channel, one write a line; one thread"),
        Contender::variant("tokio-tuned", &["tokio-tuned", "--threads", "1"], tuned).short().batching(),
        Contender::variant("tokio-tuned-2", &["tokio-tuned", "--threads", "2"], two).batching(),
        Contender::variant("smol", &[], "a task and a channel per client, one write a batch; one thread")
            .batching(),
        Contender::variant("threads", &[], "two blocking threads per client, one write a batch"),
        Contender::variant(
            "uring",
            &[],
            "tokio-uring, one thread, one write per 64 lines; a write is not always a system call",
        )
        .batching(),
        Contender::new(
            "go",
            Launch::Go,
            Protocol::Plain,
            "hub goroutine, channel per client; default runtime",
        ),
    ]
}

fn others() -> Vec<Contender> {
    let redis = "pub/sub, RESP2: talkers have connections of their own, so one more delivery a line. No snapshots, no \
                 append-only file; client-output-buffer-limit pubsub 256kb 64kb 10 (chinwag's own), maxclients 12000";
    let nats = "echo off. max_pending 256KB (chinwag's own) and so max_payload 64KB, max_connections 12000, ping_interval 1h";
    let mosquitto = "MQTT 3.1.1, QoS 0: talkers have connections of their own. No log, no persistence, anonymous \
                     clients, max_connections -1; max_queued_messages 4096, as the variants";
    let ncat = "--chat -k, --max-conns 1000; select(2) takes no more than 1,000. Adds `<userN> ` to a line";
    let ngircd = "penalties off (MaxPenaltyTime 0), no DNS, IDENT or PAM, no limits on connections. Adds the \
                  sender's mask to a line; a line has at most 512 bytes";
    let mut ncat = Contender::new("ncat", Launch::Ncat, Protocol::Ncat, ncat);
    // It listens with a backlog of 10.
    (ncat.clients_max, ncat.backlog) = (1000, 8);
    let mut ngircd = Contender::new("ngircd", Launch::Ngircd, Protocol::Irc, ngircd).with_rooms();
    // Each join is told to everybody: 9,000 of them are 40 million lines. It listens with a backlog of 10.
    (ngircd.clients_max, ngircd.line_max_bytes, ngircd.backlog) = (1000, 256, 8);
    vec![
        Contender::new("redis", Launch::Redis, Protocol::Redis, redis).short().with_rooms().batching(),
        Contender::new("nats", Launch::Nats, Protocol::Nats, nats).with_rooms(),
        Contender::new("mosquitto", Launch::Mosquitto, Protocol::Mqtt, mosquitto).with_rooms(),
        ncat,
        ngircd,
    ]
}

fn websocket() -> Vec<Contender> {
    let textbook = "tokio-tungstenite: a task and an mpsc channel per client, one send a message; one thread";
    let tuned = "tokio-tungstenite: one flush a batch, the stream not split, small buffers; one thread";
    let axum = "axum's example of a chat without its names: tokio's broadcast channel; one thread";
    let node = "ws, the broadcast of its README; whose queue is over 256 KiB is dropped";
    let mosquitto =
        "as mosquitto, over WebSocket: an MQTT packet a message; talkers have connections of their own";
    let nchan = "nginx's pub/sub module: a path to subscribe at, one to publish at, so talkers have connections of \
                 their own. One process, no log; messages are kept for 10 s, for who is late";
    let variant = |name, binary, about| {
        Contender::new(name, Launch::Variant(binary, &[]), Protocol::RawWebSocket, about)
    };
    let all = [
        variant("tungstenite", "ws-textbook", textbook).short(),
        variant("tungstenite-tuned", "ws-tuned", tuned).short(),
        variant("axum", "ws-axum", axum),
        Contender::new("node-ws", Launch::Node, Protocol::RawWebSocket, node).short(),
        Contender::new("mosquitto-ws", Launch::MosquittoWebSocket, Protocol::MqttWebSocket, mosquitto),
        Contender::new("nginx-nchan", Launch::Nchan, Protocol::Nchan, nchan),
    ];
    all.map(|contender| contender.within(&[Family::WebSocket])).to_vec()
}
