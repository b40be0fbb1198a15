//! What a process has used, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// A process's use of the processor so far.
#[derive(Clone, Copy, Debug)]
pub struct Processor {
    /// All threads that live, to the nanosecond.
    alive: Duration,
    threads: usize,
    /// Outside and inside the kernel, threads that ended included, in ticks of 10 ms.
    user: Duration,
    system: Duration,
}

/// What was used between two looks.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub total: Duration,
    pub user_share: f64,
}

impl Processor {
    pub fn of(pid: u32) -> io::Result<Processor> {
        let mut alive = Duration::ZERO;
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the look.
            if let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) {
                alive += Duration::from_nanos(word(&line, 0)?);
                threads += 1;
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold spaces: count from behind it (proc_pid_stat(5): 14 and 15).
        let rest = stat.rsplit(')').next().unwrap_or_default();
        let ticks = |at| Ok::<_, io::Error>(Duration::from_millis(10 * word(rest, at)?));
        Ok(Processor { alive, threads, user: ticks(11)?, system: ticks(12)? })
    }

    pub fn total(&self) -> Duration {
        self.alive.max(self.user + self.system)
    }

    /// By the threads' own clocks. Where threads ended meanwhile, their time is only in the coarser sum.
    pub fn since(&self, before: &Processor) -> Used {
        let user = self.user.saturating_sub(before.user);
        let ticks = user + self.system.saturating_sub(before.system);
        let fine = self.alive.saturating_sub(before.alive);
        let total = if self.threads < before.threads { fine.max(ticks) } else { fine };
        Used { total, user_share: user.as_secs_f64() / ticks.as_secs_f64().max(1e-9) }
    }
}

/// Packets with data in them that all TCP of this machine has sent. On the loopback, without Nagle's delay, a write is
/// a packet, however it was made: by `send`, by `writev`, by a ring. Counting these slows nobody.
pub fn packets_sent() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    // A line of names, and under it one of values.
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let column = names.split_whitespace().position(|name| name == "TCPOrigDataSent");
    word(values, column.ok_or(io::ErrorKind::NotFound)?)
}

/// Resident memory, bytes. `smaps_rollup` counts pages; `VmRSS` lags behind by up to 32 pages a processor.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    match kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Rss:") {
        Ok(bytes) => Ok(bytes),
        Err(_) => kilobytes(&format!("/proc/{pid}/status"), "VmRSS:"),
    }
}

/// The most resident memory since the start or [`forget_peak`], bytes.
pub fn peak_bytes(pid: u32) -> io::Result<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// From now on the peak is counted anew (proc_pid_clear_refs(5): 5).
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

fn kilobytes(path: &str, field: &str) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find(|line| line.starts_with(field));
    Ok(1024 * word(line.ok_or(io::ErrorKind::NotFound)?, 1)?)
}

fn word(line: &str, at: usize) -> io::Result<u64> {
    let word = line.split_whitespace().nth(at).and_then(|word| word.parse().ok());
    word.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
