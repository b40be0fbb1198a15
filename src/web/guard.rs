//! Who may ask: pages of other origins may not, and names of other hosts are not ours.

use http::StatusCode;
use http::header;
use http::uri::Authority;

use super::error;
use crate::codec::http::{Answer, Call};

/// What a request is checked against before anything is done about it.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// Whether the door is on a loopback address.
    pub loopback: bool,
    /// `--host`: names besides those of this machine that such a door may be asked for.
    pub hosts: &'a [String],
    /// `--origin`: pages besides our own that may talk to us.
    pub origins: &'a [String],
}

impl Guard<'_> {
    /// A name that a page's owner has pointed at this machine is how strangers reach a door that is open to this machine
    /// alone (DNS rebinding): it is not one of this machine's names.
    ///
    /// # Errors
    /// The answer that says so.
    pub fn check_host(&self, call: &Call) -> Result<(), Answer> {
        // One that can't be read is not ours.
        let asked = call.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        let Some(asked) = asked.filter(|_| self.loopback) else {
            return Ok(());
        };
        let name = host_name(asked);
        let allowed = |host: &String| {
            host == "*" || host.eq_ignore_ascii_case(&name) || host.eq_ignore_ascii_case(asked)
        };
        match is_loopback(&name) || self.hosts.iter().any(allowed) {
            true => Ok(()),
            false => {
                let text = "this server is open to its own machine only, under the name localhost; --host allows others";
                Err(error(StatusCode::FORBIDDEN, "forbidden_host", text))
            }
        }
    }

    /// A browser says which page a request comes from; a program says nothing, and is no page's victim.
    ///
    /// # Errors
    /// The answer that refuses a page that is not ours.
    pub fn check_origin(&self, call: &Call) -> Result<(), Answer> {
        let Some(origin) = origin_of(call) else {
            return Ok(());
        };
        match self.allowed_origin(call).is_some() || is_ours(origin, call) {
            true => Ok(()),
            false => {
                let text = "pages of other origins may not do that; --origin allows more";
                Err(error(StatusCode::FORBIDDEN, "forbidden_origin", text))
            }
        }
    }

    /// The origin of the request, if it is one of those that `--origin` allows.
    pub fn allowed_origin<'c>(&self, call: &'c Call) -> Option<&'c str> {
        let origin = origin_of(call)?;
        let allowed = |one: &String| one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin);
        self.origins.iter().any(allowed).then_some(origin)
    }
}

/// The origin that a request names. One that can't be read is somebody else's.
fn origin_of(call: &Call) -> Option<&str> {
    call.headers().get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null"))
}

/// Whether the page was served by the host that is asked now. Its scheme may be another one: a proxy in front may speak
/// TLS.
fn is_ours(origin: &str, call: &Call) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let parts = |raw: &str| {
        let authority = raw.parse::<Authority>().ok()?;
        Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(default_port)))
    };
    let host = call.headers().get(header::HOST).and_then(|host| host.to_str().ok()).and_then(parts);
    host.is_some() && host == parts(authority)
}

/// The name in `name:port`, without the brackets of an IPv6 address.
fn host_name(raw: &str) -> String {
    let name =
        raw.parse::<Authority>().map_or_else(|_| raw.to_string(), |authority| authority.host().to_string());
    name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
}

fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}
