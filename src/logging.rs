//! The log on standard error, which may fail or block without consequences for the server.
//!
//! `simple_logger` prints with `eprintln!`, which panics when standard error can't be written to (a full disk, a
//! closed pipe) and waits when it is a pipe that nobody reads. A line that would do either is dropped and counted, and
//! the next line that gets through says how many were lost.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simple_logger::SimpleLogger;

/// The logger, and what it could not say. (The `log` crate wants it to be usable from any thread; hence the atomic.)
struct Unbreakable {
    logger: SimpleLogger,
    lost: AtomicU64,
}

/// Logs from `level` on; without one, from `info` or what `RUST_LOG` says.
///
/// # Panics
/// When called twice.
pub fn start(level: Option<LevelFilter>) {
    let logger = SimpleLogger::new();
    let logger = match level {
        Some(level) => logger.with_level(level),
        None => logger.with_level(LevelFilter::Info).env(),
    };
    let max_level = logger.max_level();
    let logger = Unbreakable { logger, lost: AtomicU64::new(0) };
    log::set_boxed_logger(Box::new(logger)).expect("logging starts once");
    log::set_max_level(max_level);
    // Without this the attempt to print would itself be reported, to the same broken standard error.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if standard_error_takes_a_line() {
            report(panic);
        }
    }));
}

impl Unbreakable {
    fn try_log(&self, record: &Record<'_>) -> bool {
        standard_error_takes_a_line() && catch_unwind(|| self.logger.log(record)).is_ok()
    }
}

impl std::panic::RefUnwindSafe for Unbreakable {}

impl Log for Unbreakable {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.load(Relaxed);
        if lost > 0 && standard_error_takes_a_line() {
            let level = log::Level::Warn;
            let told = self.try_log(
                &Record::builder()
                    .level(level)
                    .target("chinwag")
                    .args(format_args!("log lost_lines={lost}"))
                    .build(),
            );
            self.lost.store(if told { 0 } else { lost }, Relaxed);
        }
        if !self.try_log(record) {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Whether a line of up to 4,096 bytes (`PIPE_BUF`, pipe(7)) can be written without waiting.
fn standard_error_takes_a_line() -> bool {
    let stderr = std::io::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::OUT)
}
