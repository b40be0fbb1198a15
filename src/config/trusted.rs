//! Values of `--trust-proxy`: [`TrustedProxy`].

use std::net::IpAddr;
use std::str::FromStr;

use crate::access::Network;

/// Proxies that are trusted to send the addresses of their clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustedProxy {
    Network(Network),
    /// All peers at Unix sockets.
    Unix,
}

impl TrustedProxy {
    /// Whether a peer with this address is such a proxy. A peer at a Unix socket has no address.
    pub fn is(&self, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (TrustedProxy::Network(network), Some(address)) => network.contains(address),
            (TrustedProxy::Unix, None) => true,
            (TrustedProxy::Network(_), None) | (TrustedProxy::Unix, Some(_)) => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    /// # Errors
    /// The text is neither a network nor `unix`.
    fn from_str(raw: &str) -> Result<TrustedProxy, String> {
        match raw {
            "unix" => Ok(TrustedProxy::Unix),
            raw => raw
                .parse()
                .map(TrustedProxy::Network)
                .map_err(|problem| format!("{problem}; or unix, for all peers at Unix sockets")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_named_by_network_or_as_unix() {
        let loopback: TrustedProxy = "127.0.0.0/8".parse().unwrap();
        let at = |address: &str| Some(address.parse().unwrap());
        assert!(loopback.is(at("127.0.0.9")));
        assert!(!loopback.is(at("10.0.0.1")) && !loopback.is(None));
        let mapped: TrustedProxy = "::ffff:10.0.0.0/104".parse().unwrap();
        assert!(mapped.is(at("10.0.0.1")) && mapped.is(at("::ffff:10.0.0.1")) && !mapped.is(at("11.0.0.1")));
        let unix: TrustedProxy = "unix".parse().unwrap();
        assert!(unix.is(None) && !unix.is(at("127.0.0.1")));
        for raw in ["", "10.0.0.0/33", "localhost", "Unix"] {
            assert!(raw.parse::<TrustedProxy>().unwrap_err().contains("or unix"), "{raw}");
        }
    }
}
