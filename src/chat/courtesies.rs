//! Answers to private messages, absence, and information about a client.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Event, ForwardedBy, Holder, LocalEvent, Problem, UniqueId, Whois};
use crate::text::{Name, Text, TypedName};

/// The state of a client for `/away` and `/reply`.
#[derive(Default, Debug)]
pub struct Courtesy {
    away: Option<Text>,
    /// The sender of the last private message, and its name then.
    last_sender: Option<Holder>,
}

/// The recipient of information about a client: a client here, or the process that has forwarded the request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    Client(ClientId),
    Process(ForwardedBy),
}

/// The sender of a private message.
#[derive(Debug)]
pub struct Sent {
    pub by: UniqueId,
    pub from: Name,
    /// `None` for a client of another process.
    pub here: Option<ClientId>,
}

impl Chat {
    /// Sends a text to the sender of the last private message.
    pub(super) fn answer(&mut self, id: ClientId, text: Text, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let last = self.last_sender(id).ok_or(Problem::NobodyToAnswer)?;
        // Somebody else may have its name now.
        let is_last = |holder: &Holder| holder.id == last.id;
        if last.id.process != self.process && !ctx.facts.holder.as_ref().is_some_and(is_last) {
            return Err(Problem::NobodyToAnswer);
        }
        self.send_private(id, &TypedName::of(&last.name), text, false, ctx)
    }

    /// The sender of the last private message, if it is still here or at another process, with its present name if it is here.
    pub(super) fn last_sender(&self, id: ClientId) -> Option<Holder> {
        let last = self.courtesies.get(id.0)?.last_sender.clone()?;
        if last.id.process != self.process {
            return Some(last);
        }
        let sender = self.clients.find(last.id.serial)?;
        let name = self.name(sender)?.clone();
        // A sender that has just left has freed its name, and another client may have it.
        (self.find_client(name.as_str()) == Some(sender)).then_some(Holder { id: last.id, name })
    }

    /// Records that a client is away, or back.
    pub(super) fn set_away(&mut self, id: ClientId, text: Option<Text>, ctx: &mut Ctx<'_>) {
        let is_away = text.is_some();
        if is_away || self.courtesies.get(id.0).is_some() {
            self.courtesies.get_or_default(id.0).away = text;
        }
        ctx.reply(id, Event::YouAreAway(is_away));
    }

    /// Records the sender of a private message, for an answer, and replies to the sender if the client is away.
    pub(super) fn record_private(&mut self, to: ClientId, sent: Sent, ctx: &mut Ctx<'_>) {
        let courtesy = self.courtesies.get_or_default(to.0);
        courtesy.last_sender = Some(Holder { id: sent.by, name: sent.from });
        let away = courtesy.away.clone();
        if let Some((text, name)) = away.zip(self.existing_name(to)) {
            match sent.here {
                Some(from) => ctx.reply(from, Event::IsAway { name, text }),
                None => ctx.share(LocalEvent::Away { by: sent.by, name, text }),
            }
        }
    }

    /// Asks the server for the rest of what it has about a client.
    pub(super) fn whois(
        &self,
        to: Asker,
        name: &TypedName,
        with_address: bool,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let of = self.find_client(name.as_str()).ok_or_else(|| nobody_here(name, ctx))?;
        let found = self.existing_name(of).ok_or_else(|| Problem::NoSuchClient(name.clone()))?;
        let identity = self.access.identity(of);
        let whois = Whois {
            name: found,
            account: identity.account.clone(),
            role: identity.role,
            away: self.courtesies.get(of.0).and_then(|courtesy| courtesy.away.clone()),
            connected: None,
            idle: None,
            address: None,
        };
        ctx.whois(to, of, whois, with_address);
        Ok(())
    }
}

/// The problem of a request about a client that is not at this process.
pub(super) fn nobody_here(name: &TypedName, ctx: &Ctx<'_>) -> Problem {
    match ctx.facts.holder.as_ref().filter(|holder| holder.name.same_as(name.as_str())) {
        Some(holder) => Problem::Unreachable(holder.name.clone()),
        None => Problem::NoSuchClient(name.clone()),
    }
}
