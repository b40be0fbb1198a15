//! Commands that Redis refuses, with whatever error: the session ends, and the next is in order only once Redis takes the
//! same again. Half a link would only look like one.
//!
//! The beginning of each session writes, reads and publishes, so most errors come again there. Commands that are not
//! part of it are kept and tried again ([`Purpose::must_be_tried_again`]). Messages are sent again in any case.

use super::queue::Purpose;
use super::{Backplane, Link, Phase, Up};
use crate::protocol::RemoteEvent;
use crate::time::Now;

/// The longest first word of an error that is repeated to others than the log.
const WORD_MAX_BYTES: usize = 32;

/// Error replies of Redis since the link was last accepted.
#[derive(Default)]
pub(super) struct WriteRefusals {
    /// The first word of the error that ended the last session, if an error did.
    word: Option<String>,
    /// A command that each session must try again.
    retry: Option<(Purpose, Vec<u8>)>,
    /// Whether something was refused that the next session holds back at first.
    held: bool,
}

impl WriteRefusals {
    /// A session ends for another reason.
    pub fn forget_reason(&mut self) {
        self.word = None;
    }
}

impl Backplane {
    /// Whether there is a session that is in order: Redis takes what it is sent.
    pub fn is_accepted(&self) -> bool {
        matches!(self.phase, Phase::Up(Up { accepted: true, .. }))
    }

    /// The error that keeps the link down, as Redis calls it (`READONLY`); `None` if it is down for another reason.
    pub fn refusal(&self) -> Option<&str> {
        self.refusals.word.as_deref().filter(|_| !self.is_accepted())
    }

    /// Redis has answered with an error.
    pub(super) fn refused(&mut self, link: Link, error: &str, now: Now) {
        self.counts.errors += 1;
        let refused = self.queue.oldest().filter(|_| link == Link::Commands);
        let held = refused.is_some_and(|(purpose, _)| purpose.can_be_held());
        let retry = refused.filter(|(purpose, _)| purpose.must_be_tried_again());
        let retry = retry.map(|(purpose, command)| (purpose.clone(), command.to_vec()));
        self.broken(error, now);
        let refusals = &mut self.refusals;
        refusals.word = word(error);
        refusals.held |= held;
        refusals.retry = retry.or(refusals.retry.take());
    }

    /// Sends again what was refused and is no part of the registration.
    pub(super) fn try_again(&mut self) {
        if !self.is_accepted()
            && let Some((purpose, command)) = self.refusals.retry.clone()
        {
            self.enqueue(purpose, command);
        }
    }

    /// Redis has taken the registration. That is enough, unless it refused something last time that is still held back.
    pub(super) fn prove(&mut self) {
        match self.refusals.held && !self.is_accepted() {
            true => self.command(Purpose::Proof, &[b"PING"]),
            false => self.accept(),
        }
    }

    /// Something of our own has come back, so Redis has taken it, whenever its answer comes. What the others say may follow
    /// at once, and is not to come before the news that they are within reach.
    pub(super) fn record_echo(&mut self) {
        if !self.refusals.held && matches!(self.phase, Phase::Up(Up { registered: true, .. })) {
            self.accept();
        }
        self.tell_if_together();
    }

    /// The link is in order.
    pub(super) fn accept(&mut self) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if std::mem::replace(&mut up.accepted, true) {
            return;
        }
        let (place, attempts, rooms) = (&self.url.place, self.attempts, self.rooms.subscriptions());
        log::info!("redis up address={place} attempts={attempts} rooms={rooms}");
        self.counts.sessions += 1;
        self.refusals = WriteRefusals::default();
        self.troubles.clear();
        self.apart_at = None;
        self.tell_if_together();
    }

    /// Lets what is said go out, if nobody is waited for and Redis has taken our clients: a Redis that refuses them has
    /// nobody to pass a message on to.
    pub(super) fn release_if_in_order(&mut self) {
        if let Phase::Up(up) = &self.phase
            && up.hold_until.is_none()
            && (up.registered || self.left)
        {
            self.queue.release();
        }
    }

    /// Tells that the other processes are within reach: the link is in order, and what is published comes back.
    fn tell_if_together(&mut self) {
        if let Phase::Up(up) = &self.phase
            && up.accepted
            && up.echoed
            && std::mem::take(&mut self.apart)
        {
            self.tell(RemoteEvent::Connected);
        }
    }
}

/// The first word of an error, if it looks like one of Redis's: whatever else is in it is for the log alone.
fn word(error: &str) -> Option<String> {
    let word = error.split(' ').next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let fits = !word.is_empty() && word.len() <= WORD_MAX_BYTES && word.bytes().all(is_code);
    fits.then(|| word.into())
}
