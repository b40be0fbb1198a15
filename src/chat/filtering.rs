//! The filter of words is applied to every text of a client that others may read. `data` and binary messages are not text.

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::access::{Filter, FilterSettings, FilterVerdict};
use crate::protocol::{Body, Event, Moderation, Payload, Problem, Request, Topic};
use crate::text::{Name, RoomName, Text};

/// The filter, and the settings that it was made of.
#[derive(Debug)]
pub struct WordFilter {
    settings: FilterSettings,
    filter: Filter,
    /// Texts with a word, for moderators.
    flagged: Vec<Text>,
}

impl WordFilter {
    /// Makes the filter of these settings, or keeps the present one if it is of the same. A filter that can't be made is none;
    /// the configuration was checked for that.
    pub fn of(settings: Option<&FilterSettings>, present: Option<WordFilter>) -> Option<WordFilter> {
        let settings = settings?;
        if let Some(present) = present.filter(|present| present.settings == *settings) {
            return Some(present);
        }
        let filter = Filter::new(settings);
        debug_assert!(filter.is_ok(), "the configuration was checked: {filter:?}");
        Some(WordFilter { settings: settings.clone(), filter: filter.ok()?, flagged: Vec::new() })
    }

    /// Passes, masks or refuses a text.
    fn text(&mut self, text: Text) -> Result<Text, Problem> {
        match self.filter.check(text.as_str()) {
            FilterVerdict::Clean => Ok(text),
            FilterVerdict::Mask(masked) => Text::clean_lines(&masked).ok_or(Problem::Filtered),
            FilterVerdict::Refuse => Err(Problem::Filtered),
            FilterVerdict::Flag => {
                self.flagged.push(text.clone());
                Ok(text)
            }
        }
    }

    fn optional(&mut self, text: Option<Text>) -> Result<Option<Text>, Problem> {
        text.map(|text| self.text(text)).transpose()
    }

    /// Passes or refuses a name.
    fn name(&mut self, name: &str) -> Result<(), Problem> {
        let verdict = self.filter.check(name);
        if refuses_name(&verdict) {
            return Err(Problem::Filtered);
        }
        if verdict == FilterVerdict::Flag {
            self.flagged.extend(Text::clean(name));
        }
        Ok(())
    }

    fn body(&mut self, body: Body) -> Result<Body, Problem> {
        match body {
            Body::Text(text) => self.text(text).map(Body::Text),
            data @ Body::Data(_) => Ok(data),
        }
    }

    fn payload(&mut self, payload: Payload) -> Result<Payload, Problem> {
        let Payload::Text(raw) = payload else {
            return Ok(payload);
        };
        match self.filter.check(&raw) {
            FilterVerdict::Clean => Ok(Payload::Text(raw)),
            FilterVerdict::Mask(masked) => Ok(Payload::Text(masked.into())),
            FilterVerdict::Refuse => Err(Problem::Filtered),
            FilterVerdict::Flag => {
                self.flagged.extend(Text::clean_lines(&raw));
                Ok(Payload::Text(raw))
            }
        }
    }

    /// Passes an action, with its reason masked if need be.
    fn moderation(&mut self, moderation: Moderation) -> Result<Moderation, Problem> {
        Ok(match moderation {
            Moderation::Kick { name, reason } => Moderation::Kick { name, reason: self.optional(reason)? },
            Moderation::Ban { target, time, reason } => {
                Moderation::Ban { target, time, reason: self.optional(reason)? }
            }
            Moderation::Mute { .. }
            | Moderation::Unmute { .. }
            | Moderation::Unban { .. }
            | Moderation::Unregister { .. }
            | Moderation::Bans => moderation,
        })
    }

    /// Passes a request, with its texts masked if need be. The match has no wildcard, so a new text must be decided here.
    fn request(&mut self, request: Request) -> Result<Request, Problem> {
        Ok(match request {
            Request::Say { room, kind, body, receipt } => {
                Request::Say { room, kind, body: self.body(body)?, receipt }
            }
            Request::Relay(payload) => Request::Relay(self.payload(payload)?),
            Request::Private { to, text, receipt } => {
                Request::Private { to, text: self.text(text)?, receipt }
            }
            Request::Answer(text) => Request::Answer(self.text(text)?),
            Request::Away(text) => Request::Away(self.optional(text)?),
            // A client may always leave, without the reason if need be.
            Request::Quit(reason) => Request::Quit(self.optional(reason).unwrap_or_default()),
            Request::Topic { room, text: Some(Topic(text)) } => {
                Request::Topic { room, text: Some(Topic(self.optional(text)?)) }
            }
            Request::Moderate(moderation) => Request::Moderate(self.moderation(moderation)?),
            Request::Nick(name) => {
                self.name(name.as_str())?;
                Request::Nick(name)
            }
            // The name of a room is checked where the room is opened.
            Request::Join { .. }
            | Request::Topic { text: None, .. }
            | Request::StayGuest
            | Request::Who(_)
            | Request::Rooms
            | Request::Leave(_)
            | Request::History { .. }
            | Request::Login { .. }
            | Request::Register
            | Request::Whois(_)
            | Request::Ignore(_)
            | Request::Unignore(_)
            | Request::Help
            | Request::Ping => request,
        })
    }
}

/// Whether a name is refused. A masked name would be another one.
fn refuses_name(verdict: &FilterVerdict) -> bool {
    matches!(verdict, FilterVerdict::Mask(_) | FilterVerdict::Refuse)
}

impl Chat {
    /// Passes a request through the filter, if there is one.
    pub(super) fn filter(
        &mut self,
        id: ClientId,
        request: Request,
        ctx: &mut Ctx<'_>,
    ) -> Result<Request, Problem> {
        let Some(filter) = &mut self.filter else {
            return Ok(request);
        };
        let request = filter.request(request)?;
        let author = self.name(id).cloned();
        self.report_flagged(author.as_ref(), ctx);
        Ok(request)
    }

    /// Passes a message of an HTTP request through the filter, with its author's name.
    pub(super) fn filter_published(
        &mut self,
        from: &Name,
        body: Body,
        ctx: &mut Ctx<'_>,
    ) -> Result<Body, Problem> {
        let Some(filter) = &mut self.filter else {
            return Ok(body);
        };
        filter.name(from.as_str())?;
        let body = filter.body(body)?;
        self.report_flagged(Some(from), ctx);
        Ok(body)
    }

    /// Passes an action of an HTTP request.
    pub(super) fn filter_moderation(
        &mut self,
        by: &Name,
        moderation: Moderation,
        ctx: &mut Ctx<'_>,
    ) -> Result<Moderation, Problem> {
        let Some(filter) = &mut self.filter else {
            return Ok(moderation);
        };
        let moderation = filter.moderation(moderation)?;
        self.report_flagged(Some(by), ctx);
        Ok(moderation)
    }

    /// Passes the name of a client that enters.
    pub(super) fn filter_name(&mut self, name: &Name, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        let checked = self.filter.as_mut().map_or(Ok(()), |filter| filter.name(name.as_str()));
        self.report_flagged(Some(name), ctx);
        checked
    }

    /// Whether the filter refuses a name, which is not used yet.
    pub(super) fn filters_out(&mut self, name: &Name) -> bool {
        self.filter.as_mut().is_some_and(|filter| refuses_name(&filter.filter.check(name.as_str())))
    }

    /// Passes the name of a room that a client opens. Rooms of the configuration have the names that they have.
    pub(super) fn filter_room(&mut self, room: &RoomName, ctx: &mut Ctx<'_>) -> Result<(), Problem> {
        if self.filter.is_none() || self.rooms.find(room).is_some() || self.rooms.is_configured(room) {
            return Ok(());
        }
        let checked = self.filter.as_mut().map_or(Ok(()), |filter| filter.name(room.as_str()));
        self.report_flagged(None, ctx);
        checked
    }

    /// Sends moderators the text that the filter has flagged.
    fn report_flagged(&mut self, author: Option<&Name>, ctx: &mut Ctx<'_>) {
        let texts =
            self.filter.as_mut().map(|filter| std::mem::take(&mut filter.flagged)).unwrap_or_default();
        for text in texts {
            for id in self.access.logged_in() {
                if self.may_moderate(id) {
                    ctx.deliver(id, Event::Flagged { author: author.cloned(), text: text.clone() });
                }
            }
        }
    }
}
