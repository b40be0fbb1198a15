//! The log on standard error. A failing or blocking standard error does not affect the server.
//!
//! `simple_logger` prints with `eprintln!`, which panics on an error (a full disk, a closed pipe) and blocks on a full
//! pipe. Instead, such a line is dropped and counted, and the next line that is written gives their number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simple_logger::SimpleLogger;

/// The logger and the number of dropped lines, which is atomic because `log` requires `Sync`.
struct LossyStandardError {
    logger: SimpleLogger,
    /// Logs without the time: `simple_logger` panics on years after 9999.
    undated: SimpleLogger,
    lost: AtomicU64,
}

/// Starts the log at `level`, or else at the level in `RUST_LOG`, or else at `info`.
///
/// # Panics
/// If called twice.
pub fn start(level: Option<LevelFilter>) {
    let undated = SimpleLogger::new().without_timestamps();
    let logger = LossyStandardError { logger: SimpleLogger::new(), undated, lost: AtomicU64::new(0) };
    log::set_boxed_logger(Box::new(logger)).expect("logging starts once");
    set_level(level);
    // The default hook would report a panic of the logger to the same broken standard error.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !LOGGING.load(Relaxed) && standard_error_is_writable() {
            report(panic);
        }
    }));
}

/// Sets the level as [`start`] does.
pub fn set_level(level: Option<LevelFilter>) {
    let by_environment = || SimpleLogger::new().with_level(LevelFilter::Info).env().max_level();
    log::set_max_level(level.unwrap_or_else(by_environment));
}

/// Whether a line is being written. A panic is caught then, and must not be reported.
static LOGGING: AtomicBool = AtomicBool::new(false);

impl LossyStandardError {
    /// Whether the line was written, or is below the level.
    fn try_log(&self, record: &Record<'_>) -> bool {
        if record.level() > log::max_level() {
            return true;
        }
        LOGGING.store(true, Relaxed);
        let is_written = [&self.logger, &self.undated].into_iter().any(|logger| {
            standard_error_is_writable() && catch_unwind(AssertUnwindSafe(|| logger.log(record))).is_ok()
        });
        LOGGING.store(false, Relaxed);
        is_written
    }
}

impl Log for LossyStandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let lost = self.lost.load(Relaxed);
        if lost > 0 && standard_error_is_writable() {
            // The line must not be below the level of the log.
            let level = log::Level::Warn.min(record.level());
            let is_written = self.try_log(
                &Record::builder()
                    .level(level)
                    .target("chinwag")
                    .args(format_args!("log lost_lines={lost}"))
                    .build(),
            );
            self.lost.store(if is_written { 0 } else { lost }, Relaxed);
        }
        if !self.try_log(record) {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Whether a line of up to 4,096 bytes (`PIPE_BUF`, pipe(7)) can be written without blocking.
fn standard_error_is_writable() -> bool {
    let stderr = std::io::stderr();
    let mut watched = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().contains(PollFlags::OUT)
}
