//! The commands for sorted sets.

use super::Redis;
use super::commands::{NO_INTEGER, Reply, Request, SYNTAX};
use super::resp::{Answer, decimal, integer};
use super::values::Scores;

const NO_FLOAT: &str = "ERR value is not a valid float";
const NOT_A_NUMBER: &str = "ERR resulting score is not a number (NaN)";

fn score(word: &[u8]) -> Result<f64, String> {
    let score = str::from_utf8(word).ok().and_then(|word| word.parse::<f64>().ok());
    score.filter(|score| !score.is_nan()).ok_or_else(|| NO_FLOAT.into())
}

impl Redis {
    /// Executes `ZADD`, without options.
    pub fn zadd(&mut self, call: &Request) -> Reply {
        let (pairs, odd) = call.args[1..].as_chunks();
        if !odd.is_empty() {
            return Err(SYNTAX.into());
        }
        let new: Vec<_> = pairs
            .iter()
            .map(|[number, member]| Ok((score(number)?, member)))
            .collect::<Result<_, String>>()?;
        let add = |scores: &mut Scores| {
            new.into_iter().filter(|(score, member)| scores.insert(member.to_vec(), *score).is_none()).count()
        };
        Ok(Answer::count(self.keyspace().change(&call.args[0], add)?))
    }

    pub fn zincrby(&mut self, call: &Request) -> Reply {
        let (more, member) = (score(&call.args[1])?, &call.args[2]);
        let add = |scores: &mut Scores| {
            let sum = scores.get(member).copied().unwrap_or(0.0) + more;
            if sum.is_nan() {
                return Err(NOT_A_NUMBER.into());
            }
            scores.insert(member.clone(), sum);
            Ok(Answer::bulk(decimal(sum)))
        };
        self.keyspace().change(&call.args[0], add)?
    }

    pub fn zrem(&mut self, call: &Request) -> Reply {
        let remove = |scores: &mut Scores| {
            call.args[1..].iter().filter(|member| scores.remove(*member).is_some()).count()
        };
        Ok(Answer::count(self.keyspace().change(&call.args[0], remove)?))
    }

    pub fn zscore(&mut self, call: &Request) -> Reply {
        let scores = self.keyspace().read::<Scores>(&call.args[0])?;
        Ok(Answer::found(scores.and_then(|scores| scores.get(&call.args[1])).map(|score| decimal(*score))))
    }

    pub fn zcard(&mut self, call: &Request) -> Reply {
        Ok(Answer::count(self.keyspace().read(&call.args[0])?.map_or(0, Scores::len)))
    }

    pub fn zrevrange(&mut self, call: &Request) -> Reply {
        let with_scores = call.args[3..].iter().all(|word| word.eq_ignore_ascii_case(b"WITHSCORES"));
        let bounds = [1, 2].map(|index| integer(&call.args[index]));
        if !with_scores {
            return Err(SYNTAX.into());
        }
        let [Some(first), Some(last)] = bounds else {
            return Err(NO_INTEGER.into());
        };
        let scores = self.keyspace().read::<Scores>(&call.args[0])?;
        let mut sorted: Vec<_> = scores.into_iter().flatten().collect();
        sorted.sort_by(|one, other| other.1.total_cmp(one.1).then(other.0.cmp(one.0)));
        let count = sorted.len() as i64;
        let from_start = |index: i64| if index < 0 { index.saturating_add(count) } else { index };
        let (first, last) = (from_start(first).max(0), from_start(last));
        let wanted = (0..).zip(sorted).filter(|(index, _)| (first..=last).contains(index));
        let with_scores = call.args.len() > 3;
        Ok(Answer::words(wanted.flat_map(|(_, (member, score))| {
            [Some(member.clone()), with_scores.then(|| decimal(*score).into())].into_iter().flatten()
        })))
    }
}
