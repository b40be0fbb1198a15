//! The flags about limits, as the loop needs them: [`Limits`].

use std::time::Duration;

use crate::config::{Config, Rate, SlowClient, Soft};
use crate::rate::{AddressThrottles, BURST_SECONDS, Throttle, Throttles};

/// Limits on one connection, and on all connections of one address.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cost of an outbox above which its client is dropped, in bytes.
    pub hard_bytes: u32,
    /// Cost above which an outbox may stay for a limited time. Above it the client is not read.
    pub soft: Option<Soft>,
    /// Longest time without progress in sending queued output.
    pub stall: Option<Duration>,
    /// Longest time without a name.
    pub name: Duration,
    /// Longest time without a request.
    pub idle: Option<Duration>,
    /// Longest time for an HTTP client to begin a request, and then to send the rest of it.
    pub http: Duration,
    /// Time without input after which a WebSocket client is sent a ping.
    pub ping_interval: Duration,
    /// Longest time to answer a ping.
    pub ping_timeout: Duration,
    /// Rates of one client.
    pub throttles: Throttles,
    /// Rates of all connections of one address together.
    pub address_throttles: AddressThrottles,
    /// Cost of an outbox above which a client that still reads holds back the senders in its rooms.
    pub watermark_bytes: usize,
    /// Cost that may be queued for a client in one round of flushes.
    pub round_bytes: usize,
    /// Policy for a client that reads too slowly.
    pub slow_client: SlowClient,
}

impl Limits {
    /// Computes the limits from the flags.
    pub fn new(config: &Config) -> Limits {
        let throttles = client_throttles(config);
        Limits {
            hard_bytes: u32::try_from(config.write_buffer).unwrap_or(u32::MAX),
            soft: config.soft(),
            stall: *config.stall_timeout,
            name: config.name_timeout,
            idle: *config.idle_timeout,
            http: config.http_timeout,
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            throttles,
            address_throttles: address_throttles(config, throttles),
            watermark_bytes: config.watermark_bytes(),
            round_bytes: config.round_bytes(),
            slow_client: config.slow_client,
        }
    }

    /// Largest reply that counts as queued output. Larger ones don't ([`crate::outbox::Outbox::push_reply`]).
    pub fn small_reply_bytes(&self) -> usize {
        self.hard_bytes as usize / 4
    }

    /// Cost of an outbox above which its client is slow: it is not read, and its time runs.
    #[inline]
    pub fn soft_bytes(&self) -> usize {
        self.soft.map_or(self.hard_bytes as usize / 2, |soft| soft.bytes)
    }
}

/// Failed logins of one address, after which it may try one a second.
const FAILED_LOGINS: u64 = 5;

fn client_throttles(config: &Config) -> Throttles {
    Throttles {
        messages: config.rate.map(|rate| Throttle::new(rate, config.burst.into())),
        bytes: config.rate_bytes.map(|rate| Throttle::new(rate.into(), config.burst_bytes() as u64)),
    }
}

fn address_throttles(config: &Config, one_client: Throttles) -> AddressThrottles {
    let throttle = |rate: Rate, least_burst: usize| {
        let burst = rate.amount() * BURST_SECONDS / rate.span().as_secs().max(1);
        Throttle::new(rate, burst.max(least_burst as u64).max(1))
    };
    AddressThrottles {
        messages: config.rate_per_ip.map(|rate| throttle(rate, 0)),
        // The burst holds the longest message of one client.
        bytes: config.rate_bytes_per_ip.map(|rate| throttle(rate.into(), config.burst_bytes())),
        posts: one_client.messages,
        post_bytes: one_client.bytes,
        requests: config.requests_per_ip.map(|rate| throttle(rate, 0)),
        failed_logins: Some(Throttle::new(Rate::ONE_A_SECOND, FAILED_LOGINS)),
        connections: config.connects_per_ip.map(|rate| throttle(rate, 0)),
    }
}
