//! RESP2, as Redis reads and writes it.

/// What those may send who are not authenticated.
const STRANGER_WORDS_MAX: usize = 10;
const STRANGER_BULK_MAX: usize = 16_384;

pub const NOTHING: &str = "$-1\r\n";

pub fn number(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into()
}

/// The head of an array.
pub fn array(count: usize) -> Vec<u8> {
    format!("*{count}\r\n").into()
}

pub fn bulk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// An error on one line, whatever is in its text.
pub fn error(text: &str) -> Vec<u8> {
    format!("-{}\r\n", text.replace(['\r', '\n'], " ")).into()
}

/// A number as Redis takes it: without a plus, spaces or needless zeros.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let text = str::from_utf8(bytes).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// Words, and what is behind them; nothing if they are not whole yet; or why there can't be any.
type Parsed<'a> = Result<Option<(Vec<Vec<u8>>, &'a [u8])>, String>;

/// The first request of the input.
pub fn parse(input: &[u8], authenticated: bool) -> Parsed<'_> {
    let Some((count, mut rest)) = line(input, '*')? else {
        return Ok(None);
    };
    // An array of less than nothing counts as empty.
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
        // What the two bytes behind a word are is not looked at.
        let Some((word, behind)) = behind.split_at_checked(length + 2) else {
            return Ok(None);
        };
        words.push(word[..length].to_vec());
        rest = behind;
    }
    Ok(Some((words, rest)))
}

/// A line's number, if it is one, and what is behind the line.
type Line<'a> = Option<(Option<i64>, &'a [u8])>;

/// The line at the beginning, if it is whole and begins as wanted.
fn line(input: &[u8], wanted: char) -> Result<Line<'_>, String> {
    let Some(end) = input.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    match char::from(input[0]) {
        first if first == wanted => Ok(Some((integer(&input[1..end]), &input[end + 2..]))),
        first => Err(format!("expected '{wanted}', got '{first}'")),
    }
}
