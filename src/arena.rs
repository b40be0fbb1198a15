//! Where output is written once: [`Arena`], and [`Slice`], the part of a page that somebody is to be sent.
//!
//! All output is appended, frame by frame, to the *open page*. Sending is handing a [`Slice`] to an outbox, so a broadcast
//! costs one encoding however many hear it. Each page counts the bytes that outboxes still hold of it, a byte in five
//! outboxes as five; at zero it is free again.
//!
//! A *round* is over when a tick has written to everybody who had something to be sent; with few clients that is each tick.
//! After a good round the kernel has everything, the count is zero, and the open page is emptied and used again: it stays
//! in the cache, and nothing is ever allocated. If somebody is slow, the open page is kept and the next round appends
//! behind it, until one ends with [`SEALED_AT_BYTES`] or more and a new page is opened. So what many slow clients of one
//! room wait for is in memory once, and each of them holds one slice a page, not one a message.
//!
//! A page of which little is still wanted is *sparse*. [`Arena::sparse_bytes`] counts them, so that the server can copy
//! the rest to new pages ([`Arena::compact`]) before they add up: pages never pin much over four times what is queued.

use slab::Slab;

/// A page that is this long at the end of a round takes no further one.
pub const SEALED_AT_BYTES: usize = 64 * 1024;

/// When the open page is this long it is time for the round to end.
pub const LONG_BYTES: usize = 2 * SEALED_AT_BYTES;

/// The buffer kept for the open page between rounds when a large one has grown it.
const KEPT_BYTES: usize = 4 * SEALED_AT_BYTES;

/// A page is sparse when fewer than one in this many of its bytes are held.
const SPARSE: u64 = 4;

/// A part of a page. Without a part of [`Arena`] it means nothing, and as long as an outbox holds it the page stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slice {
    page: u32,
    start: u32,
    end: u32,
}

impl Slice {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Grows by `next` if `next` follows directly behind.
    #[inline]
    pub fn extend(&mut self, next: Slice) -> bool {
        let follows = self.page == next.page && self.end == next.start;
        if follows {
            self.end = next.end;
        }
        follows
    }

    /// This slice and `next`, which follows directly behind; `next` alone if this one is empty.
    pub fn through(mut self, next: Slice) -> Slice {
        match self.is_empty() {
            true => next,
            false => {
                let follows = self.extend(next);
                debug_assert!(follows, "{next:?} is not behind {self:?}");
                self
            }
        }
    }

    /// Splits off the first `bytes`, or as many as there are.
    pub fn take_front(&mut self, bytes: usize) -> Slice {
        let start = self.start;
        self.start += bytes.min(self.len()) as u32;
        Slice { page: self.page, start, end: self.start }
    }
}

#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Where each frame ends, ascending. A frame is what must not be cut: a line, a WebSocket frame.
    frame_ends: Vec<u32>,
    /// Bytes of it in outboxes, counted once for each outbox.
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

/// Which pages [`Arena::compact`] empties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those of which little is still held.
    Sparse,
    /// All that are sealed.
    All,
}

/// A stretch of a page that is being copied to another.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    page: Option<u32>,
    start: u32,
    end: u32,
    /// Where the stretch begins in the other page.
    base: u32,
}

impl Span {
    /// Where `slice`, which lies within the stretch, is in the `target`.
    fn moved(&self, target: usize, slice: Slice) -> Slice {
        let offset = |at: u32| at - self.start + self.base;
        Slice { page: target as u32, start: offset(slice.start), end: offset(slice.end) }
    }
}

/// The extent of a page, or of its beginning.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: usize,
    frames: usize,
}

/// All arena: the open one, and those that somebody slow still needs.
#[derive(Debug)]
pub struct Arena {
    arena: Slab<Block>,
    open: usize,
    /// The extent of the open page when the round began, and of frames that do not count.
    before_round: Extent,
    /// Memory of all pages but the open one.
    sealed_bytes: usize,
    /// Lengths of the sealed pages that are sparse.
    sparse_bytes: usize,
}

impl Default for Arena {
    fn default() -> Self {
        let mut arena = Slab::new();
        let open = arena.insert(Block::default());
        Arena { arena, open, before_round: Extent::default(), sealed_bytes: 0, sparse_bytes: 0 }
    }
}

impl Arena {
    /// Appends one frame to the open page. Nobody holds it yet: push it to outboxes in this tick.
    pub fn frame(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Slice {
        let page = &mut self.arena[self.open];
        let start = page.bytes.len() as u32;
        encode(&mut page.bytes);
        let end = page.bytes.len() as u32;
        page.frame_ends.push(end);
        Slice { page: self.open as u32, start, end }
    }

    /// Bytes written to the open page so far.
    pub fn open_bytes(&self) -> usize {
        self.arena[self.open].bytes.len()
    }

    /// The most that an outbox can cost by what others have said in this round: its bytes, and a slice for each frame.
    pub fn round_cost_bytes(&self) -> usize {
        let (page, before) = (&self.arena[self.open], self.before_round);
        let frames = page.frame_ends.len() - before.frames;
        page.bytes.len() - before.bytes + frames * size_of::<Slice>()
    }

    /// Leaves the frame that was written last out of [`Arena::round_cost_bytes`]: it is for one client, which asked for it.
    pub fn leave_out_of_round(&mut self, frame: Slice) {
        debug_assert_eq!(frame.end as usize, self.open_bytes(), "it was written last");
        self.before_round.bytes += frame.len();
        self.before_round.frames += 1;
    }

    /// Counts `slice` as held by `outboxes` more outboxes.
    #[inline]
    pub fn hold(&mut self, slice: Slice, outboxes: usize) {
        self.page_mut(slice).held_bytes += (slice.len() * outboxes) as u64;
    }

    /// Counts `slice` as held by one outbox less: it was sent or given up.
    #[inline]
    pub fn release(&mut self, slice: Slice) {
        let open = self.open;
        let page = self.page_mut(slice);
        let was_sparse = page.is_sparse();
        page.held_bytes -= slice.len() as u64;
        if slice.page as usize != open {
            self.after_release(slice.page as usize, was_sparse);
        }
    }

    /// Frees a sealed page that nobody holds any more, or notes that it has become sparse.
    fn after_release(&mut self, key: usize, was_sparse: bool) {
        let page = &self.arena[key];
        let (length, memory) = (page.bytes.len(), page.memory_bytes());
        if page.held_bytes == 0 {
            self.arena.remove(key);
            self.sealed_bytes -= memory;
            self.sparse_bytes -= if was_sparse { length } else { 0 };
        } else if page.is_sparse() && !was_sparse {
            self.sparse_bytes += length;
        }
    }

    /// The bytes of `slice`.
    pub fn bytes(&self, slice: Slice) -> &[u8] {
        &self.arena[slice.page as usize].bytes[slice.start as usize..slice.end as usize]
    }

    /// What is left of the frame that `slice` begins in the middle of; empty if it begins with a frame.
    pub fn rest_of_frame(&self, slice: Slice) -> Slice {
        let ends = &self.arena[slice.page as usize].frame_ends;
        let end = match ends.binary_search(&slice.start) {
            Ok(_) => slice.start,
            Err(_) if slice.start == 0 => 0,
            Err(next) => ends[next],
        };
        Slice { end, ..slice }
    }

    /// Copies what `slices` hold of sealed pages to new ones, and points them there: what several hold is copied once, and
    /// what nobody holds is left behind with its page.
    pub fn compact<'a>(&mut self, which: Which, slices: impl Iterator<Item = &'a mut Slice>) {
        let moves = |slice: &&mut Slice| {
            let page = slice.page as usize;
            page != self.open && (which == Which::All || self.arena[page].is_sparse())
        };
        let mut slices: Vec<&mut Slice> = slices.filter(|slice| !slice.is_empty()).filter(moves).collect();
        slices.sort_unstable_by_key(|slice| (slice.page, slice.start));
        let mut target = self.arena.insert(Block::default());
        let mut run = Span::default();
        for slice in slices {
            let lead = self.lead(*slice);
            if run.page != Some(slice.page) || lead > run.end {
                if self.arena[target].bytes.len() >= SEALED_AT_BYTES {
                    self.seal(target);
                    target = self.arena.insert(Block::default());
                }
                let base = self.arena[target].bytes.len() as u32;
                run = Span { page: Some(slice.page), start: lead, end: lead, base };
            }
            self.copy(&mut run, target, slice.end);
            let moved = run.moved(target, *slice);
            self.hold(moved, 1);
            self.release(std::mem::replace(slice, moved));
        }
        self.seal(target);
    }

    /// Makes `run` reach up to `end` in its page, by appending the rest of it to `target`.
    fn copy(&mut self, run: &mut Span, target: usize, end: u32) {
        let Some(source) = run.page.filter(|_| end > run.end) else {
            return;
        };
        let (to, from) = self.arena.get2_mut(target, source as usize).expect("two pages");
        to.bytes.extend_from_slice(&from.bytes[run.end as usize..end as usize]);
        let first = from.frame_ends.partition_point(|frame_end| *frame_end <= run.end);
        let inside = from.frame_ends[first..].iter().take_while(|frame_end| **frame_end <= end);
        to.frame_ends.extend(inside.map(|frame_end| frame_end - run.start + run.base));
        run.end = end;
    }

    /// Counts a page that takes no more, or throws it away if nobody holds any of it.
    fn seal(&mut self, key: usize) {
        let page = &mut self.arena[key];
        if page.held_bytes == 0 {
            self.arena.remove(key);
            return;
        }
        page.bytes.shrink_to_fit();
        page.frame_ends.shrink_to_fit();
        self.sealed_bytes += page.memory_bytes();
        self.sparse_bytes += if page.is_sparse() { page.bytes.len() } else { 0 };
    }

    /// Where a copy of `slice` has to begin: with it, or, if it begins in the middle of a frame, one byte before, so that
    /// its copy does too.
    fn lead(&self, slice: Slice) -> u32 {
        let ends = &self.arena[slice.page as usize].frame_ends;
        let begins_a_frame = slice.start == 0 || ends.binary_search(&slice.start).is_ok();
        slice.start - u32::from(!begins_a_frame)
    }

    /// Everybody who had something to be sent had a turn: the open page is emptied if nobody holds any of it, and sealed if
    /// it is long.
    ///
    /// Returns whether a page was sealed.
    pub fn end_round(&mut self) -> bool {
        let sealed = self.tidy_open_page();
        let page = &self.arena[self.open];
        self.before_round = Extent { bytes: page.bytes.len(), frames: page.frame_ends.len() };
        sealed
    }

    fn tidy_open_page(&mut self) -> bool {
        let page = &mut self.arena[self.open];
        if page.held_bytes == 0 {
            page.bytes.clear();
            page.frame_ends.clear();
            page.bytes.shrink_to(KEPT_BYTES);
            page.frame_ends.shrink_to(KEPT_BYTES / size_of::<u32>());
            return false;
        }
        if page.bytes.len() < SEALED_AT_BYTES {
            return false;
        }
        self.seal(self.open);
        self.open = self.arena.insert(Block::default());
        true
    }

    /// Memory of all arena, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.sealed_bytes + self.arena[self.open].memory_bytes()
    }

    /// Length of the sealed pages of which less than a quarter is still held, in bytes.
    pub fn sparse_bytes(&self) -> usize {
        self.sparse_bytes
    }

    /// Bytes in all outboxes together.
    pub fn held_bytes(&self) -> u64 {
        self.arena.iter().map(|(_, page)| page.held_bytes).sum()
    }

    /// Checks what must always hold: a sealed page is there only as long as somebody holds some of it, and the sums are
    /// right.
    ///
    /// # Panics
    /// When it does not hold.
    pub fn assert_invariants(&self) {
        let (mut memory_bytes, mut sparse_bytes) = (0, 0);
        for (key, page) in &self.arena {
            let frames_end = page.frame_ends.last().map_or(0, |end| *end as usize);
            assert_eq!(frames_end, page.bytes.len(), "page {key} does not end with a frame");
            if key != self.open {
                assert!(page.held_bytes > 0, "page {key} is kept for nobody");
                memory_bytes += page.memory_bytes();
                sparse_bytes += if page.is_sparse() { page.bytes.len() } else { 0 };
            }
        }
        assert_eq!(
            (memory_bytes, sparse_bytes),
            (self.sealed_bytes, self.sparse_bytes),
            "sums of sealed pages"
        );
    }

    #[inline]
    fn page_mut(&mut self, slice: Slice) -> &mut Block {
        &mut self.arena[slice.page as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arena: &mut Arena, text: &str) -> Slice {
        arena.frame(|out| out.extend_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_page_nobody_holds_is_used_again() {
        let mut arena = Arena::default();
        let hello = line(&mut arena, "hello\n");
        arena.hold(hello, 2);
        assert_eq!(arena.bytes(hello), b"hello\n");
        arena.release(hello);
        arena.end_round();
        assert_eq!(arena.open_bytes(), 6, "one outbox still holds it");
        arena.release(hello);
        arena.end_round();
        assert_eq!((arena.open_bytes(), arena.held_bytes()), (0, 0));
    }

    #[test]
    fn slices_that_follow_each_other_become_one() {
        let mut arena = Arena::default();
        let mut one = line(&mut arena, "one\n");
        let two = line(&mut arena, "two\n");
        let three = line(&mut arena, "three\n");
        assert!(!one.extend(three));
        assert!(one.extend(two) && one.extend(three));
        assert_eq!(arena.bytes(one), b"one\ntwo\nthree\n");
        assert_eq!(arena.bytes(one.take_front(5)), b"one\nt");
        assert_eq!(arena.bytes(one), b"wo\nthree\n");
    }

    #[test]
    fn the_rest_of_a_frame() {
        let mut arena = Arena::default();
        let mut lines = line(&mut arena, "one\n");
        lines.extend(line(&mut arena, "two\n"));
        assert!(arena.rest_of_frame(lines).is_empty());
        lines.take_front(1);
        assert_eq!(arena.bytes(arena.rest_of_frame(lines)), b"ne\n");
        lines.take_front(3);
        assert!(arena.rest_of_frame(lines).is_empty());
        lines.take_front(3);
        assert_eq!(arena.bytes(arena.rest_of_frame(lines)), b"\n");
    }

    #[test]
    fn a_long_page_is_sealed_and_freed_with_its_last_holder() {
        let mut arena = Arena::default();
        let long = line(&mut arena, &"x".repeat(SEALED_AT_BYTES));
        arena.hold(long, 1);
        assert!(arena.end_round());
        assert_eq!(arena.open_bytes(), 0);
        assert!(arena.memory_bytes() >= SEALED_AT_BYTES);
        arena.release(long);
        assert_eq!(arena.memory_bytes(), 0);
        assert_eq!(arena.sparse_bytes(), 0);
    }

    #[test]
    fn little_of_a_long_page_is_copied_with_its_frames_and_once_for_all_who_hold_it() {
        let mut arena = Arena::default();
        let mut long = line(&mut arena, &"x".repeat(SEALED_AT_BYTES));
        let mut tail = line(&mut arena, "tail\n");
        tail.extend(line(&mut arena, "end\n"));
        let mut same = tail;
        [long, tail, same].into_iter().for_each(|slice| arena.hold(slice, 1));
        arena.end_round();
        let before = tail;
        arena.compact(Which::Sparse, [&mut long, &mut tail, &mut same].into_iter());
        assert_eq!(tail, before, "the page is well used");
        arena.release(long.take_front(usize::MAX));
        arena.release(tail.take_front(2));
        assert_eq!(arena.sparse_bytes(), SEALED_AT_BYTES + 9);
        arena.compact(Which::Sparse, [&mut tail, &mut same].into_iter());
        assert_eq!((arena.bytes(tail), arena.bytes(same)), (&b"il\nend\n"[..], &b"tail\nend\n"[..]));
        assert_eq!(arena.bytes(arena.rest_of_frame(tail)), b"il\n");
        assert_eq!((arena.sparse_bytes(), arena.held_bytes()), (0, 16));
        assert!(arena.memory_bytes() < 100, "{} bytes for nine", arena.memory_bytes());
        [tail, same].into_iter().for_each(|slice| arena.release(slice));
        assert_eq!(arena.memory_bytes(), 0);
    }
}
