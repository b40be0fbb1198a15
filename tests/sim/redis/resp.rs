//! RESP2, as Redis decodes and encodes it.

/// Most words in a request of a client that is not authenticated.
const STRANGER_WORDS_MAX: usize = 10;
const STRANGER_BULK_MAX: usize = 16_384;

/// An answer of Redis.
pub enum Answer {
    Status(String),
    Error(String),
    Number(i64),
    Bulk(Vec<u8>),
    /// A missing bulk string.
    Nothing,
    /// A missing array.
    NoArray,
    Array(Vec<Answer>),
    /// Several answers to one request.
    Several(Vec<Answer>),
}

impl Answer {
    pub fn count(count: usize) -> Answer {
        Answer::Number(count as i64)
    }

    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Answer {
        Answer::Bulk(bytes.into())
    }

    /// Makes the answer of a value that may be missing.
    pub fn found(bytes: Option<impl Into<Vec<u8>>>) -> Answer {
        bytes.map_or(Answer::Nothing, Answer::bulk)
    }

    /// Makes an array of bulk strings.
    pub fn words(words: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Answer {
        Answer::Array(words.into_iter().map(Answer::bulk).collect())
    }

    pub fn encode(&self) -> Vec<u8> {
        let all = |answers: &[Answer]| answers.iter().flat_map(Answer::encode).collect::<Vec<_>>();
        match self {
            Answer::Status(text) => line_of('+', text),
            Answer::Error(text) => error(text),
            Answer::Number(number) => format!(":{number}\r\n").into(),
            Answer::Bulk(bytes) => bulk(bytes),
            Answer::Nothing => b"$-1\r\n".to_vec(),
            Answer::NoArray => b"*-1\r\n".to_vec(),
            Answer::Array(answers) => [array(answers.len()), all(answers)].concat(),
            Answer::Several(answers) => all(answers),
        }
    }
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
    line_of('-', text)
}

fn line_of(kind: char, text: &str) -> Vec<u8> {
    format!("{kind}{}\r\n", text.replace(['\r', '\n'], " ")).into()
}

/// Parses a number as Redis does: without a plus, spaces or needless zeros.
pub fn integer(bytes: &[u8]) -> Option<i64> {
    let text = str::from_utf8(bytes).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

/// Formats a number as C's `%.17g` does.
pub fn decimal(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    if number.trunc() == number && number.abs() < 1e17 {
        return (number as i64).to_string();
    }
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    let trimmed = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_string();
    match exponent {
        -4..17 => trimmed(&format!("{number:.*}", (16 - exponent) as usize)),
        _ => format!("{}e{}{:02}", trimmed(digits), if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
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
