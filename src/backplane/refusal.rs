//! Error replies of Redis. An error ends the session, and the next session is accepted only once Redis has accepted the same
//! command. Otherwise the link would look up while part of it fails.
//!
//! The start of each session writes, reads and publishes, so most errors recur there. PeerStream commands are repeated
//! ([`Purpose::needs_retry`]). Messages are always sent again.

use super::queue::Purpose;
use super::{Backplane, Link, Phase, Up};
use crate::protocol::RemoteEvent;
use crate::time::Now;

/// The longest error code that is shown outside the log.
const WORD_MAX_BYTES: usize = 32;

/// The error replies since the link was last accepted.
#[derive(Default)]
pub(super) struct WriteRefusals {
    /// The code of the error that ended the last session, if an error did.
    code: Option<String>,
    /// A refused command that each session must repeat.
    retry: Option<(Purpose, Vec<u8>)>,
    /// Whether a command was refused that the next session holds back at first.
    held: bool,
}

impl WriteRefusals {
    /// Clears the code when a session ends for another reason.
    pub fn clear_code(&mut self) {
        self.code = None;
    }
}

impl Backplane {
    /// Whether there is a session in which Redis accepts all commands.
    pub fn is_accepted(&self) -> bool {
        matches!(self.phase, Phase::Up(Up { accepted: true, .. }))
    }

    /// The code of the error that keeps the link down (`READONLY`); `None` if it is down for another reason.
    pub fn refusal(&self) -> Option<&str> {
        self.refusals.code.as_deref().filter(|_| !self.is_accepted())
    }

    /// Handles an error reply.
    pub(super) fn refused(&mut self, link: Link, error: &str, now: Now) {
        self.counts.errors += 1;
        let refused = self.queue.oldest().filter(|_| link == Link::Commands);
        let held = refused.is_some_and(|(purpose, _)| purpose.can_be_held());
        let retry = refused.filter(|(purpose, _)| purpose.needs_retry());
        let retry = retry.map(|(purpose, command)| (purpose.clone(), command.to_vec()));
        self.broken(error, now);
        let refusals = &mut self.refusals;
        refusals.code = code(error);
        refusals.held |= held;
        refusals.retry = retry.or(refusals.retry.take());
    }

    /// Repeats a refused command that is no part of the registration.
    pub(super) fn retry_refused(&mut self) {
        if !self.is_accepted()
            && let Some((purpose, command)) = self.refusals.retry.clone()
        {
            self.enqueue(purpose, command);
        }
    }

    /// Accepts the session after the hello. If a held command was refused last time, first waits until Redis accepts it.
    pub(super) fn accept_after_held(&mut self) {
        match self.refusals.held && !self.is_accepted() {
            true => self.command(Purpose::Proof, &[b"PING"]),
            false => self.accept(),
        }
    }

    /// Accepts the session after an own packet, even before its reply. Packets of other processes may follow at once, and must
    /// not come before [`RemoteEvent::Connected`].
    pub(super) fn record_echo(&mut self) {
        if !self.refusals.held && matches!(self.phase, Phase::Up(Up { registered: true, .. })) {
            self.accept();
        }
        self.deliver_connected_if_ready();
    }

    pub(super) fn accept(&mut self) {
        let Phase::Up(up) = &mut self.phase else {
            debug_assert!(false, "only a session can be accepted");
            return;
        };
        if std::mem::replace(&mut up.accepted, true) {
            return;
        }
        let (place, attempts, rooms) = (&self.url.place, self.attempts, self.rooms.subscriptions());
        log::info!("redis up address={place} attempts={attempts} rooms={rooms}");
        self.counts.sessions += 1;
        self.refusals = WriteRefusals::default();
        self.logged_reasons.clear();
        self.disconnected_at = None;
        self.deliver_connected_if_ready();
    }

    /// Releases held messages, if no process is awaited and the registration is confirmed. A Redis that refuses the registration
    /// has no subscribers.
    pub(super) fn release_if_registered(&mut self) {
        if let Phase::Up(up) = &self.phase
            && up.hold_until.is_none()
            && (up.registered || self.leaving)
        {
            self.queue.release();
        }
    }

    /// Reports the link as up, once it is accepted and an own packet has come back.
    fn deliver_connected_if_ready(&mut self) {
        if let Phase::Up(up) = &self.phase
            && up.accepted
            && up.echoed
            && std::mem::take(&mut self.disconnected)
        {
            self.deliver(RemoteEvent::Connected);
        }
    }
}

/// The code at the start of an error, if it looks like one of Redis's. The rest of an error is for the log only.
fn code(error: &str) -> Option<String> {
    let word = error.split(' ').next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = !word.is_empty() && word.len() <= WORD_MAX_BYTES && word.bytes().all(is_code);
    fits.then(|| word.into())
}
