//! The commands for streams.

use super::Redis;
use super::commands::{NO_INTEGER, Reply, Request, SYNTAX, wrong_count};
use super::resp::{Answer, integer};
use super::values::{Id, Stream};

const BAD_ID: &str = "ERR Invalid stream ID specified as stream command argument";
const BAD_START: &str = "ERR invalid start ID for the interval";
const BAD_END: &str = "ERR invalid end ID for the interval";
const BAD_MAX: &str = "ERR The MAXLEN argument must be >= 0.";
const ZERO: &str = "ERR The ID specified in XADD must be greater than 0-0";
const EXHAUSTED: &str = "ERR The stream has exhausted the last possible ID, unable to add more items";
const SMALL: &str = "ERR The ID specified in XADD is equal or smaller than the target stream top item";

/// Parses an id; one without a second number gets that one.
fn id(word: &[u8], second: u64) -> Result<Id, String> {
    let word = str::from_utf8(word).map_err(|_| BAD_ID)?;
    let (first, second) = match word.split_once('-') {
        Some((first, second)) => (first.parse(), second.parse()),
        None => (word.parse(), Ok(second)),
    };
    Ok(Id(first.map_err(|_| BAD_ID)?, second.map_err(|_| BAD_ID)?))
}

/// Parses a bound of a range, and returns whether it is excluded.
fn bound(word: &[u8], second: u64) -> Result<(Id, bool), String> {
    match word {
        b"-" => Ok((Id::default(), false)),
        b"+" => Ok((Id::MAX, false)),
        [b'(', rest @ ..] => Ok((id(rest, second)?, true)),
        _ => Ok((id(word, second)?, false)),
    }
}

fn start(word: &[u8]) -> Result<Id, String> {
    match bound(word, 0)? {
        (Id::MAX, true) => Err(BAD_START.into()),
        (Id(first, u64::MAX), true) => Ok(Id(first + 1, 0)),
        (Id(first, second), excluded) => Ok(Id(first, second + u64::from(excluded))),
    }
}

fn end(word: &[u8]) -> Result<Id, String> {
    match bound(word, u64::MAX)? {
        (Id(0, 0), true) => Err(BAD_END.into()),
        (Id(first, 0), true) => Ok(Id(first - 1, u64::MAX)),
        (Id(first, second), excluded) => Ok(Id(first, second - u64::from(excluded))),
    }
}

impl Redis {
    /// Executes `XADD` with an explicit id; `MAXLEN` is its only option.
    pub fn xadd(&mut self, call: &Request) -> Reply {
        let (key, mut words) = (&call.args[0], &call.args[1..]);
        let mut most = usize::MAX;
        if words[0].eq_ignore_ascii_case(b"MAXLEN") {
            words = if words[1] == b"=" { &words[2..] } else { &words[1..] };
            let max = integer(&words[0]).ok_or(NO_INTEGER)?;
            most = usize::try_from(max).map_err(|_| BAD_MAX)?;
            words = &words[1..];
        }
        let (new, fields) = words.split_first().ok_or_else(|| wrong_count(call.name))?;
        let new = id(new, 0)?;
        if fields.is_empty() || fields.len() % 2 == 1 {
            return Err(wrong_count(call.name));
        }
        if new == Id::default() {
            return Err(ZERO.into());
        }
        let keyspace = self.keyspace();
        match keyspace.read::<Stream>(key)?.map_or(Id::default(), |stream| stream.last) {
            Id::MAX => return Err(EXHAUSTED.into()),
            last if last >= new => return Err(SMALL.into()),
            _ => {}
        }
        keyspace.change(key, |stream: &mut Stream| {
            stream.entries.insert(new, fields.to_vec());
            stream.last = new;
            while stream.entries.len() > most {
                stream.entries.pop_first();
            }
        })?;
        Ok(Answer::bulk(new.to_string()))
    }

    pub fn xlen(&mut self, call: &Request) -> Reply {
        let stream = self.keyspace().read::<Stream>(&call.args[0])?;
        Ok(Answer::count(stream.map_or(0, |stream| stream.entries.len())))
    }

    pub fn xrange(&mut self, call: &Request) -> Reply {
        let from = start(&call.args[1])?;
        self.range(call, from, end(&call.args[2])?, false)
    }

    pub fn xrevrange(&mut self, call: &Request) -> Reply {
        let from = start(&call.args[2])?;
        self.range(call, from, end(&call.args[1])?, true)
    }

    fn range(&mut self, call: &Request, from: Id, to: Id, reversed: bool) -> Reply {
        let mut count = usize::MAX;
        let mut options = call.args[3..].iter();
        while let Some(option) = options.next() {
            let number = options.next().filter(|_| option.eq_ignore_ascii_case(b"COUNT")).ok_or(SYNTAX)?;
            count = integer(number).ok_or(NO_INTEGER)?.max(0) as usize;
        }
        let Some(stream) = self.keyspace().read::<Stream>(&call.args[0])? else {
            return Ok(Answer::Array(Vec::new()));
        };
        if count == 0 {
            return Ok(Answer::NoArray);
        }
        let entry = |(id, words): (&Id, &Vec<Vec<u8>>)| {
            Answer::Array(vec![Answer::bulk(id.to_string()), Answer::words(words.iter().cloned())])
        };
        // A map has no range that ends before its start.
        let entries = (from <= to).then(|| stream.entries.range(from..=to)).into_iter().flatten();
        Ok(Answer::Array(match reversed {
            true => entries.rev().take(count).map(entry).collect(),
            false => entries.take(count).map(entry).collect(),
        }))
    }
}
