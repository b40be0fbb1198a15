//! The PROXY protocol, versions 1 and 2: a proxy's first bytes, which carry the address of its client.
//!
//! The specification is `doc/proxy-protocol.txt` of HAProxy. A header is read only from proxies that `--trust-proxy` names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

/// The longest header of version 1, with its line end.
pub const V1_MAX_BYTES: usize = 107;

/// The longest header of version 2 that is accepted. A header with addresses takes at most 232 bytes, and the rest is
/// for extensions.
pub const V2_MAX_BYTES: usize = 4 * 1024;

const V1_START: &[u8] = b"PROXY ";

/// The signature of version 2.
pub const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const V2_HEAD_BYTES: usize = 16;

/// The result of reading a header from the front of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// More input is needed.
    Incomplete,
    Complete {
        /// The length of the header.
        bytes: usize,
        /// The address of the client. `None` if the header has none, or the proxy has opened the connection for itself.
        source: Option<IpAddr>,
    },
    /// The input is no header, for this reason.
    Malformed(&'static str),
}

/// Reads a header of either version.
pub fn read(input: &[u8]) -> ProxyHeader {
    let begins = |start: &[u8]| {
        let length = start.len().min(input.len());
        input[..length] == start[..length]
    };
    match () {
        () if begins(V1_START) => read_v1(input),
        () if begins(V2_START) => read_v2(input),
        () => ProxyHeader::Malformed("missing"),
    }
}

fn read_v1(input: &[u8]) -> ProxyHeader {
    let window = &input[..input.len().min(V1_MAX_BYTES)];
    let Some(end) = memchr(b'\n', window) else {
        return match input.len() < V1_MAX_BYTES {
            true => ProxyHeader::Incomplete,
            false => ProxyHeader::Malformed("too-long"),
        };
    };
    let line = std::str::from_utf8(&window[..end]).ok().and_then(|line| line.strip_suffix('\r'));
    match line.and_then(v1_source) {
        Some(source) => ProxyHeader::Complete { bytes: end + 1, source },
        None => ProxyHeader::Malformed("malformed"),
    }
}

/// The source in a line of version 1; `None` if the line is malformed.
fn v1_source(line: &str) -> Option<Option<IpAddr>> {
    let words: Vec<&str> = line.split(' ').collect();
    let are_ports = |ports: [&str; 2]| ports.iter().all(|port| is_port(port));
    match words[..] {
        // The rest of such a line has no meaning.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", source, target, from, to] if are_ports([from, to]) => {
            let source: Ipv4Addr = source.parse().ok()?;
            target.parse::<Ipv4Addr>().ok()?;
            Some(Some(source.into()))
        }
        ["PROXY", "TCP6", source, target, from, to] if are_ports([from, to]) => {
            let source: Ipv6Addr = source.parse().ok()?;
            target.parse::<Ipv6Addr>().ok()?;
            Some(Some(source.into()))
        }
        _ => None,
    }
}

fn is_port(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse::<u16>().is_ok()
}

fn read_v2(input: &[u8]) -> ProxyHeader {
    let (Some(&version_command), family) = (input.get(12), input.get(13)) else {
        return ProxyHeader::Incomplete;
    };
    if !matches!(version_command, 0x20 | 0x21) {
        return ProxyHeader::Malformed("unknown-version-or-command");
    }
    let (Some(&family), Some(length)) = (family, input.get(14..V2_HEAD_BYTES)) else {
        return ProxyHeader::Incomplete;
    };
    let bytes = V2_HEAD_BYTES + usize::from(length[0]) * 256 + usize::from(length[1]);
    if bytes > V2_MAX_BYTES {
        return ProxyHeader::Malformed("too-long");
    }
    let Some(body) = input.get(V2_HEAD_BYTES..bytes) else {
        return ProxyHeader::Incomplete;
    };
    // The command LOCAL has no client: the proxy checks whether the server is there.
    if version_command == 0x20 {
        return ProxyHeader::Complete { bytes, source: None };
    }
    match v2_source(family, body) {
        Some(source) => ProxyHeader::Complete { bytes, source },
        None => ProxyHeader::Malformed("malformed"),
    }
}

/// The source in the body of version 2; `None` if the body is too short or the protocol is another one.
fn v2_source(family: u8, body: &[u8]) -> Option<Option<IpAddr>> {
    match family {
        // The header has no address, or the client came by a Unix socket.
        0x00 | 0x31 => Some(None),
        0x11 if body.len() >= 12 => {
            let octets: [u8; 4] = body.get(..4)?.try_into().ok()?;
            Some(Some(IpAddr::from(octets)))
        }
        0x21 if body.len() >= 36 => {
            let octets: [u8; 16] = body.get(..16)?.try_into().ok()?;
            Some(Some(IpAddr::from(octets)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [V2_START, &[command, family], &length, body].concat()
    }

    /// Checks the result for the header, alone and before other input, and that each shorter input is incomplete.
    #[track_caller]
    fn check(header: &[u8], source: Option<&str>) {
        let source = source.map(|address| address.parse().unwrap());
        let complete = ProxyHeader::Complete { bytes: header.len(), source };
        assert_eq!(read(header), complete, "{}", header.escape_ascii());
        assert_eq!(read(&[header, b"ann\nhi\n"].concat()), complete, "{}", header.escape_ascii());
        for cut in 0..header.len() {
            assert_eq!(read(&header[..cut]), ProxyHeader::Incomplete, "{} at {cut}", header.escape_ascii());
        }
    }

    #[test]
    fn header_of_version_1_is_read_however_it_is_cut() {
        check(b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n", Some("192.0.2.1"));
        check(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some("2001:db8::1"));
        check(b"PROXY UNKNOWN\r\n", None);
        let longest = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535";
        let longest = format!("{longest}{}\r\n", "x".repeat(V1_MAX_BYTES - 2 - longest.len()));
        check(longest.as_bytes(), None);
        let over = longest.replace("\r\n", "x\r\n");
        assert_eq!(read(over.as_bytes()), ProxyHeader::Malformed("too-long"));
    }

    #[test]
    fn malformed_header_of_version_1_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.9 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.9 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.9 56324 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY \u{e9}\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), ProxyHeader::Malformed("malformed"), "{line:?}");
        }
        for input in ["ann\n", "PROXYING\n", "proxy TCP4", "\n", "GET / HTTP/1.1\r\n"] {
            assert_eq!(read(input.as_bytes()), ProxyHeader::Malformed("missing"), "{input:?}");
        }
    }

    #[test]
    fn header_of_version_2_is_read_however_it_is_cut() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 9, 1, 2, 3, 4];
        let v6: Vec<u8> = ["2001:db8::1", "2001:db8::2"]
            .into_iter()
            .flat_map(|address| address.parse::<Ipv6Addr>().unwrap().octets())
            .chain([1, 2, 3, 4])
            .collect();
        check(&v2(0x21, 0x11, &v4), Some("192.0.2.1"));
        check(&v2(0x21, 0x21, &v6), Some("2001:db8::1"));
        check(&v2(0x21, 0x11, &[&v4[..], &[4, 0, 2, b'x', b'y']].concat()), Some("192.0.2.1"));
        check(&v2(0x20, 0x00, &[]), None);
        check(&v2(0x20, 0x11, &v4), None);
        check(&v2(0x21, 0x00, &[]), None);
        check(&v2(0x21, 0x31, &[0; 216]), None);
        check(&v2(0x21, 0x11, &[&v4[..], &[0; V2_MAX_BYTES - 16 - 12]].concat()), Some("192.0.2.1"));
    }

    #[test]
    fn malformed_header_of_version_2_is_refused() {
        let refused = |header: Vec<u8>, problem| {
            assert_eq!(read(&header), ProxyHeader::Malformed(problem), "{}", header.escape_ascii());
        };
        refused(v2(0x11, 0x11, &[0; 12]), "unknown-version-or-command");
        refused(v2(0x22, 0x11, &[0; 12]), "unknown-version-or-command");
        refused(v2(0x21, 0x11, &[0; 11]), "malformed");
        refused(v2(0x21, 0x21, &[0; 35]), "malformed");
        // The proxy's client came by UDP.
        refused(v2(0x21, 0x12, &[0; 12]), "malformed");
        refused(v2(0x21, 0x11, &[0; V2_MAX_BYTES - 15]), "too-long");
        refused(b"\r\n\r\n\0\r\nQUIT ".to_vec(), "missing");
    }

    #[test]
    fn random_input_never_panics_and_a_header_is_within_its_bound() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let start = [&b""[..], V1_START, V2_START, b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"];
            let mut input = start[random.usize(..start.len())].to_vec();
            let length = random.usize(..200);
            input.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
            if let ProxyHeader::Complete { bytes, .. } = read(&input) {
                assert!(bytes <= input.len());
            }
            if read(&input) == ProxyHeader::Incomplete {
                assert!(input.len() < V2_MAX_BYTES);
            }
        }
    }
}
