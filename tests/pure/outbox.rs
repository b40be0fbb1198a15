//! Outboxes and the arena, at random, against plain vectors of bytes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use chinwag::arena::{Arena, Compaction, Held, SEALED_AT_BYTES};
use chinwag::outbox::{Appended, Flushed, Outbox};
use chinwag::time::Moment;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::random::check;

const OUTBOXES: usize = 4;
const SOFT_BYTES: usize = 5_000;

/// Most slices of one `writev(2)`: fewer than any kernel's `IOV_MAX`.
const SLICES_MOST: usize = 16;

/// The result of one write to a peer.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Takes(usize),
    TakesAll,
    Interrupted,
}

/// An action of the server. A tick lies between two `Turn`s.
#[derive(Clone, Debug)]
enum Op {
    /// A frame goes to some outboxes.
    Send {
        bytes: usize,
        to: [bool; OUTBOXES],
    },
    /// Flushes an outbox. After these results, the peer takes no more.
    Flush {
        who: usize,
        answers: Vec<Answer>,
    },
    Miss(usize),
    GiveUp(usize),
    Clear(usize),
    CompactOne(usize),
    CompactAll,
    Turn,
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0..OUTBOXES;
    let bytes = prop_oneof![1 => Just(0), 20 => 1usize..200, 4 => 200usize..5_000, 2 => 20_000usize..90_000];
    let answer = prop_oneof![
        2 => (1usize..100).prop_map(Answer::Takes),
        2 => (100usize..50_000).prop_map(Answer::Takes),
        2 => Just(Answer::TakesAll),
        1 => Just(Answer::Interrupted),
    ];
    prop_oneof![
        12 => (bytes, any::<[bool; OUTBOXES]>()).prop_map(|(bytes, to)| Op::Send { bytes, to }),
        6 => (who(), vec(answer, 0..4)).prop_map(|(who, answers)| Op::Flush { who, answers }),
        1 => who().prop_map(Op::Miss),
        1 => who().prop_map(Op::GiveUp),
        1 => who().prop_map(Op::Clear),
        1 => who().prop_map(Op::CompactOne),
        1 => Just(Op::CompactAll),
        6 => Just(Op::Turn),
    ]
}

/// Expected content of one outbox: its frames, without the bytes that the peer already has.
#[derive(Clone, Debug, Default)]
struct Model {
    frames: VecDeque<Vec<u8>>,
    /// Whether the peer has a part of the first one.
    begun: bool,
    missed: u64,
    stalled_since: Option<Moment>,
}

impl Model {
    fn bytes(&self) -> usize {
        self.frames.iter().map(Vec::len).sum()
    }

    /// Removes `bytes` that the peer takes.
    fn take(&mut self, mut bytes: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while bytes > 0 {
            let frame = self.frames.front_mut().expect("no more is taken than there is");
            let some = bytes.min(frame.len());
            taken.extend(frame.drain(..some));
            bytes -= some;
            self.begun = !frame.is_empty();
            if !self.begun {
                self.frames.pop_front();
            }
        }
        taken
    }

    fn give_up(&mut self) {
        self.frames.truncate(usize::from(self.begun));
        self.missed = 0;
    }
}

/// Outboxes in one arena, each with its model.
#[derive(Default)]
struct Bench {
    arena: Arena,
    outboxes: [Outbox; OUTBOXES],
    models: [Model; OUTBOXES],
    frames: usize,
    now: Moment,
}

impl Bench {
    fn carry_out(&mut self, op: &Op) {
        match *op {
            Op::Send { bytes, to } => self.send(bytes, to),
            Op::Flush { who, ref answers } => self.flush(who, answers),
            Op::Miss(who) => {
                self.outboxes[who].miss(None);
                self.models[who].missed += 1;
            }
            Op::GiveUp(who) => {
                self.outboxes[who].drop_unsent(&mut self.arena);
                self.models[who].give_up();
            }
            Op::Clear(who) => {
                self.outboxes[who].clear(&mut self.arena);
                self.models[who] = Model::default();
            }
            Op::CompactOne(who) => self.arena.compact(Compaction::Sparse, self.outboxes[who].held_mut()),
            Op::CompactAll => self.compact_all(),
            Op::Turn => {
                self.arena.end_round();
                self.now = Moment::from_millis(self.now.as_millis() + 1);
            }
        }
        self.check();
    }

    /// Encodes a unique frame, and queues it as `server/fanout.rs` does.
    fn send(&mut self, bytes: usize, to: [bool; OUTBOXES]) {
        self.frames += 1;
        let frame: Vec<u8> = (0..bytes).map(|at| (at * 31 + at / 251 + self.frames * 7) as u8).collect();
        let written = self.arena.frame(|out| out.extend_from_slice(&frame));
        let Bench { arena, outboxes, models, .. } = self;
        arena.share(written, 1, |copies| {
            for (who, _) in to.iter().enumerate().filter(|(_, wanted)| **wanted) {
                outboxes[who].push(copies);
                if !frame.is_empty() {
                    models[who].frames.push_back(frame.clone());
                }
            }
        });
    }

    fn flush(&mut self, who: usize, answers: &[Answer]) {
        let (outbox, model) = (&mut self.outboxes[who], &mut self.models[who]);
        let (mut taken, mut answers) = (Vec::new(), answers.iter());
        let write = |slices: &[IoSlice<'_>]| answer(slices, answers.next(), &mut taken);
        let flushed = outbox.flush(&mut self.arena, self.now, SOFT_BYTES, write).expect("no broken pipe");
        assert!(taken == model.take(taken.len()), "not the bytes that come next");
        assert_eq!(flushed == Flushed::All, model.frames.is_empty());
        if !taken.is_empty() || model.stalled_since.is_none() {
            model.stalled_since = Some(self.now);
        }
        let high = flushed == Flushed::Blocked && outbox.cost_bytes() > SOFT_BYTES;
        assert_eq!(outbox.over_soft_since().is_some(), high);
    }

    /// Copies all frames that sealed blocks still hold.
    fn compact_all(&mut self) {
        let slices = self.outboxes.iter_mut().flat_map(Outbox::held_mut);
        self.arena.compact(Compaction::All, slices);
        assert_eq!(self.arena.sparse_bytes(), 0, "all sparse blocks are free");
    }

    fn check(&mut self) {
        let mut queued = 0;
        for (outbox, model) in self.outboxes.iter().zip(&mut self.models) {
            if model.frames.is_empty() {
                model.stalled_since = None;
            }
            assert_eq!(outbox.queued_bytes(), model.bytes());
            assert_eq!(outbox.is_empty(), model.frames.is_empty());
            assert_eq!(outbox.cost_bytes(), outbox.queued_bytes() + outbox.list_bytes());
            assert_eq!(outbox.missed(), model.missed);
            assert_eq!(outbox.stalled_since(), model.stalled_since);
            assert!(self.arena.memory_bytes() >= model.bytes(), "what waits is somewhere");
            queued += model.bytes() as u64;
        }
        self.arena.assert_invariants();
        assert_eq!(self.arena.held_bytes(), queued);
        assert!(self.arena.sparse_bytes() <= self.arena.memory_bytes());
    }

    /// Has every peer read all output, in as many writes as that takes.
    fn drain(&mut self) {
        for who in 0..OUTBOXES {
            while !self.outboxes[who].is_empty() {
                self.carry_out(&Op::Flush { who, answers: vec![Answer::TakesAll] });
            }
        }
        self.carry_out(&Op::Turn);
    }
}

/// A write to a peer that has so much room: how many bytes it took.
fn answer(slices: &[IoSlice<'_>], answer: Option<&Answer>, taken: &mut Vec<u8>) -> io::Result<usize> {
    assert!((1..=SLICES_MOST).contains(&slices.len()), "{} slices", slices.len());
    assert!(slices.iter().all(|slice| !slice.is_empty()), "an empty slice");
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let mut room = match answer {
        None => return Err(ErrorKind::WouldBlock.into()),
        Some(Answer::Interrupted) => return Err(ErrorKind::Interrupted.into()),
        Some(Answer::TakesAll) => bytes,
        Some(Answer::Takes(most)) => bytes.min(*most),
    };
    let all = room;
    for slice in slices {
        let some = &slice[..slice.len().min(room)];
        taken.extend_from_slice(some);
        room -= some.len();
    }
    Ok(all)
}

#[test]
fn each_peer_gets_its_frames_whole_and_in_order_whatever_happens() {
    check(300, &vec(op(), 1..120), |ops| {
        let mut bench = Bench::default();
        ops.iter().for_each(|op| bench.carry_out(op));
        bench.drain();
    });
}

#[test]
fn memory_is_freed_when_all_is_read() {
    /// Bytes that the open block keeps at most, and as many again for the ends of its frames.
    const KEPT_BYTES: usize = 256 * 1024;
    check(150, &vec(op(), 1..120), |ops| {
        let mut bench = Bench::default();
        ops.iter().for_each(|op| bench.carry_out(op));
        bench.drain();
        assert_eq!(
            (bench.arena.held_bytes(), bench.arena.sparse_bytes(), bench.arena.open_bytes()),
            (0, 0, 0)
        );
        assert!(bench.arena.memory_bytes() <= 2 * KEPT_BYTES, "{} bytes", bench.arena.memory_bytes());
        // Sealed and freed, the open block leaves nothing behind unless another block was left.
        bench.send(SEALED_AT_BYTES, [true; OUTBOXES]);
        assert!(bench.arena.end_round(), "sealed");
        bench.drain();
        assert_eq!(bench.arena.memory_bytes(), 0);
    });
}

#[test]
fn long_round_leaves_no_long_buffer_behind() {
    let mut bench = Bench::default();
    for _ in 0..20 {
        bench.carry_out(&Op::Send { bytes: 90_000, to: [true; OUTBOXES] });
    }
    assert!(bench.arena.memory_bytes() >= 1_800_000);
    bench.drain();
    // The buffer that is kept, and a little for the ends of the frames.
    assert!(bench.arena.memory_bytes() <= 300_000, "{} bytes", bench.arena.memory_bytes());
}

#[test]
fn closing_outbox_finishes_the_frame_in_flight() {
    check(300, &(vec(op(), 1..60), 0..OUTBOXES), |(ops, who)| {
        let mut bench = Bench::default();
        ops.iter().for_each(|op| bench.carry_out(op));
        bench.carry_out(&Op::Flush { who, answers: vec![Answer::Takes(10)] });
        let rest = bench.models[who].clone();
        bench.carry_out(&Op::GiveUp(who));
        let kept = if rest.begun { rest.frames[0].len() } else { 0 };
        assert_eq!(bench.outboxes[who].queued_bytes(), kept);
        bench.carry_out(&Op::Send { bytes: 11, to: [true; OUTBOXES] });
        bench.drain();
    });
}

/// The end of one block's slice may be the beginning of the next block's.
#[test]
fn slices_of_two_blocks_never_become_one() {
    let mut bench = Bench::default();
    let (mine, others) = ([true, false, false, false], [false, true, true, true]);
    bench.carry_out(&Op::Send { bytes: 100, to: mine });
    bench.carry_out(&Op::Send { bytes: SEALED_AT_BYTES, to: others });
    bench.carry_out(&Op::Turn);
    bench.carry_out(&Op::Send { bytes: 100, to: others });
    bench.carry_out(&Op::Send { bytes: 100, to: mine });
    bench.drain();
}

/// Output queued for many slow clients of one room is in memory once, and each holds one slice per block.
#[test]
fn broadcast_is_in_memory_once() {
    let mut bench = Bench::default();
    for _ in 0..100 {
        bench.carry_out(&Op::Send { bytes: 10_000, to: [true; OUTBOXES] });
        (0..OUTBOXES).for_each(|who| bench.carry_out(&Op::Flush { who, answers: vec![] }));
        bench.carry_out(&Op::Turn);
    }
    let (memory, arena) = (bench.arena.memory_bytes(), 1_000_000 / SEALED_AT_BYTES + 1);
    assert!((1_000_000..1_300_000).contains(&memory), "{memory} bytes");
    for outbox in &bench.outboxes {
        assert!(outbox.list_bytes() <= arena * 12, "{} bytes of slices", outbox.list_bytes());
    }
    bench.drain();
}

/// A slow client does not pin blocks whose other readers have finished long ago.
#[test]
fn sparse_blocks_are_compacted() {
    let mut bench = Bench::default();
    for _ in 0..50 {
        bench.carry_out(&Op::Send { bytes: 100, to: [true, false, false, false] });
        bench.carry_out(&Op::Send { bytes: 70_000, to: [false, true, true, true] });
        (1..OUTBOXES).for_each(|who| bench.carry_out(&Op::Flush { who, answers: vec![Answer::TakesAll] }));
        bench.carry_out(&Op::Turn);
    }
    assert!(bench.arena.sparse_bytes() > 3_000_000, "{} bytes", bench.arena.sparse_bytes());
    bench.carry_out(&Op::CompactAll);
    assert!(bench.arena.memory_bytes() < 64 * 1024, "{} bytes", bench.arena.memory_bytes());
    bench.drain();
}

/// After a compaction, a slow client pins a block of the usual length, and not all that was copied with it.
#[test]
fn compaction_fills_blocks_of_the_usual_length() {
    let (mut bench, everybody) = (Bench::default(), [true; OUTBOXES]);
    for _ in 0..10 {
        bench.carry_out(&Op::Send { bytes: 40_000, to: everybody });
        bench.carry_out(&Op::Send { bytes: 40_000, to: [false, true, true, true] });
        bench.carry_out(&Op::Turn);
    }
    (1..OUTBOXES).for_each(|who| bench.carry_out(&Op::Flush { who, answers: vec![Answer::TakesAll] }));
    bench.carry_out(&Op::CompactAll);
    bench.carry_out(&Op::Flush { who: 0, answers: vec![Answer::Takes(390_000)] });
    assert!(bench.arena.memory_bytes() < 2 * SEALED_AT_BYTES, "{} bytes", bench.arena.memory_bytes());
    bench.drain();
}

/// An outbox alone in its arena, and a peer that takes so many bytes at a time.
#[derive(Default)]
struct Alone {
    outbox: Outbox,
    arena: Arena,
    millis: u64,
}

impl Alone {
    fn push(&mut self, bytes: usize, is_answer: bool) {
        let frame = self.arena.frame(|out| out.resize(out.len() + bytes, b'x'));
        let outbox = &mut self.outbox;
        self.arena.share(frame, 1, |copies| match is_answer {
            true => outbox.push_reply(copies, SOFT_BYTES),
            false => outbox.push(copies),
        });
    }

    fn flush(&mut self, mut takes: usize) {
        self.millis += 10;
        let now = Moment::from_millis(self.millis);
        let write = |slices: &[IoSlice<'_>]| {
            let taken = slices.iter().map(|slice| slice.len()).sum::<usize>().min(takes);
            takes -= taken;
            if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        };
        self.outbox.flush(&mut self.arena, now, SOFT_BYTES, write).expect("it only blocks");
    }

    fn costs(&self) -> (usize, usize) {
        (self.outbox.charged_bytes(), self.outbox.cost_bytes())
    }
}

#[test]
fn large_answer_is_not_charged_and_output_behind_it_is() {
    let mut alone = Alone::default();
    alone.push(SOFT_BYTES, true);
    assert_eq!(alone.costs(), (SOFT_BYTES, SOFT_BYTES), "a small one is charged as all is");
    alone.push(1, true);
    assert_eq!(alone.costs(), (0, SOFT_BYTES + 1));
    alone.flush(1);
    assert!(alone.outbox.over_soft_since().is_none());
    alone.push(SOFT_BYTES + 1, false);
    assert_eq!(alone.costs(), (SOFT_BYTES + 1, 2 * SOFT_BYTES + 1));
    alone.flush(SOFT_BYTES - 1);
    assert_eq!(alone.costs(), (SOFT_BYTES + 1, SOFT_BYTES + 2));
    assert!(alone.outbox.over_soft_since().is_some());
    alone.flush(2);
    assert_eq!(alone.costs(), (SOFT_BYTES, SOFT_BYTES), "the answer was taken");
    alone.push(2 * SOFT_BYTES, true);
    alone.outbox.drop_unsent(&mut alone.arena);
    alone.outbox.clear(&mut alone.arena);
    assert_eq!((alone.costs(), alone.arena.held_bytes()), ((0, 0), 0));
}

#[test]
fn cost_of_a_round_is_that_of_its_messages_and_not_of_its_answers() {
    let (mut bench, everybody) = (Bench::default(), [true; OUTBOXES]);
    let message = 100 + size_of::<Held>();
    for round in 0..3 {
        bench.send(100, everybody);
        bench.send(100, everybody);
        assert_eq!(bench.arena.round_cost_bytes(), 2 * message);
        let answer = bench.arena.frame(|out| out.extend_from_slice(&[b'a'; 5_000]));
        bench.arena.leave_out_of_round(answer);
        assert_eq!(bench.arena.round_cost_bytes(), 2 * message);
        bench.send(100, everybody);
        assert_eq!(bench.arena.round_cost_bytes(), 3 * message);
        // In the second round the block is kept, since somebody has not read the first one.
        if round == 1 {
            (0..OUTBOXES).for_each(|who| bench.flush(who, &[Answer::TakesAll]));
        }
        bench.arena.end_round();
        assert_eq!(bench.arena.round_cost_bytes(), 0);
    }
}

#[test]
fn slice_is_appended_only_to_a_contiguous_one() {
    let (mut outbox, mut arena) = (Outbox::default(), Arena::default());
    let frame = |text: &str| arena.frame(|out| out.extend_from_slice(text.as_bytes()));
    let [one, two, other, three] = ["one\n", "two\n", "not mine\n", "three\n"].map(frame);
    let mut append = |outbox: &mut Outbox, frame, most_bytes| {
        arena.share(frame, 1, |copies| outbox.append(copies, most_bytes))
    };
    assert_eq!(append(&mut outbox, one, 0), (Appended::First, 1), "an empty one takes anything");
    assert_eq!(append(&mut outbox, two, 3), (Appended::No, 0), "no more than 3 bytes may be queued");
    assert_eq!(append(&mut outbox, two, 4), (Appended::Behind, 1));
    assert_eq!(append(&mut outbox, three, 99), (Appended::No, 0), "it does not follow");
    arena.share(three, 1, |copies| outbox.push(copies));
    let appended = arena.share(other, 1, |copies| outbox.append(copies, 99));
    assert_eq!(appended, (Appended::No, 0), "there is a backlog");
    assert_eq!((outbox.queued_bytes(), outbox.list_bytes()), (14, size_of::<Held>()));
}

#[test]
fn growth_of_lists_counts_entries_behind_the_front_and_once() {
    let (mut outboxes, mut arena) = ([Outbox::default(), Outbox::default()], Arena::default());
    let frame = |text: &str| arena.frame(|out| out.extend_from_slice(text.as_bytes()));
    let frames = ["one\n", "two\n", "not mine\n", "three\n", "four\n"].map(frame);
    let entry = size_of::<Held>();
    let mut send = |frame, arena: &mut Arena| {
        arena.share(frame, 1, |copies| outboxes.iter_mut().for_each(|outbox| outbox.push(copies)));
    };
    // The front is no entry, nor is a frame that follows the last output.
    frames[..2].iter().for_each(|frame| send(*frame, &mut arena));
    assert!(!arena.take_list_growth(1));
    frames[3..].iter().for_each(|frame| send(*frame, &mut arena));
    assert!(!arena.take_list_growth(2 * entry + 1));
    assert!(arena.take_list_growth(2 * entry), "an entry of each outbox");
    assert!(!arena.take_list_growth(1), "it was taken");
}
