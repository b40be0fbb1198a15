//! The other processes, and the state of their clients: [`Peers`].
//!
//! Each process numbers its changes, and keeps a snapshot of its clients in Redis. After a gap in the numbers the snapshot is
//! read again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::packet::Change;
use crate::protocol::{Presence, RemoteEvent, UniqueId};
use crate::time::Moment;

/// A process without packets for this long counts as gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(20);

/// A process without subscription for this long counts as gone. It is the longest pause between two attempts.
const ABSENCE_TIMEOUT: Duration = Duration::from_secs(3);

/// The most changes and versions buffered while a snapshot is read. With more, the snapshot is read again.
const BUFFERED_MAX: usize = 4096;

#[derive(Debug)]
struct PeerProcess {
    input_at: Moment,
    liveness: Liveness,
    /// The version of the known state of its clients; `None` before the first snapshot.
    version: Option<u64>,
    snapshot: Snapshot,
}

/// The result of a probe. Probes detect dead processes before [`SILENCE_TIMEOUT`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Liveness {
    Assumed,
    /// Redis was asked whether the process is subscribed.
    Probing,
    /// The process was not subscribed. It may return after losing its link.
    Absent {
        since: Moment,
    },
}

/// The state of reading a snapshot.
#[derive(Debug)]
enum Snapshot {
    Idle,
    /// It was requested. Changes are buffered by version; `size` counts changes and versions.
    Requested {
        buffered: Vec<(u64, Vec<Change>)>,
        size: usize,
    },
    /// It was requested, but too many changes have come since then. It will be requested again.
    Stale,
    /// It is over the limit for a reply, so it is not requested any more.
    TooLarge,
}

/// An action for the backplane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerAction {
    ReadSnapshot(u64),
    Deliver(RemoteEvent),
}

/// The other processes, by their numbers.
#[derive(Debug)]
pub struct Peers {
    peers: BTreeMap<u64, PeerProcess>,
    /// The most peers, and the most entries of `gone` and of `private`.
    max: usize,
    /// Time of the session's end; `None` during a session.
    ended_at: Option<Moment>,
    /// Processes whose departure was announced. If one returns, its clients are announced too.
    gone: VecDeque<u64>,
    /// The sequence number of the last private message of each process, in the order of reception.
    private: VecDeque<(u64, u64)>,
}

impl Peers {
    pub fn new(max: usize) -> Peers {
        Peers { peers: BTreeMap::new(), max, ended_at: None, gone: VecDeque::new(), private: VecDeque::new() }
    }

    /// Whether a process is known or there is room for another one.
    pub fn admits(&self, process: u64) -> bool {
        self.peers.len() < self.max || self.peers.contains_key(&process)
    }

    /// Handles a heartbeat with the version of the process's clients.
    pub fn handle_heartbeat(
        &mut self,
        process: u64,
        version: u64,
        now: Moment,
        actions: &mut Vec<PeerAction>,
    ) {
        let peer = self.peer(process, now);
        if peer.version.is_none_or(|known| known < version) {
            peer.read(process, actions);
        }
    }

    /// Handles published changes.
    pub fn handle_changes(
        &mut self,
        process: u64,
        version: u64,
        changes: Vec<Change>,
        now: Moment,
        actions: &mut Vec<PeerAction>,
    ) {
        let peer = self.peer(process, now);
        match &mut peer.snapshot {
            Snapshot::Requested { size, .. } if *size > BUFFERED_MAX => peer.snapshot = Snapshot::Stale,
            Snapshot::Requested { buffered, size } => {
                *size += 1 + changes.len();
                buffered.push((version, changes));
            }
            Snapshot::Stale | Snapshot::TooLarge => {}
            Snapshot::Idle => peer.apply(process, version, changes, actions),
        }
    }

    /// Handles a snapshot; `None` if Redis has no complete one.
    pub fn handle_snapshot(
        &mut self,
        process: u64,
        snapshot: Option<(u64, Vec<(u32, Presence)>)>,
        actions: &mut Vec<PeerAction>,
    ) {
        // The process may have been removed meanwhile.
        let Some(peer) = self.peers.get_mut(&process) else {
            return;
        };
        let buffered = match std::mem::replace(&mut peer.snapshot, Snapshot::Idle) {
            Snapshot::Stale => return peer.read(process, actions),
            Snapshot::Requested { buffered, .. } => buffered,
            Snapshot::Idle | Snapshot::TooLarge => Vec::new(),
        };
        // Without a snapshot the known state is buffered until the next heartbeat.
        let Some((version, clients)) = snapshot else {
            return;
        };
        let announce = peer.version.is_some() || self.gone.contains(&process);
        if peer.version.is_none_or(|known| known < version) {
            peer.version = Some(version);
            self.gone.retain(|gone| *gone != process);
            actions.push(PeerAction::Deliver(RemoteEvent::AllClients { process, clients, announce }));
        }
        for (version, changes) in buffered {
            peer.apply(process, version, changes, actions);
        }
    }

    /// Handles a snapshot over the limit for a reply. It is not requested again, since it would end each session. The process's
    /// clients are unknown until the process is gone.
    pub fn give_up_reading(&mut self, process: u64, actions: &mut Vec<PeerAction>) {
        if let Some(peer) = self.peers.get_mut(&process) {
            (peer.snapshot, peer.version) = (Snapshot::TooLarge, None);
            actions.push(PeerAction::Deliver(RemoteEvent::AllClients {
                process,
                clients: Vec::new(),
                announce: false,
            }));
        }
    }

    /// Begins a probe of a process. Returns whether Redis must be asked.
    pub fn begin_probe(&mut self, process: u64) -> bool {
        let peer = self.peers.get_mut(&process).filter(|peer| peer.liveness == Liveness::Assumed);
        peer.map(|peer| peer.liveness = Liveness::Probing).is_some()
    }

    /// Handles the result of a probe. It is ignored if a packet of the process has come meanwhile.
    pub fn handle_probe(&mut self, process: u64, subscribed: bool, now: Moment) {
        if let Some(peer) = self.peers.get_mut(&process).filter(|peer| peer.liveness == Liveness::Probing) {
            peer.liveness = if subscribed { Liveness::Assumed } else { Liveness::Absent { since: now } };
        }
    }

    /// Removes a process, and announces that it is gone.
    pub fn remove(&mut self, process: u64, actions: &mut Vec<PeerAction>) {
        if self.peers.remove(&process).is_some() {
            actions.push(PeerAction::Deliver(RemoteEvent::ProcessGone { process }));
            self.gone.push_back(process);
            if self.gone.len() > self.max {
                self.gone.pop_front();
            }
        }
    }

    /// Records a private message's sequence number. Returns whether it is new.
    pub fn record_private(&mut self, process: u64, n: u64) -> bool {
        let known = self.private.iter().position(|(other, _)| *other == process);
        let last = known.and_then(|index| self.private.remove(index)).map_or(0, |(_, last)| last);
        self.private.push_back((process, last.max(n)));
        if self.private.len() > self.max {
            self.private.pop_front();
        }
        n > last
    }

    /// Ends the session: pending replies will not come.
    pub fn end_session(&mut self, now: Moment) {
        self.ended_at.get_or_insert(now);
        for peer in self.peers.values_mut() {
            peer.liveness = Liveness::Assumed;
            if !matches!(peer.snapshot, Snapshot::TooLarge) {
                peer.snapshot = Snapshot::Idle;
            }
        }
    }

    /// Begins a session. Peers may have published changes meanwhile, and the time without session does not count as silence.
    pub fn begin_session(&mut self, now: Moment, actions: &mut Vec<PeerAction>) {
        let interruption = self.ended_at.take().map_or(Duration::ZERO, |ended_at| now.since(ended_at));
        for (process, peer) in &mut self.peers {
            peer.input_at += interruption;
            peer.read(*process, actions);
        }
    }

    /// Removes all peers without announcing it.
    pub fn clear(&mut self) {
        self.peers.clear();
        self.gone.clear();
    }

    pub fn processes(&self) -> impl Iterator<Item = u64> {
        self.peers.keys().copied()
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// The time to call [`Peers::expire`].
    pub fn next_timeout(&self) -> Option<Moment> {
        self.peers.values().map(PeerProcess::gone_at).min()
    }

    /// Removes the peers that were silent for too long.
    pub fn expire(&mut self, now: Moment, actions: &mut Vec<PeerAction>) {
        let silent = self.peers.iter().filter(|(_, peer)| peer.gone_at() <= now);
        let silent: Vec<u64> = silent.map(|(process, _)| *process).collect();
        silent.into_iter().for_each(|process| self.remove(process, actions));
    }

    fn peer(&mut self, process: u64, now: Moment) -> &mut PeerProcess {
        let new = PeerProcess {
            input_at: now,
            liveness: Liveness::Assumed,
            version: None,
            snapshot: Snapshot::Idle,
        };
        let peer = self.peers.entry(process).or_insert(new);
        (peer.input_at, peer.liveness) = (now, Liveness::Assumed);
        peer
    }
}

impl PeerProcess {
    /// The deadline after which the process counts as gone, unless a packet comes.
    fn gone_at(&self) -> Moment {
        let silent = self.input_at + SILENCE_TIMEOUT;
        match self.liveness {
            Liveness::Absent { since } => silent.min(since + ABSENCE_TIMEOUT),
            Liveness::Assumed | Liveness::Probing => silent,
        }
    }

    fn read(&mut self, process: u64, actions: &mut Vec<PeerAction>) {
        if matches!(self.snapshot, Snapshot::Idle) {
            self.snapshot = Snapshot::Requested { buffered: Vec::new(), size: 0 };
            actions.push(PeerAction::ReadSnapshot(process));
        }
    }

    fn apply(&mut self, process: u64, version: u64, changes: Vec<Change>, actions: &mut Vec<PeerAction>) {
        match self.version {
            Some(known) if version <= known => {}
            Some(known) if known.checked_add(1) == Some(version) => {
                self.version = Some(version);
                actions.extend(changes.into_iter().map(|(client, state)| {
                    let id = UniqueId { process, serial: client };
                    PeerAction::Deliver(match state {
                        Ok(presence) => RemoteEvent::Present { id, presence },
                        Err(reason) => RemoteEvent::Gone { id, reason },
                    })
                }));
            }
            _ => self.read(process, actions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Name, RoomName};

    const PROCESS: u64 = 7;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn presence(name: &str) -> Presence {
        Presence {
            name: Name::of_remote(name).unwrap(),
            since_unix_millis: 1,
            rooms: vec![RoomName::lobby()],
        }
    }

    fn arrival(id: u32) -> Vec<Change> {
        vec![(id, Ok(presence("ann")))]
    }

    fn present(client: u32) -> PeerAction {
        PeerAction::Deliver(RemoteEvent::Present {
            id: UniqueId { process: PROCESS, serial: client },
            presence: presence("ann"),
        })
    }

    fn everyone(announce: bool) -> PeerAction {
        PeerAction::Deliver(RemoteEvent::AllClients {
            process: PROCESS,
            clients: vec![(1, presence("bo"))],
            announce,
        })
    }

    /// The actions that `act` causes.
    fn actions(peers: &mut Peers, act: impl FnOnce(&mut Peers, &mut Vec<PeerAction>)) -> Vec<PeerAction> {
        let mut actions = Vec::new();
        act(peers, &mut actions);
        actions
    }

    fn changed(peers: &mut Peers, version: u64, id: u32) -> Vec<PeerAction> {
        actions(peers, |peers, actions| peers.handle_changes(PROCESS, version, arrival(id), at(0), actions))
    }

    fn snapshot(peers: &mut Peers, version: u64) -> Vec<PeerAction> {
        actions(peers, |peers, actions| {
            peers.handle_snapshot(PROCESS, Some((version, vec![(1, presence("bo"))])), actions)
        })
    }

    #[test]
    fn snapshot_is_followed_by_the_changes_since_then() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 5, 2), [PeerAction::ReadSnapshot(PROCESS)]);
        assert_eq!(changed(&mut peers, 6, 3), []);
        assert_eq!(changed(&mut peers, 7, 4), []);
        assert_eq!(snapshot(&mut peers, 6), [everyone(false), present(4)]);
        assert_eq!(changed(&mut peers, 7, 4), [], "it is known");
        assert_eq!(changed(&mut peers, 8, 5), [present(5)]);
        assert_eq!(changed(&mut peers, 10, 6), [PeerAction::ReadSnapshot(PROCESS)], "9 was lost");
        assert_eq!(snapshot(&mut peers, 10), [everyone(true)]);
    }

    #[test]
    fn duplicate_private_messages_are_detected() {
        let mut peers = Peers::new(2);
        let is_new = [(1, 1), (1, 3), (2, 1), (1, 3), (1, 2), (1, 4)]
            .map(|(process, n)| peers.record_private(process, n));
        assert_eq!(is_new, [true, true, true, false, false, true]);
        (3..1_000).for_each(|process| assert!(peers.record_private(process, 1)));
        assert_eq!(peers.private.len(), 2);
    }

    #[test]
    fn missing_snapshot_keeps_the_known_state() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 5, 2), [PeerAction::ReadSnapshot(PROCESS)]);
        snapshot(&mut peers, 5);
        let heartbeat = |peers: &mut Peers, version| {
            actions(peers, |p, actions| p.handle_heartbeat(PROCESS, version, at(1), actions))
        };
        assert_eq!(heartbeat(&mut peers, 5), []);
        assert_eq!(heartbeat(&mut peers, 6), [PeerAction::ReadSnapshot(PROCESS)]);
        assert_eq!(actions(&mut peers, |peers, actions| peers.handle_snapshot(PROCESS, None, actions)), []);
        assert_eq!(heartbeat(&mut peers, 6), [PeerAction::ReadSnapshot(PROCESS)], "it is requested again");
    }

    #[test]
    fn snapshot_is_read_again_after_too_many_changes() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        let many = |_| (0..BUFFERED_MAX as u32 + 1).flat_map(arrival).collect::<Vec<_>>();
        for version in 2..4 {
            actions(&mut peers, |peers, actions| {
                peers.handle_changes(PROCESS, version, many(version), at(0), actions);
            });
        }
        assert_eq!(snapshot(&mut peers, 1), [PeerAction::ReadSnapshot(PROCESS)]);
        assert_eq!(snapshot(&mut peers, 3), [everyone(false)]);
    }

    #[test]
    fn empty_changes_are_bounded_too() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        let buffered = |peers: &Peers| match &peers.peers[&PROCESS].snapshot {
            Snapshot::Requested { buffered, .. } => Some(buffered.len()),
            _ => None,
        };
        let nothing = |peers: &mut Peers, version| {
            actions(peers, |peers, actions| peers.handle_changes(PROCESS, version, vec![], at(0), actions))
        };
        (0..BUFFERED_MAX as u64 + 1).for_each(|version| assert_eq!(nothing(&mut peers, version + 2), []));
        assert_eq!(buffered(&peers), Some(BUFFERED_MAX + 1));
        nothing(&mut peers, BUFFERED_MAX as u64 + 3);
        assert_eq!(buffered(&peers), None);
    }

    #[test]
    fn number_of_peers_is_bounded() {
        let mut peers = Peers::new(2);
        let come = |peers: &mut Peers, process| {
            actions(peers, |p, actions| p.handle_heartbeat(process, 0, at(0), actions))
        };
        assert!(peers.admits(1));
        come(&mut peers, 1);
        assert!(peers.admits(2));
        come(&mut peers, 2);
        assert!(peers.admits(1) && peers.admits(2) && !peers.admits(3));
        actions(&mut peers, |peers, actions| peers.remove(1, actions));
        assert!(peers.admits(3));
    }

    #[test]
    fn oversized_snapshot_is_not_read_again_until_its_process_is_gone() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 1, 1), [PeerAction::ReadSnapshot(PROCESS)]);
        let nobody = RemoteEvent::AllClients { process: PROCESS, clients: vec![], announce: false };
        let given_up = actions(&mut peers, |peers, actions| peers.give_up_reading(PROCESS, actions));
        assert_eq!(given_up, [PeerAction::Deliver(nobody)]);
        peers.end_session(at(0));
        assert_eq!(actions(&mut peers, |peers, actions| peers.begin_session(at(1), actions)), []);
        assert_eq!(changed(&mut peers, 2, 1), []);
        actions(&mut peers, |peers, actions| peers.remove(PROCESS, actions));
        assert_eq!(changed(&mut peers, 3, 1), [PeerAction::ReadSnapshot(PROCESS)]);
    }

    #[test]
    fn unsubscribed_process_has_some_time_to_return() {
        let away = |subscribed| {
            let mut peers = Peers::new(2);
            changed(&mut peers, 1, 1);
            assert!(peers.begin_probe(PROCESS) && !peers.begin_probe(PROCESS), "one probe at a time");
            peers.handle_probe(PROCESS, subscribed, at(1));
            peers
        };
        let gone = vec![PeerAction::Deliver(RemoteEvent::ProcessGone { process: PROCESS })];
        let expire = |peers: &mut Peers, second| actions(peers, |p, actions| p.expire(at(second), actions));
        let mut peers = away(false);
        assert_eq!((peers.next_timeout(), peers.begin_probe(PROCESS)), (Some(at(4)), false));
        assert_eq!([expire(&mut peers, 3), expire(&mut peers, 4)], [vec![], gone.clone()]);

        let mut peers = away(true);
        assert_eq!(expire(&mut peers, 19), []);
        assert!(peers.begin_probe(PROCESS), "it may be probed again");

        let mut peers = away(false);
        changed(&mut peers, 2, 1);
        assert_eq!(expire(&mut peers, 6), [], "a packet has come");
        assert!(peers.begin_probe(PROCESS));
        changed(&mut peers, 3, 1);
        peers.handle_probe(PROCESS, false, at(2));
        assert_eq!(expire(&mut peers, 8), [], "a packet has come since the probe");

        let mut peers = away(false);
        peers.end_session(at(2));
        peers.end_session(at(3));
        actions(&mut peers, |peers, actions| peers.begin_session(at(5), actions));
        assert_eq!(expire(&mut peers, 22), [], "time without session is no silence");
        assert_eq!(expire(&mut peers, 23), gone);
        assert!(!peers.begin_probe(99), "it is unknown");
    }

    #[test]
    fn silent_process_is_gone() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        assert_eq!(actions(&mut peers, |peers, actions| peers.expire(at(19), actions)), []);
        let gone = [PeerAction::Deliver(RemoteEvent::ProcessGone { process: PROCESS })];
        assert_eq!(actions(&mut peers, |peers, actions| peers.expire(at(20), actions)), gone);
        assert_eq!((peers.len(), peers.next_timeout()), (0, None));
        assert_eq!(snapshot(&mut peers, 1), [], "a late snapshot is ignored");
        assert_eq!(changed(&mut peers, 3, 1), [PeerAction::ReadSnapshot(PROCESS)], "it has returned");
        assert_eq!(snapshot(&mut peers, 3), [everyone(true)]);
        peers.clear();
        assert_eq!(
            (changed(&mut peers, 4, 1), snapshot(&mut peers, 4)),
            (vec![PeerAction::ReadSnapshot(PROCESS)], vec![everyone(false)])
        );
    }
}
