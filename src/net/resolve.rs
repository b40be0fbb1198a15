//! Looking up the addresses of a name without stopping the loop: [`Resolver`].
//!
//! This is the only place with a thread. What resolves names as the rest of the system does (`/etc/hosts`, mDNS,
//! whatever `nsswitch.conf` says) is `getaddrinfo(3)`, and it has no form that doesn't block; a resolver of our own
//! would be larger than all of chinwag, and would find other addresses than `ping` does. So a thread is started for each
//! question, and ends with its answer. It shares nothing with the loop: the answer comes as lines of text through a
//! socket, which the loop watches as any other, and the end of the text is the end of the thread.
//!
//! A question that is never answered (name servers that are gone) does no harm: the process doesn't wait for the thread
//! when it ends, and while it runs there is no second one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::thread;

/// What comes of a question: at least one address, or why there is none.
pub type Answer = io::Result<Vec<SocketAddr>>;

/// In front of an error in the text that the thread writes; no address begins so.
const ERROR: &str = "error: ";

/// At most one question, and the thread that looks for its answer.
pub struct Resolver {
    look_up: fn(&str, u16) -> Answer,
    /// What is to be known; none once there is an answer.
    asked: Option<Question>,
    /// The thread. It may still be after an older question.
    lookup: Option<Lookup>,
    answer: Option<Answer>,
    /// There is an answer, and nobody was told.
    is_news: bool,
}

#[derive(Clone, PartialEq, Eq)]
struct Question {
    host: String,
    port: u16,
}

/// A thread under way.
struct Lookup {
    question: Question,
    from_thread: UnixStream,
    /// What it has written so far.
    text: Vec<u8>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new(|host, port| (host, port).to_socket_addrs().map(Iterator::collect))
    }
}

impl Resolver {
    fn new(look_up: fn(&str, u16) -> Answer) -> Resolver {
        Resolver { look_up, asked: None, lookup: None, answer: None, is_news: false }
    }

    /// Forgets what was asked before, and asks this. An address is its own answer. While a thread runs, its answer is
    /// waited for, and is this one's if it was asked for the same.
    ///
    /// `watch` is given a socket that [`Resolver::advance`] is to be called for once it is readable. Dropping it, which
    /// the resolver does, must end the watch.
    pub fn ask(&mut self, host: &str, port: u16, watch: impl FnOnce(&UnixStream) -> io::Result<()>) {
        (self.asked, self.answer, self.is_news) = (None, None, false);
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.settle(Ok(vec![(address, port).into()]));
        }
        self.asked = Some(Question { host: host.into(), port });
        self.begin(watch);
    }

    /// Starts a thread for what is asked, unless one runs.
    fn begin(&mut self, watch: impl FnOnce(&UnixStream) -> io::Result<()>) {
        if self.lookup.is_some() {
            return;
        }
        let Some(question) = self.asked.clone() else {
            return;
        };
        match Lookup::begin(question, self.look_up, watch) {
            Ok(lookup) => self.lookup = Some(lookup),
            Err(error) => self.settle(Err(error)),
        }
    }

    /// Takes what the thread has written. If that was the answer to an older question, the newer one is begun, with
    /// `watch` as in [`Resolver::ask`].
    pub fn advance(&mut self, watch: impl FnOnce(&UnixStream) -> io::Result<()>) {
        let Some(answer) = self.lookup.as_mut().and_then(Lookup::answer) else {
            return;
        };
        let answered = self.lookup.take().map(|lookup| lookup.question);
        match self.asked == answered {
            true => self.settle(answer),
            false => self.begin(watch),
        }
    }

    fn settle(&mut self, answer: Answer) {
        self.asked = None;
        self.answer = Some(answer);
        self.is_news = true;
    }

    /// Whether there is an answer that [`Resolver::take_news`] has not told of.
    pub fn has_news(&self) -> bool {
        self.is_news
    }

    /// Tells once of each answer that there is one.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Takes the answer.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }
}

impl Lookup {
    fn begin(
        question: Question,
        look_up: fn(&str, u16) -> Answer,
        watch: impl FnOnce(&UnixStream) -> io::Result<()>,
    ) -> io::Result<Lookup> {
        let (from_thread, mut to_loop) = UnixStream::pair()?;
        from_thread.set_nonblocking(true)?;
        watch(&from_thread)?;
        let Question { host, port } = question.clone();
        let run = move || {
            // Nobody listens once the server is gone.
            let _ = to_loop.write_all(write(look_up(&host, port)).as_bytes());
        };
        thread::Builder::new().name("resolver".into()).spawn(run)?;
        Ok(Lookup { question, from_thread, text: Vec::new() })
    }

    /// Reads what there is; the answer once it is whole.
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
        // Or the thread came to nothing, which leaves no text either.
        true => Err(io::Error::other("no address was found")),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;

    fn watch(_: &UnixStream) -> io::Result<()> {
        Ok(())
    }

    /// Advances until there is news; looks at what the thread writes again and again, as nothing watches it.
    fn wait(resolver: &mut Resolver) -> Answer {
        while !resolver.take_news() {
            thread::sleep(Duration::from_millis(1));
            resolver.advance(watch);
        }
        resolver.take_answer().expect("news of an answer")
    }

    #[test]
    fn answers_survive_being_written() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:6379", "[::1]:1", "[fe80::1%2]:65535"].map(|raw| raw.parse().unwrap()).into();
        assert_eq!(read(&write(Ok(addresses.clone()))).unwrap(), addresses);
        let error = read(&write(Err(io::Error::other("no such\nname")))).unwrap_err();
        assert_eq!(error.to_string(), "no such\nname");
        assert!(read(&write(Ok(Vec::new()))).is_err());
    }

    #[test]
    fn an_address_needs_no_thread() {
        let mut resolver = Resolver::new(|_, _| unreachable!());
        for (host, expected) in [("10.0.0.1", "10.0.0.1:7"), ("::1", "[::1]:7")] {
            resolver.ask(host, 7, |_| unreachable!());
            assert!(resolver.has_news());
            assert_eq!(wait(&mut resolver).unwrap(), [expected.parse().unwrap()]);
            assert!(!resolver.has_news() && resolver.take_answer().is_none());
        }
    }

    #[test]
    fn the_same_question_waits_for_the_thread_that_runs() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let mut resolver = Resolver::new(|_, port| {
            THREADS.fetch_add(1, SeqCst);
            thread::sleep(Duration::from_millis(50));
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        (0..5).for_each(|_| resolver.ask("db", 7, watch));
        assert_eq!(wait(&mut resolver).unwrap(), [([127, 0, 0, 1], 7).into()]);
        assert_eq!(THREADS.load(SeqCst), 1);
        resolver.ask("db", 7, watch);
        wait(&mut resolver).unwrap();
        assert_eq!(THREADS.load(SeqCst), 2);
    }

    #[test]
    fn another_question_is_asked_when_the_thread_is_done_and_the_first_answer_is_never_seen() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let mut resolver = Resolver::new(|_, port| {
            assert_eq!(RUNNING.fetch_add(1, SeqCst), 0, "two threads at once");
            thread::sleep(Duration::from_millis(20));
            RUNNING.fetch_sub(1, SeqCst);
            Ok(vec![([127, 0, 0, 1], port).into()])
        });
        resolver.ask("db", 1, watch);
        resolver.ask("db", 2, watch);
        resolver.ask("db", 3, watch);
        assert_eq!(wait(&mut resolver).unwrap(), [([127, 0, 0, 1], 3).into()]);
        // An address in between is answered at once; what the thread says then is of no use to anybody.
        resolver.ask("db", 4, watch);
        resolver.ask("10.0.0.1", 5, watch);
        assert_eq!(wait(&mut resolver).unwrap(), [([10, 0, 0, 1], 5).into()]);
        while resolver.lookup.is_some() {
            resolver.advance(watch);
        }
        assert!(!resolver.has_news() && resolver.take_answer().is_none());
    }

    #[test]
    fn what_goes_wrong_is_the_answer() {
        let mut resolver = Resolver::new(|_, _| Err(io::Error::other("no such name")));
        resolver.ask("db", 1, watch);
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "no such name");
        resolver.ask("db", 1, |_| Err(io::Error::other("not watched")));
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "not watched");
        let mut resolver =
            Resolver::new(|_, _| panic!("a thread that comes to nothing, as it should in this test"));
        resolver.ask("db", 1, watch);
        assert_eq!(wait(&mut resolver).unwrap_err().to_string(), "no address was found");
    }
}
