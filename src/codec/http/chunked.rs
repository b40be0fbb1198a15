//! Decoding chunked request bodies (RFC 9112, 7.1).
//!
//! `httparse` reads the sizes, but accepts a line feed without a carriage return in an extension, and a size without
//! digits. A proxy in front may split such a line elsewhere, so both are refused here.

use http::StatusCode;
use memchr::memchr;

use super::{FIELDS_MAX, Refusal, append, bad_request, body_too_long, head_len, refuse, too_long};

/// The longest line with the size and the extensions of a chunk.
pub const SIZE_LINE_MAX_BYTES: usize = 1024;

/// The most bytes of chunk extensions in one body. They are ignored, so a body must not consist of them.
pub const EXTENSIONS_MAX_BYTES: usize = 8 * 1024;

/// A position within a chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    next: ChunkPart,
    extension_bytes: usize,
}

/// The next element of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum ChunkPart {
    /// The line with the size of a chunk.
    #[default]
    Size,
    /// The remaining bytes of data of a chunk.
    Data(usize),
    /// The CR LF behind the data.
    DataEnd,
    /// Trailer fields and the empty line behind them.
    Trailer,
    Complete,
}

impl Chunked {
    /// Appends the data in `input` to `body`, which may grow to `body_max` bytes. Returns the bytes of `input` used.
    ///
    /// # Errors
    /// The coding is malformed, or the body or its extensions are too long (RFC 9112, 7.1).
    pub fn read(&mut self, input: &[u8], body: &mut Vec<u8>, body_max: usize) -> Result<usize, Refusal> {
        let mut used = 0;
        while self.next != ChunkPart::Complete
            && let Some(bytes) = self.read_part(&input[used..], body, body_max)?
        {
            used += bytes;
        }
        Ok(used)
    }

    pub fn is_complete(&self) -> bool {
        self.next == ChunkPart::Complete
    }

    /// Reads one part. `None` if it is incomplete.
    fn read_part(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        body_max: usize,
    ) -> Result<Option<usize>, Refusal> {
        let (bytes, next) = match self.next {
            ChunkPart::Size => {
                let Some((bytes, size)) = self.read_size(input)? else {
                    return Ok(None);
                };
                let fits = usize::try_from(size).is_ok_and(|size| size <= body_max - body.len());
                match size {
                    _ if !fits => return Err(body_too_long()),
                    0 => (bytes, ChunkPart::Trailer),
                    size => (bytes, ChunkPart::Data(size as usize)),
                }
            }
            ChunkPart::Data(_) if input.is_empty() => return Ok(None),
            ChunkPart::Data(left) => {
                let bytes = left.min(input.len());
                append(body, &input[..bytes], body_max);
                (bytes, if bytes == left { ChunkPart::DataEnd } else { ChunkPart::Data(left - bytes) })
            }
            ChunkPart::DataEnd => match input {
                [b'\r', b'\n', ..] => (2, ChunkPart::Size),
                [] | [b'\r'] => return Ok(None),
                _ => return Err(bad_request("a chunk is longer or shorter than its size says")),
            },
            ChunkPart::Trailer => match trailer_len(input)? {
                Some(bytes) => (bytes, ChunkPart::Complete),
                None => return Ok(None),
            },
            ChunkPart::Complete => return Ok(None),
        };
        self.next = next;
        Ok(Some(bytes))
    }

    /// Reads a line with a size. Returns the line's length and the size; `None` if the line is incomplete.
    fn read_size(&mut self, input: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
        const MALFORMED: &str = "the size of a chunk is malformed";
        let Some(end) = memchr(b'\n', &input[..input.len().min(SIZE_LINE_MAX_BYTES)]) else {
            return match input.len() < SIZE_LINE_MAX_BYTES {
                true => Ok(None),
                false => Err(extensions_too_long()),
            };
        };
        let line =
            input[..end].strip_suffix(b"\r").ok_or_else(|| bad_request("a chunk's size ends with CR LF"))?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extensions = &line[digits..];
        let is_extension = extensions.is_empty() || extensions.trim_ascii_start().starts_with(b";");
        let is_text = extensions.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if digits == 0 || !is_extension || !is_text {
            return Err(bad_request(MALFORMED));
        }
        self.extension_bytes += extensions.len();
        if self.extension_bytes > EXTENSIONS_MAX_BYTES {
            return Err(extensions_too_long());
        }
        match httparse::parse_chunk_size(&input[..=end]) {
            Ok(httparse::Status::Complete((bytes, size))) if bytes == end + 1 => Ok(Some((bytes, size))),
            _ => Err(bad_request(MALFORMED)),
        }
    }
}

/// Length of the trailer section with its empty line; `None` if it is incomplete. The fields are ignored (RFC 9110, 6.5.1).
fn trailer_len(input: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(length) = head_len(input)? else {
        return Ok(None);
    };
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    match httparse::parse_headers(&input[..length], &mut fields) {
        Ok(httparse::Status::Complete((bytes, _))) if bytes == length => Ok(Some(length)),
        Err(httparse::Error::TooManyHeaders) => Err(too_long()),
        _ => Err(bad_request("a trailer field is malformed")),
    }
}

fn extensions_too_long() -> Refusal {
    refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the chunk extensions are over 1 KiB for a chunk or 8 KiB for a body",
    )
}
