//! What one connection is held to: [`Limits`].

use std::time::Duration;

use crate::config::{Config, Rate, SlowClient, Soft};
use crate::rate::{AddressThrottles, BURST_SECONDS, Throttle, Throttles};

/// The limits on one connection, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cost of an outbox at which its client is dropped.
    pub hard_bytes: u32,
    /// Cost of an outbox that may not last; over it the client is not read either.
    pub soft: Option<Soft>,
    /// The longest that nothing may be taken of what waits.
    pub stall: Option<Duration>,
    /// The longest without a name.
    pub name: Duration,
    /// The longest without a line.
    pub idle: Option<Duration>,
    /// The longest that an HTTP client may take for the head of a request.
    pub http: Duration,
    /// Silence after which a WebSocket client is asked whether it is there.
    pub ping_interval: Duration,
    /// The longest it may take to answer.
    pub ping_timeout: Duration,
    /// Rates of messages and their bytes.
    pub throttles: Throttles,
    /// Rates of all connections of one address.
    pub address_throttles: AddressThrottles,
    /// Cost of an outbox over which its client makes its rooms wait, if it reads.
    pub watermark_bytes: usize,
    /// Cost that may be queued in one round before everybody was written to.
    pub round_bytes: usize,
    /// What becomes of a client that reads too slowly.
    pub slow_client: SlowClient,
}

impl Limits {
    /// The limits that `config` sets.
    pub fn new(config: &Config) -> Limits {
        Limits {
            hard_bytes: u32::try_from(config.write_buffer).unwrap_or(u32::MAX),
            soft: config.soft(),
            stall: *config.stall_timeout,
            name: config.name_timeout,
            idle: *config.idle_timeout,
            http: config.http_timeout,
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            throttles: Throttles {
                messages: config.rate.map(|rate| Throttle::new(rate, config.burst.into())),
                bytes: config.rate_bytes.map(|rate| Throttle::new(rate.into(), config.burst_bytes() as u64)),
            },
            address_throttles: address_throttles(config),
            watermark_bytes: config.watermark_bytes(),
            round_bytes: config.round_bytes(),
            slow_client: config.slow_client,
        }
    }

    /// Answers that count as all that waits does; what is larger does not ([`crate::outbox::Outbox::push_reply`]).
    pub fn small_reply_bytes(&self) -> usize {
        self.hard_bytes as usize / 4
    }

    /// Cost of an outbox over which its client is slow: no longer read, and on the clock.
    pub fn soft_bytes(&self) -> usize {
        self.soft.map_or(self.hard_bytes as usize / 2, |soft| soft.bytes)
    }
}

fn address_throttles(config: &Config) -> AddressThrottles {
    let pace = |rate: Rate, least_burst: usize| {
        let burst = rate.amount() * BURST_SECONDS / rate.span().as_secs().max(1);
        Throttle::new(rate, burst.max(least_burst as u64).max(1))
    };
    AddressThrottles {
        messages: config.rate_per_ip.map(|rate| pace(rate, 0)),
        // The longest message of one client fits.
        bytes: config.rate_bytes_per_ip.map(|rate| pace(rate.into(), config.burst_bytes())),
        requests: config.requests_per_ip.map(|rate| pace(rate, 0)),
        connections: config.connects_per_ip.map(|rate| pace(rate, 0)),
    }
}
