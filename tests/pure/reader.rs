//! A harness for decoding at the line listener: [`LineReader`] decodes as the server does, and collects the results.

use chinwag::codec::line::{self, unused_max_bytes};
use chinwag::codec::{Expected, Input, Step, Unfinished};
use chinwag::protocol::{CloseReason, Problem, Request};

/// The limit on lines in these tests: the smallest that `--line-max` allows.
pub const LINE_MAX: usize = 128;

/// A result of the codec.
#[derive(Clone, PartialEq, Debug)]
pub enum Decoded {
    Asked(Request),
    Refused(Problem),
    /// The line is endless, and the client is closed.
    Endless,
    /// The input is of another protocol, and the client is closed.
    Foreign(CloseReason),
}

/// The meaning of a client's next line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The answer to the prompt for a name.
    Naming,
    /// A line of chat.
    Chatting,
    /// The first line of a guest (`--guests`), and a line of chat.
    Entering,
}

/// The input of a connection, handled as `server/turn.rs` does: input is decoded until that consumes nothing more, and
/// the rest waits. Every name is accepted.
pub struct LineReader {
    stage: Stage,
    first: bool,
    unfinished: Option<Box<Unfinished>>,
    unused: Vec<u8>,
    decoded: Vec<Decoded>,
}

impl LineReader {
    pub fn new(stage: Stage) -> LineReader {
        let first = stage != Stage::Chatting;
        LineReader { stage, first, unfinished: None, unused: Vec::new(), decoded: Vec::new() }
    }

    /// Handles one read.
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

    /// Handles the end of input, and returns all results.
    pub fn end(mut self) -> Vec<Decoded> {
        while self.decode(true) {}
        self.decoded
    }

    fn is_closed(&self) -> bool {
        matches!(self.decoded.last(), Some(Decoded::Endless | Decoded::Foreign(_)))
    }

    fn decode(&mut self, ended: bool) -> bool {
        if self.is_closed() {
            return false;
        }
        let expected = Expected { name: self.stage == Stage::Naming, token: false, first: self.first };
        let (bytes, input) = match line::decode(&mut self.unfinished, expected, &self.unused, ended, LINE_MAX)
        {
            Step::Incomplete => return false,
            Step::Blocked => panic!("lines wait for no room"),
            Step::Fail(reason) => {
                self.decoded.push(match reason {
                    CloseReason::EndlessLine => Decoded::Endless,
                    reason => Decoded::Foreign(reason),
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
                self.decoded.push(Decoded::Asked(request));
            }
            Some(Err(problem)) => self.decoded.push(Decoded::Refused(problem)),
            None => {}
        }
        true
    }
}

/// Decodes bytes that arrive in these pieces.
pub fn decode<'a>(stage: Stage, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Decoded> {
    let mut reader = LineReader::new(stage);
    pieces.into_iter().for_each(|piece| reader.read(piece));
    reader.end()
}
