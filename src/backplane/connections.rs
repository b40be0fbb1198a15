//! The two connections to Redis: [`ConnectionPair`]. One with subscriptions accepts no other commands in
//! RESP2. If one breaks, both are closed.

use std::mem;

use crate::codec::resp::{self, Reply, ReplyError, ReplyReader};
use crate::config::RedisUrl;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RedisConnection {
    /// Receives the payloads published in subscribed channels.
    Subscriptions,
    /// Sends commands and receives a reply to each, in order.
    Commands,
}

impl RedisConnection {
    /// Both, in the order of reading and writing.
    ///
    /// A subscription must be written before the command that announces a join, because a reply in the room may follow at once.
    /// Payloads must be read before the commands' connection, whose end closes both.
    pub const BOTH: [RedisConnection; 2] = [RedisConnection::Subscriptions, RedisConnection::Commands];
}

/// The most channels in one `SUBSCRIBE`.
const CHANNELS_PER_COMMAND: usize = 500;

/// Input from Redis after the login.
#[derive(PartialEq, Debug)]
pub enum Incoming {
    /// The reply to the oldest command.
    Reply(Reply),
    Message {
        channel: Vec<u8>,
        payload: Vec<u8>,
    },
    /// The subscription to a channel is confirmed.
    Subscribed(Vec<u8>),
    /// The reply to a `PING` of the connection with subscriptions.
    Pong,
}

/// The reason why a session ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectionError {
    Broken(&'static str),
    /// The text of an error reply.
    Refused(String),
}

/// The state of the two connections.
pub struct ConnectionPair {
    replies: [ReplyReader; 2],
    /// Number of replies that each connection still expects before it is ready: to the login, and to the first `PING`.
    pending: [usize; 2],
}

impl ConnectionPair {
    /// Begins a session, and appends the initial commands of both connections to `out`.
    pub fn begin(
        url: &RedisUrl,
        channels: &[Vec<u8>],
        reply_max_bytes: usize,
        out: &mut [Vec<u8>; 2],
    ) -> ConnectionPair {
        let login = login(url);
        for out in out.iter_mut() {
            login.iter().for_each(|words| command(words, out));
        }
        let subscriptions = &mut out[RedisConnection::Subscriptions as usize];
        subscribe(channels, subscriptions);
        // Without the right to unsubscribe the session must not begin. No channel has this name.
        resp::encode(&[b"UNSUBSCRIBE", b"-"], subscriptions);
        // Replies come in order, so the reply to this command shows that the initial commands are done.
        for out in out {
            ping(out);
        }
        let replies = RedisConnection::BOTH.map(|_| ReplyReader::new(reply_max_bytes));
        ConnectionPair { replies, pending: [login.len() + 1; 2] }
    }

    /// Whether both connections have received all their initial replies.
    pub fn is_ready(&self) -> bool {
        self.pending == [0; 2]
    }

    /// Parses `bytes` and appends the results to `incoming`.
    ///
    /// # Errors
    /// The input is malformed or too large, or an error reply of Redis.
    pub fn receive(
        &mut self,
        connection: RedisConnection,
        bytes: &[u8],
        incoming: &mut Vec<Incoming>,
    ) -> Result<(), ConnectionError> {
        self.replies[connection as usize].receive(bytes);
        while let Some(reply) = self.replies[connection as usize].next_reply().map_err(connection_error)? {
            match (connection, self.pending[connection as usize]) {
                (RedisConnection::Commands, 0) => incoming.push(Incoming::Reply(reply)),
                (RedisConnection::Subscriptions, 0 | 1) => incoming.extend(self.read_push(reply)?),
                (_, pending) => {
                    expect_no_error(&reply)?;
                    self.pending[connection as usize] = pending - 1;
                }
            }
        }
        Ok(())
    }

    /// Parses input of the connection with subscriptions.
    ///
    /// # Errors
    /// An error reply, or an unexpected one.
    fn read_push(&mut self, reply: Reply) -> Result<Option<Incoming>, ConnectionError> {
        // An error does not name the channel, so the session ends and the next one subscribes again.
        expect_no_error(&reply)?;
        let Reply::Array(mut parts) = reply else {
            return Err(ConnectionError::Broken("it sent an unexpected reply"));
        };
        let mut part = |index: usize| match parts.get_mut(index) {
            Some(Reply::Text(bytes)) => mem::take(bytes),
            _ => Vec::new(),
        };
        Ok(match &part(0)[..] {
            b"message" => Some(Incoming::Message { channel: part(1), payload: part(2) }),
            b"subscribe" => Some(Incoming::Subscribed(part(1))),
            b"pong" => {
                self.pending[RedisConnection::Subscriptions as usize] = 0;
                Some(Incoming::Pong)
            }
            _ => None,
        })
    }
}

/// Appends the commands that subscribe to `channels`.
pub fn subscribe(channels: &[Vec<u8>], out: &mut Vec<u8>) {
    for channels in channels.chunks(CHANNELS_PER_COMMAND) {
        let words: Vec<&[u8]> =
            [&b"SUBSCRIBE"[..]].into_iter().chain(channels.iter().map(Vec::as_slice)).collect();
        resp::encode(&words, out);
    }
}

/// Appends a command that is answered after all before it.
pub fn ping(out: &mut Vec<u8>) {
    resp::encode(&[b"PING"], out);
}

/// The text of an error reply; `None` for other replies. The log must quote it, because Redis chooses the text.
pub fn error_of(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Error(error) => Some(error),
        _ => None,
    }
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

fn expect_no_error(reply: &Reply) -> Result<(), ConnectionError> {
    error_of(reply).map_or(Ok(()), |error| Err(ConnectionError::Refused(error.into())))
}

fn connection_error(error: ReplyError) -> ConnectionError {
    match error {
        ReplyError::Malformed => ConnectionError::Broken("it does not speak Redis's protocol"),
        ReplyError::TooLarge => ConnectionError::Broken("a reply is larger than --redis-reply-max"),
    }
}
