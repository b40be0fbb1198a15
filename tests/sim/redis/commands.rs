//! The commands, and the errors for clients that may not use them.

use std::ops::RangeInclusive;

use super::resp::{NOTHING, array, bulk, integer, number};
use super::{Client, Conn, Entry, Fields, Redis, Value, text};

const NO_AUTH: &str = "NOAUTH Authentication required.";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NO_INTEGER: &str = "ERR value is not an integer or out of range";
const NO_DATABASE: &str = "ERR DB index is out of range";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const BAD_EXPIRE: &str = "ERR invalid expire time in 'pexpire' command";
const SYNTAX: &str = "ERR syntax error";
const FOR_SUBSCRIBERS: &str = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";

/// An encoded answer, or the text of an error.
type Reply = Result<Vec<u8>, String>;

/// A request that is being executed.
struct Request<'a> {
    conn: Conn,
    name: &'static str,
    /// The words behind the name.
    args: &'a [Vec<u8>],
    now_millis: u64,
}

/// A state in which a command is executed that most are refused in.
#[derive(PartialEq)]
enum When {
    Loading,
    Stranger,
    Subscribed,
}

struct Command {
    /// In lower case, with the name of the subcommand behind a `|`.
    name: &'static str,
    args: RangeInclusive<usize>,
    also: &'static [When],
    run: fn(&mut Redis, &Request) -> Reply,
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
static COMMANDS: [Command; 17] = [
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
    command("set", 2..=MANY, &[], Redis::set),
    command("hset", 3..=MANY, &[], Redis::hset),
    command("hdel", 2..=MANY, &[], Redis::hdel),
    command("hget", 2..=2, &[], Redis::hget),
    command("hgetall", 1..=1, &[], Redis::hgetall),
    command("pexpire", 2..=MANY, &[], Redis::pexpire),
    command("pttl", 1..=1, &[], Redis::pttl),
];

/// Commands that have subcommands.
const CONTAINERS: [&str; 2] = ["client", "pubsub"];

fn find(words: &[Vec<u8>]) -> Result<(&'static Command, &[Vec<u8>]), String> {
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

fn wrong_count(name: &str) -> String {
    format!("ERR wrong number of arguments for '{name}' command")
}

fn ok() -> Reply {
    Ok(b"+OK\r\n".to_vec())
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
        let client = &self.clients[&conn];
        if !client.authenticated && !command.also.contains(&When::Stranger) {
            return Err(NO_AUTH.into());
        }
        let mut names = args.iter().filter(|_| upper != "SUBSCRIBE");
        let by_name = names.find_map(|arg| self.refused_names.get(arg));
        if let Some(error) = self.refused.get(&upper).or(by_name) {
            return Err(error.clone());
        }
        if !client.channels.is_empty() && !command.also.contains(&When::Subscribed) {
            let only = format!("only {FOR_SUBSCRIBERS} are allowed in this context");
            return Err(format!("ERR Can't execute '{name}': {only}"));
        }
        if self.loading && !command.also.contains(&When::Loading) {
            return Err(LOADING.into());
        }
        *self.commands.entry(upper).or_default() += 1;
        (command.run)(self, &Request { conn, name, args, now_millis })
    }

    /// Returns the client of the request.
    fn client(&mut self, call: &Request) -> &mut Client {
        self.clients.get_mut(&call.conn).expect("the client of a request exists")
    }

    /// Returns the fields of a hash, and creates it if the key is missing.
    fn fields(&mut self, key: &[u8]) -> Result<&mut Fields, String> {
        let new = || Entry { value: Value::Hash(Fields::new()), until_millis: None };
        match &mut self.keys.entry(key.to_vec()).or_insert_with(new).value {
            Value::Hash(fields) => Ok(fields),
            Value::Text => Err(WRONG_TYPE.into()),
        }
    }

    /// Removes a hash without fields, and its time to live.
    fn remove_if_empty(&mut self, key: &[u8]) {
        if self.fields(key).is_ok_and(|fields| fields.is_empty()) {
            self.keys.remove(key);
        }
    }

    // The commands.

    fn auth(&mut self, call: &Request) -> Reply {
        let given = match call.args {
            [password] => ("default".to_string(), text(password)),
            [user, password] => (text(user), text(password)),
            _ => return Err(SYNTAX.into()),
        };
        let allowed = match &self.required {
            Some(required) => *required == given,
            None if call.args.len() == 1 => return Err(NO_PASSWORD.into()),
            None => given.0 == "default",
        };
        if !allowed {
            return Err(WRONG_PASS.into());
        }
        self.client(call).authenticated = true;
        ok()
    }

    fn select(&mut self, call: &Request) -> Reply {
        match integer(&call.args[0]).ok_or(NO_INTEGER)? {
            0..16 => ok(),
            _ => Err(NO_DATABASE.into()),
        }
    }

    fn set_name(&mut self, call: &Request) -> Reply {
        match call.args[0].iter().all(u8::is_ascii_graphic) {
            true => ok(),
            false => Err(BAD_NAME.into()),
        }
    }

    fn ping(&mut self, call: &Request) -> Reply {
        let subscribed = !self.client(call).channels.is_empty();
        match call.args {
            [] if subscribed => Ok([array(2), bulk("pong"), bulk("")].concat()),
            [text] if subscribed => Ok([array(2), bulk("pong"), bulk(text)].concat()),
            [] => Ok(b"+PONG\r\n".to_vec()),
            [text] => Ok(bulk(text)),
            _ => Err(wrong_count(call.name)),
        }
    }

    fn subscribe(&mut self, call: &Request) -> Reply {
        let channels = &mut self.client(call).channels;
        let replies = call.args.iter().map(|channel| {
            channels.insert(channel.clone());
            [array(3), bulk("subscribe"), bulk(channel), number(channels.len())].concat()
        });
        Ok(replies.flatten().collect())
    }

    fn unsubscribe(&mut self, call: &Request) -> Reply {
        let channels = &mut self.client(call).channels;
        let all: Vec<_> = channels.iter().cloned().collect();
        let unwanted = if call.args.is_empty() { &all } else { call.args };
        if unwanted.is_empty() {
            return Ok([array(3), bulk("unsubscribe"), NOTHING.into(), number(0)].concat());
        }
        let replies = unwanted.iter().map(|channel| {
            channels.remove(channel);
            [array(3), bulk("unsubscribe"), bulk(channel), number(channels.len())].concat()
        });
        Ok(replies.flatten().collect())
    }

    fn publish_call(&mut self, call: &Request) -> Reply {
        Ok(number(self.publish(&text(&call.args[0]), &call.args[1])))
    }

    fn numsub_call(&mut self, call: &Request) -> Reply {
        let counts = call.args.iter().map(|channel| [bulk(channel), number(self.numsub(&text(channel)))]);
        Ok(array(2 * call.args.len()).into_iter().chain(counts.flatten().flatten()).collect())
    }

    fn del(&mut self, call: &Request) -> Reply {
        Ok(number(call.args.iter().filter(|key| self.keys.remove(*key).is_some()).count()))
    }

    fn exists(&mut self, call: &Request) -> Reply {
        Ok(number(call.args.iter().filter(|key| self.keys.contains_key(*key)).count()))
    }

    /// Executes `SET`, which tests use for keys of the wrong type.
    fn set(&mut self, call: &Request) -> Reply {
        let [key, _] = call.args else {
            return Err(SYNTAX.into());
        };
        self.keys.insert(key.clone(), Entry { value: Value::Text, until_millis: None });
        ok()
    }

    fn hset(&mut self, call: &Request) -> Reply {
        let (pairs, odd) = call.args[1..].as_chunks();
        if !odd.is_empty() {
            return Err(wrong_count(call.name));
        }
        let fields = self.fields(&call.args[0])?;
        let before = fields.len();
        for [field, value] in pairs {
            match fields.iter_mut().find(|(known, _)| known == field) {
                Some((_, old)) => old.clone_from(value),
                None => fields.push((field.clone(), value.clone())),
            }
        }
        Ok(number(fields.len() - before))
    }

    fn hdel(&mut self, call: &Request) -> Reply {
        let fields = self.fields(&call.args[0])?;
        let before = fields.len();
        fields.retain(|(field, _)| !call.args[1..].contains(field));
        let gone = before - fields.len();
        self.remove_if_empty(&call.args[0]);
        Ok(number(gone))
    }

    fn hget(&mut self, call: &Request) -> Reply {
        let fields = self.fields(&call.args[0])?;
        let value = fields.iter().find(|(field, _)| *field == call.args[1]).map(|(_, value)| bulk(value));
        self.remove_if_empty(&call.args[0]);
        Ok(value.unwrap_or_else(|| NOTHING.into()))
    }

    fn hgetall(&mut self, call: &Request) -> Reply {
        let fields = self.fields(&call.args[0])?;
        let words = fields.iter().flat_map(|(field, value)| [bulk(field), bulk(value)]);
        let reply = array(2 * fields.len()).into_iter().chain(words.flatten()).collect();
        self.remove_if_empty(&call.args[0]);
        Ok(reply)
    }

    fn pexpire(&mut self, call: &Request) -> Reply {
        if let Some(option) = call.args.get(2) {
            return Err(format!("ERR Unsupported option {}", text(option)));
        }
        let span = integer(&call.args[1]).ok_or(NO_INTEGER)?;
        let until = (call.now_millis as i64).checked_add(span).ok_or(BAD_EXPIRE)?;
        let Some(entry) = self.keys.get_mut(&call.args[0]) else {
            return Ok(number(0));
        };
        entry.until_millis = Some(until.max(0) as u64);
        if span <= 0 {
            self.keys.remove(&call.args[0]);
        }
        Ok(number(1))
    }

    fn pttl(&mut self, call: &Request) -> Reply {
        match self.keys.get(&call.args[0]).map(|entry| entry.until_millis) {
            None => Ok(b":-2\r\n".to_vec()),
            Some(None) => Ok(b":-1\r\n".to_vec()),
            Some(Some(until_millis)) => Ok(number((until_millis - call.now_millis) as usize)),
        }
    }
}
