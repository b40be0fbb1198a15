//! Access rules for browsers: the allowed hosts and origins.

use http::StatusCode;
use http::header;
use http::uri::Authority;

use super::error;
use crate::codec::http::{HttpRequest, HttpResponse, origin_of};
use crate::config::{AllowedHost, AllowedOrigin, HostName};

/// The allowed hosts and origins of a listener.
#[derive(Clone, Copy, Debug)]
pub struct AccessRules<'a> {
    /// Whether the listener is on a loopback address.
    pub loopback: bool,
    /// `--host`. If it is empty, a listener on another than a loopback address accepts all hosts.
    pub hosts: &'a [AllowedHost],
    /// `--origin`, in addition to the server's own page.
    pub origins: &'a [AllowedOrigin],
}

impl AccessRules<'_> {
    /// Refuses an unknown `Host`. The owner of a page can point a name at this machine (DNS rebinding). The page then has the
    /// same origin as this server, so the check of the origin can't refuse it.
    ///
    /// # Errors
    /// The response 403.
    pub fn check_host(&self, request: &HttpRequest) -> Result<(), HttpResponse> {
        // Every browser sends the field, so the client is a program.
        let Some(requested) = request.headers().get(header::HOST) else {
            return Ok(());
        };
        if !self.loopback && self.hosts.is_empty() {
            return Ok(());
        }
        let requested = requested.to_str().ok().and_then(HostName::of_field);
        let is_allowed =
            requested.as_ref().is_some_and(|requested| self.is_independent_of_dns(requested.name()));
        if is_allowed || self.hosts.iter().any(|host| host.allows(requested.as_ref())) {
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

    /// Whether DNS has no influence on the host: browsers resolve neither `localhost` nor an address. A listener on a loopback
    /// address accepts only loopback addresses.
    fn is_independent_of_dns(&self, name: &str) -> bool {
        let address = name.parse::<std::net::IpAddr>();
        let is_own_address = address.is_ok_and(|address| address.is_loopback() || !self.loopback);
        name == "localhost" || name.ends_with(".localhost") || is_own_address
    }

    /// Refuses pages of other origins. A program sends no origin, and is allowed.
    ///
    /// # Errors
    /// The response 403.
    pub fn check_origin(&self, request: &HttpRequest) -> Result<(), HttpResponse> {
        let Some(origin) = origin_of(request.headers()) else {
            return Ok(());
        };
        match allows(self.origins, origin) || has_same_host(origin, request) {
            true => Ok(()),
            false => {
                let text = "pages of other origins may not do that; --origin allows more";
                Err(error(StatusCode::FORBIDDEN, "forbidden_origin", text))
            }
        }
    }

    /// Whether `--origin` allows the request's origin.
    pub fn is_from_allowed_origin(&self, request: &HttpRequest) -> bool {
        origin_of(request.headers()).is_some_and(|origin| allows(self.origins, origin))
    }
}

fn allows(origins: &[AllowedOrigin], origin: &str) -> bool {
    origins.iter().any(|allowed| allowed.allows(origin))
}

/// Adds the header fields of every response, and those that depend on the origin. Error responses need them too.
pub fn add_common_headers(
    mut response: HttpResponse,
    origin: Option<&str>,
    origins: &[AllowedOrigin],
) -> HttpResponse {
    // Responses change from one moment to the next, and a cache may store even errors (RFC 9110, 15.1).
    if response.fields.iter().all(|(name, _)| *name != header::CACHE_CONTROL) {
        response = response.with(header::CACHE_CONTROL, "no-store");
    }
    if origins.is_empty() {
        return response;
    }
    // A cache must not reuse the response for another origin (Fetch, 3.2.5).
    response = response.with(header::VARY, "origin");
    match origin.filter(|origin| allows(origins, origin)) {
        None => response,
        Some(origin) => response
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_string())
            .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, "*"),
    }
}

/// Whether the origin's host is the request's host. The schemes may differ, since a proxy may terminate TLS.
fn has_same_host(origin: &str, request: &HttpRequest) -> bool {
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
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).and_then(parts);
    host.is_some() && host == parts(authority)
}
