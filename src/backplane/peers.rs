//! The other processes: [`Peers`], which are there, and how much of what they tell of their clients is known.
//!
//! Each process numbers its changes, and keeps the whole in Redis. Who sees a gap reads the whole again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::packet::Change;
use crate::protocol::{Presence, RemoteEvent, UniqueId};
use crate::time::Moment;

/// A process that was not heard of for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// A process that is not subscribed for so long is gone: the longest pause between two of its attempts.
const ABSENCE: Duration = Duration::from_secs(3);

/// Changes and versions kept while the whole is on its way; with more, it is read again.
const KEPT_MAX: usize = 4096;

#[derive(Debug)]
struct PeerProcess {
    input_at: Moment,
    doubt: Doubt,
    /// Which state of its clients is known; `None` before the first.
    version: Option<u64>,
    reading: Reading,
}

/// Whether a process that has not been silent for long is there nevertheless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doubt {
    /// Nobody doubts it.
    No,
    /// Redis is asked whether it is subscribed.
    Asked,
    /// It was not subscribed. It may have lost its link, and be about to come back.
    Absent { since: Moment },
}

/// How it stands with the whole.
#[derive(Debug)]
enum Reading {
    /// It is not asked for.
    No,
    /// It is on its way. What has changed since then, by version, and how much that is.
    Yes { kept: Vec<(u64, Vec<Change>)>, size: usize },
    /// It is on its way, and too much has changed since then.
    Again,
    /// It is larger than a reply may be, and not asked for any more.
    TooLarge,
}

/// What is to be done about a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Todo {
    /// Read the whole of its clients.
    Read(u64),
    /// Tell the chat.
    Tell(RemoteEvent),
}

/// The other processes, by their numbers.
#[derive(Debug)]
pub struct Peers {
    peers: BTreeMap<u64, PeerProcess>,
    /// How many there may be, and how many of those that are no more are remembered.
    max: usize,
    /// Since when nobody can be heard; `None` during a session.
    cut_at: Option<Moment>,
    /// Those that the rooms were told are gone: if they come back after all, the rooms are told that, too.
    gone: VecDeque<u64>,
    /// The number of the last that each said to a single client; that of the latest to do so comes last.
    private: VecDeque<(u64, u64)>,
}

impl Peers {
    /// None so far, and never more than that.
    pub fn new(max: usize) -> Peers {
        Peers { peers: BTreeMap::new(), max, cut_at: None, gone: VecDeque::new(), private: VecDeque::new() }
    }

    /// Whether there is a place for a process. Else it is not to be listened to.
    pub fn admits(&self, process: u64) -> bool {
        self.peers.len() < self.max || self.peers.contains_key(&process)
    }

    /// A process has said something, and has this version of its clients, if it has said so.
    pub fn hear(&mut self, process: u64, version: u64, now: Moment, todo: &mut Vec<Todo>) {
        let peer = self.peer(process, now);
        if peer.version.is_none_or(|known| known < version) {
            peer.read(process, todo);
        }
    }

    /// A process has told what changed.
    pub fn hear_changes(
        &mut self,
        process: u64,
        version: u64,
        changes: Vec<Change>,
        now: Moment,
        todo: &mut Vec<Todo>,
    ) {
        let peer = self.peer(process, now);
        match &mut peer.reading {
            Reading::Yes { size, .. } if *size > KEPT_MAX => peer.reading = Reading::Again,
            Reading::Yes { kept, size } => {
                *size += 1 + changes.len();
                kept.push((version, changes));
            }
            Reading::Again | Reading::TooLarge => {}
            Reading::No => peer.apply(process, version, changes, todo),
        }
    }

    /// The whole of a process's clients has come, or nothing, if Redis has not got it whole at the moment.
    pub fn hear_all(&mut self, process: u64, all: Option<(u64, Vec<(u32, Presence)>)>, todo: &mut Vec<Todo>) {
        let Some(peer) = self.peers.get_mut(&process) else {
            return;
        };
        let kept = match std::mem::replace(&mut peer.reading, Reading::No) {
            Reading::Again => return peer.read(process, todo),
            Reading::Yes { kept, .. } => kept,
            Reading::No | Reading::TooLarge => Vec::new(),
        };
        // With nothing, what is known stays so until the process is heard of again, or is gone.
        let Some((version, clients)) = all else {
            return;
        };
        let told = peer.version.is_some() || self.gone.contains(&process);
        if peer.version.is_none_or(|known| known < version) {
            peer.version = Some(version);
            self.gone.retain(|gone| *gone != process);
            todo.push(Todo::Tell(RemoteEvent::Everyone { process, clients, told }));
        }
        for (version, changes) in kept {
            peer.apply(process, version, changes, todo);
        }
    }

    /// The whole of a process's clients is more than a reply may be. It is not asked for again, since each session would end
    /// by it, and so nobody of that process is known here until it is gone.
    pub fn give_up_reading(&mut self, process: u64, todo: &mut Vec<Todo>) {
        if let Some(peer) = self.peers.get_mut(&process) {
            (peer.reading, peer.version) = (Reading::TooLarge, None);
            todo.push(Todo::Tell(RemoteEvent::Everyone { process, clients: Vec::new(), told: false }));
        }
    }

    /// Somebody has reason to think that a process is not there any more. Whether Redis should be asked.
    pub fn doubt(&mut self, process: u64) -> bool {
        let peer = self.peers.get_mut(&process).filter(|peer| peer.doubt == Doubt::No);
        peer.map(|peer| peer.doubt = Doubt::Asked).is_some()
    }

    /// Redis says whether a process is subscribed. If it was heard meanwhile, that is more recent.
    pub fn hear_of(&mut self, process: u64, subscribed: bool, now: Moment) {
        if let Some(peer) = self.peers.get_mut(&process).filter(|peer| peer.doubt == Doubt::Asked) {
            peer.doubt = if subscribed { Doubt::No } else { Doubt::Absent { since: now } };
        }
    }

    /// A process has said good-bye.
    pub fn forget(&mut self, process: u64, todo: &mut Vec<Todo>) {
        if self.peers.remove(&process).is_some() {
            todo.push(Todo::Tell(RemoteEvent::ProcessGone { process }));
            self.gone.push_back(process);
            if self.gone.len() > self.max {
                self.gone.pop_front();
            }
        }
    }

    /// A process has said something to a single client, with that number. Whether it is new.
    pub fn hear_private(&mut self, process: u64, n: u64) -> bool {
        let known = self.private.iter().position(|(other, _)| *other == process);
        let last = known.and_then(|index| self.private.remove(index)).map_or(0, |(_, last)| last);
        self.private.push_back((process, last.max(n)));
        if self.private.len() > self.max {
            self.private.pop_front();
        }
        n > last
    }

    /// The session is over: what is on its way does not come.
    pub fn cut(&mut self, now: Moment) {
        self.cut_at.get_or_insert(now);
        for peer in self.peers.values_mut() {
            peer.doubt = Doubt::No;
            if !matches!(peer.reading, Reading::TooLarge) {
                peer.reading = Reading::No;
            }
        }
    }

    /// A session begins: whoever was known may have said something meanwhile, and was not silent while nobody could hear it.
    pub fn resume(&mut self, now: Moment, todo: &mut Vec<Todo>) {
        let deaf = self.cut_at.take().map_or(Duration::ZERO, |cut_at| now.since(cut_at));
        for (process, peer) in &mut self.peers {
            peer.input_at += deaf;
            peer.read(*process, todo);
        }
    }

    /// They are out of reach for so long that nobody is taken to be there.
    pub fn clear(&mut self) {
        self.peers.clear();
        self.gone.clear();
    }

    /// Which there are.
    pub fn processes(&self) -> impl Iterator<Item = u64> {
        self.peers.keys().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// When [`Peers::expire`] wants to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.peers.values().map(PeerProcess::gone_at).min()
    }

    /// Forgets those that were silent for too long.
    pub fn expire(&mut self, now: Moment, todo: &mut Vec<Todo>) {
        let silent = self.peers.iter().filter(|(_, peer)| peer.gone_at() <= now);
        let silent: Vec<u64> = silent.map(|(process, _)| *process).collect();
        silent.into_iter().for_each(|process| self.forget(process, todo));
    }

    fn peer(&mut self, process: u64, now: Moment) -> &mut PeerProcess {
        let new = PeerProcess { input_at: now, doubt: Doubt::No, version: None, reading: Reading::No };
        let peer = self.peers.entry(process).or_insert(new);
        (peer.input_at, peer.doubt) = (now, Doubt::No);
        peer
    }
}

impl PeerProcess {
    /// When it is taken to be gone, if it is not heard of.
    fn gone_at(&self) -> Moment {
        let silent = self.input_at + SILENCE;
        match self.doubt {
            Doubt::Absent { since } => silent.min(since + ABSENCE),
            Doubt::No | Doubt::Asked => silent,
        }
    }

    fn read(&mut self, process: u64, todo: &mut Vec<Todo>) {
        if matches!(self.reading, Reading::No) {
            self.reading = Reading::Yes { kept: Vec::new(), size: 0 };
            todo.push(Todo::Read(process));
        }
    }

    fn apply(&mut self, process: u64, version: u64, changes: Vec<Change>, todo: &mut Vec<Todo>) {
        match self.version {
            Some(known) if version <= known => {}
            Some(known) if known.checked_add(1) == Some(version) => {
                self.version = Some(version);
                todo.extend(changes.into_iter().map(|(client, state)| {
                    let id = UniqueId { process, serial: client };
                    Todo::Tell(match state {
                        Ok(presence) => RemoteEvent::Present { id, presence },
                        Err(reason) => RemoteEvent::Gone { id, reason },
                    })
                }));
            }
            _ => self.read(process, todo),
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

    fn comes(id: u32) -> Vec<Change> {
        vec![(id, Ok(presence("ann")))]
    }

    fn present(client: u32) -> Todo {
        Todo::Tell(RemoteEvent::Present {
            id: UniqueId { process: PROCESS, serial: client },
            presence: presence("ann"),
        })
    }

    fn everyone(told: bool) -> Todo {
        Todo::Tell(RemoteEvent::Everyone { process: PROCESS, clients: vec![(1, presence("bo"))], told })
    }

    /// What `act` brings to do.
    fn todo(peers: &mut Peers, act: impl FnOnce(&mut Peers, &mut Vec<Todo>)) -> Vec<Todo> {
        let mut todo = Vec::new();
        act(peers, &mut todo);
        todo
    }

    fn changed(peers: &mut Peers, version: u64, id: u32) -> Vec<Todo> {
        todo(peers, |peers, todo| peers.hear_changes(PROCESS, version, comes(id), at(0), todo))
    }

    fn whole(peers: &mut Peers, version: u64) -> Vec<Todo> {
        todo(peers, |peers, todo| peers.hear_all(PROCESS, Some((version, vec![(1, presence("bo"))])), todo))
    }

    #[test]
    fn the_whole_comes_first_and_the_changes_since_then_behind_it() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 5, 2), [Todo::Read(PROCESS)]);
        assert_eq!(changed(&mut peers, 6, 3), []);
        assert_eq!(changed(&mut peers, 7, 4), []);
        assert_eq!(whole(&mut peers, 6), [everyone(false), present(4)]);
        assert_eq!(changed(&mut peers, 7, 4), [], "it is known");
        assert_eq!(changed(&mut peers, 8, 5), [present(5)]);
        assert_eq!(changed(&mut peers, 10, 6), [Todo::Read(PROCESS)], "9 was lost");
        assert_eq!(whole(&mut peers, 10), [everyone(true)]);
    }

    #[test]
    fn what_is_said_to_one_comes_once() {
        let mut peers = Peers::new(2);
        let heard = [(1, 1), (1, 3), (2, 1), (1, 3), (1, 2), (1, 4)]
            .map(|(process, n)| peers.hear_private(process, n));
        assert_eq!(heard, [true, true, true, false, false, true]);
        (3..1_000).for_each(|process| assert!(peers.hear_private(process, 1)));
        assert_eq!(peers.private.len(), 2);
    }

    #[test]
    fn nothing_is_no_information() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 5, 2), [Todo::Read(PROCESS)]);
        whole(&mut peers, 5);
        let beat = |peers: &mut Peers, version| todo(peers, |p, todo| p.hear(PROCESS, version, at(1), todo));
        assert_eq!(beat(&mut peers, 5), []);
        assert_eq!(beat(&mut peers, 6), [Todo::Read(PROCESS)]);
        assert_eq!(todo(&mut peers, |peers, todo| peers.hear_all(PROCESS, None, todo)), []);
        assert_eq!(beat(&mut peers, 6), [Todo::Read(PROCESS)], "it is asked for again");
    }

    #[test]
    fn with_too_many_changes_the_whole_is_read_again() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        let many = |_| (0..KEPT_MAX as u32 + 1).flat_map(comes).collect::<Vec<_>>();
        for version in 2..4 {
            todo(&mut peers, |peers, todo| {
                peers.hear_changes(PROCESS, version, many(version), at(0), todo);
            });
        }
        assert_eq!(whole(&mut peers, 1), [Todo::Read(PROCESS)]);
        assert_eq!(whole(&mut peers, 3), [everyone(false)]);
    }

    #[test]
    fn changes_of_nothing_are_kept_within_bounds_too() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        let kept = |peers: &Peers| match &peers.peers[&PROCESS].reading {
            Reading::Yes { kept, .. } => Some(kept.len()),
            _ => None,
        };
        let nothing = |peers: &mut Peers, version| {
            todo(peers, |peers, todo| peers.hear_changes(PROCESS, version, vec![], at(0), todo))
        };
        (0..KEPT_MAX as u64 + 1).for_each(|version| assert_eq!(nothing(&mut peers, version + 2), []));
        assert_eq!(kept(&peers), Some(KEPT_MAX + 1));
        nothing(&mut peers, KEPT_MAX as u64 + 3);
        assert_eq!(kept(&peers), None);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut peers = Peers::new(2);
        let come = |peers: &mut Peers, process| todo(peers, |p, todo| p.hear(process, 0, at(0), todo));
        assert!(peers.admits(1));
        come(&mut peers, 1);
        assert!(peers.admits(2));
        come(&mut peers, 2);
        assert!(peers.admits(1) && peers.admits(2) && !peers.admits(3));
        todo(&mut peers, |peers, todo| peers.forget(1, todo));
        assert!(peers.admits(3));
    }

    #[test]
    fn what_is_too_large_is_not_read_again_until_its_process_is_gone() {
        let mut peers = Peers::new(2);
        assert_eq!(changed(&mut peers, 1, 1), [Todo::Read(PROCESS)]);
        let nobody = RemoteEvent::Everyone { process: PROCESS, clients: vec![], told: false };
        let given_up = todo(&mut peers, |peers, todo| peers.give_up_reading(PROCESS, todo));
        assert_eq!(given_up, [Todo::Tell(nobody)]);
        peers.cut(at(0));
        assert_eq!(todo(&mut peers, |peers, todo| peers.resume(at(1), todo)), []);
        assert_eq!(changed(&mut peers, 2, 1), []);
        todo(&mut peers, |peers, todo| peers.forget(PROCESS, todo));
        assert_eq!(changed(&mut peers, 3, 1), [Todo::Read(PROCESS)]);
    }

    #[test]
    fn who_is_not_subscribed_has_a_while_to_come_back() {
        let away = |subscribed| {
            let mut peers = Peers::new(2);
            changed(&mut peers, 1, 1);
            assert!(peers.doubt(PROCESS) && !peers.doubt(PROCESS), "one question at a time");
            peers.hear_of(PROCESS, subscribed, at(1));
            peers
        };
        let gone = vec![Todo::Tell(RemoteEvent::ProcessGone { process: PROCESS })];
        let expire = |peers: &mut Peers, second| todo(peers, |p, todo| p.expire(at(second), todo));
        let mut peers = away(false);
        assert_eq!((peers.next_timeout(), peers.doubt(PROCESS)), (Some(at(4)), false));
        assert_eq!([expire(&mut peers, 3), expire(&mut peers, 4)], [vec![], gone.clone()]);

        let mut peers = away(true);
        assert_eq!(expire(&mut peers, 19), []);
        assert!(peers.doubt(PROCESS), "it may be asked again");

        let mut peers = away(false);
        changed(&mut peers, 2, 1);
        assert_eq!(expire(&mut peers, 6), [], "it was heard");
        assert!(peers.doubt(PROCESS));
        changed(&mut peers, 3, 1);
        peers.hear_of(PROCESS, false, at(2));
        assert_eq!(expire(&mut peers, 8), [], "it was heard since it was asked for");

        let mut peers = away(false);
        peers.cut(at(2));
        peers.cut(at(3));
        todo(&mut peers, |peers, todo| peers.resume(at(5), todo));
        assert_eq!(expire(&mut peers, 22), [], "what cannot be heard is no silence");
        assert_eq!(expire(&mut peers, 23), gone);
        assert!(!peers.doubt(99), "nobody knows it");
    }

    #[test]
    fn who_is_silent_is_gone() {
        let mut peers = Peers::new(2);
        changed(&mut peers, 1, 1);
        assert_eq!(todo(&mut peers, |peers, todo| peers.expire(at(19), todo)), []);
        let gone = [Todo::Tell(RemoteEvent::ProcessGone { process: PROCESS })];
        assert_eq!(todo(&mut peers, |peers, todo| peers.expire(at(20), todo)), gone);
        assert_eq!((peers.len(), peers.next_timeout()), (0, None));
        assert_eq!(whole(&mut peers, 1), [], "what comes for it now is too late");
        assert_eq!(changed(&mut peers, 3, 1), [Todo::Read(PROCESS)], "it is not gone after all");
        assert_eq!(whole(&mut peers, 3), [everyone(true)]);
        peers.clear();
        assert_eq!(
            (changed(&mut peers, 4, 1), whole(&mut peers, 4)),
            (vec![Todo::Read(PROCESS)], vec![everyone(false)])
        );
    }
}
