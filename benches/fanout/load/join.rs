//! Everybody connects, and then nothing happens.

use std::io;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::crowd::Crowd;
use super::{Order, Outcome};
use crate::account::{self, Processor};
use crate::figure::{Figure, Figures};
use crate::speech::{Client, speech};

/// They come before anything is counted: what a server loads and sets up for the first of its clients is no cost of a client.
const FIRST: usize = 100;

/// A server that used less than this of the processor for so long is done: some wake up now and then for themselves.
const REST: Duration = Duration::from_millis(100);
const REST_USE: Duration = Duration::from_millis(3);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(4);
/// One that never rests is looked at after this.
const REST_MOST: Duration = Duration::from_secs(10);

pub fn run(order: &Order) -> Outcome {
    let gone = |error: io::Error| format!("the server is gone: {error}");
    let mut crowd = Crowd::new(
        [order.address, order.talk_address],
        order.backlog,
        speech(order.protocol, order.text_bytes()),
    )?;
    enter(&mut crowd, 0..FIRST)?;
    last_work(order.server).map_err(gone)?;
    let memory = account::resident_bytes(order.server).map_err(gone)?;
    let (before, start) = (Processor::of(order.server).map_err(gone)?, Instant::now());
    enter(&mut crowd, FIRST..order.workload.clients)?;
    let seconds = (last_work(order.server).map_err(gone)? - start).as_secs_f64();
    let used = Processor::of(order.server).map_err(gone)?.since(&before).total.as_secs_f64();
    let grown = account::resident_bytes(order.server).map_err(gone)?.saturating_sub(memory);
    let clients = (order.workload.clients - FIRST) as f64;
    Ok(Figures::from([
        (Figure::IdleBytes, grown as f64 / clients),
        (Figure::CpuPerJoin, 1e6 * used / clients),
        (Figure::JoinSeconds, seconds),
    ]))
}

fn enter(crowd: &mut Crowd, numbers: Range<usize>) -> Result<(), String> {
    for number in numbers {
        crowd.connect(Client { number: number as u32, room: None, hears: true })?;
    }
    crowd.wait_until_all_entered()
}

/// When the server came to rest. Where clients have no handshake, nothing else tells that all are taken in.
fn last_work(server: u32) -> io::Result<Instant> {
    let start = Instant::now();
    let mut total = Processor::of(server)?.total();
    let mut last = start;
    while last.elapsed() < REST && start.elapsed() < REST_MOST {
        sleep(LOOK);
        let now = Processor::of(server)?.total();
        if now - total > REST_USE {
            (total, last) = (now, Instant::now());
        }
    }
    Ok(last)
}
