//! The commands for keys of all types.

use super::commands::{BAD_EXPIRE, NO_INTEGER, Reply, Request};
use super::resp::{Answer, integer};
use super::values::Value;
use super::{Redis, text};

impl Redis {
    pub fn del(&mut self, call: &Request) -> Reply {
        let keyspace = self.keyspace();
        Ok(Answer::count(call.args.iter().filter(|key| keyspace.remove(key)).count()))
    }

    pub fn exists(&mut self, call: &Request) -> Reply {
        let keyspace = self.keyspace();
        Ok(Answer::count(call.args.iter().filter(|key| keyspace.get(key).is_some()).count()))
    }

    pub fn type_call(&mut self, call: &Request) -> Reply {
        let name = match self.keyspace().get(&call.args[0]).map(|entry| &entry.value) {
            None => "none",
            Some(Value::Text(_)) => "string",
            Some(Value::Hash(_)) => "hash",
            Some(Value::Set(_)) => "set",
            Some(Value::Sorted(_)) => "zset",
            Some(Value::Stream(_)) => "stream",
        };
        Ok(Answer::Status(name.into()))
    }

    pub fn pexpire(&mut self, call: &Request) -> Reply {
        if let Some(option) = call.args.get(2) {
            return Err(format!("ERR Unsupported option {}", text(option)));
        }
        let span = integer(&call.args[1]).ok_or(NO_INTEGER)?;
        let until = (call.now_millis as i64).checked_add(span).ok_or(BAD_EXPIRE)?;
        let keyspace = self.keyspace();
        let Some(entry) = keyspace.get_mut(&call.args[0]) else {
            return Ok(Answer::Number(0));
        };
        entry.until_millis = Some(until.max(0) as u64);
        if span <= 0 {
            keyspace.remove(&call.args[0]);
        }
        Ok(Answer::Number(1))
    }

    pub fn pttl(&mut self, call: &Request) -> Reply {
        Ok(Answer::Number(match self.keyspace().get(&call.args[0]).map(|entry| entry.until_millis) {
            None => -2,
            Some(None) => -1,
            Some(Some(until_millis)) => (until_millis - call.now_millis) as i64,
        }))
    }
}
