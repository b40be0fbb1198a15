//! The commands for scripts, and the calls of commands that scripts make.

use std::rc::Rc;

use data_encoding::HEXLOWER;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::commands::{NO_INTEGER, Reply, Request, find, ok};
use super::resp::{Answer, integer};
use super::{Conn, Redis, lua, text};

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
const BAD_FLUSH: &str = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
const TOO_MANY_KEYS: &str = "ERR Number of keys can't be greater than number of args";
const NEGATIVE_KEYS: &str = "ERR Number of keys can't be negative";

// Errors of calls by scripts.
const UNKNOWN: &str = "ERR Unknown Redis command called from script";
const WRONG_COUNT: &str = "ERR Wrong number of args calling Redis command from script";
const NOT_ALLOWED: &str = "ERR This Redis command is not allowed from script";
const MAY_NOT_RUN: &str = "ERR The user executing the script can't run this command or subcommand";
const MAY_NOT_PUBLISH: &str =
    "ERR The user executing the script can't publish to the channel mentioned in the command";
const MAY_NOT_ACCESS: &str = "ERR The user executing the script can't access at least one of the keys mentioned in the \
                              command arguments";

/// Commands that scripts may not use.
const OUTSIDE: [&str; 9] = [
    "auth",
    "client|setname",
    "subscribe",
    "unsubscribe",
    "script|load",
    "script|exists",
    "script|flush",
    "eval",
    "evalsha",
];

/// Commands of scripts that write nothing.
const READING: [&str; 21] = [
    "select",
    "ping",
    "publish",
    "pubsub|numsub",
    "exists",
    "type",
    "pttl",
    "get",
    "hget",
    "hmget",
    "hgetall",
    "smembers",
    "scard",
    "sismember",
    "srandmember",
    "zscore",
    "zcard",
    "zrevrange",
    "xlen",
    "xrange",
    "xrevrange",
];

impl Redis {
    pub fn script_load(&mut self, call: &Request) -> Reply {
        self.load(&call.args[0]).map(Answer::bulk)
    }

    pub fn script_exists(&mut self, call: &Request) -> Reply {
        let known = |sha: &Vec<u8>| self.scripts.contains_key(&text(sha).to_lowercase());
        Ok(Answer::Array(call.args.iter().map(|sha| Answer::Number(known(sha).into())).collect()))
    }

    pub fn script_flush(&mut self, call: &Request) -> Reply {
        let is_mode = |word: &Vec<u8>| [&b"SYNC"[..], b"ASYNC"].contains(&&word.to_ascii_uppercase()[..]);
        if call.args.len() > 1 || !call.args.iter().all(is_mode) {
            return Err(BAD_FLUSH.into());
        }
        self.scripts.clear();
        ok()
    }

    pub fn eval(&mut self, call: &Request) -> Reply {
        let keys = count_of_keys(call)?;
        let sha = self.load(&call.args[0])?;
        self.run(call, &sha, keys)
    }

    pub fn evalsha(&mut self, call: &Request) -> Reply {
        if call.args[0].len() != 40 {
            return Err(NO_SCRIPT.into());
        }
        let keys = count_of_keys(call)?;
        self.run(call, &text(&call.args[0]).to_lowercase(), keys)
    }

    /// Compiles a script, and returns its number.
    fn load(&mut self, source: &[u8]) -> Result<String, String> {
        // The comparison takes less time than the sum, and each process loads its scripts after each reconnect.
        if let Some((sha, _)) = self.scripts.iter().find(|(_, other)| ***other == *source) {
            return Ok(sha.clone());
        }
        let sha = HEXLOWER.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, source).as_ref());
        lua::compile(&sha, source)?;
        self.scripts.insert(sha.clone(), source.into());
        Ok(sha)
    }

    fn run(&mut self, call: &Request, sha: &str, keys: usize) -> Reply {
        let source = Rc::clone(self.scripts.get(sha).ok_or(NO_SCRIPT)?);
        let (keys, args) = call.args[2..].split_at(keys);
        self.has_script_written = false;
        lua::run(self, (call.conn, call.now_millis), (sha, &source), keys, args)
    }

    /// Executes a command of a script. The checks are in the order of a real Redis.
    pub fn answer_script(&mut self, conn: Conn, words: &[Vec<u8>], now_millis: u64) -> Reply {
        let (command, args) = find(words).map_err(|error| match error.starts_with("ERR wrong number") {
            true => WRONG_COUNT,
            false => UNKNOWN,
        })?;
        if !command.args.contains(&args.len()) {
            return Err(WRONG_COUNT.into());
        }
        let name = command.name;
        if OUTSIDE.contains(&name) {
            return Err(NOT_ALLOWED.into());
        }
        let upper = text(&words[0]).to_uppercase();
        let writes = !READING.contains(&name);
        match self.refusal(&upper, args) {
            Some(error) if error.starts_with("NOPERM ") => {
                return Err(match name {
                    _ if self.refused.contains_key(&upper) => MAY_NOT_RUN.into(),
                    "publish" => MAY_NOT_PUBLISH.into(),
                    _ => MAY_NOT_ACCESS.into(),
                });
            }
            // A script that has written is not stopped in the middle, such as by a full memory.
            Some(error) if !writes || !self.has_script_written => return Err(error),
            _ => {}
        }
        self.has_script_written |= writes;
        *self.commands.entry(upper).or_default() += 1;
        (command.run)(self, &Request { conn, name, args, now_millis, by_script: true })
    }
}

fn count_of_keys(call: &Request) -> Result<usize, String> {
    match integer(&call.args[1]).ok_or(NO_INTEGER)? {
        count if count > call.args.len() as i64 - 2 => Err(TOO_MANY_KEYS.into()),
        count => usize::try_from(count).map_err(|_| NEGATIVE_KEYS.into()),
    }
}
