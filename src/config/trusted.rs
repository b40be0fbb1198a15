//! Values of `--trust-proxy`: [`TrustedProxy`].

use std::str::FromStr;

use crate::access::Network;
use crate::net::Peer;

/// Proxies whose word about the address of a client counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrustedProxy {
    Network(Network),
    /// All peers at Unix sockets.
    Unix,
}

impl TrustedProxy {
    /// Whether a peer is such a proxy.
    pub fn is(&self, peer: Peer) -> bool {
        match (self, peer) {
            (TrustedProxy::Network(network), Peer::Ip(address)) => network.contains(address),
            (TrustedProxy::Unix, Peer::Local) => true,
            (TrustedProxy::Network(_), Peer::Local) | (TrustedProxy::Unix, Peer::Ip(_)) => false,
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
        assert!(loopback.is(Peer::Ip("127.0.0.9".parse().unwrap())));
        assert!(!loopback.is(Peer::Ip("10.0.0.1".parse().unwrap())) && !loopback.is(Peer::Local));
        let unix: TrustedProxy = "unix".parse().unwrap();
        assert!(unix.is(Peer::Local) && !unix.is(Peer::Ip("127.0.0.1".parse().unwrap())));
        for raw in ["", "10.0.0.0/33", "localhost", "Unix"] {
            assert!(raw.parse::<TrustedProxy>().unwrap_err().contains("or unix"), "{raw}");
        }
    }
}
