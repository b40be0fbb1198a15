//! The log on standard error, which may fail or block without consequences for the server.
//!
//! `simple_logger` prints with `eprintln!`, which panics when standard error can't be written to (a full disk, a
//! closed pipe) and waits when it is a pipe that nobody reads. A line that would do either is dropped and counted, and
//! the next line that gets through says how many were lost.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simple_logger::SimpleLogger;

/// The logger, and what it could not say. (The `log` crate wants it to be usable from any thread; hence the atomic.)
struct LossyStandardError {
    logger: SimpleLogger,
    /// For lines whose time can't be written: the crate panics at years after 9999.
    undated: SimpleLogger,
    lost: AtomicU64,
}

/// Logs from `level` on; without one, from `info` or what `RUST_LOG` says.
///
/// # Panics
/// When called twice.
pub fn start(level: Option<LevelFilter>) {
    let logger = || match level {
        Some(level) => SimpleLogger::new().with_level(level),
        None => SimpleLogger::new().with_level(LevelFilter::Info).env(),
    };
    let undated = logger().without_timestamps();
    let logger = LossyStandardError { logger: logger(), undated, lost: AtomicU64::new(0) };
    let max_level = logger.logger.max_level();
    log::set_boxed_logger(Box::new(logger)).expect("logging starts once");
    log::set_max_level(max_level);
    // Without this the attempt to print would itself be reported, to the same broken standard error.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !LOGGING.load(Relaxed) && standard_error_takes_a_line() {
            report(panic);
        }
    }));
}

/// Whether a line is being logged. What goes wrong meanwhile is dealt with, and not reported.
static LOGGING: AtomicBool = AtomicBool::new(false);

impl LossyStandardError {
    fn try_log(&self, record: &Record<'_>) -> bool {
        LOGGING.store(true, Relaxed);
        let told = [&self.logger, &self.undated].into_iter().any(|logger| {
            standard_error_takes_a_line() && catch_unwind(AssertUnwindSafe(|| logger.log(record))).is_ok()
        });
        LOGGING.store(false, Relaxed);
        told
    }
}

impl Log for LossyStandardError {
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
