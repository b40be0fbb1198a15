//! RESP2, as Redis decodes and encodes it.

/// Most words in a request of a client that is not authenticated.
const STRANGER_WORDS_MAX: usize = 10;
const STRANGER_BULK_MAX: usize = 16_384;

pub const NOTHING: &str = "$-1\r\n";

pub fn number(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into()
}

/// Encodes the head of an array.
pub fn array(count: usize) -> Vec<u8> {
    format!("*{count}\r\n").into()
}

pub fn bulk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Encodes an error on one line, whatever its text contains.
pub fn error(text: &str) -> Vec<u8> {
    format!("-{}\r\n", text.replace(['\r', '\n'], " ")).into()
}

/// Parses a number as Redis does: without a plus, spaces or needless zeros.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let text = str::from_utf8(bytes).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// The words and the rest of the input; `None` if they are incomplete; or the error.
type Parsed<'a> = Result<Option<(Vec<Vec<u8>>, &'a [u8])>, String>;

/// Parses the first request of the input.
pub fn parse(input: &[u8], authenticated: bool) -> Parsed<'_> {
    let Some((count, mut rest)) = line(input, '*')? else {
        return Ok(None);
    };
    // A negative length counts as empty.
    let count = count.ok_or("invalid multibulk length")?.max(0) as usize;
    if !authenticated && count > STRANGER_WORDS_MAX {
        return Err("unauthenticated multibulk length".into());
    }
    let mut words = Vec::new();
    for _ in 0..count {
        let Some((length, behind)) = line(rest, '$')? else {
            return Ok(None);
        };
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or("invalid bulk length")?;
        if !authenticated && length > STRANGER_BULK_MAX {
            return Err("unauthenticated bulk length".into());
        }
        // Redis doesn't check the two bytes behind a word.
        let Some((word, behind)) = behind.split_at_checked(length + 2) else {
            return Ok(None);
        };
        words.push(word[..length].to_vec());
        rest = behind;
    }
    Ok(Some((words, rest)))
}

/// The number in a line, if it is one, and the input behind the line.
type Line<'a> = Option<(Option<i64>, &'a [u8])>;

/// Parses the line at the beginning, if it is complete and begins with that character.
fn line(input: &[u8], wanted: char) -> Result<Line<'_>, String> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    match char::from(input[0]) {
        first if first == wanted => Ok(Some((integer(&input[1..end]), &input[end + 2..]))),
        first => Err(format!("expected '{wanted}', got '{first}'")),
    }
}
