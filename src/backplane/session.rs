//! One stay at Redis: [`Session`], two connections that live and die together, for a connection with subscriptions can do
//! nothing else (in RESP2).

use std::{fmt, mem};

use crate::codec::resp::{self, Garbage, Replies, Reply};
use crate::config::RedisUrl;

/// One of the two connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// For subscriptions: what is published in them comes in here.
    Subscriptions,
    /// For commands: each is answered, in order.
    Commands,
}

impl Link {
    /// Both, in the order in which they are written to and read. Whoever is told by a command that somebody has joined may
    /// say something at once, and it must be heard; and what was published before the commands' connection broke must not
    /// be thrown away with it.
    pub const BOTH: [Link; 2] = [Link::Subscriptions, Link::Commands];
}

/// Channels in one `SUBSCRIBE`.
const CHANNELS_A_COMMAND: usize = 500;

/// Something that Redis says once both connections have been answered for.
#[derive(PartialEq, Debug)]
pub enum Incoming {
    /// The answer to the oldest command.
    Answer(Reply),
    /// Something was published.
    Message {
        /// Where.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// What is published in that channel comes in from now on.
    Subscribed(Vec<u8>),
}

/// Why a session can't go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It is not Redis's protocol, or not what is to be expected there.
    Malformed(&'static str),
    /// A reply is larger than it may be.
    TooLarge,
    /// Redis refuses, in its own words.
    Refused(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::Malformed(what) => what,
            Trouble::TooLarge => "a reply is larger than --redis-reply-max",
            Trouble::Refused(error) => error,
        })
    }
}

/// How it stands with the two connections.
pub struct Session {
    replies: [Replies; 2],
    /// Answers to the login that each still owes.
    owed: [usize; 2],
    /// Whether each has answered all that it was sent to begin with.
    ready: [bool; 2],
}

impl Session {
    /// Begins one: what both connections send first is appended to `out`.
    pub fn begin(
        url: &RedisUrl,
        channels: &[Vec<u8>],
        reply_max_bytes: usize,
        out: &mut [Vec<u8>; 2],
    ) -> Session {
        let login = login(url);
        for out in out.iter_mut() {
            login.iter().for_each(|words| command(words, out));
        }
        subscribe(channels, &mut out[Link::Subscriptions as usize]);
        // Answers come in order, so the answer to this one says that all is done.
        for out in out {
            resp::encode(&[b"PING"], out);
        }
        let replies = Link::BOTH.map(|_| Replies::new(reply_max_bytes));
        Session { replies, owed: [login.len(); 2], ready: [false; 2] }
    }

    /// Whether both connections have answered all that they were sent to begin with.
    pub fn is_ready(&self) -> bool {
        self.ready == [true; 2]
    }

    /// Takes what has come in, and appends what it says to `said`.
    ///
    /// # Errors
    /// Why the session can't go on.
    pub fn receive(&mut self, link: Link, mut bytes: &[u8], said: &mut Vec<Incoming>) -> Result<(), Trouble> {
        while let Some(reply) = self.replies[link as usize].next(&mut bytes).map_err(trouble)? {
            if self.owed[link as usize] > 0 {
                self.owed[link as usize] -= 1;
                expect_no_error(&reply)?;
                continue;
            }
            match link {
                Link::Commands if self.ready[link as usize] => said.push(Incoming::Answer(reply)),
                Link::Commands => {
                    expect_no_error(&reply)?;
                    self.ready[link as usize] = true;
                }
                Link::Subscriptions => said.extend(self.read_push(reply)?),
            }
        }
        Ok(())
    }

    /// Reads what comes on the connection with subscriptions.
    fn read_push(&mut self, reply: Reply) -> Result<Option<Incoming>, Trouble> {
        // Which room is deaf it does not say. To try again is the way to find out when it is over.
        expect_no_error(&reply)?;
        let Reply::Array(mut parts) = reply else {
            return Err(Trouble::Malformed("it says something that is not to be expected"));
        };
        let mut part = |index: usize| match parts.get_mut(index) {
            Some(Reply::BulkString(bytes)) => mem::take(bytes),
            _ => Vec::new(),
        };
        Ok(match &part(0)[..] {
            b"message" => Some(Incoming::Message { channel: part(1), payload: part(2) }),
            b"subscribe" => Some(Incoming::Subscribed(part(1))),
            b"pong" => {
                self.ready[Link::Subscriptions as usize] = true;
                None
            }
            _ => None,
        })
    }
}

/// Appends what subscribes to these channels.
pub fn subscribe(channels: &[Vec<u8>], out: &mut Vec<u8>) {
    for channels in channels.chunks(CHANNELS_A_COMMAND) {
        let words: Vec<&[u8]> =
            [&b"SUBSCRIBE"[..]].into_iter().chain(channels.iter().map(Vec::as_slice)).collect();
        resp::encode(&words, out);
    }
}

/// What an error of Redis says; `None` if it is none. It is Redis's own, and goes to the log in quotes.
pub fn error_of(reply: &Reply) -> Option<String> {
    let Reply::ServerError(error) = reply else {
        return None;
    };
    let details = error.details().unwrap_or_default();
    Some(format!("{} {details}", error.code()).trim_end().into())
}

fn login(url: &RedisUrl) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
    let auth = match (&url.user, &url.password) {
        (Some(user), Some(password)) => Some(words(&["AUTH", user, password])),
        (None, Some(password)) => Some(words(&["AUTH", password])),
        (_, None) => None,
    };
    let select = (url.database != 0).then(|| words(&["SELECT", &url.database.to_string()]));
    auth.into_iter().chain(select).collect()
}

fn command(words: &[String], out: &mut Vec<u8>) {
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    resp::encode(&words, out);
}

fn expect_no_error(reply: &Reply) -> Result<(), Trouble> {
    error_of(reply).map_or(Ok(()), |error| Err(Trouble::Refused(error)))
}

fn trouble(garbage: Garbage) -> Trouble {
    match garbage {
        Garbage::Malformed => Trouble::Malformed("it does not speak Redis's protocol"),
        Garbage::TooLarge => Trouble::TooLarge,
    }
}
