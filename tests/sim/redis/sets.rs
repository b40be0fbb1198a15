//! The commands for sets. Members come in their order, where Redis promises none.

use super::Redis;
use super::commands::{NO_INTEGER, Reply, Request, SYNTAX};
use super::resp::{Answer, integer};
use super::values::Members;

impl Redis {
    pub fn sadd(&mut self, call: &Request) -> Reply {
        let add = |members: &mut Members| {
            call.args[1..].iter().filter(|member| members.insert(member.to_vec())).count()
        };
        Ok(Answer::count(self.keyspace().change(&call.args[0], add)?))
    }

    pub fn srem(&mut self, call: &Request) -> Reply {
        let remove =
            |members: &mut Members| call.args[1..].iter().filter(|member| members.remove(*member)).count();
        Ok(Answer::count(self.keyspace().change(&call.args[0], remove)?))
    }

    pub fn smembers(&mut self, call: &Request) -> Reply {
        Ok(Answer::words(self.keyspace().read::<Members>(&call.args[0])?.into_iter().flatten().cloned()))
    }

    pub fn scard(&mut self, call: &Request) -> Reply {
        Ok(Answer::count(self.keyspace().read(&call.args[0])?.map_or(0, Members::len)))
    }

    pub fn sismember(&mut self, call: &Request) -> Reply {
        let members = self.keyspace().read::<Members>(&call.args[0])?;
        Ok(Answer::Number(members.is_some_and(|members| members.contains(&call.args[1])).into()))
    }

    /// Executes `SRANDMEMBER`, whose members are not random: they are the first ones, repeated for a negative count.
    pub fn srandmember(&mut self, call: &Request) -> Reply {
        let count = match call.args {
            [_] => None,
            [_, count] => Some(integer(count).ok_or(NO_INTEGER)?),
            _ => return Err(SYNTAX.into()),
        };
        let mut members = self.keyspace().read::<Members>(&call.args[0])?.into_iter().flatten();
        let Some(count) = count else {
            return Ok(Answer::found(members.next().cloned()));
        };
        let most = count.unsigned_abs() as usize;
        Ok(match count < 0 {
            true => Answer::words(members.cloned().collect::<Vec<_>>().into_iter().cycle().take(most)),
            false => Answer::words(members.take(most).cloned()),
        })
    }
}
