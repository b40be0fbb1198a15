//! Resolving names without blocking the loop: [`Resolver`].
//!
//! This is the only place with a thread. `getaddrinfo(3)` resolves names as the rest of the system does (`/etc/hosts`, mDNS,
//! `nsswitch.conf`), but it blocks. A resolver of its own would be larger than chinwag, and could disagree with `ping`. So each
//! lookup has a thread, which ends with the result. The thread shares nothing with the loop: it writes the result as lines of
//! text to a socket, which the loop polls like any other. The end of the text is the end of the thread.
//!
//! A lookup that never ends (dead name servers) is harmless. There is only one thread at a time, and the process ends without
//! waiting for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::thread;

/// The result of a lookup: at least one address, or the error.
pub type Answer = io::Result<Vec<SocketAddr>>;

/// The prefix of an error in the thread's text. No address begins with it.
const ERROR: &str = "error: ";

/// At most one question, and at most one thread.
pub struct Resolver {
    look_up: fn(&str, u16) -> Answer,
    /// The current question; `None` once it is answered.
    question: Option<LookupRequest>,
    /// The running thread. It may belong to an older question.
    lookup: Option<Lookup>,
    answer: Option<Answer>,
    /// There is an answer, and [`Resolver::take_event`] has not reported it.
    has_event: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct LookupRequest {
    host: String,
    port: u16,
}

/// A running thread.
struct Lookup {
    question: LookupRequest,
    from_thread: UnixStream,
    /// The text received so far.
    text: Vec<u8>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }
}

impl Resolver {
    fn new(look_up: fn(&str, u16) -> Answer) -> Resolver {
        Resolver { look_up, question: None, lookup: None, answer: None, has_event: false }
    }

    /// Replaces the current question. An address needs no lookup. A running thread is awaited, and answers the new question
    /// if it is the same.
    ///
    /// `register` gets a socket. Call [`Resolver::advance`] when it is readable. The resolver drops the socket, which must end
    /// the registration.
    pub fn start(&mut self, host: &str, port: u16, register: impl FnOnce(&UnixStream) -> io::Result<()>) {
        (self.question, self.answer, self.has_event) = (None, None, false);
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.set_answer(Ok(vec![(address, port).into()]));
        }
        self.question = Some(LookupRequest { host: host.into(), port });
        self.start_thread(register);
    }

    /// Starts a thread for the current question, unless one runs.
    fn start_thread(&mut self, register: impl FnOnce(&UnixStream) -> io::Result<()>) {
        if self.lookup.is_some() {
            return;
        }
        // The question may have been answered meanwhile, as an address.
        let Some(question) = self.question.clone() else {
            return;
        };
        match Lookup::start(question, self.look_up, register) {
            Ok(lookup) => self.lookup = Some(lookup),
            Err(error) => self.set_answer(Err(error)),
        }
    }

    /// Reads from the thread. If its answer is for an older question, starts a thread for the current one, with `register` as
    /// in [`Resolver::start`].
    pub fn advance(&mut self, register: impl FnOnce(&UnixStream) -> io::Result<()>) {
        // The text is still incomplete, or the event is a late one of a thread that has ended.
        let Some(answer) = self.lookup.as_mut().and_then(Lookup::answer) else {
            return;
        };
        let answered = self.lookup.take().map(|lookup| lookup.question);
        match self.question == answered {
            true => self.set_answer(answer),
            false => self.start_thread(register),
        }
    }

    fn set_answer(&mut self, answer: Answer) {
        self.question = None;
        self.answer = Some(answer);
        self.has_event = true;
    }

    /// Whether there is an answer that [`Resolver::take_event`] has not reported.
    pub fn has_event(&self) -> bool {
        self.has_event
    }

    /// Reports each answer once.
    pub fn take_event(&mut self) -> bool {
        std::mem::take(&mut self.has_event)
    }

    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }
}

impl Lookup {
    fn start(
        question: LookupRequest,
        look_up: fn(&str, u16) -> Answer,
        register: impl FnOnce(&UnixStream) -> io::Result<()>,
    ) -> io::Result<Lookup> {
        let (from_thread, mut to_loop) = UnixStream::pair()?;
        from_thread.set_nonblocking(true)?;
        register(&from_thread)?;
        let LookupRequest { host, port } = question.clone();
        let run = move || {
            // A failed write means that the server has ended.
            let _ = to_loop.write_all(write(look_up(&host, port)).as_bytes());
        };
        thread::Builder::new().name("resolver".into()).spawn(run)?;
        Ok(Lookup { question, from_thread, text: Vec::new() })
    }

    /// Reads the available text. Returns the answer once it is complete.
    fn answer(&mut self) -> Option<Answer> {
        match self.from_thread.read_to_end(&mut self.text) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
            Ok(_) => Some(read(&String::from_utf8_lossy(&self.text))),
        }
    }
}

/// An answer as text: a line for each address, or the error.
fn write(answer: Answer) -> String {
    match answer {
        Ok(addresses) => addresses.iter().map(|address| format!("{address}\n")).collect(),
        Err(error) => format!("{ERROR}{error}"),
    }
}

fn read(text: &str) -> Answer {
    if let Some(error) = text.strip_prefix(ERROR) {
        return Err(io::Error::other(error));
    }
    let addresses: Vec<SocketAddr> = text.lines().filter_map(|line| line.parse().ok()).collect();
    match addresses.is_empty() {
        // A thread that panicked leaves no text either.
        true => Err(io::Error::other("no address was found")),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    fn register(_: &UnixStream) -> io::Result<()> {
        Ok(())
    }

    /// Advances until there is an answer, by polling.
    fn wait(resolver: &mut Resolver) -> Answer {
        while !resolver.take_event() {
            thread::sleep(Duration::from_millis(1));
            resolver.advance(register);
        }
        resolver.take_answer().expect("an event has an answer")
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:6379", "[::1]:1", "[fe80::1%2]:65535"].map(|raw| raw.parse().unwrap()).into();
        assert_eq!(read(&write(Ok(addresses.clone()))).unwrap(), addresses);
        let error = read(&write(Err(io::Error::other("no such\nname")))).unwrap_err();
        assert_eq!(error.to_string(), "no such\nname");
        assert!(read(&write(Ok(Vec::new()))).is_err());
    }

    #[test]
    fn address_needs_no_thread() {
        let mut resolver = Resolver::new(|_, _| unreachable!());
        for (host, expected) in [("10.0.0.1", "10.0.0.1:7"), ("::1", "[::1]:7")] {
            resolver.start(host, 7, |_| unreachable!());
            assert!(resolver.has_event());
            assert_eq!(wait(&mut resolver).unwrap(), [expected.parse().unwrap()]);
            assert!(!resolver.has_event() && resolver.take_answer().is_none());
        }
    }

    #[test]
    fn same_question_waits_for_the_running_thread() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let mut resolver = Resolver::new(|_, port| {
            THREADS.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(50));
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        (0..5).for_each(|_| resolver.start("db", 7, register));
        assert_eq!(wait(&mut resolver).unwrap(), [([127, 0, 0, 1], 7).into()]);
        assert_eq!(THREADS.load(SeqCst), 1);
        resolver.start("db", 7, register);
        wait(&mut resolver).unwrap();
        assert_eq!(THREADS.load(SeqCst), 2);
    }

    #[test]
    fn another_question_waits_for_the_thread_and_the_first_answer_is_discarded() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let mut resolver = Resolver::new(|_, port| {
            assert_eq!(RUNNING.fetch_add(1, SeqCst), 0, "two threads at once");
            thread::sleep(Duration::from_millis(20));
            RUNNING.fetch_sub(1, SeqCst);
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        resolver.start("db", 1, register);
        resolver.start("db", 2, register);
        resolver.start("db", 3, register);
        assert_eq!(wait(&mut resolver).unwrap(), [([127, 0, 0, 1], 3).into()]);
        // An address in between is answered at once, and the thread's answer is discarded.
        resolver.start("db", 4, register);
        resolver.start("10.0.0.1", 5, register);
        assert_eq!(wait(&mut resolver).unwrap(), [([10, 0, 0, 1], 5).into()]);
        while resolver.lookup.is_some() {
            resolver.advance(register);
        }
        assert!(!resolver.has_event() && resolver.take_answer().is_none());
    }

    #[test]
    fn errors_are_answers() {
        let mut resolver = Resolver::new(|_, _| Err(io::Error::other("no such name")));
        resolver.start("db", 1, register);
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "no such name");
        resolver.start("db", 1, |_| Err(io::Error::other("not registered")));
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "not registered");
        let mut resolver = Resolver::new(|_, _| panic!("this test needs a thread that panics"));
        resolver.start("db", 1, register);
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "no address was found");
    }
}
