//! The commands for strings.

use super::Redis;
use super::commands::{NO_INTEGER, OVERFLOW, Reply, Request, SYNTAX, ok};
use super::resp::{Answer, integer};

const BAD_EXPIRE: &str = "ERR invalid expire time in 'set' command";

/// The options of `SET`.
#[derive(Default)]
struct Options<'a> {
    /// Whether the key must exist before.
    must: Option<bool>,
    get: bool,
    keep: bool,
    /// A time to live, and its unit in milliseconds.
    span: Option<(&'a [u8], i64)>,
}

impl<'a> Options<'a> {
    fn parse(words: &'a [Vec<u8>]) -> Option<Options<'a>> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &word.to_ascii_uppercase()[..] {
                b"NX" if options.must != Some(true) => options.must = Some(false),
                b"XX" if options.must != Some(false) => options.must = Some(true),
                b"GET" => options.get = true,
                b"KEEPTTL" if options.span.is_none() => options.keep = true,
                unit @ (b"PX" | b"EX") if options.span.is_none() && !options.keep => {
                    options.span = Some((words.next()?, if unit == b"PX" { 1 } else { 1_000 }));
                }
                _ => return None,
            }
        }
        Some(options)
    }

    fn until_millis(&self, now_millis: u64) -> Result<Option<u64>, String> {
        let Some((span, unit)) = self.span else {
            return Ok(None);
        };
        let span = integer(span).ok_or(NO_INTEGER)?;
        let millis = span.checked_mul(unit).filter(|millis| *millis > 0);
        let until = millis.and_then(|millis| millis.checked_add(now_millis as i64)).ok_or(BAD_EXPIRE)?;
        Ok(Some(until as u64))
    }
}

impl Redis {
    pub fn set_call(&mut self, call: &Request) -> Reply {
        let (key, value) = (&call.args[0], call.args[1].clone());
        let options = Options::parse(&call.args[2..]).ok_or(SYNTAX)?;
        let mut until_millis = options.until_millis(call.now_millis)?;
        let keyspace = self.keyspace();
        let old = match options.get {
            true => Some(Answer::found(keyspace.read::<Vec<u8>>(key)?.cloned())),
            false => None,
        };
        let there = keyspace.get(key);
        if options.must.is_some_and(|must| must != there.is_some()) {
            return Ok(old.unwrap_or(Answer::Nothing));
        }
        if options.keep {
            until_millis = there.and_then(|entry| entry.until_millis);
        }
        keyspace.set(key, value, until_millis);
        old.map_or_else(ok, Ok)
    }

    pub fn setnx(&mut self, call: &Request) -> Reply {
        let keyspace = self.keyspace();
        let missing = keyspace.get(&call.args[0]).is_none();
        if missing {
            keyspace.set(&call.args[0], call.args[1].clone(), None);
        }
        Ok(Answer::Number(missing.into()))
    }

    pub fn get(&mut self, call: &Request) -> Reply {
        Ok(Answer::found(self.keyspace().read::<Vec<u8>>(&call.args[0])?.cloned()))
    }

    pub fn incrby(&mut self, call: &Request) -> Reply {
        let more = integer(&call.args[1]).ok_or(NO_INTEGER)?;
        let keyspace = self.keyspace();
        let old = keyspace.read::<Vec<u8>>(&call.args[0])?.map_or(Some(0), |old| integer(old));
        let new = old.ok_or(NO_INTEGER)?.checked_add(more).ok_or(OVERFLOW)?;
        keyspace.change(&call.args[0], |value: &mut Vec<u8>| *value = new.to_string().into())?;
        Ok(Answer::Number(new))
    }
}
