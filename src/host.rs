//! Whose a connection is, as far as the count by address goes: [`Host`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::Peer;

/// Which address a client counts under: an IPv4 address, or the /64 that one household or host has of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
    /// This machine: not counted.
    Local,
}

impl From<Peer> for Host {
    fn from(peer: Peer) -> Host {
        match peer {
            Peer::Local => Host::Local,
            Peer::Ip(address) => match address.to_canonical() {
                address if address.is_loopback() => Host::Local,
                IpAddr::V4(address) => Host::V4(address.octets()),
                IpAddr::V6(address) => {
                    let [a, b, c, d, e, f, g, h, ..] = address.octets();
                    Host::V6([a, b, c, d, e, f, g, h])
                }
            },
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Host::Local => write!(f, "local"),
            Host::V4(octets) => write!(f, "{}", Ipv4Addr::from(octets)),
            Host::V6([a, b, c, d, e, f6, g, h]) => {
                let octets = [a, b, c, d, e, f6, g, h, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_host_and_by_half_of_an_ipv6_address() {
        let host = |address: &str| Host::from(Peer::Ip(address.parse().unwrap()));
        assert_eq!(host("127.0.0.1"), Host::Local);
        assert_eq!(host("127.8.9.1"), Host::Local);
        assert_eq!(host("::1"), Host::Local);
        assert_eq!(host("::ffff:127.0.0.1"), Host::Local);
        assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
        assert_eq!(host("2001:db8:1:2::1"), host("2001:db8:1:2:ffff::9"));
        assert_ne!(host("2001:db8:1:2::1"), host("2001:db8:1:3::1"));
        assert_eq!(host("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(host("10.0.0.1").to_string(), "10.0.0.1");
    }
}
