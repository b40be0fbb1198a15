//! The key for limits by address: [`Host`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::net::Peer;

/// The address that limits count a client under: an IPv4 address, or the /64 of an IPv6 address.
///
/// Every connection has one, so its size is only eight bytes: the first half of an IPv6 address. All zeros, the half of the
/// loopback address, stands for this machine. An IPv4 address is stored in a half that no host can have (RFC 4291, 2.4
/// reserves addresses that begin with eight zero bits).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host([u8; 8]);

impl Host {
    /// This machine. It is exempt from the limits.
    pub const LOCAL: Host = Host([0; 8]);

    pub const fn v4([a, b, c, d]: [u8; 4]) -> Host {
        Host([0, 0, 0, 1, a, b, c, d])
    }
}

impl From<Peer> for Host {
    fn from(peer: Peer) -> Host {
        match peer {
            Peer::Local => Host::LOCAL,
            Peer::Ip(address) => match address.to_canonical() {
                address if address.is_loopback() => Host::LOCAL,
                IpAddr::V4(address) => Host::v4(address.octets()),
                IpAddr::V6(address) => {
                    let [a, b, c, d, e, f, g, h, ..] = address.octets();
                    Host([a, b, c, d, e, f, g, h])
                }
            },
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            _ if *self == Host::LOCAL => write!(f, "local"),
            [0, 0, 0, 1, a, b, c, d] => write!(f, "{a}.{b}.{c}.{d}"),
            [a, b, c, d, e, f6, g, h] => {
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
        assert_eq!(host("127.0.0.1"), Host::LOCAL);
        assert_eq!(host("127.8.9.1"), Host::LOCAL);
        assert_eq!(host("::1"), Host::LOCAL);
        assert_eq!(host("::ffff:127.0.0.1"), Host::LOCAL);
        assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
        assert_eq!(host("2001:db8:1:2::1"), host("2001:db8:1:2:ffff::9"));
        assert_ne!(host("2001:db8:1:2::1"), host("2001:db8:1:3::1"));
        assert_eq!(host("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
        assert_eq!(host("10.0.0.1").to_string(), "10.0.0.1");
    }
}
