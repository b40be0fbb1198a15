//! Counts a server's system calls: with `perf`, which hardly slows it, or with `strace`, which does.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Neither tool says reliably when it has begun.
const ATTACH: Duration = Duration::from_millis(300);

const EVENT: &str = "raw_syscalls:sys_enter";

pub struct Counter {
    tool: Child,
    is_perf: bool,
}

impl Counter {
    pub fn attach(server: u32) -> Result<Counter, String> {
        let is_perf = perf_works();
        let mut command = match is_perf {
            true => Command::new("perf"),
            false => Command::new("strace"),
        };
        match is_perf {
            true => command.args(["stat", "-x", ",", "-e", EVENT, "-p"]).arg(server.to_string()),
            false => command.args(["-f", "-c", "-q", "-p"]).arg(server.to_string()),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let tool = command.spawn().map_err(|_| "neither perf nor strace counts here".to_string())?;
        sleep(ATTACH);
        Ok(Counter { tool, is_perf })
    }

    /// The calls since.
    pub fn stop(mut self) -> Result<u64, String> {
        let pid = Pid::from_child(&self.tool);
        kill_process(pid, Signal::INT).map_err(|error| format!("the counter is gone: {error}"))?;
        let mut text = String::new();
        if let Some(mut output) = self.tool.stderr.take() {
            output.read_to_string(&mut text).map_err(|error| error.to_string())?;
        }
        self.tool.wait().map_err(|error| error.to_string())?;
        let calls = if self.is_perf { from_perf(&text) } else { from_strace(&text) };
        calls.ok_or_else(|| format!("no count: {}", text.trim()))
    }
}

fn perf_works() -> bool {
    let output = Command::new("perf").args(["stat", "-x", ",", "-e", EVENT, "true"]).output();
    output.is_ok_and(|output| from_perf(&String::from_utf8_lossy(&output.stderr)).is_some())
}

/// `29,,raw_syscalls:sys_enter,…`
fn from_perf(text: &str) -> Option<u64> {
    text.lines().find(|line| line.contains(EVENT))?.split(',').next()?.parse().ok()
}

/// `100.00 0.001 4 1234 [5] total`: the calls are the fourth column.
fn from_strace(text: &str) -> Option<u64> {
    text.lines().find(|line| line.ends_with("total"))?.split_whitespace().nth(3)?.parse().ok()
}
