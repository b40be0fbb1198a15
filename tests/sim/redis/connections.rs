//! The commands for connections and channels.

use super::commands::{NO_INTEGER, Reply, Request, SYNTAX, ok, wrong_count};
use super::resp::{Answer, integer};
use super::{DATABASES, Redis, text};

const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const NO_DATABASE: &str = "ERR DB index is out of range";
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

fn confirmation(word: &str, channel: Option<&Vec<u8>>, channels: usize) -> Answer {
    Answer::Array(vec![Answer::bulk(word), Answer::found(channel.cloned()), Answer::count(channels)])
}

impl Redis {
    pub fn auth(&mut self, call: &Request) -> Reply {
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

    pub fn select(&mut self, call: &Request) -> Reply {
        let number = integer(&call.args[0]).ok_or(NO_INTEGER)?;
        let database = usize::try_from(number).ok().filter(|database| *database < DATABASES);
        self.database = database.ok_or(NO_DATABASE)?;
        // A script only changes its own database.
        if !call.by_script {
            self.client(call).database = self.database;
        }
        ok()
    }

    pub fn set_name(&mut self, call: &Request) -> Reply {
        match call.args[0].iter().all(u8::is_ascii_graphic) {
            true => ok(),
            false => Err(BAD_NAME.into()),
        }
    }

    pub fn ping(&mut self, call: &Request) -> Reply {
        let subscribed = !self.client(call).channels.is_empty();
        match call.args {
            [] if subscribed => Ok(Answer::words(["pong", ""])),
            [text] if subscribed => Ok(Answer::words([b"pong", &text[..]])),
            [] => Ok(Answer::Status("PONG".into())),
            [text] => Ok(Answer::bulk(text.clone())),
            _ => Err(wrong_count(call.name)),
        }
    }

    pub fn subscribe(&mut self, call: &Request) -> Reply {
        let channels = &mut self.client(call).channels;
        let replies = call.args.iter().map(|channel| {
            channels.insert(channel.clone());
            confirmation("subscribe", Some(channel), channels.len())
        });
        Ok(Answer::Several(replies.collect()))
    }

    pub fn unsubscribe(&mut self, call: &Request) -> Reply {
        let channels = &mut self.client(call).channels;
        let all: Vec<_> = channels.iter().cloned().collect();
        let unwanted = if call.args.is_empty() { &all } else { call.args };
        if unwanted.is_empty() {
            return Ok(confirmation("unsubscribe", None, 0));
        }
        let replies = unwanted.iter().map(|channel| {
            channels.remove(channel);
            confirmation("unsubscribe", Some(channel), channels.len())
        });
        Ok(Answer::Several(replies.collect()))
    }

    pub fn publish_call(&mut self, call: &Request) -> Reply {
        Ok(Answer::count(self.publish(&text(&call.args[0]), &call.args[1])))
    }

    pub fn numsub_call(&mut self, call: &Request) -> Reply {
        let count = |channel: &Vec<u8>| Answer::count(self.numsub(&text(channel)));
        let counts = call.args.iter().flat_map(|channel| [Answer::bulk(channel.clone()), count(channel)]);
        Ok(Answer::Array(counts.collect()))
    }
}
