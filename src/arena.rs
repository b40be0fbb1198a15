//! The arena: output is written here once for all its receivers.
//!
//! All output is appended, frame by frame, to the *open block*. A new [`Frame`] is in no outbox. [`Arena::share`] gives
//! copies of it to outboxes, and each copy is a [`Held`]: so a broadcast costs one encoding. Each block counts the bytes
//! that outboxes hold of it, and a byte in five outboxes counts five times. At zero the block is free again.
//!
//! A *round* is over when a tick has written to every connection with queued output; with few clients that is each tick.
//! After a good round the kernel has everything, the count is zero, and the open block is emptied and used again. So it
//! stays in the cache, and no memory is allocated. If a client is slow, the open block is kept, and the next round
//! appends to it. When a round ends with [`SEALED_AT_BYTES`] or more, a new block is opened. So the backlog of many
//! slow clients of one room is in memory once. Each of them has one [`Held`] a block, not one a message.
//!
//! A block is *sparse* when outboxes hold little of it. [`Arena::sparse_bytes`] counts these blocks, so that the server can
//! copy the rest to new blocks ([`Arena::compact`]). So all blocks together are rarely over four times the queued output.

use slab::Slab;

/// A block that is this long at the end of a round takes no further one.
pub const SEALED_AT_BYTES: usize = 64 * 1024;

/// The length of the open block at which the round should end.
pub const LONG_BYTES: usize = 2 * SEALED_AT_BYTES;

/// The buffer kept for the open block between rounds when a large one has grown it.
const KEPT_BYTES: usize = 4 * SEALED_AT_BYTES;

/// A block is sparse when fewer than one in this many of its bytes are held.
const SPARSE: u64 = 4;

/// A range of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Slice {
    block: u32,
    start: u32,
    end: u32,
}

impl Slice {
    #[inline]
    fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    fn is_followed_by(&self, next: Slice) -> bool {
        self.block == next.block && self.end == next.start
    }

    /// Grows by `next` if `next` follows directly behind.
    #[inline]
    fn extend(&mut self, next: Slice) -> bool {
        let follows = self.is_followed_by(next);
        if follows {
            self.end = next.end;
        }
        follows
    }
}

/// Output that was written to the arena in this round: one frame, or several that follow each other. It is a plain
/// value: copying or dropping it changes no count. It is not used after [`Arena::end_round`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame(Slice);

impl Frame {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows by `next` if `next` follows directly behind.
    pub fn extend(&mut self, next: Frame) -> bool {
        self.0.extend(next.0)
    }
}

/// Output in one outbox, which the block counts. [`Copies`] makes one, [`Held::split_front`] divides it, and it must be passed
/// to [`Arena::release`]. It can't be copied. The server's debug assertions find one that was dropped, since the counts and
/// the outboxes differ.
#[derive(PartialEq, Eq, Debug, Default)]
#[must_use = "the arena counts it until it is released"]
pub struct Held(Slice);

impl Held {
    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Splits off the first `bytes`, or as many as there are.
    #[inline]
    pub fn split_front(&mut self, bytes: usize) -> Held {
        let start = self.0.start;
        self.0.start += bytes.min(self.len()) as u32;
        Held(Slice { start, end: self.0.start, ..self.0 })
    }
}

/// The copies of a frame that [`Arena::share`] counts.
#[derive(Debug)]
pub struct Copies {
    slice: Slice,
    frames: usize,
    made: usize,
    /// Those that are entries of an outbox's list.
    listed: usize,
}

impl Copies {
    /// The length of each copy in bytes.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of frames in each copy.
    #[inline]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Makes a copy for one outbox.
    #[inline]
    pub fn hold(&mut self) -> Held {
        self.made += 1;
        Held(self.slice)
    }

    /// Makes a copy for the list of an outbox, whose memory counts.
    pub fn hold_in_list(&mut self) -> Held {
        self.listed += 1;
        self.hold()
    }

    /// Appends a copy to `held` if it follows directly behind.
    #[inline]
    pub fn append_to(&mut self, held: &mut Held) -> bool {
        if !held.0.extend(self.slice) {
            return false;
        }
        self.made += 1;
        true
    }
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// The end of each frame, ascending. A frame must not be cut: it is a line, or a WebSocket frame.
    frame_ends: Vec<u32>,
    /// Bytes of the block in outboxes, counted once for each outbox.
    held_bytes: u64,
}

impl Block {
    fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.frame_ends.capacity() * size_of::<u32>()
    }

    fn is_sparse(&self) -> bool {
        self.held_bytes * SPARSE < self.bytes.len() as u64
    }
}

/// The blocks that [`Arena::compact`] empties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compaction {
    /// Sealed blocks that are sparse.
    Sparse,
    /// All sealed blocks.
    All,
}

/// A range of a block that is being copied to another.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    block: Option<u32>,
    start: u32,
    end: u32,
    /// The position of `start` in the other block.
    base: u32,
}

impl Span {
    /// The position in `target` of a slice within this range.
    fn moved(&self, target: usize, slice: Slice) -> Slice {
        let offset = |at: u32| at - self.start + self.base;
        Slice { block: target as u32, start: offset(slice.start), end: offset(slice.end) }
    }
}

/// The extent of a block, or of its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: usize,
    frames: usize,
}

/// All output: the open block, and the sealed ones with bytes in outboxes.
#[derive(Debug)]
pub struct Arena {
    blocks: Slab<Block>,
    open: usize,
    /// The extent of the open block when the round began, and of frames that do not count.
    before_round: Extent,
    /// Memory of all blocks but the open one.
    sealed_bytes: usize,
    /// Lengths of the sealed blocks that are sparse.
    sparse_bytes: usize,
    /// Copies that became entries of outboxes' lists since [`Arena::take_list_growth`].
    listed: usize,
}

impl Default for Arena {
    fn default() -> Self {
        let mut blocks = Slab::new();
        let open = blocks.insert(Block::default());
        Arena { blocks, open, before_round: Extent::default(), sealed_bytes: 0, sparse_bytes: 0, listed: 0 }
    }
}

impl Arena {
    /// Appends one frame to the open block.
    pub fn frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Frame {
        let block = &mut self.blocks[self.open];
        let start = block.bytes.len() as u32;
        encode(&mut block.bytes);
        let end = block.bytes.len() as u32;
        block.frame_ends.push(end);
        Frame(Slice { block: self.open as u32, start, end })
    }

    /// Calls `give`, which puts copies of `frame` into outboxes, and counts them. `frames` is the number of frames in `frame`.
    /// Returns the value of `give`, and the number of copies.
    #[inline]
    pub fn share<T>(
        &mut self,
        frame: Frame,
        frames: usize,
        give: impl FnOnce(&mut Copies) -> T,
    ) -> (T, usize) {
        let mut copies = Copies { slice: frame.0, frames, made: 0, listed: 0 };
        let value = give(&mut copies);
        self.listed += copies.listed;
        self.block_mut(frame.0).held_bytes += (frame.len() * copies.made) as u64;
        (value, copies.made)
    }

    /// Bytes written to the open block so far.
    pub fn open_bytes(&self) -> usize {
        self.blocks[self.open].bytes.len()
    }

    /// The most that an outbox can cost by messages of others in this round: their bytes, and a [`Held`] for each frame.
    pub fn round_cost_bytes(&self) -> usize {
        let (block, before) = (&self.blocks[self.open], self.before_round);
        let frames = block.frame_ends.len() - before.frames;
        block.bytes.len() - before.bytes + frames * size_of::<Held>()
    }

    /// Leaves the frame that was written last out of [`Arena::round_cost_bytes`], since it answers a request of its receiver.
    pub fn leave_out_of_round(&mut self, frame: Frame) {
        debug_assert_eq!(frame.0.end as usize, self.open_bytes(), "another frame was written last");
        self.before_round.bytes += frame.len();
        self.before_round.frames += 1;
    }

    /// Takes back output that an outbox has sent or dropped.
    #[inline]
    pub fn release(&mut self, held: Held) {
        let slice = held.0;
        if slice.block as usize != self.open {
            return self.release_sealed(slice);
        }
        self.block_mut(slice).held_bytes -= slice.len() as u64;
    }

    /// Takes output of a sealed block back. A block of which no outbox holds any is freed, and one that has become sparse is
    /// counted.
    fn release_sealed(&mut self, slice: Slice) {
        let key = slice.block as usize;
        let block = &mut self.blocks[key];
        let was_sparse = block.is_sparse();
        block.held_bytes -= slice.len() as u64;
        let (length, memory) = (block.bytes.len(), block.memory_bytes());
        if block.held_bytes == 0 {
            self.blocks.remove(key);
            self.sealed_bytes -= memory;
            self.sparse_bytes -= if was_sparse { length } else { 0 };
        } else if block.is_sparse() && !was_sparse {
            self.sparse_bytes += length;
        }
    }

    /// The bytes that an outbox holds.
    #[inline]
    pub fn bytes(&self, held: &Held) -> &[u8] {
        let Slice { block, start, end } = held.0;
        &self.blocks[block as usize].bytes[start as usize..end as usize]
    }

    /// The number of bytes that are left of the frame that `held` begins in the middle of; 0 if it begins with a frame.
    pub fn rest_of_frame(&self, held: &Held) -> usize {
        let Slice { block, start, .. } = held.0;
        let ends = &self.blocks[block as usize].frame_ends;
        match ends.binary_search(&start) {
            Ok(_) => 0,
            Err(_) if start == 0 => 0,
            Err(next) => (ends[next] - start) as usize,
        }
    }

    /// Copies the held bytes of some sealed blocks to new ones, and frees the old blocks. Bytes that several outboxes hold are
    /// copied once.
    pub fn compact<'a>(&mut self, which: Compaction, held: impl Iterator<Item = &'a mut Held>) {
        let moves = |held: &&mut Held| {
            let block = held.0.block as usize;
            block != self.open && (which == Compaction::All || self.blocks[block].is_sparse())
        };
        let mut held: Vec<&mut Held> = held.filter(|held| !held.is_empty()).filter(moves).collect();
        held.sort_unstable_by_key(|held| (held.0.block, held.0.start));
        let mut target = self.blocks.insert(Block::default());
        let mut span = Span::default();
        for held in held {
            let slice = held.0;
            let lead = self.lead(slice);
            if span.block != Some(slice.block) || lead > span.end {
                if self.blocks[target].bytes.len() >= SEALED_AT_BYTES {
                    self.seal(target);
                    target = self.blocks.insert(Block::default());
                }
                let base = self.blocks[target].bytes.len() as u32;
                span = Span { block: Some(slice.block), start: lead, end: lead, base };
            }
            self.copy(&mut span, target, slice.end);
            let moved = Frame(span.moved(target, slice));
            let (copy, _) = self.share(moved, 1, |copies| copies.hold());
            self.release(std::mem::replace(held, copy));
        }
        self.seal(target);
    }

    /// Extends `span` up to `end` in its block, by appending the bytes up to there to `target`.
    fn copy(&mut self, span: &mut Span, target: usize, end: u32) {
        let Some(source) = span.block.filter(|_| end > span.end) else {
            // These bytes were copied for another outbox.
            return;
        };
        let (to, from) = self.blocks.get2_mut(target, source as usize).expect("two blocks");
        to.bytes.extend_from_slice(&from.bytes[span.end as usize..end as usize]);
        let first = from.frame_ends.partition_point(|frame_end| *frame_end <= span.end);
        let inside = from.frame_ends[first..].iter().take_while(|frame_end| **frame_end <= end);
        to.frame_ends.extend(inside.map(|frame_end| frame_end - span.start + span.base));
        span.end = end;
    }

    /// Counts a block that takes no more frames, or frees it if no outbox holds any of it.
    fn seal(&mut self, key: usize) {
        let block = &mut self.blocks[key];
        if block.held_bytes == 0 {
            self.blocks.remove(key);
            return;
        }
        block.bytes.shrink_to_fit();
        block.frame_ends.shrink_to_fit();
        self.sealed_bytes += block.memory_bytes();
        self.sparse_bytes += if block.is_sparse() { block.bytes.len() } else { 0 };
    }

    /// The position at which a copy of `slice` begins. A slice that begins within a frame is copied with one byte more in
    /// front, so that its copy begins within a frame too.
    fn lead(&self, slice: Slice) -> u32 {
        let ends = &self.blocks[slice.block as usize].frame_ends;
        let begins_a_frame = slice.start == 0 || ends.binary_search(&slice.start).is_ok();
        slice.start - u32::from(!begins_a_frame)
    }

    /// Ends the round, once every connection with queued output was written to. The open block is emptied if no outbox
    /// holds any of it, and sealed if it is long.
    ///
    /// Returns whether it was sealed.
    pub fn end_round(&mut self) -> bool {
        let sealed = self.tidy_open_block();
        let block = &self.blocks[self.open];
        self.before_round = Extent { bytes: block.bytes.len(), frames: block.frame_ends.len() };
        sealed
    }

    fn tidy_open_block(&mut self) -> bool {
        let block = &mut self.blocks[self.open];
        if block.held_bytes == 0 {
            block.bytes.clear();
            block.frame_ends.clear();
            block.bytes.shrink_to(KEPT_BYTES);
            block.frame_ends.shrink_to(KEPT_BYTES / size_of::<u32>());
            return false;
        }
        if block.bytes.len() < SEALED_AT_BYTES {
            return false;
        }
        self.seal(self.open);
        self.open = self.blocks.insert(Block::default());
        true
    }

    /// Memory of all blocks, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.sealed_bytes + self.blocks[self.open].memory_bytes()
    }

    /// Whether the lists of all outboxes may have grown by `bytes` since this was last true. Entries that were freed meanwhile
    /// still count.
    pub fn take_list_growth(&mut self, bytes: usize) -> bool {
        let has_grown = self.listed * size_of::<Held>() >= bytes;
        if has_grown {
            self.listed = 0;
        }
        has_grown
    }

    /// Length of the sealed blocks that are sparse, in bytes.
    pub fn sparse_bytes(&self) -> usize {
        self.sparse_bytes
    }

    /// Bytes in all outboxes together.
    pub fn held_bytes(&self) -> u64 {
        self.blocks.iter().map(|(_, block)| block.held_bytes).sum()
    }

    /// Checks that each sealed block is held by an outbox, and that the sums are right.
    ///
    /// # Panics
    /// If one of them is not.
    pub fn assert_invariants(&self) {
        let (mut memory_bytes, mut sparse_bytes) = (0, 0);
        for (key, block) in &self.blocks {
            let frames_end = block.frame_ends.last().map_or(0, |end| *end as usize);
            assert_eq!(frames_end, block.bytes.len(), "block {key} does not end with a frame");
            if key != self.open {
                assert!(block.held_bytes > 0, "block {key} is held by no outbox");
                memory_bytes += block.memory_bytes();
                sparse_bytes += if block.is_sparse() { block.bytes.len() } else { 0 };
            }
        }
        assert_eq!(
            (memory_bytes, sparse_bytes),
            (self.sealed_bytes, self.sparse_bytes),
            "sums of sealed blocks"
        );
    }

    #[inline]
    fn block_mut(&mut self, slice: Slice) -> &mut Block {
        &mut self.blocks[slice.block as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arena: &mut Arena, text: &str) -> Frame {
        arena.frame(|out| out.extend_from_slice(text.as_bytes()))
    }

    fn hold(arena: &mut Arena, frame: Frame) -> Held {
        arena.share(frame, 1, |copies| copies.hold()).0
    }

    /// A copy of lines that follow each other.
    fn lines<const N: usize>(arena: &mut Arena, texts: [&str; N]) -> Held {
        let mut frames = texts.map(|text| line(arena, text)).into_iter();
        let mut whole = frames.next().unwrap();
        assert!(frames.all(|frame| whole.extend(frame)));
        hold(arena, whole)
    }

    #[test]
    fn block_that_no_outbox_holds_is_used_again() {
        let mut arena = Arena::default();
        let hello = line(&mut arena, "hello\n");
        let ((one, two), copies) = arena.share(hello, 1, |copies| (copies.hold(), copies.hold()));
        assert_eq!((arena.bytes(&one), copies, arena.held_bytes()), (&b"hello\n"[..], 2, 12));
        arena.release(one);
        arena.end_round();
        assert_eq!(arena.open_bytes(), 6, "one outbox still holds it");
        arena.release(two);
        arena.end_round();
        assert_eq!((arena.open_bytes(), arena.held_bytes()), (0, 0));
    }

    #[test]
    fn frames_that_follow_each_other_become_one() {
        let mut arena = Arena::default();
        let mut one = line(&mut arena, "one\n");
        let two = line(&mut arena, "two\n");
        let three = line(&mut arena, "three\n");
        assert!(!one.extend(three));
        let mut held = hold(&mut arena, one);
        let append = |copies: &mut Copies| copies.append_to(&mut held);
        assert_eq!(arena.share(three, 1, append), (false, 0));
        let mut append = |copies: &mut Copies| copies.append_to(&mut held);
        assert_eq!(arena.share(two, 1, &mut append), (true, 1));
        assert_eq!(arena.share(three, 1, &mut append), (true, 1));
        assert_eq!(arena.bytes(&held), b"one\ntwo\nthree\n");
        let front = held.split_front(5);
        assert_eq!((arena.bytes(&front), arena.bytes(&held)), (&b"one\nt"[..], &b"wo\nthree\n"[..]));
        arena.release(front);
        assert_eq!(arena.held_bytes(), held.len() as u64);
    }

    #[test]
    fn rest_of_a_frame_reaches_up_to_its_end() {
        let mut arena = Arena::default();
        let mut held = lines(&mut arena, ["one\n", "two\n"]);
        for (sent, rest) in [(0, 0), (1, 3), (3, 0), (3, 1)] {
            arena.release(held.split_front(sent));
            assert_eq!(arena.rest_of_frame(&held), rest);
        }
    }

    #[test]
    fn long_block_is_sealed_and_freed_with_its_last_holder() {
        let mut arena = Arena::default();
        let long = line(&mut arena, &"x".repeat(SEALED_AT_BYTES));
        let long = hold(&mut arena, long);
        assert!(arena.end_round());
        assert_eq!(arena.open_bytes(), 0);
        assert!(arena.memory_bytes() >= SEALED_AT_BYTES);
        arena.release(long);
        assert_eq!(arena.memory_bytes(), 0);
        assert_eq!(arena.sparse_bytes(), 0);
    }

    #[test]
    fn few_bytes_of_a_long_block_are_copied_with_their_frames_once_for_all_holders() {
        let mut arena = Arena::default();
        let long = line(&mut arena, &"x".repeat(SEALED_AT_BYTES));
        let mut long = hold(&mut arena, long);
        let mut whole = line(&mut arena, "tail\n");
        assert!(whole.extend(line(&mut arena, "end\n")));
        let (mut tail, mut same) = (hold(&mut arena, whole), hold(&mut arena, whole));
        arena.end_round();
        arena.compact(Compaction::Sparse, [&mut long, &mut tail, &mut same].into_iter());
        assert_eq!(tail.0, whole.0, "most of the block is held");
        arena.release(long);
        arena.release(tail.split_front(2));
        assert_eq!(arena.sparse_bytes(), SEALED_AT_BYTES + 9);
        arena.compact(Compaction::Sparse, [&mut tail, &mut same].into_iter());
        assert_eq!((arena.bytes(&tail), arena.bytes(&same)), (&b"il\nend\n"[..], &b"tail\nend\n"[..]));
        assert_eq!(arena.rest_of_frame(&tail), 3);
        assert_eq!((arena.sparse_bytes(), arena.held_bytes()), (0, 16));
        assert!(arena.memory_bytes() < 100, "{} bytes for nine", arena.memory_bytes());
        [tail, same].into_iter().for_each(|held| arena.release(held));
        assert_eq!(arena.memory_bytes(), 0);
    }
}
