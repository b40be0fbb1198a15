//! Bans of names and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chinwag::access::bans::BANS_MAX;
use chinwag::access::{Ban, BanTarget, Bans, Network};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::random::check;
use crate::words::{name, text};

fn ban(target: &str) -> Ban {
    let target = target.parse().expect("a target");
    Ban { target, by: name("mod"), reason: Some(text("spam")), until_unix_millis: None }
}

fn bans(targets: &[&str]) -> Bans {
    let mut bans = Bans::default();
    for target in targets {
        bans.add(ban(target)).unwrap();
    }
    bans
}

fn address(raw: &str) -> IpAddr {
    raw.parse().unwrap()
}

#[test]
fn target_is_a_network_or_else_a_name() {
    for (raw, shown) in [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/32", "10.0.0.1"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("2001:db8::/32", "2001:db8::/32"),
    ] {
        let target: BanTarget = raw.parse().unwrap();
        assert!(matches!(target, BanTarget::Network(_)), "{raw}");
        assert_eq!(target.to_string(), shown);
    }
    for raw in ["ann", "guest-7", "zoë", "10.0", "10.0.0.256", "a/8", "cafe", "x/y"] {
        assert_eq!(raw.parse(), Ok(BanTarget::Name(name(raw))), "{raw}");
    }
}

#[test]
fn malformed_target_is_refused_with_a_reason() {
    for (raw, reason) in [
        ("10.0.0/8", "ADDRESS/BITS"),
        ("10.0.0.0/33", "ADDRESS/BITS"),
        ("10.0.0.1/x", "ADDRESS/BITS"),
        ("2001:db8", "ADDRESS/BITS"),
        ("10.0.0.1/8", "write 10.0.0.0/8"),
        ("2001:db8::/65", "whole /64"),
        ("2001:db8::1/128", "whole /64"),
        ("", "at least one character"),
        ("admin", "kept for the server"),
        ("guest-x y", "no space"),
    ] {
        let error = raw.parse::<BanTarget>().unwrap_err();
        assert!(error.contains(reason), "{raw}: {error}");
    }
}

#[test]
fn name_is_banned_in_every_spelling_and_a_look_alike_is_not() {
    let bans = bans(&["Zoë"]);
    for spelling in ["zoë", "ZOË", "zoe\u{308}", "ｚｏë"] {
        assert!(bans.name(spelling, 0).is_some(), "{spelling}");
    }
    for other in ["zoe", "zoës", "z0ë"] {
        assert!(bans.name(other, 0).is_none(), "{other}");
    }
}

#[test]
fn address_is_banned_with_its_network_until_the_ban_is_lifted() {
    let mut bans = bans(&["10.0.0.0/8", "192.0.2.1", "2001:db8::9"]);
    for banned in ["10.9.9.9", "::ffff:10.0.0.1", "192.0.2.1", "2001:db8::1", "2001:db8::ffff:1"] {
        assert!(bans.address(address(banned), 0).is_some(), "{banned}");
    }
    for free in ["11.0.0.0", "192.0.2.2", "2001:db8:0:1::1", "::10.0.0.1"] {
        assert!(bans.address(address(free), 0).is_none(), "{free}");
    }
    assert!(!bans.lift(&"10.0.0.0/9".parse().unwrap()));
    assert!(bans.lift(&"10.0.0.0/8".parse().unwrap()));
    assert!(!bans.lift(&"10.0.0.0/8".parse().unwrap()));
    assert!(bans.address(address("10.9.9.9"), 0).is_none());
}

#[test]
fn ban_ends_at_its_time_and_the_one_that_ends_last_counts() {
    let mut bans = Bans::default();
    for (target, until) in [("10.0.0.0/8", Some(50)), ("10.0.0.1", Some(100)), ("bob", Some(100))] {
        bans.add(Ban { until_unix_millis: until, ..ban(target) }).unwrap();
    }
    let until = |bans: &Bans, now| bans.address(address("10.0.0.1"), now).map(|ban| ban.until_unix_millis);
    assert_eq!(
        (until(&bans, 49), until(&bans, 99), until(&bans, 100)),
        (Some(Some(100)), Some(Some(100)), None)
    );
    assert!(bans.name("bob", 99).is_some() && bans.name("bob", 100).is_none());
    assert_eq!((bans.active(49).count(), bans.active(50).count(), bans.active(100).count()), (3, 2, 0));
    bans.add(Ban { until_unix_millis: None, ..ban("10.0.0.0/8") }).unwrap();
    assert_eq!(until(&bans, 99), Some(None), "the ban without an end");
    assert_eq!((bans.remove_expired(99), bans.remove_expired(100)), (0, 2));
    assert!(!bans.is_empty() && bans.lift(&"10.0.0.0/8".parse().unwrap()) && bans.is_empty());
}

#[test]
fn bans_are_listed_in_one_order() {
    let bans = bans(&["zoë", "Ann", "192.0.2.1", "2001:db8::1", "10.0.0.0/8"]);
    let listed: Vec<String> = bans.active(0).map(|ban| ban.target.to_string()).collect();
    assert_eq!(listed, ["10.0.0.0/8", "192.0.2.1", "2001:db8::/64", "Ann", "zoë"]);
}

#[test]
fn bans_are_limited_in_number() {
    let mut bans = Bans::default();
    for number in 0..BANS_MAX as u32 {
        let target = match number % 2 {
            0 => BanTarget::Network(IpAddr::V4(Ipv4Addr::from(number)).into()),
            _ => BanTarget::Name(name(&format!("user{number}"))),
        };
        bans.add(Ban { target, ..ban("x") }).unwrap();
    }
    assert!(bans.add(ban("bob")).unwrap_err().contains("10000 bans"));
    assert!(bans.name("bob", 0).is_none());
    bans.add(Ban { reason: None, ..ban("user1") }).expect("replaces the ban of the same name");
    assert_eq!(bans.name("user1", 0).unwrap().reason, None);
    assert!(bans.lift(&"user1".parse().unwrap()));
    bans.add(ban("bob")).expect("one was lifted");
    assert_eq!(bans.active(0).count(), BANS_MAX);
}

/// A network near the others, so that several have the same address.
fn networks() -> impl Strategy<Value = Network> {
    let v4 = (0u32..16, 24u8..=32).prop_map(|(low, bits)| (IpAddr::V4(Ipv4Addr::from(low << 4)), bits));
    let v6 = (0u128..16, 56u8..=64)
        .prop_map(|(low, bits)| (IpAddr::V6(Ipv6Addr::from(low << 64 | 1 << 120)), bits));
    prop_oneof![v4, v6].prop_map(|(address, bits)| Network::around(address, bits).unwrap())
}

#[test]
fn random_bans_are_found_as_by_a_scan() {
    let step = (networks(), proptest::option::of(0u64..10), any::<bool>());
    check(500, &vec(step, 0..40), |steps| {
        let mut bans = Bans::default();
        let mut model: Vec<(Network, Option<u64>)> = Vec::new();
        for (now, (network, until, lifts)) in (0..).map(|step: u64| step / 5).zip(steps) {
            let target = BanTarget::Network(network);
            let known = model.iter().position(|(other, _)| *other == network);
            known.map(|at| model.swap_remove(at));
            match lifts {
                true => assert_eq!(bans.lift(&target), known.is_some()),
                false => {
                    model.push((network, until));
                    bans.add(Ban { target, until_unix_millis: until, ..ban("x") }).unwrap();
                }
            }
            let is_active = |until: &Option<u64>| until.is_none_or(|until| now < until);
            for low in 0..16u8 {
                let addresses = [
                    IpAddr::V4(Ipv4Addr::from(u32::from(low) << 4)),
                    Ipv6Addr::from(u128::from(low) << 64 | 1 << 120).into(),
                ];
                for address in addresses {
                    let expected =
                        model.iter().filter(|(network, until)| network.contains(address) && is_active(until));
                    let expected = expected.map(|(_, until)| until.unwrap_or(u64::MAX)).max();
                    let found =
                        bans.address(address, now).map(|ban| ban.until_unix_millis.unwrap_or(u64::MAX));
                    assert_eq!(found, expected, "{address} at {now}");
                }
            }
            assert_eq!(bans.active(now).count(), model.iter().filter(|(_, until)| is_active(until)).count());
            model.retain(|(_, until)| is_active(until));
            bans.remove_expired(now);
        }
    });
}
