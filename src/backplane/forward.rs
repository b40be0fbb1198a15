//! Requests that one process forwards to another, and their outcomes, as JSON in the channels of processes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::json;
use crate::protocol::{
    ForwardedAnswer, ForwardedBy, ForwardedRequest, Moderation, Moderator, Outcome, Problem, Whois,
};
use crate::text::{Name, Text, TypedName};

use super::command::hex;
use super::entry::to_json;

/// A request. Moderation has the fields of the JSON request of the same name too.
#[derive(Serialize, Deserialize, Default)]
struct ForwardedFields {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default)]
    address: bool,
}

/// An outcome: an error's code, the text of a done action, or information about a client.
#[derive(Serialize, Deserialize, Default)]
struct OutcomeFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    away: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    connected: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

/// The payload of a request about the client with that name.
pub fn encode_request(from: ForwardedBy, name: &Name, request: &ForwardedRequest) -> String {
    let name = name.as_str().to_string();
    let fields = match request {
        ForwardedRequest::Moderate { by, moderation } => {
            let time = match moderation {
                Moderation::Mute { time, .. } | Moderation::Ban { time, .. } => *time,
                _ => None,
            };
            ForwardedFields {
                kind: moderation.word().into(),
                name,
                by: Some(by.name.as_str().into()),
                role: Some(by.role.as_str().into()),
                // The other process refuses a time under one second.
                seconds: time.map(|time| time.as_secs().max(1)),
                reason: moderation.reason().map(|reason| reason.as_str().into()),
                address: false,
            }
        }
        ForwardedRequest::Whois { with_address, .. } => ForwardedFields {
            kind: "whois".into(),
            name,
            address: *with_address,
            ..ForwardedFields::default()
        },
    };
    format!("chinwag request {} {} {}", hex(from.process), from.ask, to_json(&fields))
}

/// Parses `PROCESS ASK JSON`.
pub fn decode_request(raw: &str) -> Option<(ForwardedBy, ForwardedRequest)> {
    let [process, ask, raw] = raw.splitn(3, ' ').collect::<Vec<_>>().try_into().ok()?;
    let from = ForwardedBy { process: u64::from_str_radix(process, 16).ok()?, ask: ask.parse().ok()? };
    let fields: ForwardedFields = serde_json::from_str(raw).ok()?;
    let request = match &*fields.kind {
        "whois" => ForwardedRequest::Whois {
            name: TypedName::parse(&fields.name).ok()?,
            with_address: fields.address,
        },
        kind => ForwardedRequest::Moderate {
            by: Moderator { name: Name::of_remote(&fields.by?)?, role: fields.role?.parse().ok()? },
            moderation: json::moderation(kind, raw).ok()?,
        },
    };
    Some((from, request))
}

/// The payload of an outcome.
pub fn encode_outcome(ask: u64, outcome: &Outcome) -> String {
    let empty = OutcomeFields::default();
    let error = |problem: &Problem| Some(problem.code().to_string());
    let string = |name: &Name| Some(name.as_str().to_string());
    let fields = match outcome {
        Ok(ForwardedAnswer::Whois(whois)) => OutcomeFields {
            name: string(&whois.name),
            role: Some(whois.role.as_str().into()),
            account: whois.account.as_ref().and_then(string),
            away: whois.away.as_ref().map(|text| text.as_str().into()),
            connected: whois.connected.map(|time| time.as_secs()),
            idle: whois.idle.map(|time| time.as_secs()),
            address: whois.address.clone(),
            ..empty
        },
        Ok(ForwardedAnswer::Moderated(text)) => OutcomeFields { text: Some(text.as_str().into()), ..empty },
        Err(problem @ Problem::RoleTooHigh { name, role }) => {
            let role = Some(role.as_str().into());
            OutcomeFields { error: error(problem), name: string(name), role, ..empty }
        }
        Err(problem @ Problem::NotMuted(name)) => {
            OutcomeFields { error: error(problem), name: string(name), ..empty }
        }
        Err(problem @ Problem::NoSuchClient(name)) => {
            OutcomeFields { error: error(problem), name: Some(name.as_str().into()), ..empty }
        }
        Err(problem @ Problem::CantModerate(why)) => {
            OutcomeFields { error: error(problem), text: Some(why.clone()), ..empty }
        }
        Err(problem) => OutcomeFields { error: error(problem), ..empty },
    };
    format!("chinwag outcome {ask} {}", to_json(&fields))
}

/// Parses `ASK JSON`. An error that this process does not know is no outcome.
pub fn decode_outcome(raw: &str) -> Option<(u64, Option<Outcome>)> {
    let (ask, raw) = raw.split_once(' ')?;
    let fields: OutcomeFields = serde_json::from_str(raw).ok()?;
    Some((ask.parse().ok()?, fields.outcome()))
}

impl OutcomeFields {
    fn outcome(self) -> Option<Outcome> {
        let name = || Name::of_remote(self.name.as_deref()?);
        let role = || self.role.as_deref()?.parse().ok();
        let text = |text: Option<String>| text.as_deref().and_then(Text::clean);
        Some(match self.error.as_deref() {
            Some("role_too_high") => Err(Problem::RoleTooHigh { name: name()?, role: role()? }),
            Some("nobody") => Err(Problem::NoSuchClient(TypedName::parse(&self.name?).ok()?)),
            Some("not_muted") => Err(Problem::NotMuted(name()?)),
            Some("cant_moderate") => Err(Problem::CantModerate(self.text?)),
            Some("filtered") => Err(Problem::Filtered),
            Some(_) => return None,
            None if self.text.is_some() => Ok(ForwardedAnswer::Moderated(text(self.text)?)),
            None => Ok(ForwardedAnswer::Whois(Box::new(Whois {
                name: name()?,
                role: role()?,
                account: self.account.as_deref().and_then(Name::of_remote),
                away: text(self.away),
                connected: self.connected.map(Duration::from_secs),
                idle: self.idle.map(Duration::from_secs),
                address: text(self.address).map(|address| address.as_str().into()),
            }))),
        })
    }
}
