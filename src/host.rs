//! The key for limits by address: [`Host`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::access::Network;
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

    /// A trusted proxy whose client is not known yet. It is exempt from the limits.
    pub const PROXY: Host = Host([0, 0, 0, 2, 0, 0, 0, 0]);

    /// All clients whose proxy is on this machine and sends no usable address. They share the limits of one address.
    pub const UNKNOWN: Host = Host([0, 0, 0, 3, 0, 0, 0, 0]);

    /// Whether the limits by address do not apply.
    pub fn is_exempt(self) -> bool {
        self == Host::LOCAL || self == Host::PROXY
    }

    /// The host of a proxy's client. `source` is the client's address, or `None` if the proxy sent no usable one. Loopback
    /// behind a proxy is not this machine, so it is counted like an address that is not known.
    pub fn behind(proxy: Peer, source: Option<IpAddr>) -> Host {
        let client = source.map(|source| Host::from(Peer::Ip(source)));
        match client.filter(|host| *host != Host::LOCAL).unwrap_or_else(|| proxy.into()) {
            Host::LOCAL => Host::UNKNOWN,
            host => host,
        }
    }

    /// The address, or the first one of an IPv6 client's /64; `None` if the host stands for no single address.
    pub fn address(self) -> Option<IpAddr> {
        match self.0 {
            [0, 0, 0, 1, a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
            // No other host begins with three zero bytes: RFC 6052's prefix has 0x64 in the second.
            [0, 0, 0, ..] => None,
            [a, b, c, d, e, f, g, h] => Some(IpAddr::from([a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0])),
        }
    }

    /// The addresses that a ban of this host covers.
    pub fn network(self) -> Option<Network> {
        let address = self.address()?;
        Network::around(address, if address.is_ipv6() { 64 } else { 32 })
    }

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
            _ if *self == Host::PROXY => write!(f, "proxy"),
            _ if *self == Host::UNKNOWN => write!(f, "unknown"),
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

    #[test]
    fn loopback_is_not_exempt_behind_a_proxy() {
        let at = |address: &str| address.parse::<IpAddr>().unwrap();
        let behind = |proxy: &str, source: Option<&str>| Host::behind(Peer::Ip(at(proxy)), source.map(at));
        assert_eq!(behind("127.0.0.1", Some("192.0.2.1")), Host::v4([192, 0, 2, 1]));
        assert_eq!(behind("10.0.0.1", Some("127.0.0.1")), Host::v4([10, 0, 0, 1]));
        assert_eq!(behind("10.0.0.1", None), Host::v4([10, 0, 0, 1]));
        assert_eq!(behind("127.0.0.1", Some("::1")), Host::UNKNOWN);
        assert_eq!(Host::behind(Peer::Local, None), Host::UNKNOWN);
        assert!(!Host::UNKNOWN.is_exempt() && Host::LOCAL.is_exempt() && Host::PROXY.is_exempt());
    }
}
