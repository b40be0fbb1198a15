//! The address of a proxy's client in the fields of an HTTP request: `X-Forwarded-For` and `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address of its peer, so the last address is from the nearest proxy. A client can write
//! anything in front of it. The last address that is no trusted proxy is the client's.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address in the fields of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForwardedFor {
    /// The request has neither field.
    Absent,
    Client(IpAddr),
    /// A field is malformed or obfuscated, or the two have different addresses.
    Unusable,
}

/// Splits the value of a field into its elements. `None` if it is malformed.
type Split = fn(&str) -> Option<Vec<&str>>;

/// Finds the address of the client. If all addresses are those of trusted proxies, the first one is the client.
pub fn client_of(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> ForwardedFor {
    let among = |name: &HeaderName, elements: Split, address_of: fn(&str) -> Option<IpAddr>| {
        let mut client = ForwardedFor::Absent;
        for value in headers.get_all(name).iter().rev() {
            let Some(elements) = value.to_str().ok().and_then(elements) else {
                return ForwardedFor::Unusable;
            };
            for element in elements.into_iter().rev() {
                match address_of(element.trim()) {
                    Some(address) if is_trusted(address) => client = ForwardedFor::Client(address),
                    Some(address) => return ForwardedFor::Client(address),
                    None => return ForwardedFor::Unusable,
                }
            }
        }
        client
    };
    let both = [
        among(&X_FORWARDED_FOR, |value| Some(value.split(',').collect()), address_of_node),
        among(&header::FORWARDED, |value| split_unquoted(value, ','), address_of_element),
    ];
    match both {
        [ForwardedFor::Absent, only] | [only, ForwardedFor::Absent] => only,
        // A client can send the field that its proxy does not set.
        [first, second] if first != second => ForwardedFor::Unusable,
        [same, _] => same,
    }
}

/// Splits a value at the separators outside of quoted strings (RFC 9110, 5.6.4). `None` if a quoted string does not end.
///
/// A proxy may repeat a part of the client's request in a quoted string, such as the host.
fn split_unquoted(value: &str, separator: char) -> Option<Vec<&str>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let is_separator = |c: char| {
        let is_text = std::mem::take(&mut is_escaped);
        match c {
            _ if is_text => {}
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            _ => return c == separator && !is_quoted,
        }
        false
    };
    let parts = value.split(is_separator).collect();
    (!is_quoted).then_some(parts)
}

/// The address in `for=` of an element of `Forwarded`.
fn address_of_element(element: &str) -> Option<IpAddr> {
    let pairs = split_unquoted(element, ';')?.into_iter().filter_map(|pair| pair.trim().split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, node)| node);
    // A parameter is there once (RFC 7239, 4).
    let node = nodes.next().filter(|_| nodes.next().is_none())?;
    let unquoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    address_of_node(unquoted.unwrap_or(node))
}

/// The address of a node: alone, in brackets, or with a port.
fn address_of_node(node: &str) -> Option<IpAddr> {
    let in_brackets = node.strip_prefix('[').and_then(|node| node.strip_suffix(']'));
    let address = node
        .parse()
        .ok()
        .or_else(|| in_brackets.and_then(|node| node.parse().ok()))
        .or_else(|| node.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(fields: &[(&'static str, &str)]) -> ForwardedFor {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        client_of(&headers, |address| address.is_loopback() || address.to_string().starts_with("10."))
    }

    fn at(address: &str) -> ForwardedFor {
        ForwardedFor::Client(address.parse().unwrap())
    }

    #[test]
    fn last_address_that_is_not_trusted_is_the_client() {
        for (value, expected) in [
            ("192.0.2.1", at("192.0.2.1")),
            ("198.51.100.1, 192.0.2.1", at("192.0.2.1")),
            ("nonsense, 192.0.2.1, 10.0.0.1,127.0.0.1", at("192.0.2.1")),
            ("192.0.2.1:4711", at("192.0.2.1")),
            ("[2001:db8::1]:4711", at("2001:db8::1")),
            ("[2001:db8::1]", at("2001:db8::1")),
            ("2001:db8::1", at("2001:db8::1")),
            ("::ffff:192.0.2.1", at("192.0.2.1")),
            ("10.0.0.7, 10.0.0.1", at("10.0.0.7")),
            ("192.0.2.1, nonsense", ForwardedFor::Unusable),
            ("192.0.2.1,", ForwardedFor::Unusable),
            ("", ForwardedFor::Unusable),
            ("unknown", ForwardedFor::Unusable),
            // This field has no quoted strings.
            ("\", 192.0.2.1", at("192.0.2.1")),
        ] {
            assert_eq!(client(&[("x-forwarded-for", value)]), expected, "{value:?}");
        }
        let lines = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
        assert_eq!(client(&lines), at("192.0.2.2"));
        assert_eq!(client(&[]), ForwardedFor::Absent);
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (value, expected) in [
            ("for=192.0.2.43", at("192.0.2.43")),
            ("For=\"[2001:db8:cafe::17]:4711\"", at("2001:db8:cafe::17")),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", at("192.0.2.60")),
            ("for=198.51.100.17, for=192.0.2.43; proto=https, for=10.0.0.1", at("192.0.2.43")),
            // A proxy may repeat the host that the client has sent.
            (r#"for=192.0.2.9;host="a,for=198.51.100.7;b""#, at("192.0.2.9")),
            (r#"host="a;for=198.51.100.7";for=192.0.2.9"#, at("192.0.2.9")),
            (r#"for=192.0.2.9;host="a\",for=198.51.100.7""#, at("192.0.2.9")),
            (r#"for=192.0.2.9;host="a\\",for=198.51.100.7"#, at("198.51.100.7")),
            (r#"for=192.0.2.9;host="a,for=198.51.100.7"#, ForwardedFor::Unusable),
            ("for=192.0.2.9;for=198.51.100.7", ForwardedFor::Unusable),
            ("for=\"_gazonk\"", ForwardedFor::Unusable),
            ("for=unknown", ForwardedFor::Unusable),
            // The client may have written what is in front of an element without an address.
            ("proto=http", ForwardedFor::Unusable),
            ("for=192.0.2.9, proto=https", ForwardedFor::Unusable),
            ("for=192.0.2.9, proto=https, for=10.0.0.1", ForwardedFor::Unusable),
        ] {
            assert_eq!(client(&[("forwarded", value)]), expected, "{value:?}");
        }
    }

    #[test]
    fn fields_that_disagree_are_unusable() {
        let both = |one, other| client(&[("x-forwarded-for", one), ("forwarded", other)]);
        assert_eq!(both("192.0.2.1", "for=192.0.2.1"), at("192.0.2.1"));
        assert_eq!(both("192.0.2.1", "for=192.0.2.2"), ForwardedFor::Unusable);
        assert_eq!(both("192.0.2.1", "nonsense"), ForwardedFor::Unusable);
        // A proxy may have set the second field only, and the first is from the client.
        assert_eq!(both("192.0.2.1", "proto=https"), ForwardedFor::Unusable);
    }

    #[test]
    fn random_fields_never_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let letters = b"for=\"[]:;,. 0123456789abcdef_";
        for _ in 0..20_000 {
            let length = random.usize(..40);
            let value: String = std::iter::repeat_with(|| letters[random.usize(..letters.len())] as char)
                .take(length)
                .collect();
            client(&[("x-forwarded-for", &value)]);
            client(&[("forwarded", &value)]);
        }
    }
}
