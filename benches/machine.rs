//! The machine: its cores, what a process has used of it, and a description for the report.

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

pub const SERVER: usize = 0;
pub const LOAD: usize = 1;

/// A core for the server and one for the load, so that neither takes the other's time. Without a second core everything
/// runs anywhere.
#[derive(Clone, Copy)]
pub struct Cores(Option<[usize; 2]>);

impl Cores {
    /// The first two cores that this process may use.
    pub fn of_this_process() -> Cores {
        let Ok(allowed) = sched_getaffinity(None) else {
            return Cores(None);
        };
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        Cores(cores.next().zip(cores.next()).map(|(server, load)| [server, load]))
    }

    /// Moves this thread to [`SERVER`] or [`LOAD`]. Processes that it starts from then on stay there.
    pub fn run_on(self, which: usize) {
        if let Some(cores) = self.0 {
            let mut one = CpuSet::new();
            one.set(cores[which]);
            let _ = sched_setaffinity(None, &one);
        }
    }
}

/// Processor time of all threads of a process that live, to the nanosecond.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let mut total = Duration::ZERO;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        if let Ok(line) = fs::read_to_string(task?.path().join("schedstat")) {
            total += Duration::from_nanos(word(&line, 0)?);
        }
    }
    Ok(total)
}

/// Packets with data in them that all TCP of this machine has sent. On loopback, without Nagle's delay, a write is a
/// packet, whichever system call made it.
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
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
}

/// The most resident memory since the start, bytes.
pub fn peak_bytes(pid: u32) -> io::Result<u64> {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
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

/// Date, commit, processor and kernel. Other work on the machine shows in the load average.
pub fn description() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, commit {}: {}, {} cores, {}; load average {} at the end",
        output("date", &["-u", "+%F"]),
        output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"]),
        model.trim_start_matches([' ', '\t', ':']),
        cpu.lines().filter(|line| line.starts_with("processor")).count(),
        output("uname", &["-sr"]),
        load.split(' ').next().unwrap_or_default(),
    )
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
