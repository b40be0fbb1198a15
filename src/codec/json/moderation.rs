//! The fields of moderators' requests, by JSON and by HTTP.

use std::time::Duration;

use serde::Deserialize;

use super::{bad_request, malformed, missing, typed_name};
use crate::access::BanTarget;
use crate::protocol::{Moderation, Problem, kept_text};
use crate::text::Text;

/// The longest time of a mute or ban, in seconds: a hundred years. More is surely a mistake in the unit.
pub const SECONDS_MAX: u64 = 100 * 366 * 24 * 3600;

/// The fields of some requests.
#[derive(Deserialize, Default)]
pub struct ModerationFields {
    name: Option<String>,
    target: Option<String>,
    seconds: Option<u64>,
    reason: Option<String>,
}

/// Reads an action from a JSON object.
///
/// # Errors
/// A field is missing or invalid, or there is no such action.
pub fn moderation(word: &str, raw: &str) -> Result<Moderation, Problem> {
    let fields: ModerationFields = serde_json::from_str(raw).map_err(|error| malformed(&error))?;
    let name = || {
        let name = fields.name.as_deref().or(fields.target.as_deref());
        typed_name(name)?.ok_or_else(|| missing(word, "name"))
    };
    let target = || -> Result<BanTarget, Problem> {
        let raw = fields.target.as_deref().or(fields.name.as_deref());
        raw.ok_or_else(|| missing(word, "target"))?.parse().map_err(Problem::BadRequest)
    };
    let reason = || fields.reason.as_deref().and_then(Text::clean);
    let time = match fields.seconds {
        Some(seconds) if seconds == 0 || seconds > SECONDS_MAX => {
            return Err(bad_request("seconds is a whole number from 1, up to a hundred years"));
        }
        seconds => seconds.map(Duration::from_secs),
    };
    Ok(match word {
        "kick" => Moderation::Kick { name: name()?, reason: reason() },
        "mute" => Moderation::Mute { name: name()?, time },
        "unmute" => Moderation::Unmute { name: name()? },
        "ban" => {
            let reason = kept_text("the reason of a ban", fields.reason.as_deref().unwrap_or_default())?;
            Moderation::Ban { target: target()?, time, reason }
        }
        "unban" => Moderation::Unban { target: target()? },
        "unregister" => Moderation::Unregister { name: name()? },
        "bans" => Moderation::Bans,
        other => return Err(super::unknown_type(other)),
    })
}
