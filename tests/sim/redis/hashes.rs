//! The commands for hashes.

use super::Redis;
use super::commands::{NO_INTEGER, OVERFLOW, Reply, Request, wrong_count};
use super::resp::{Answer, integer};
use super::values::Fields;

const NO_HASH_INTEGER: &str = "ERR hash value is not an integer";

impl Redis {
    pub fn hset(&mut self, call: &Request) -> Reply {
        let (pairs, odd) = call.args[1..].as_chunks();
        if !odd.is_empty() {
            return Err(wrong_count(call.name));
        }
        let set = |fields: &mut Fields| {
            let before = fields.len();
            pairs.iter().for_each(|[field, value]| fields.set(field, value));
            fields.len() - before
        };
        Ok(Answer::count(self.keyspace().change(&call.args[0], set)?))
    }

    pub fn hsetnx(&mut self, call: &Request) -> Reply {
        let set = |fields: &mut Fields| {
            let missing = fields.get(&call.args[1]).is_none();
            if missing {
                fields.set(&call.args[1], &call.args[2]);
            }
            missing
        };
        Ok(Answer::Number(self.keyspace().change(&call.args[0], set)?.into()))
    }

    pub fn hdel(&mut self, call: &Request) -> Reply {
        let delete = |fields: &mut Fields| call.args[1..].iter().filter(|field| fields.remove(field)).count();
        Ok(Answer::count(self.keyspace().change(&call.args[0], delete)?))
    }

    pub fn hget(&mut self, call: &Request) -> Reply {
        let fields = self.keyspace().read::<Fields>(&call.args[0])?;
        Ok(Answer::found(fields.and_then(|fields| fields.get(&call.args[1])).cloned()))
    }

    pub fn hmget(&mut self, call: &Request) -> Reply {
        let fields = self.keyspace().read::<Fields>(&call.args[0])?;
        let value = |field: &Vec<u8>| fields.and_then(|fields| fields.get(field)).cloned();
        Ok(Answer::Array(call.args[1..].iter().map(|field| Answer::found(value(field))).collect()))
    }

    pub fn hgetall(&mut self, call: &Request) -> Reply {
        let fields = self.keyspace().read::<Fields>(&call.args[0])?.into_iter().flat_map(Fields::iter);
        Ok(Answer::words(fields.flat_map(|(field, value)| [field.clone(), value.clone()])))
    }

    pub fn hincrby(&mut self, call: &Request) -> Reply {
        let more = integer(&call.args[2]).ok_or(NO_INTEGER)?;
        let add = |fields: &mut Fields| {
            let old = fields.get(&call.args[1]).map_or(Some(0), |old| integer(old));
            let new = old.ok_or(NO_HASH_INTEGER)?.checked_add(more).ok_or(OVERFLOW)?;
            fields.set(&call.args[1], new.to_string().as_bytes());
            Ok(Answer::Number(new))
        };
        self.keyspace().change(&call.args[0], add)?
    }
}
