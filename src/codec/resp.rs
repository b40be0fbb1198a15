//! Redis's protocol, version 2 (RESP2): commands are encoded, and replies are parsed
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! A library for these five kinds of replies took a tenth of the processor time of a first build.

use std::io::Write;

use memchr::memmem;

/// The deepest array in arrays. Replies to scripts have two levels.
const DEPTH_MAX: usize = 8;

/// The memory that stays for further input after a large reply, in bytes.
const CAPACITY_KEPT: usize = 256 * 1024;

/// A reply, or a payload published in a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    Text(Vec<u8>),
    Int(i64),
    Array(Vec<Reply>),
    /// A value that does not exist.
    Nil,
    /// The error of a command, beginning with its code.
    Error(String),
}

/// Appends a command. Its name and arguments are length-prefixed, so no argument can inject a command.
pub fn encode(words: &[&[u8]], out: &mut Vec<u8>) {
    write_length('*', words.len(), out);
    for word in words {
        write_length('$', word.len(), out);
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn write_length(kind: char, length: usize, out: &mut Vec<u8>) {
    let written = write!(out, "{kind}{length}\r\n");
    debug_assert!(written.is_ok(), "a vector takes all bytes");
}

/// Parses the replies of one connection, however they are split into reads.
pub struct ReplyReader {
    /// Bytes that are not parsed yet, from `start` on.
    bytes: Vec<u8>,
    start: usize,
    /// Unfinished arrays: the number of missing elements, and the parsed ones. The innermost array is the last one.
    arrays: Vec<(usize, Vec<Reply>)>,
    /// Parsed bytes of the unfinished reply.
    parsed_bytes: usize,
    max_bytes: usize,
}

/// The reason why no more replies can be parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyError {
    Malformed,
    /// A reply is over the limit, or endless.
    TooLarge,
}

/// A reply without elements, or the head of an array with so many.
enum Element {
    Whole(Reply),
    Head(usize),
}

impl ReplyReader {
    /// A reader that refuses replies over `max_bytes`.
    pub fn new(max_bytes: usize) -> ReplyReader {
        ReplyReader { bytes: Vec::new(), start: 0, arrays: Vec::new(), parsed_bytes: 0, max_bytes }
    }

    /// Adds input.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        if self.bytes.is_empty() {
            self.bytes.shrink_to(CAPACITY_KEPT);
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next reply; `None` if more input is needed.
    ///
    /// # Errors
    /// [`ReplyError`]. The connection is unusable then.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some((element, length)) = parse(&self.bytes[self.start..])? {
            self.start += length;
            self.parsed_bytes += length;
            let reply = match element {
                Element::Whole(reply) => reply,
                Element::Head(0) => Reply::Array(Vec::new()),
                Element::Head(_) if self.arrays.len() == DEPTH_MAX => return Err(ReplyError::Malformed),
                Element::Head(count) => {
                    self.arrays.push((count, Vec::new()));
                    continue;
                }
            };
            if let Some(reply) = self.add(reply) {
                self.parsed_bytes = 0;
                return Ok(Some(reply));
            }
        }
        match self.parsed_bytes + self.bytes.len() - self.start > self.max_bytes {
            true => Err(ReplyError::TooLarge),
            false => Ok(None),
        }
    }

    /// Adds an element to the innermost array. Returns the reply that is complete now.
    fn add(&mut self, mut reply: Reply) -> Option<Reply> {
        while let Some((missing, mut elements)) = self.arrays.pop() {
            elements.push(reply);
            if missing > 1 {
                self.arrays.push((missing - 1, elements));
                return None;
            }
            reply = Reply::Array(elements);
        }
        Some(reply)
    }
}

/// The element at the start of the bytes, and its length; `None` if it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Element, usize)>, ReplyError> {
    let Some(kind) = bytes.first() else {
        return Ok(None);
    };
    if !b"+-:$*".contains(kind) {
        return Err(ReplyError::Malformed);
    }
    let Some(end) = memmem::find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let line = &bytes[1..end];
    let number = || {
        let number = str::from_utf8(line).ok().and_then(|line| line.parse::<i64>().ok());
        number.ok_or(ReplyError::Malformed)
    };
    let mut length = end + 2;
    let element = match kind {
        b'+' => Element::Whole(Reply::Text(line.into())),
        b'-' => Element::Whole(Reply::Error(String::from_utf8_lossy(line).into())),
        b':' => Element::Whole(Reply::Int(number()?)),
        _ if number()? == -1 => Element::Whole(Reply::Nil),
        kind => {
            let count = usize::try_from(number()?).map_err(|_| ReplyError::Malformed)?;
            if *kind == b'*' {
                return Ok(Some((Element::Head(count), length)));
            }
            let text = length..length.saturating_add(count);
            length = text.end.saturating_add(2);
            match bytes.get(text.end..length) {
                None => return Ok(None),
                Some(b"\r\n") => Element::Whole(Reply::Text(bytes[text].into())),
                Some(_) => return Err(ReplyError::Malformed),
            }
        }
    };
    Ok(Some((element, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64 * 1024;

    /// Parses `bytes` in pieces of that size. Returns the replies and the error, if any.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Reply>, Option<ReplyError>) {
        let (mut replies, mut all) = (ReplyReader::new(MAX), Vec::new());
        for piece in bytes.chunks(piece) {
            replies.receive(piece);
            loop {
                match replies.next_reply() {
                    Ok(Some(reply)) => all.push(reply),
                    Ok(None) => break,
                    Err(error) => return (all, Some(error)),
                }
            }
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
        assert_eq!(whole[2], Reply::Error("ERR no".into()));
        let word = |raw: &[u8]| Reply::Text(raw.into());
        assert_eq!(whole[5], Reply::Array(vec![word(b"message"), word(b"a"), word(b"\r\n\r\n")]));
        for piece in 1..bytes.len() {
            assert_eq!(read(bytes, piece).0, whole, "pieces of {piece}");
        }
    }

    #[test]
    fn malformed_replies_are_errors() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b":x\r\n",
            b"$x\r\n",
            b"\0\0\0\0\r\n",
            b"*1\r\n!?\r\n",
            b"$-2\r\n",
            b"$1\r\nab\r\n",
        ] {
            assert_eq!(read(bytes, 7), (vec![], Some(ReplyError::Malformed)), "{bytes:?}");
        }
        let deep = b"*1\r\n".repeat(10_000);
        assert_eq!(read(&deep, 4096).1, Some(ReplyError::Malformed), "a stack is not endless");
        for (depth, end) in [(DEPTH_MAX, None), (DEPTH_MAX + 1, Some(ReplyError::Malformed))] {
            let bytes = [&b"*1\r\n".repeat(depth)[..], b":1\r\n"].concat();
            assert_eq!(read(&bytes, 7).1, end, "{depth} arrays");
        }
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
        for (bytes, end) in [(MAX, None), (MAX + 1, Some(ReplyError::TooLarge))] {
            assert_eq!(read(&[b"+", &b"a".repeat(bytes - 1)[..]].concat(), 1024).1, end, "{bytes} bytes");
        }
        // Each reply is counted from zero.
        assert_eq!(read(&b"+OK\r\n".repeat(MAX), 1000).1, None);
    }

    #[test]
    fn large_reply_leaves_no_large_buffer_behind() {
        let mut replies = ReplyReader::new(4 * CAPACITY_KEPT);
        replies.receive(&[b"+", &b"a".repeat(3 * CAPACITY_KEPT)[..], b"\r\n"].concat());
        assert!(matches!(replies.next_reply(), Ok(Some(Reply::Text(_)))));
        replies.receive(b":1\r\n");
        assert!(replies.bytes.capacity() <= CAPACITY_KEPT, "{} bytes", replies.bytes.capacity());
        assert_eq!(replies.next_reply(), Ok(Some(Reply::Int(1))));
    }
}
