//! Answers to private messages, absence, and information about a client.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Event, Problem, Whois};
use crate::text::Text;

impl Chat {
    /// Sends a text to the sender of the last private message.
    pub(super) fn answer(&mut self, id: ClientId, text: Text, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let to = self.last_sender(id).and_then(|sender| self.name(sender)).map(Text::of_name);
        let to = to.ok_or(Problem::NobodyToAnswer)?;
        self.send_private(id, &to, text, false, ctx)
    }

    /// The sender of the last private message, if it is still here. Somebody else may have its name.
    pub(super) fn last_sender(&self, id: ClientId) -> Option<ClientId> {
        let (sender, unique) = self.access.courtesy(id)?.last_sender?;
        self.client(sender).map(|_| sender).filter(|sender| self.unique_id(*sender) == unique)
    }

    /// Records that a client is away, or back.
    pub(super) fn set_away(&mut self, id: ClientId, text: Option<Text>, ctx: &mut Ctx<'_>) {
        let is_away = text.is_some();
        if is_away || self.access.courtesy(id).is_some() {
            self.access.courtesy_mut(id).away = text;
        }
        ctx.reply(id, Event::YouAreAway(is_away));
    }

    /// Records the sender of a private message, for an answer, and replies to the sender if the client is away.
    pub(super) fn record_private(&mut self, to: ClientId, from: ClientId, ctx: &mut Ctx<'_>) {
        let unique = self.unique_id(from);
        let courtesy = self.access.courtesy_mut(to);
        courtesy.last_sender = Some((from, unique));
        let away = courtesy.away.clone();
        if let Some((text, name)) = away.zip(self.existing_name(to)) {
            ctx.reply(from, Event::IsAway { name, text });
        }
    }

    /// Asks the server for the rest of what it has about a client. Moderators get its address too.
    pub(super) fn whois(&self, id: ClientId, name: &Text, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let of = self.find_client(name.as_str()).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        let found = self.existing_name(of).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        if of.remote_key().is_some() {
            return Err(Problem::ElsewhereOnly(found));
        }
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
        ctx.whois(id, of, whois, self.may_moderate(id));
        Ok(())
    }
}
