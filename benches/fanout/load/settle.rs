//! Being connected is not being in the room: a server may have taken the connection and not put it anywhere yet. So
//! probes are said until everybody has heard one.

use std::time::{Duration, Instant};

use super::crowd::{Crowd, PATIENCE};
use crate::payload::{PROBE, Stamp};

/// A probe is given so long before the next.
const PROBE_TIME: Duration = Duration::from_millis(500);

/// After so much silence there are no more probes under way.
const SILENCE: Duration = Duration::from_millis(30);

/// `rooms` of the listeners; in each room the last talker probes.
pub fn settle(crowd: &mut Crowd, talkers: &[usize], rooms: &[u32], text_bytes: usize) -> Result<(), String> {
    let mut in_room = vec![false; rooms.len()];
    let patience = Instant::now() + PATIENCE;
    while in_room.contains(&false) {
        if Instant::now() > patience {
            let count = in_room.iter().filter(|in_room| !**in_room).count();
            return Err(format!("{count} clients are connected but hear nothing"));
        }
        probe(crowd, talkers, rooms, text_bytes, &mut in_room)?;
    }
    let mut last = Instant::now();
    while last.elapsed() < SILENCE {
        if crowd.turn(SILENCE, &mut |_, _, _| Ok(()))? {
            last = Instant::now();
        }
    }
    crowd.forget_dialogues()
}

fn probe(
    crowd: &mut Crowd,
    talkers: &[usize],
    rooms: &[u32],
    text_bytes: usize,
    in_room: &mut [bool],
) -> Result<(), String> {
    let text = Stamp { sender: PROBE, sequence: 0 }.text(text_bytes);
    let mut probed = Vec::new();
    for talker in talkers.iter().rev() {
        let room = crowd.who(*talker).room.unwrap_or(0);
        if probed.contains(&room) || !rooms.iter().zip(&*in_room).any(|(of, done)| *of == room && !done) {
            continue;
        }
        probed.push(room);
        crowd.say(*talker, &text)?;
        if let Some(own) = in_room.get_mut(*talker) {
            *own = true;
        }
    }
    let end = Instant::now() + PROBE_TIME;
    while in_room.contains(&false) && Instant::now() < end {
        crowd.turn(Duration::from_millis(20), &mut |listener, _, heard| {
            in_room[listener] = true;
            match heard == text {
                true => Ok(()),
                false => Err("a probe came torn".to_string()),
            }
        })?;
    }
    Ok(())
}
