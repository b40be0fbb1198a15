//! A harness for the line listener's reading: [`Ear`] decodes as the server does, and tells what it has heard.

use chinwag::codec::line::{self, unused_max_bytes};
use chinwag::codec::{Expected, Input, Step, Unfinished};
use chinwag::protocol::{CloseReason, Problem, Request};

/// The limit on lines in these tests: the smallest that `--line-max` allows.
pub const LINE_MAX: usize = 128;

/// What the codec made of some bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    Asked(Request),
    Refused(Problem),
    /// The line has no end, and the client is closed.
    Endless,
    /// It is no line of text, and the client is closed.
    Foreign(CloseReason),
}

/// What a client's lines are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The next one is the answer to the question for a name.
    Naming,
    /// Chat.
    Chatting,
    /// The first line, and chat (`--guests`).
    Entering,
}

/// The reading side of a connection, as `server/turn.rs` has it: what was read is decoded until that takes more, and
/// what is left waits. Every name that is given is accepted.
pub struct Ear {
    stage: Stage,
    first: bool,
    unfinished: Option<Box<Unfinished>>,
    unused: Vec<u8>,
    heard: Vec<Heard>,
}

impl Ear {
    pub fn new(stage: Stage) -> Ear {
        let first = stage != Stage::Chatting;
        Ear { stage, first, unfinished: None, unused: Vec::new(), heard: Vec::new() }
    }

    /// One read.
    pub fn read(&mut self, bytes: &[u8]) {
        self.unused.extend_from_slice(bytes);
        while self.decode(false) {}
        let closed = self.is_closed();
        assert!(
            closed || self.unused.len() <= unused_max_bytes(LINE_MAX),
            "{} bytes wait",
            self.unused.len()
        );
    }

    /// The end of input: what the client has said in all.
    pub fn end(mut self) -> Vec<Heard> {
        while self.decode(true) {}
        self.heard
    }

    fn is_closed(&self) -> bool {
        matches!(self.heard.last(), Some(Heard::Endless | Heard::Foreign(_)))
    }

    fn decode(&mut self, ended: bool) -> bool {
        if self.is_closed() {
            return false;
        }
        let expected = Expected { name: self.stage == Stage::Naming, first: self.first };
        let (bytes, input) = match line::decode(&mut self.unfinished, expected, &self.unused, ended, LINE_MAX)
        {
            Step::Incomplete => return false,
            Step::Blocked => panic!("lines wait for no room"),
            Step::Fail(reason) => {
                self.heard.push(match reason {
                    CloseReason::EndlessLine => Heard::Endless,
                    reason => Heard::Foreign(reason),
                });
                return false;
            }
            Step::Used { bytes, input } => (bytes, input),
        };
        assert!((1..=self.unused.len()).contains(&bytes), "used {bytes} of {}", self.unused.len());
        self.unused.drain(..bytes);
        let request = input.map(|input| match input {
            Input::Request { request, tag: None } => request,
            other => panic!("a line can't be {other:?}"),
        });
        self.first &= matches!(request, None | Some(Ok(Request::StayGuest)));
        match request {
            Some(Ok(request)) => {
                if matches!(request, Request::Nick(_) | Request::StayGuest) {
                    self.stage = Stage::Chatting;
                }
                self.heard.push(Heard::Asked(request));
            }
            Some(Err(problem)) => self.heard.push(Heard::Refused(problem)),
            None => {}
        }
        true
    }
}

/// What is heard when the bytes come in these pieces.
pub fn heard<'a>(stage: Stage, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Heard> {
    let mut ear = Ear::new(stage);
    pieces.into_iter().for_each(|piece| ear.read(piece));
    ear.end()
}
