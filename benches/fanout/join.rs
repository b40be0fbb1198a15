//! All clients connect, and then nothing happens.

use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use crate::crowd::Crowd;
use crate::figure::{Figures, Outcome};
use crate::load::ended;
use crate::machine;
use crate::speech::Client;

/// They come before anything is counted: memory that a server allocates for the first client is no cost of each client.
const FIRST: usize = 100;

/// Time to accept all of them. Where clients have no handshake, nothing else shows that the server has done so.
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(mut crowd: Crowd, clients: usize, server: u32) -> Outcome {
    enter(&mut crowd, 0..FIRST)?;
    let memory = machine::resident_bytes(server).map_err(ended)?;
    let before = machine::processor_time(server).map_err(ended)?;
    enter(&mut crowd, FIRST..clients)?;
    let used = machine::processor_time(server).map_err(ended)?.saturating_sub(before).as_secs_f64();
    let grown = machine::resident_bytes(server).map_err(ended)?.saturating_sub(memory);
    let clients = (clients - FIRST) as f64;
    Ok(Figures::from([("bytes/idle client", grown as f64 / clients), ("CPU µs/join", 1e6 * used / clients)]))
}

fn enter(crowd: &mut Crowd, numbers: Range<usize>) -> Result<(), String> {
    for number in numbers {
        crowd.connect(Client { number: number as u32, listens: true })?;
    }
    crowd.wait_until_all_entered()?;
    sleep(SETTLE);
    Ok(())
}
