//! Who may ask: pages of other origins may not, and names of other hosts are not ours.

use http::StatusCode;
use http::header;
use http::uri::Authority;

use super::error;
use crate::codec::http::{HttpRequest, HttpResponse, origin_of};
use crate::config::{AllowedHost, AllowedOrigin, HostName};

/// What a request is checked against before anything is done about it.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// Whether the listener is on a loopback address.
    pub loopback: bool,
    /// `--host`: names that every listener may be asked for. Without any, a listener that is not on a loopback address has all.
    pub hosts: &'a [AllowedHost],
    /// `--origin`: pages besides our own that may talk to us.
    pub origins: &'a [AllowedOrigin],
}

impl Guard<'_> {
    /// Refuses a name that is not ours. The owner of a page can point a name of theirs at this machine (DNS rebinding):
    /// the browser then takes us for the page's own server, and no check of the origin helps.
    ///
    /// # Errors
    /// The answer that says so.
    pub fn check_host(&self, call: &HttpRequest) -> Result<(), HttpResponse> {
        // No browser leaves it out.
        let Some(asked) = call.headers().get(header::HOST) else {
            return Ok(());
        };
        if !self.loopback && self.hosts.is_empty() {
            return Ok(());
        }
        let asked = asked.to_str().ok().and_then(HostName::of_field);
        let is_ours = asked.as_ref().is_some_and(|asked| self.is_fixed(asked.name()));
        if is_ours || self.hosts.iter().any(|host| host.allows(asked.as_ref())) {
            return Ok(());
        }
        let text = match self.loopback {
            true => {
                "this server is open to its own machine only, under the name localhost; --host allows others"
            }
            false => "this server is not known under that name; --host allows more names",
        };
        Err(error(StatusCode::FORBIDDEN, "forbidden_host", text))
    }

    /// Whether nobody can point that host elsewhere: browsers look up neither `localhost` nor an address. A listener on a
    /// loopback address has no other addresses than those.
    fn is_fixed(&self, name: &str) -> bool {
        let address = name.parse::<std::net::IpAddr>();
        let is_own_address = address.is_ok_and(|address| address.is_loopback() || !self.loopback);
        name == "localhost" || name.ends_with(".localhost") || is_own_address
    }

    /// A browser says which page a request comes from; a program says nothing, and is no page's victim.
    ///
    /// # Errors
    /// The answer that refuses a page that is not ours.
    pub fn check_origin(&self, call: &HttpRequest) -> Result<(), HttpResponse> {
        let Some(origin) = origin_of(call.headers()) else {
            return Ok(());
        };
        match allows(self.origins, origin) || is_ours(origin, call) {
            true => Ok(()),
            false => {
                let text = "pages of other origins may not do that; --origin allows more";
                Err(error(StatusCode::FORBIDDEN, "forbidden_origin", text))
            }
        }
    }

    /// Whether the request comes from a page that `--origin` allows.
    pub fn is_from_allowed_origin(&self, call: &HttpRequest) -> bool {
        origin_of(call.headers()).is_some_and(|origin| allows(self.origins, origin))
    }
}

fn allows(origins: &[AllowedOrigin], origin: &str) -> bool {
    origins.iter().any(|allowed| allowed.allows(origin))
}

/// Completes an answer with the fields that every answer has, or that depend on the page that asks. Every answer passes
/// here, errors and what is answered to unreadable requests too.
pub fn complete(mut answer: HttpResponse, origin: Option<&str>, origins: &[AllowedOrigin]) -> HttpResponse {
    // What is said changes from one moment to the next, and a cache may store even errors (RFC 9110, 15.1).
    if answer.fields.iter().all(|(name, _)| *name != header::CACHE_CONTROL) {
        answer = answer.with(header::CACHE_CONTROL, "no-store");
    }
    if origins.is_empty() {
        return answer;
    }
    // An answer to one page must not be used for another, nor one without an origin for a page (Fetch, 3.2.5).
    answer = answer.with(header::VARY, "origin");
    match origin.filter(|origin| allows(origins, origin)) {
        None => answer,
        Some(origin) => answer
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_string())
            .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
    }
}

/// Whether the page was served by the host that is asked now. Its scheme may be another one: a proxy in front may speak
/// TLS.
fn is_ours(origin: &str, call: &HttpRequest) -> bool {
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
