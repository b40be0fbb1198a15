//! What a client waits for while it comes in.

use super::excerpt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A line that contains this.
    Line(String),
    /// Exactly these bytes, next.
    Bytes(Vec<u8>),
    /// The head of an HTTP response that switches protocols, with this in it.
    Upgrade(String),
}

impl Wait {
    /// How many of the bytes that came are used up by waiting, and whether it is over. An error: it is in vain.
    pub fn look(&self, bytes: &[u8]) -> Result<(usize, bool), String> {
        match self {
            Wait::Bytes(expected) if bytes.starts_with(expected) => Ok((expected.len(), true)),
            Wait::Bytes(expected) if expected.starts_with(bytes) => Ok((0, false)),
            Wait::Bytes(_) => Err(format!("not what was waited for: {}", excerpt(bytes))),
            Wait::Line(part) => Ok(look_for_line(part, bytes)),
            Wait::Upgrade(part) => {
                let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                    return Ok((0, false));
                };
                let head = &bytes[..end];
                match head.starts_with(b"HTTP/1.1 101 ") && contains(head, part) {
                    true => Ok((end + 4, true)),
                    false => Err(format!("no upgrade: {}", excerpt(head))),
                }
            }
        }
    }
}

fn look_for_line(part: &str, bytes: &[u8]) -> (usize, bool) {
    let mut used = 0;
    while let Some(end) = memchr::memchr(b'\n', &bytes[used..]) {
        let line = &bytes[used..used + end];
        used += end + 1;
        if contains(line, part) {
            return (used, true);
        }
    }
    (used, false)
}

fn contains(bytes: &[u8], part: &str) -> bool {
    memchr::memmem::find(bytes, part.as_bytes()).is_some()
}
