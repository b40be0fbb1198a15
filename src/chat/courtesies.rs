//! Answers to private messages, absence, and information about a client.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::access::Role;
use crate::protocol::{Event, Problem, Whois};
use crate::text::{Name, Text};

impl Chat {
    /// Sends a text to the sender of the last private message.
    pub(super) fn answer(&mut self, id: ClientId, text: Text, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let last = self.access.courtesy(id).and_then(|courtesy| courtesy.last_sender.as_ref());
        let to = last.map(Text::of_name).ok_or(Problem::NobodyToAnswer)?;
        self.send_private(id, &to, text, false, ctx)
    }

    /// Records that a client is away, or back.
    pub(super) fn set_away(&mut self, id: ClientId, text: Option<Text>, ctx: &mut Ctx<'_>) {
        let is_away = text.is_some();
        if is_away || self.access.courtesy(id).is_some() {
            self.access.courtesy_mut(id).away = text;
        }
        ctx.reply(id, Event::YouAreAway(is_away));
    }

    /// Records the sender of a private message, for an answer, and tells the sender if the client is away.
    pub(super) fn record_private(&mut self, to: ClientId, from: ClientId, sender: Name, ctx: &mut Ctx<'_>) {
        let courtesy = self.access.courtesy_mut(to);
        courtesy.last_sender = Some(sender);
        let away = courtesy.away.clone();
        if let Some((text, name)) = away.zip(self.existing_name(to)) {
            ctx.reply(from, Event::IsAway { name, text });
        }
    }

    /// Asks the server for the rest of what it has about a client. Moderators get its address too.
    pub(super) fn whois(&self, id: ClientId, name: &Text, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let of = self.find_client(name.as_str()).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        let found = self.existing_name(of).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        let identity = self.access.identity(of);
        let whois = Whois {
            name: found,
            account: identity.account.clone(),
            role: identity.role,
            away: self.access.courtesy(of).and_then(|courtesy| courtesy.away.clone()),
            connected: None,
            idle: None,
            address: None,
        };
        let may_see_address = self.access.identity(id).role >= Role::Moderator;
        ctx.whois(id, of, whois, may_see_address);
        Ok(())
    }
}
