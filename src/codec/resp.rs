//! Redis's protocol (RESP2). The `redis` crate encodes commands and parses replies; this module bounds the size of a reply.

use std::io::{self, ErrorKind, Read};

use redis::{Cmd, Parser};

pub use redis::Value as Reply;

/// Appends a command. Its name and arguments are length-prefixed, so no argument can inject a command.
pub fn encode(words: &[&[u8]], out: &mut Vec<u8>) {
    let mut command = Cmd::new();
    words.iter().for_each(|word| {
        command.arg(*word);
    });
    command.write_packed_command(out);
}

/// Parses the replies of one connection, however they are split into reads.
pub struct ReplyReader {
    parser: Parser,
    /// Bytes read since the last complete reply, and a few before it.
    unfinished_bytes: usize,
    max_bytes: usize,
}

/// The reason why no more replies can be parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyError {
    Malformed,
    /// A reply is over the limit, or endless.
    TooLarge,
}

impl ReplyReader {
    /// A reader that refuses replies over `max_bytes`.
    pub fn new(max_bytes: usize) -> ReplyReader {
        ReplyReader { parser: Parser::new(), unfinished_bytes: 0, max_bytes }
    }

    /// The next reply; `None` once `input` is used up. Call it again until then.
    ///
    /// # Errors
    /// [`ReplyError`]. The connection is unusable then.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        let before = input.len();
        let result = self.parser.parse_value(InputReader(input));
        self.unfinished_bytes += before - input.len();
        match result {
            Ok(reply) => {
                self.unfinished_bytes = 0;
                Ok(Some(reply))
            }
            // An error of Redis is a reply. The errors here come from `InputReader` or from the parser.
            Err(error) if error.is_io_error() => match self.unfinished_bytes > self.max_bytes {
                true => Err(ReplyError::TooLarge),
                false => Ok(None),
            },
            Err(_) => Err(ReplyError::Malformed),
        }
    }
}

/// The available input. Its end is `WouldBlock` and not the end of the stream, since more may come.
struct InputReader<'a, 'b>(&'a mut &'b [u8]);

impl Read for InputReader<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(ErrorKind::WouldBlock.into()),
            false => self.0.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64 * 1024;

    /// Parses `bytes` in pieces of that size. Returns the replies and the error, if any.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Reply>, Option<ReplyError>) {
        let (mut replies, mut all) = (ReplyReader::new(MAX), Vec::new());
        for mut piece in bytes.chunks(piece) {
            loop {
                match replies.next(&mut piece) {
                    Ok(Some(reply)) => all.push(reply),
                    Ok(None) => break,
                    Err(error) => return (all, Some(error)),
                }
            }
            assert_eq!(piece, b"", "all input is used up");
        }
        (all, None)
    }

    #[test]
    fn commands_have_their_lengths_in_front() {
        let mut out = b"before".to_vec();
        encode(&[b"PUBLISH", b"a\r\nDEL b\r\n", b""], &mut out);
        assert_eq!(out, b"before*3\r\n$7\r\nPUBLISH\r\n$10\r\na\r\nDEL b\r\n\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_are_the_same_for_every_split() {
        let bytes = b"+PONG\r\n:7\r\n-ERR no\r\n$2\r\nhi\r\n$-1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\n\r\n\r\n\r\n*0\r\n+OK\r\n";
        let (whole, end) = read(bytes, bytes.len());
        assert_eq!((whole.len(), end), (8, None));
        assert_eq!(whole[1], Reply::Int(7));
        assert!(matches!(&whole[2], Reply::ServerError(error) if error.code() == "ERR"));
        let word = |raw: &[u8]| Reply::BulkString(raw.into());
        assert_eq!(whole[5], Reply::Array(vec![word(b"message"), word(b"a"), word(b"\r\n\r\n")]));
        for piece in 1..bytes.len() {
            assert_eq!(read(bytes, piece).0, whole, "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_replies_are_errors() {
        for bytes in
            [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b":x\r\n", b"$x\r\n", b"\0\0\0\0\r\n", b"*1\r\n!?\r\n"]
        {
            assert_eq!(read(bytes, 7), (vec![], Some(ReplyError::Malformed)), "{bytes:?}");
        }
        let deep = b"*1\r\n".repeat(10_000);
        assert_eq!(read(&deep, 4096).1, Some(ReplyError::Malformed), "a stack is not endless");
    }

    #[test]
    fn reply_has_a_limit_whatever_length_it_claims() {
        for head in [&b"$60000\r\n"[..], b"+", b"*20000\r\n"] {
            let filler = if head[0] == b'*' { &b":1\r\n"[..] } else { b"aaaa" };
            let bytes = [head, &filler.repeat(40_000)].concat();
            let within = &bytes[..MAX];
            assert_eq!(read(&within[..MAX - 8192], 1024).1, None);
            if head[0] != b'$' {
                assert!(read(&bytes, 1024) == (vec![], Some(ReplyError::TooLarge)), "{head:?}");
            }
        }
        // No memory is reserved for a length that is only announced.
        for head in [&b"$1000000000\r\n"[..], b"*1000000000\r\n"] {
            assert_eq!(read(head, 1024), (vec![], None));
        }
        // Each reply is counted from zero.
        assert_eq!(read(&b"+OK\r\n".repeat(MAX), 1000).1, None);
    }
}
