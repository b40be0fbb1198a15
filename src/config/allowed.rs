//! Allowed origins of pages and names of the server: `--origin` and `--host`.
//!
//! The values are compared with the headers of browsers. So the `url` crate, which implements the browsers' standard
//! (WHATWG URL), normalises them: lower case, punycode, no default port. A value that no browser can send is refused at
//! the start.

use std::str::FromStr;

use http::uri::Authority;
use url::Url;

/// Origins that one `--origin` allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowedOrigin {
    /// Pages of every origin.
    Any,
    /// Pages without an origin of their own: from a file or in a sandbox.
    Null,
    /// Pages of one origin.
    One(Origin),
    /// Pages of all subdomains of the origin's host, but not of the host itself.
    Below(Origin),
}

/// An origin (RFC 6454, 4) in the form that browsers send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    scheme: String,
    host: String,
    /// `None`: the default port of the scheme.
    port: Option<u16>,
}

const ORIGIN_FORMS: &str =
    "an origin is https://HOST, http://HOST:PORT, https://*.DOMAIN, null for pages from files, or *";

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(raw: &str) -> Result<AllowedOrigin, String> {
        match raw {
            "*" => return Ok(AllowedOrigin::Any),
            _ if raw.eq_ignore_ascii_case("null") => return Ok(AllowedOrigin::Null),
            _ => {}
        }
        let hint = |hint: &str| Err(format!("{ORIGIN_FORMS}; {hint}"));
        let Some((scheme, rest)) = raw.split_once("://") else {
            return Err(ORIGIN_FORMS.into());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" | "data" | "blob" => return hint("browsers send null for such pages"),
            "ws" | "wss" => return hint("write the page's address, not the WebSocket's"),
            _ => {}
        }
        if let Some(end) = rest.find(['/', '?', '#', '\\']) {
            return hint(&format!("nothing may follow the host: write {scheme}://{}", &rest[..end]));
        }
        if rest == "*" {
            return hint("for every page write * alone");
        }
        let (rest, is_below) = match rest.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (rest, false),
        };
        if rest.contains('*') {
            return hint("a * must replace the whole beginning of a host, as in https://*.example.org");
        }
        let origin = Origin::parse(&format!("{scheme}://{rest}")).ok_or(ORIGIN_FORMS)?;
        match is_below {
            false => Ok(AllowedOrigin::One(origin)),
            true if is_address(&origin.host) => hint("an IP address has no subdomains"),
            true => Ok(AllowedOrigin::Below(origin)),
        }
    }
}

impl AllowedOrigin {
    /// Whether a page may use the server; `origin` is the browser's `Origin` field.
    pub fn allows(&self, origin: &str) -> bool {
        let page = || Origin::parse(origin);
        match self {
            AllowedOrigin::Any => true,
            AllowedOrigin::Null => origin == "null",
            AllowedOrigin::One(one) => page().is_some_and(|page| page == *one),
            AllowedOrigin::Below(one) => page().is_some_and(|page| {
                (&page.scheme, page.port) == (&one.scheme, one.port) && is_below(&page.host, &one.host)
            }),
        }
    }
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`, and nothing else.
    fn parse(raw: &str) -> Option<Origin> {
        let (_, rest) = raw.split_once("://")?;
        let is_bare = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#\\@".contains(c);
        if rest.is_empty() || !rest.chars().all(is_bare) {
            return None;
        }
        let url = Url::parse(raw).ok()?;
        // The standard allows nearly any character in a host; names and addresses have only these.
        let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
        let host = url.host_str().filter(|host| !host.is_empty() && host.bytes().all(is_of_host))?;
        Some(Origin { scheme: url.scheme().into(), host: host.to_ascii_lowercase(), port: url.port() })
    }
}

/// Host names that one `--host` allows in requests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowedHost {
    /// Every host name.
    Any,
    /// One name or IP address, with that port or, without one, with every port.
    One(HostName),
    /// All subdomains of that name, but not the name itself.
    Below(HostName),
}

/// A normalised host: lower case, punycode, no brackets around an IPv6 address, no dot at the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostName {
    name: String,
    port: Option<u16>,
}

const HOST_FORMS: &str = "a host is NAME, NAME:PORT, an IP address, *.DOMAIN, or *";

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(raw: &str) -> Result<AllowedHost, String> {
        if raw == "*" {
            return Ok(AllowedHost::Any);
        }
        let hint = |hint: &str| Err(format!("{HOST_FORMS}; {hint}"));
        if let Some((_, rest)) = raw.split_once("://") {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return hint(&format!("a host has no scheme: write {host}"));
        }
        let (rest, is_below) = match raw.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (raw, false),
        };
        if rest.contains('*') {
            return hint("a * must replace the whole beginning of a name, as in *.example.org");
        }
        let written = match rest.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => rest.to_string(),
        };
        let origin = Origin::parse(&format!("http://{written}")).ok_or(HOST_FORMS)?;
        let port = written_port(&written)?;
        let host = HostName { name: bare(&origin.host), port };
        match is_below {
            _ if host.name.is_empty() => Err(HOST_FORMS.into()),
            false => Ok(AllowedHost::One(host)),
            true if is_address(&origin.host) => hint("an IP address has no subdomains"),
            true => Ok(AllowedHost::Below(host)),
        }
    }
}

impl AllowedHost {
    /// Whether a request for `asked` is allowed. `None`: the `Host` field is invalid.
    pub fn allows(&self, asked: Option<&HostName>) -> bool {
        match (self, asked) {
            (AllowedHost::Any, _) => true,
            (_, None) => false,
            (AllowedHost::One(host), Some(asked)) => host.name == asked.name && host.has_port_of(asked),
            (AllowedHost::Below(host), Some(asked)) => {
                is_below(&asked.name, &host.name) && host.has_port_of(asked)
            }
        }
    }
}

impl HostName {
    /// Reads a `Host` field. `None`: it is invalid.
    pub fn of_field(raw: &str) -> Option<HostName> {
        let authority = raw.parse::<Authority>().ok().filter(|_| !raw.contains('@'))?;
        let name = bare(&authority.host().to_ascii_lowercase());
        Some(HostName { name, port: authority.port_u16() })
    }

    /// Name without the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `asked` has the port of this host, if it has one. Browsers omit the default ports.
    fn has_port_of(&self, asked: &HostName) -> bool {
        self.port.is_none_or(|port| match asked.port {
            Some(asked) => asked == port,
            None => matches!(port, 80 | 443),
        })
    }
}

/// Port after a host, which may be an IPv6 address in brackets.
fn written_port(raw: &str) -> Result<Option<u16>, String> {
    let behind = raw.rsplit_once(']').map_or(raw, |(_, behind)| behind);
    match behind.rsplit_once(':') {
        None => Ok(None),
        Some((_, port)) => port.parse().map(Some).map_err(|_| HOST_FORMS.to_string()),
    }
}

/// Removes the brackets of an IPv6 address and the final dot of an absolute name (RFC 1034, 3.1).
fn bare(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.trim_start_matches('[').trim_end_matches(']').to_string()
}

/// Whether `host` is a subdomain of `domain`.
fn is_below(host: &str, domain: &str) -> bool {
    let front = host.strip_suffix(domain).and_then(|front| front.strip_suffix('.'));
    front.is_some_and(|front| !front.is_empty())
}

/// Whether a normalised host is an IP address.
fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_allows(pattern: &str, origin: &str) -> bool {
        pattern.parse::<AllowedOrigin>().unwrap_or_else(|error| panic!("{pattern}: {error}")).allows(origin)
    }

    #[test]
    fn origin_is_compared_in_the_form_that_browsers_send() {
        for (pattern, origin) in [
            ("https://app.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example:", "https://app.example"),
            ("https://app.example:80", "https://app.example:80"),
            ("HTTPS://App.Example", "https://app.example"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("https://BÜCHER.example:8443", "https://xn--bcher-kva.example:8443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://[0:0:0:0:0:0:0:1]:7712", "http://[::1]:7712"),
            ("http://127.1:7712", "http://127.0.0.1:7712"),
            ("https://*.example.org", "https://a.example.org"),
            ("https://*.example.org", "https://a.b.example.org"),
            ("https://*.example.org:443", "https://a.example.org"),
            ("https://*.Bücher.example", "https://a.xn--bcher-kva.example"),
            ("http://*.example.org:8080", "http://a.example.org:8080"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("Capacitor://Localhost", "capacitor://localhost"),
            ("null", "null"),
            ("NULL", "null"),
            ("*", "https://anything.example"),
            ("*", "null"),
        ] {
            assert!(origin_allows(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn origin_allows_no_other_page() {
        for (pattern, origin) in [
            ("https://app.example", "http://app.example"),
            ("https://app.example", "https://app.example:8443"),
            ("https://app.example:8443", "https://app.example"),
            ("https://app.example", "https://app.example.evil.com"),
            ("https://app.example", "https://evil.com@app.example"),
            ("https://app.example", "https://app.example/"),
            ("https://app.example", "https://app.example https://evil.com"),
            ("https://app.example", "null"),
            ("https://app.example", "*"),
            ("https://app.example", ""),
            ("https://*.example.org", "https://example.org"),
            ("https://*.example.org", "https://.example.org"),
            ("https://*.example.org", "https://evilexample.org"),
            ("https://*.example.org", "https://a.example.org.evil.com"),
            ("https://*.example.org", "http://a.example.org"),
            ("https://*.example.org", "https://a.example.org:8443"),
            ("https://*.example.org:8443", "https://a.example.org"),
            ("https://*.example.org", "https://evil.com/.example.org"),
            ("https://*.example.org", "null"),
            ("null", "*"),
            ("null", ""),
            ("null", "https://null"),
        ] {
            assert!(!origin_allows(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn origin_that_no_page_can_have_is_refused_with_a_correction() {
        for (pattern, correction) in [
            ("app.example", ORIGIN_FORMS),
            ("*.example.org", ORIGIN_FORMS),
            ("", ORIGIN_FORMS),
            ("https://", ORIGIN_FORMS),
            ("://app.example", ORIGIN_FORMS),
            ("https://u@app.example", ORIGIN_FORMS),
            ("https://app.example:99999", ORIGIN_FORMS),
            ("https://app.example:x", ORIGIN_FORMS),
            ("https://app example", ORIGIN_FORMS),
            ("https://app.example ", ORIGIN_FORMS),
            ("https://256.256.256.256", ORIGIN_FORMS),
            ("https://'app.example'", ORIGIN_FORMS),
            ("'https://app.example'", ORIGIN_FORMS),
            ("https://app%2Eexample%2F", ORIGIN_FORMS),
            ("https://app.example/", "write https://app.example"),
            ("https://app.example/chat", "write https://app.example"),
            ("https://app.example?x", "write https://app.example"),
            ("https://app.example#x", "write https://app.example"),
            ("https://*", "write * alone"),
            ("https://a*.example", "as in https://*.example.org"),
            ("https://a.*.example", "as in https://*.example.org"),
            ("https://*.*.example", "as in https://*.example.org"),
            ("https://*.127.0.0.1", "no subdomains"),
            ("https://*.", ORIGIN_FORMS),
            ("file:///home/x", "send null"),
            ("file://", "send null"),
            ("wss://app.example", "the page's address"),
        ] {
            let error = pattern.parse::<AllowedOrigin>().expect_err(pattern);
            assert!(error.starts_with(ORIGIN_FORMS) && error.contains(correction), "{pattern}: {error}");
        }
    }

    fn host_allows(pattern: &str, asked: &str) -> bool {
        let pattern = pattern.parse::<AllowedHost>().unwrap_or_else(|error| panic!("{pattern}: {error}"));
        pattern.allows(HostName::of_field(asked).as_ref())
    }

    #[test]
    fn host_is_compared_in_the_form_that_browsers_send() {
        for (pattern, asked) in [
            ("chat.example", "chat.example"),
            ("chat.example", "Chat.Example:7712"),
            ("Chat.Example", "chat.example"),
            ("chat.example.", "chat.example"),
            ("chat.example", "chat.example."),
            ("chat.example", "chat.example.:7712"),
            ("chat.example:8080", "chat.example:8080"),
            ("chat.example:443", "chat.example"),
            ("chat.example:80", "chat.example"),
            ("chat.example:80", "chat.example:80"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example:8080", "xn--bcher-kva.example:8080"),
            ("my_service", "my_service:7712"),
            ("192.168.0.1", "192.168.0.1:7712"),
            ("192.168.0.1:7712", "192.168.0.1:7712"),
            ("fe80::1", "[fe80::1]:7712"),
            ("[fe80::1]", "[fe80::1]"),
            ("[FE80:0::1]:7712", "[fe80::1]:7712"),
            ("*.example.org", "a.example.org"),
            ("*.example.org", "a.b.example.org:7712"),
            ("*.example.org:8080", "a.example.org:8080"),
            ("*", "anything"),
            ("*", ""),
        ] {
            assert!(host_allows(pattern, asked), "{pattern} {asked}");
        }
    }

    #[test]
    fn host_allows_no_other_name() {
        for (pattern, asked) in [
            ("chat.example", "evil.chat.example"),
            ("chat.example", "chat.example.evil.com"),
            ("chat.example", "evil.com@chat.example"),
            ("chat.example", ""),
            ("chat.example:8080", "chat.example:8081"),
            ("chat.example:8080", "chat.example"),
            ("chat.example", "chat.example.."),
            ("*.example.org", "example.org"),
            ("*.example.org", "evilexample.org"),
            ("*.example.org", ".example.org"),
            ("*.example.org:8080", "a.example.org"),
            ("192.168.0.1", "192.168.0.1.evil.com"),
        ] {
            assert!(!host_allows(pattern, asked), "{pattern} {asked}");
        }
    }

    #[test]
    fn host_that_no_client_can_request_is_refused_with_a_correction() {
        for (pattern, correction) in [
            ("", HOST_FORMS),
            (".", HOST_FORMS),
            ("''", HOST_FORMS),
            ("'chat.example'", HOST_FORMS),
            ("chat;example", HOST_FORMS),
            ("chat example", HOST_FORMS),
            ("chat.example/", HOST_FORMS),
            ("u@chat.example", HOST_FORMS),
            ("chat.example:", HOST_FORMS),
            ("chat.example:x", HOST_FORMS),
            ("chat.example:99999", HOST_FORMS),
            ("[::1", HOST_FORMS),
            ("256.256.256.256", HOST_FORMS),
            ("https://chat.example", "write chat.example"),
            ("http://chat.example:8080/x", "write chat.example:8080"),
            ("chat.*", "as in *.example.org"),
            ("*example.org", "as in *.example.org"),
            ("*.127.0.0.1", "no subdomains"),
        ] {
            let error = pattern.parse::<AllowedHost>().expect_err(pattern);
            assert!(error.starts_with(HOST_FORMS) && error.contains(correction), "{pattern}: {error}");
        }
    }
}
