//! Where and when figures were taken.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cores::{Role, core};

#[derive(Clone, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub memory_gigabytes: f64,
    pub kernel: String,
    pub commit: String,
    /// Who ran on which core.
    pub pinning: String,
    /// Others' work on the machine shows here: processes that could run, in the last minute.
    pub load_average: String,
}

impl Machine {
    pub fn here() -> Machine {
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split(':').nth(1).unwrap_or_default().trim().to_string()
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let kilobytes: f64 = memory.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            date: said("date", &["-u", "+%F"]),
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gigabytes: (kilobytes / 1e5).round() / 10.0,
            kernel: said("uname", &["-sr"]),
            commit: said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short", "HEAD"]),
            pinning: match (core(Role::Server), core(Role::Generator)) {
                (Some(server), Some(generator)) => {
                    format!("server on core {server}, load on core {generator}")
                }
                _ => "not pinned: there is one core".to_string(),
            },
            load_average: load.split(' ').next().unwrap_or_default().to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Machine { date, processor, cores, memory_gigabytes, kernel, commit, pinning, load_average } =
            self;
        write!(
            f,
            "{date}, commit {commit}: {processor}, {cores} cores, {memory_gigabytes} GB, {kernel}; {pinning}; load \
             average {load_average} at the end"
        )
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}
