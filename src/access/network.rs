//! Address ranges in CIDR notation (RFC 4632): [`Network`].

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A range of addresses, such as `10.0.0.0/8`. A single address is a range of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Network(IpNet);

impl Network {
    /// Whether the range has that address. An IPv4 address in IPv6 form (`::ffff:10.0.0.1`) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// The range of that many leading bits around an address. `None` if an address of its kind has fewer bits.
    pub fn around(address: IpAddr, prefix_bits: u8) -> Option<Network> {
        IpNet::new(address.to_canonical(), prefix_bits).ok().map(|net| Network(net.trunc()))
    }

    /// Number of leading bits that the addresses share.
    pub fn prefix_bits(&self) -> u8 {
        self.0.prefix_len()
    }

    pub fn is_ipv6(&self) -> bool {
        matches!(self.0, IpNet::V6(_))
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        Network(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = String;

    /// Reads an address or a network. A network of IPv4 addresses in IPv6 form becomes one of IPv4 addresses.
    ///
    /// # Errors
    /// The text is neither ADDRESS nor ADDRESS/BITS, or bits behind the prefix are set.
    fn from_str(raw: &str) -> Result<Network, String> {
        if let Ok(address) = raw.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let net: IpNet =
            raw.parse().map_err(|_| "a network is ADDRESS or ADDRESS/BITS, as in 10.0.0.0/8".to_string())?;
        let net = without_mapping(net);
        match net.trunc() == net {
            true => Ok(Network(net)),
            false => Err(format!("the address has bits behind its prefix; write {}", net.trunc())),
        }
    }
}

/// The number of leading bits of `::ffff:0:0/96`, which the IPv4 addresses in IPv6 form share.
const MAPPED_PREFIX_BITS: u8 = 96;

/// Converts a network of IPv4 addresses in IPv6 form to the network of these addresses.
fn without_mapping(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else {
        return net;
    };
    let address = mapped.addr().to_ipv4_mapped();
    let prefix_bits = mapped.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    let ipv4 = address.zip(prefix_bits).and_then(|(address, bits)| Ipv4Net::new(address, bits).ok());
    ipv4.map_or(net, IpNet::V4)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.prefix_len() == self.0.max_prefix_len() {
            true => write!(f, "{}", self.0.addr()),
            false => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(raw: &str) -> Network {
        raw.parse().unwrap()
    }

    #[test]
    fn network_has_the_addresses_of_its_prefix() {
        let ten = network("10.0.0.0/8");
        for (address, is_in) in
            [("10.255.0.1", true), ("11.0.0.0", false), ("::ffff:10.1.1.1", true), ("::1", false)]
        {
            assert_eq!(ten.contains(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(network("2001:db8::/32").contains("2001:db8:1::9".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(network("2001:db8::/64").to_string(), "2001:db8::/64");
    }

    #[test]
    fn network_of_ipv4_addresses_in_ipv6_form_is_one_of_ipv4_addresses() {
        for (raw, shown) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.1/128", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            // These have other addresses too.
            ("::/95", "::/95"),
            ("::/0", "::/0"),
            ("::fffe:10.0.0.0/104", "::fffe:a00:0/104"),
        ] {
            assert_eq!(network(raw).to_string(), shown, "{raw}");
        }
        assert!(network("::ffff:10.0.0.0/104").contains("10.1.2.3".parse().unwrap()));
        assert!(!network("::/0").contains("10.1.2.3".parse().unwrap()));
        let error = "::ffff:10.0.0.1/104".parse::<Network>().unwrap_err();
        assert!(error.contains("write 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn malformed_networks_are_refused_with_a_hint() {
        for raw in ["", "10.0.0.0/33", "10.0.0/8", "localhost", "::/129", "10.0.0.1/-1"] {
            assert!(raw.parse::<Network>().unwrap_err().contains("ADDRESS/BITS"), "{raw}");
        }
        let error = "10.0.0.1/8".parse::<Network>().unwrap_err();
        assert!(error.contains("write 10.0.0.0/8"), "{error}");
    }
}
