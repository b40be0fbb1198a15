//! Instructions that a delivery costs in user space, counted by valgrind: the same number each time, on any machine.
//!
//! `cargo bench --bench instructions` runs each scenario twice under `valgrind --tool=callgrind`, once with more messages
//! than the other time. The difference is the cost of those messages, without the start. It fails if a
//! ceiling is exceeded, which is how CI uses it.

use std::env;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use chinwag::arena::Arena;
use chinwag::chat::{Chat, ClientId, Effect, Placed};
use chinwag::codec::{self, Expected, Input, Step, line};
use chinwag::config::Config;
use chinwag::connection::{Schedule, State};
use chinwag::host::Host;
use chinwag::limits::Limits;
use chinwag::net::{ConnectTarget, ListenerId, ListenerKind, Net, Peer, PollEvent, Token};
use chinwag::outbox::Outbox;
use chinwag::protocol::{Dialect, Facts, Order};
use chinwag::quota::{Addresses, Quota, Quotas, Verdict};
use chinwag::roster::Roster;
use chinwag::server::Server;
use chinwag::time::{Moment, Now};

/// A stream that is as large as a socket, so that connections are what they are in the server.
type Socket = i32;

/// Members of the room; each message is delivered to all but its sender.
const MEMBERS: usize = 1_000;
const FEW: usize = 50;
const MANY: usize = 150;

/// A measurement, and the most instructions that a delivery may take.
struct Scenario {
    name: &'static str,
    run: fn(messages: usize),
    ceiling: f64,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario { name: "first delivery of a tick", run: |messages| queue(messages, 1), ceiling: 70.0 },
    Scenario { name: "queued delivery, 64 a tick", run: |messages| queue(messages, 64), ceiling: 40.0 },
    Scenario { name: "whole tick, 1 message", run: |messages| tick(messages, 1), ceiling: 230.0 },
    Scenario { name: "whole tick, 64 messages", run: |messages| tick(messages, 64), ceiling: 17.0 },
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if let [_, word, scenario, messages] = &args[..]
        && word == "run"
    {
        (SCENARIOS[scenario.parse::<usize>().unwrap()].run)(messages.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("not measured: valgrind is not installed");
        return ExitCode::FAILURE;
    }
    let mut exceeded = false;
    for (index, scenario) in SCENARIOS.iter().enumerate() {
        let difference = count(index, MANY) - count(index, FEW);
        let each = difference as f64 / ((MANY - FEW) * (MEMBERS - 1)) as f64;
        exceeded |= each > scenario.ceiling;
        println!("{:<36} {each:>7.1} instructions a delivery (at most {})", scenario.name, scenario.ceiling);
    }
    if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions of a whole run, as callgrind has collected them.
fn count(scenario: usize, messages: usize) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().unwrap())
        .args(["run", &scenario.to_string(), &messages.to_string()])
        .output()
        .expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .expect("a count in valgrind's report");
    collected.1.trim().parse().unwrap()
}

fn config() -> Config {
    Config::from_flags("--rate off --announce-max 0 --write-buffer 16m")
}

/// The cost of a message from its bytes to the outboxes of all members: decode, chat step, encode, queue. Instead
/// of a flush the outboxes are thrown away after each tick, which counts for about twenty instructions each.
fn queue(messages: usize, batch: usize) {
    let config = config();
    let limits = Limits::new(&config);
    let (mut chat, mut arena) = (Chat::new(&config, 1), Arena::default());
    let mut roster: Roster<Socket> = Roster::new(MEMBERS, limits);
    let now = Now { moment: Moment::from_millis(1), unix_millis: 1 };
    let (mut quotas, mut addresses, mut effects) = (Quotas::default(), Addresses::new(None), Vec::new());
    for number in 0..MEMBERS {
        let Verdict::Admit(address) = addresses.take(Host::LOCAL, None) else { panic!("refused") };
        let claim = quotas.take(Quota::Client, address);
        let token = roster.insert(0, claim, ListenerKind::LINE, now.moment);
        roster.get_mut(token).unwrap().start_state(State::Active, now.moment);
        chat.connect(token.into(), token.serial, (now, &Facts::default()), &mut effects);
        chat.handle(token.into(), Ok(name(number)), (now, &Facts::default()), &mut effects);
        effects.clear();
    }
    let line = message();
    for number in 0..messages {
        deliver(&line, &mut chat, &mut roster, &mut arena, now, &mut effects);
        if (number + 1) % batch == 0 {
            roster.take_dirty(MEMBERS);
            for (_, connection) in roster.iter_mut() {
                connection.schedule.remove(Schedule::DIRTY);
                connection.outbox = Outbox::default();
            }
            arena = Arena::default();
        }
    }
}

fn name(number: usize) -> chinwag::protocol::Request {
    chinwag::protocol::Request::Nick(chinwag::text::Name::parse(&format!("user-{number}")).unwrap())
}

fn message() -> Vec<u8> {
    format!("{}\n", "x".repeat(55)).into_bytes()
}

/// Decodes a line, and queues the message for all members.
fn deliver(
    line: &[u8],
    chat: &mut Chat,
    roster: &mut Roster<Socket>,
    arena: &mut Arena,
    now: Now,
    effects: &mut Vec<Effect>,
) {
    let Step::Used { input: Some(Input::Request { request, .. }), .. } =
        line::decode(&mut None, Expected::default(), line, false, 4096)
    else {
        panic!("not a message");
    };
    chat.handle(ClientId(0), request, (now, &Facts::default()), effects);
    let Some(Effect::Submit { room, author, change, receipt, .. }) = effects.pop() else {
        panic!("not submitted: {effects:?}");
    };
    chat.commit(room, Placed { change, order: Order::Next, author, receipt }, now, effects);
    for effect in effects.drain(..) {
        let Effect::Announce { room, except, event } = effect else {
            panic!("not announced: {effect:?}");
        };
        let frame = arena.frame(|out| codec::encode(Dialect::Line, &event, None, out));
        let audience = chat.audience(room, Dialect::Line, except.cause.as_slice());
        let ((), queued) = arena.share(frame, 1, |copies| {
            audience.iter().for_each(|ids| roster.broadcast(ids, copies, &mut Vec::new()));
        });
        assert_eq!(queued, MEMBERS - 1);
    }
}

/// The cost of a message in a whole tick of the server, without the kernel's part: all calls succeed at once.
fn tick(messages: usize, batch: usize) {
    let mut server =
        Server::new(config(), Instant { to_accept: MEMBERS, ..Instant::default() }, vec![ListenerKind::LINE])
            .unwrap();
    for _ in 0..20 {
        server.tick().unwrap();
    }
    assert_eq!(server.chat().census().subscribers, MEMBERS);
    let before = server.metrics().deliveries;
    let mut sent = 0;
    while sent < messages {
        let count = batch.min(messages - sent);
        let tokens: Vec<Token> = server.roster().iter().map(|(token, _)| token).take(count).collect();
        server.net_mut().send_from(&tokens);
        server.tick().unwrap();
        sent += count;
    }
    assert_eq!(server.metrics().deliveries - before, (messages * (MEMBERS - 1)) as u64);
}

/// A network on which everything happens at once and for nothing.
#[derive(Default)]
struct Instant {
    to_accept: usize,
    accepted: usize,
    events: Vec<PollEvent>,
    /// The unread input of each connection.
    input: Vec<Vec<u8>>,
}

impl Instant {
    /// Makes each of these connections send a message.
    fn send_from(&mut self, tokens: &[Token]) {
        for token in tokens {
            self.input[token.slot as usize] = message();
            self.events.push(PollEvent::Connection { token: *token, readable: true, writable: false });
        }
    }
}

impl Net for Instant {
    type Stream = Socket;

    fn poll(&mut self, events: &mut Vec<PollEvent>, _: Option<Duration>) -> io::Result<()> {
        events.append(&mut self.events);
        if self.accepted == 0 {
            events.push(PollEvent::Listener(0));
        }
        Ok(())
    }

    fn sleep(&mut self, _: Duration) {}

    fn now(&self) -> Moment {
        Moment::from_millis(1)
    }

    fn unix_millis(&self) -> u64 {
        1
    }

    fn nanos(&self) -> u64 {
        1
    }

    fn process_id(&self) -> u64 {
        1
    }

    fn accept(&mut self, _: ListenerId) -> io::Result<(Socket, Peer)> {
        if self.accepted == self.to_accept {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.accepted += 1;
        Ok((self.accepted as Socket - 1, Peer::Local))
    }

    fn connect(&mut self, _: &ConnectTarget) -> io::Result<Socket> {
        unreachable!("nothing is to be connected to")
    }

    fn resolve(&mut self, _: &str, _: u16) {}

    fn resolved(&mut self) -> Option<io::Result<Vec<SocketAddr>>> {
        None
    }

    fn register(&mut self, stream: &mut Socket, token: Token) -> io::Result<()> {
        self.input.push(format!("user-{stream}\n").into_bytes());
        self.events.push(PollEvent::Connection { token, readable: true, writable: true });
        Ok(())
    }

    fn read(&mut self, stream: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        let input = &mut self.input[*stream as usize];
        if input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..input.len()].copy_from_slice(input);
        let count = input.len();
        input.clear();
        Ok(count)
    }

    fn write(&mut self, _: &mut Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }

    fn unsent_bytes(&mut self, _: &mut Socket) -> u32 {
        0
    }

    fn shutdown_write(&mut self, _: &mut Socket) -> io::Result<()> {
        Ok(())
    }

    fn close_listener(&mut self, _: ListenerId) {}

    fn close_listeners(&mut self) {}
}
