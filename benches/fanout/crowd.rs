//! The clients' connections: coming in, reading, writing.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::net::sockopt::set_tcp_quickack;
use socket2::SockRef;

use crate::speech::{Client, Piece, Speech, Step};

/// Called with each line received: the connection and the text.
pub type Receive<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), String>;

/// Time for one more client to come in, and for the next delivery of a run.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The most clients that are coming in at once. A connection that overflows a server's backlog tries again only after a second.
const ENTERING_MOST: usize = 100;

/// Events of one turn. More would delay the lines that are due meanwhile.
const EVENTS: usize = 64;

pub struct Crowd {
    address: SocketAddr,
    speech: Speech,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Connections that are not in yet.
    entering: usize,
    scratch: Vec<u8>,
    /// Time spent on events, and not on waiting for them.
    pub worked: Duration,
}

struct Connection {
    stream: TcpStream,
    number: u32,
    is_connected: bool,
    /// Steps still to do; the first one's bytes are sent already.
    steps: VecDeque<Step>,
    /// A piece that is not all here yet.
    inbox: Vec<u8>,
    /// Bytes that the kernel did not take yet.
    outbox: Vec<u8>,
}

impl Crowd {
    pub fn new(address: SocketAddr, speech: Speech) -> Result<Crowd, String> {
        Ok(Crowd {
            address,
            speech,
            poll: Poll::new().map_err(|error| format!("no poll: {error}"))?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::new(),
            entering: 0,
            scratch: vec![0; 256 * 1024],
            worked: Duration::ZERO,
        })
    }

    /// Returns the connection's number, before the client is in.
    pub fn connect(&mut self, client: Client) -> Result<usize, String> {
        let describe = |error| format!("client {} can't connect: {error}", client.number);
        let mut stream = TcpStream::connect(self.address).map_err(describe)?;
        stream.set_nodelay(true).map_err(describe)?;
        // Closed connections leave no trace: thousands in TIME_WAIT would slow the next run.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(describe)?;
        let at = self.connections.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), both).map_err(describe)?;
        let steps = VecDeque::from(self.speech.enter(client));
        let outbox = steps.front().map_or(Vec::new(), |step| step.send.clone());
        let (number, inbox) = (client.number, Vec::new());
        self.connections.push(Connection { stream, number, is_connected: false, steps, inbox, outbox });
        self.entering += 1;
        self.wait_until_entering(ENTERING_MOST)?;
        Ok(at)
    }

    pub fn wait_until_all_entered(&mut self) -> Result<(), String> {
        self.wait_until_entering(0)
    }

    fn wait_until_entering(&mut self, most: usize) -> Result<(), String> {
        let (mut least, mut progress) = (self.entering, Instant::now());
        while self.entering > most {
            self.turn(&mut |_, _| Ok(()))?;
            if self.entering < least {
                (least, progress) = (self.entering, Instant::now());
            }
            if progress.elapsed() > PATIENCE {
                return Err(format!("{} clients did not get in", self.entering));
            }
        }
        Ok(())
    }

    /// Makes the kernel acknowledge each read at once (tcp(7), `TCP_QUICKACK`). A connection that has also sent something
    /// would acknowledge only every second write. That saves a server up to a fifth of its time, depending on its protocol.
    pub fn acknowledge_at_once(&self) -> Result<(), String> {
        self.connections.iter().try_for_each(|connection| {
            let describe = |error| format!("client {} can't be set: {error}", connection.number);
            set_tcp_quickack(&connection.stream, true).map_err(describe)
        })
    }

    pub fn send(&mut self, connection: usize, text: &[u8]) -> Result<(), String> {
        self.connections[connection].write(&self.speech.send(text))
    }

    /// Handles the events there are; returns whether there were any. It never sleeps. To wake a sleeping client costs the
    /// *server* processor time, up to a fifth of a delivery. The number of times depends on the generator's work.
    pub fn turn(&mut self, receive: Receive) -> Result<bool, String> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => other.map_err(|error| format!("poll: {error}"))?,
        }
        let start = Instant::now();
        for event in &self.events {
            let at = event.token().0;
            let connection = &mut self.connections[at];
            let was_in = connection.is_in();
            if event.is_writable() {
                connection.handle_writable()?;
            }
            if event.is_readable() {
                connection.read(&mut self.scratch, self.speech, &mut |text| receive(at, text))?;
            }
            self.entering -= usize::from(!was_in && connection.is_in());
        }
        self.worked += start.elapsed();
        Ok(!self.events.is_empty())
    }
}

impl Connection {
    fn is_in(&self) -> bool {
        self.is_connected && self.steps.is_empty()
    }

    fn handle_writable(&mut self) -> Result<(), String> {
        if let Some(error) = self.stream.take_error().ok().flatten() {
            return Err(format!("client {} can't connect: {error}", self.number));
        }
        self.is_connected = true;
        let rest = std::mem::take(&mut self.outbox);
        self.write(&rest)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while self.outbox.is_empty() && !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("client {} can't write: {error}", self.number)),
            }
        }
        self.outbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads until a read does not fill the buffer: bytes that come later are a new event.
    fn read(
        &mut self,
        scratch: &mut [u8],
        speech: Speech,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(format!("the server closed client {}", self.number)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("client {} lost its server: {error}", self.number)),
            };
            let number = self.number;
            let describe = |what| format!("client {number}: {what}");
            if self.inbox.is_empty() {
                let used = self.take(&scratch[..count], speech, receive).map_err(describe)?;
                self.inbox.extend_from_slice(&scratch[used..count]);
            } else {
                let mut inbox = std::mem::take(&mut self.inbox);
                inbox.extend_from_slice(&scratch[..count]);
                let used = self.take(&inbox, speech, receive).map_err(describe)?;
                inbox.drain(..used);
                self.inbox = inbox;
            }
            if count < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Handles every whole piece, and returns how many bytes that were.
    fn take(
        &mut self,
        bytes: &[u8],
        speech: Speech,
        receive: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<usize, String> {
        let mut used = 0;
        while let Some(step) = self.steps.front() {
            let Some(count) = step.end(&bytes[used..]) else {
                return Ok(used);
            };
            used += count;
            self.steps.pop_front();
            if let Some(next) = self.steps.front().map(|step| step.send.clone()) {
                self.write(&next)?;
            }
        }
        loop {
            match speech.cut(&bytes[used..]) {
                Piece::Partial => return Ok(used),
                Piece::Other(length) => used += length,
                Piece::Ping(length, pong) => {
                    used += length;
                    self.write(&pong)?;
                }
                Piece::Line { length, text } => {
                    receive(text)?;
                    used += length;
                }
                Piece::Wrong(what) => return Err(what),
            }
        }
    }
}
