//! The clients' connections: coming in, reading, writing.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt::set_tcp_quickack;
use socket2::{Domain, Socket, Type};

use crate::speech::{Client, Piece, Speech, Step};

/// Told of each line heard: the connection, who said it if the protocol tells, the text.
pub type Hear<'a> = &'a mut dyn FnMut(usize, Option<u32>, &[u8]) -> Result<(), String>;

/// Time for one more client to come in, and for the last byte of a run.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A stalled client's receive buffer and segment size: with the defaults the kernels of both sides would take
/// megabytes a client off the server before it noticed anything.
const STALLED_BUFFER_BYTES: usize = 4096;
const STALLED_SEGMENT_BYTES: u32 = 536;

/// Events taken in one turn: as many as there are.
pub const MANY_EVENTS: usize = 1024;

const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

pub struct Crowd {
    /// For those who hear, and for those who only talk.
    addresses: [SocketAddr; 2],
    /// So many may be coming in at once, so that the server's backlog does not overflow: a connection that falls out
    /// of it tries again after a second.
    backlog: usize,
    speech: Box<dyn Speech>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// How many connections are not in yet.
    entering: usize,
    scratch: Vec<u8>,
    /// Time spent on what happened, and not on waiting for it.
    pub worked: Duration,
}

struct Connection {
    stream: TcpStream,
    who: Client,
    connected: bool,
    /// The steps still to do, the last first; the first one's bytes are sent already.
    steps: Vec<Step>,
    /// A piece that is not all here yet.
    inbox: Vec<u8>,
    /// What the kernel did not take yet.
    outbox: Vec<u8>,
    stalled: bool,
}

impl Crowd {
    pub fn new(addresses: [SocketAddr; 2], backlog: usize, speech: Box<dyn Speech>) -> Result<Crowd, String> {
        let poll = Poll::new().map_err(|error| format!("no poll: {error}"))?;
        let (events, scratch) = (Events::with_capacity(MANY_EVENTS), vec![0; 256 * 1024]);
        Ok(Crowd {
            addresses,
            backlog,
            speech,
            poll,
            events,
            connections: Vec::new(),
            entering: 0,
            scratch,
            worked: Duration::ZERO,
        })
    }

    pub fn talkers_apart(&self) -> bool {
        self.speech.talkers_apart()
    }

    pub fn who(&self, connection: usize) -> Client {
        self.connections[connection].who
    }

    pub fn connect(&mut self, who: Client) -> Result<(), String> {
        self.connect_socket(who, false)
    }

    /// Somebody who comes in and then reads nothing.
    pub fn connect_stalled(&mut self, who: Client) -> Result<(), String> {
        self.connect_socket(who, true)
    }

    fn connect_socket(&mut self, who: Client, stalled: bool) -> Result<(), String> {
        let describe = |error| format!("client {} can't connect: {error}", who.number);
        let mut stream = open(self.addresses[usize::from(!who.hears)], stalled).map_err(describe)?;
        let token = Token(self.connections.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token, both).map_err(describe)?;
        let mut steps = self.speech.enter(who);
        steps.reverse();
        // The first step's bytes go as soon as the connection stands.
        let outbox = steps.last().map_or(Vec::new(), |step| step.send.clone());
        let inbox = Vec::new();
        self.connections.push(Connection { stream, who, connected: false, steps, inbox, outbox, stalled });
        self.entering += 1;
        self.wait_until_entering(self.backlog)
    }

    pub fn wait_until_all_entered(&mut self) -> Result<(), String> {
        self.wait_until_entering(0)
    }

    fn wait_until_entering(&mut self, most: usize) -> Result<(), String> {
        let mut patience = Instant::now() + PATIENCE;
        let mut least = self.entering;
        while self.entering > most {
            self.turn(Duration::from_millis(10), &mut |_, _, _| Ok(()))?;
            if self.entering < least {
                (least, patience) = (self.entering, Instant::now() + PATIENCE);
            }
            if Instant::now() > patience {
                return Err(format!("{} clients did not get in", self.entering));
            }
        }
        Ok(())
    }

    /// Makes all listeners alike to the kernel. Who has answered something acknowledges only every second write from then on,
    /// as in a dialogue; who has only listened, each as soon as it is read. That is a seventh to a fifth of a server's
    /// time, and depends on whether its protocol lets a client in without a word (tcp(7), `TCP_QUICKACK`).
    pub fn forget_dialogues(&self) -> Result<(), String> {
        self.connections.iter().try_for_each(|connection| {
            let describe = |error| format!("client {} can't be set: {error}", connection.who.number);
            set_tcp_quickack(&connection.stream, true).map_err(describe)
        })
    }

    /// Takes no more events than that in one turn from now on.
    pub fn set_events_a_turn(&mut self, most: usize) {
        self.events = Events::with_capacity(most);
    }

    pub fn say(&mut self, connection: usize, text: &[u8]) -> Result<(), String> {
        let connection = &mut self.connections[connection];
        let mut bytes = Vec::with_capacity(text.len() + 64);
        self.speech.say(connection.who, text, &mut bytes);
        connection.write(&bytes)
    }

    /// Waits for something to happen, but no longer than this, and deals with it. Whether something did.
    pub fn turn(&mut self, timeout: Duration, hear: Hear) -> Result<bool, String> {
        self.watch(timeout)?;
        let start = Instant::now();
        for event in &self.events {
            let at = event.token().0;
            let connection = &mut self.connections[at];
            let was_in = connection.is_in();
            if event.is_writable() {
                connection.go_on_writing()?;
            }
            if event.is_readable() && !(connection.stalled && connection.is_in()) {
                connection.read(at, &mut self.scratch, &*self.speech, hear)?;
            }
            self.entering -= usize::from(!was_in && connection.is_in());
        }
        self.worked += start.elapsed();
        Ok(!self.events.is_empty())
    }

    /// Polls until something happens, but no longer than this, and never sleeps: waking a sleeping client costs the
    /// *server* processor time, up to a fifth of a delivery, and how often it has to depends on how much the generator
    /// has to do with what it reads. Awake, the generator is the same for everybody.
    fn watch(&mut self, timeout: Duration) -> Result<(), String> {
        let start = Instant::now();
        loop {
            match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other.map_err(|error| format!("poll: {error}"))?,
            }
            if !self.events.is_empty() || start.elapsed() >= timeout {
                return Ok(());
            }
        }
    }
}

impl Connection {
    fn is_in(&self) -> bool {
        self.connected && self.steps.is_empty()
    }

    fn go_on_writing(&mut self) -> Result<(), String> {
        if !self.connected {
            let error = self.stream.take_error().ok().flatten();
            if let Some(error) = error {
                return Err(format!("client {} can't connect: {error}", self.who.number));
            }
            self.connected = true;
        }
        let rest = std::mem::take(&mut self.outbox);
        self.write(&rest)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while self.outbox.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("client {} can't write: {error}", self.who.number)),
            }
        }
        self.outbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads until a read does not fill the buffer: what comes later is a new event.
    fn read(&mut self, at: usize, scratch: &mut [u8], speech: &dyn Speech, hear: Hear) -> Result<(), String> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(format!("the server closed client {}", self.who.number)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("client {} lost its server: {error}", self.who.number)),
            };
            if self.inbox.is_empty() {
                let used = self.take(at, &scratch[..count], speech, hear)?;
                self.inbox.extend_from_slice(&scratch[used..count]);
            } else {
                let mut inbox = std::mem::take(&mut self.inbox);
                inbox.extend_from_slice(&scratch[..count]);
                let used = self.take(at, &inbox, speech, hear)?;
                inbox.drain(..used);
                self.inbox = inbox;
            }
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Deals with every whole piece. How many bytes that were.
    fn take(&mut self, at: usize, bytes: &[u8], speech: &dyn Speech, hear: Hear) -> Result<usize, String> {
        let mut used = 0;
        loop {
            if let Some(step) = self.steps.last() {
                let looked = step.wait.look(&bytes[used..]);
                let (count, done) = looked.map_err(|what| format!("client {}: {what}", self.who.number))?;
                used += count;
                if !done {
                    return Ok(used);
                }
                self.steps.pop();
                if let Some(next) = self.steps.last().map(|step| step.send.clone()) {
                    self.write(&next)?;
                }
                continue;
            }
            match speech.cut(&bytes[used..]) {
                Piece::Partial => return Ok(used),
                Piece::Noise(length) => used += length,
                Piece::Question(length, answer) => {
                    used += length;
                    self.write(&answer)?;
                }
                Piece::Line { length, .. } if !self.who.hears => used += length,
                Piece::Line { length, from, text } => {
                    hear(at, from, text).map_err(|fault| format!("client {}: {fault}", self.who.number))?;
                    used += length;
                }
                Piece::Wrong(what) => return Err(format!("client {}: {what}", self.who.number)),
            }
        }
    }
}

/// A socket that is about to connect. It does not wait for that: a server that is itself waiting, for us to read,
/// would never accept. It leaves no trace when it is closed: thousands in TIME_WAIT would slow the next run.
fn open(address: SocketAddr, stalled: bool) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if stalled {
        socket.set_recv_buffer_size(STALLED_BUFFER_BYTES)?;
        socket.set_tcp_mss(STALLED_SEGMENT_BYTES)?;
    }
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}
