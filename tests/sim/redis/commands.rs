//! The commands, and the errors for clients that may not use them.

use std::ops::RangeInclusive;

use super::resp::Answer;
use super::{Client, Conn, Redis, text};

const NO_AUTH: &str = "NOAUTH Authentication required.";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub const NO_INTEGER: &str = "ERR value is not an integer or out of range";
pub const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub const BAD_EXPIRE: &str = "ERR invalid expire time in 'pexpire' command";
pub const SYNTAX: &str = "ERR syntax error";
const FOR_SUBSCRIBERS: &str = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";

/// An answer, or the text of an error.
pub type Reply = Result<Answer, String>;

/// A request that is being executed.
pub struct Request<'a> {
    pub conn: Conn,
    pub name: &'static str,
    /// The words behind the name.
    pub args: &'a [Vec<u8>],
    pub now_millis: u64,
    pub by_script: bool,
}

/// A state in which a command is executed that most are refused in.
#[derive(PartialEq)]
pub enum When {
    Loading,
    Stranger,
    Subscribed,
}

pub struct Command {
    /// In lower case, with the name of the subcommand behind a `|`.
    pub name: &'static str,
    pub args: RangeInclusive<usize>,
    also: &'static [When],
    pub run: fn(&mut Redis, &Request) -> Reply,
}

const fn command(
    name: &'static str,
    args: RangeInclusive<usize>,
    also: &'static [When],
    run: fn(&mut Redis, &Request) -> Reply,
) -> Command {
    Command { name, args, also, run }
}

const MANY: usize = usize::MAX;

/// A real one doesn't answer `PING` while it loads, either.
static COMMANDS: [Command; 45] = [
    command("auth", 1..=MANY, &[When::Loading, When::Stranger], Redis::auth),
    command("select", 1..=1, &[When::Loading], Redis::select),
    command("client|setname", 1..=1, &[When::Loading], Redis::set_name),
    command("ping", 0..=MANY, &[When::Subscribed], Redis::ping),
    command("subscribe", 1..=MANY, &[When::Loading, When::Subscribed], Redis::subscribe),
    command("unsubscribe", 0..=MANY, &[When::Loading, When::Subscribed], Redis::unsubscribe),
    command("publish", 2..=2, &[When::Loading], Redis::publish_call),
    command("pubsub|numsub", 0..=MANY, &[When::Loading], Redis::numsub_call),
    command("del", 1..=MANY, &[], Redis::del),
    command("exists", 1..=MANY, &[], Redis::exists),
    command("type", 1..=1, &[], Redis::type_call),
    command("pexpire", 2..=MANY, &[], Redis::pexpire),
    command("pttl", 1..=1, &[], Redis::pttl),
    command("set", 2..=MANY, &[], Redis::set_call),
    command("setnx", 2..=2, &[], Redis::setnx),
    command("get", 1..=1, &[], Redis::get),
    command("incrby", 2..=2, &[], Redis::incrby),
    command("hset", 3..=MANY, &[], Redis::hset),
    command("hsetnx", 3..=3, &[], Redis::hsetnx),
    command("hdel", 2..=MANY, &[], Redis::hdel),
    command("hget", 2..=2, &[], Redis::hget),
    command("hmget", 2..=MANY, &[], Redis::hmget),
    command("hgetall", 1..=1, &[], Redis::hgetall),
    command("hincrby", 3..=3, &[], Redis::hincrby),
    command("sadd", 2..=MANY, &[], Redis::sadd),
    command("srem", 2..=MANY, &[], Redis::srem),
    command("smembers", 1..=1, &[], Redis::smembers),
    command("scard", 1..=1, &[], Redis::scard),
    command("sismember", 2..=2, &[], Redis::sismember),
    command("srandmember", 1..=MANY, &[], Redis::srandmember),
    command("zadd", 3..=MANY, &[], Redis::zadd),
    command("zincrby", 3..=3, &[], Redis::zincrby),
    command("zrem", 2..=MANY, &[], Redis::zrem),
    command("zscore", 2..=2, &[], Redis::zscore),
    command("zcard", 1..=1, &[], Redis::zcard),
    command("zrevrange", 3..=MANY, &[], Redis::zrevrange),
    command("xadd", 4..=MANY, &[], Redis::xadd),
    command("xlen", 1..=1, &[], Redis::xlen),
    command("xrange", 3..=MANY, &[], Redis::xrange),
    command("xrevrange", 3..=MANY, &[], Redis::xrevrange),
    command("script|load", 1..=1, &[], Redis::script_load),
    command("script|exists", 1..=MANY, &[], Redis::script_exists),
    command("script|flush", 0..=MANY, &[], Redis::script_flush),
    command("eval", 2..=MANY, &[], Redis::eval),
    command("evalsha", 2..=MANY, &[], Redis::evalsha),
];

/// Commands that have subcommands.
const CONTAINERS: [&str; 3] = ["client", "pubsub", "script"];

/// Returns the command of a request, and the words behind its name.
pub fn find(words: &[Vec<u8>]) -> Result<(&'static Command, &[Vec<u8>]), String> {
    let named = |name: &str| COMMANDS.iter().find(|command| command.name == name);
    let (name, args) = (text(&words[0]).to_lowercase(), &words[1..]);
    if CONTAINERS.contains(&name.as_str()) {
        let (sub, args) = args.split_first().ok_or_else(|| wrong_count(&name))?;
        let found = named(&format!("{name}|{}", text(sub).to_lowercase()));
        let unknown = || format!("ERR unknown subcommand '{}'. Try {} HELP.", text(sub), name.to_uppercase());
        return Ok((found.ok_or_else(unknown)?, args));
    }
    let unknown = || {
        let repeated: String = args.iter().map(|arg| format!("'{}' ", text(arg))).collect();
        format!("ERR unknown command '{}', with args beginning with: {repeated}", text(&words[0]))
    };
    Ok((named(&name).ok_or_else(unknown)?, args))
}

pub fn wrong_count(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

pub fn ok() -> Reply {
    Ok(Answer::Status("OK".into()))
}

impl Redis {
    /// Executes a request. The checks are in the order of a real Redis, which decides the error of a request that is
    /// wrong in two ways.
    pub fn answer(&mut self, conn: Conn, words: &[Vec<u8>], now_millis: u64) -> Reply {
        let (command, args) = find(words)?;
        let name = command.name;
        if !command.args.contains(&args.len()) {
            return Err(wrong_count(name));
        }
        let upper = text(&words[0]).to_uppercase();
        if !self.clients[&conn].authenticated && !command.also.contains(&When::Stranger) {
            return Err(NO_AUTH.into());
        }
        if let Some(error) = self.refusal(&upper, args) {
            return Err(error);
        }
        let client = &self.clients[&conn];
        if !client.channels.is_empty() && !command.also.contains(&When::Subscribed) {
            let only = format!("only {FOR_SUBSCRIBERS} are allowed in this context");
            return Err(format!("ERR Can't execute '{name}': {only}"));
        }
        if self.loading && !command.also.contains(&When::Loading) {
            return Err(LOADING.into());
        }
        *self.commands.entry(upper).or_default() += 1;
        (command.run)(self, &Request { conn, name, args, now_millis, by_script: false })
    }

    /// Returns the error with which tests refuse a command. Scripts are not refused by their arguments, but by those of
    /// their commands.
    pub fn refusal(&mut self, upper: &str, args: &[Vec<u8>]) -> Option<String> {
        let nameless = ["SUBSCRIBE", "SCRIPT", "EVAL", "EVALSHA"].contains(&upper);
        let mut names = args.iter().filter(|_| !nameless);
        let refused = self.refused.get(upper).or_else(|| names.find_map(|arg| self.refused_names.get(arg)));
        self.refused_once.remove(upper).or_else(|| refused.cloned())
    }

    /// Whether tests do not refuse a command for a right that the user lacks.
    pub fn may(&self, words: &[Vec<u8>]) -> bool {
        let by_command = self.refused.get(&text(&words[0]).to_uppercase());
        let by_name = words[1..].iter().filter_map(|word| self.refused_names.get(word));
        !by_command.into_iter().chain(by_name).any(|error| error.starts_with("NOPERM "))
    }

    /// Returns the client of the request.
    pub(super) fn client(&mut self, call: &Request) -> &mut Client {
        self.clients.get_mut(&call.conn).expect("the client of a request exists")
    }
}
