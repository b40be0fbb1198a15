//! Rules that tie flags to each other, and the sizes that they are computed from.
//!
//! The bounds of a single flag are in its row of [`super::table`].

use std::time::Duration;

use super::{Config, read_jwt_key, read_motd};

/// Largest outbox of a client without a name: it holds the welcome, a message of the day and some refused names.
pub const UNNAMED_BUFFER_BYTES: usize = 4 * 1024;

/// Most bytes discarded of a line that is too long; beyond it the connection is closed.
pub const DISCARD_MAX_BYTES: usize = 1024 * 1024;

/// Upper bound of `--max-rooms-per-client`.
pub const MOST_ROOMS_PER_CLIENT: usize = 1024;

/// More connections than a Linux process can have open (`/proc/sys/fs/nr_open`).
const MOST_CONNECTIONS: usize = 1 << 20;

/// A client that reads steadily at 1 Mbit/s is never dropped for messages within the limits of their senders.
const FLOOR_BYTES_PER_SECOND: usize = 125_000;

/// Most bytes queued for a client in one round, unless a single message is longer.
pub const ROUND_BYTES: usize = 256 * 1024;

/// Time in which a client reads that many bytes at 1 Mbit/s.
pub fn time_at_floor(bytes: usize) -> Duration {
    Duration::from_millis((bytes * 1_000).div_ceil(FLOOR_BYTES_PER_SECOND) as u64)
}

/// Most bytes around the text of a message: names, keys, a number, the header of the frame.
const AROUND_BYTES: usize = 512;

/// Most bytes that a message with a text of that length takes. JSON may double every byte.
pub fn frame_bytes(text_bytes: usize) -> usize {
    2 * text_bytes + AROUND_BYTES
}

/// Longest text whose [`frame_bytes`] are at most that.
pub fn longest_text_in(frame_bytes: usize) -> usize {
    (frame_bytes - AROUND_BYTES) / 2
}

/// A rule that ties several flags to each other, or a flag to the file that it names.
type Check = fn(&Config) -> Result<(), String>;

/// All such rules. The first that fails is reported.
const CHECKS: [Check; 10] = [
    write_buffer_holds_two_lines,
    soft_limit_is_within_write_buffer,
    memory_holds_one_write_buffer,
    connections_fit_into_a_process,
    soft_time_lets_the_slowest_reader_finish,
    burst_is_at_most_half_of_write_buffer,
    burst_holds_the_longest_message,
    burst_holds_the_longest_line,
    motd_is_readable,
    jwt_key_is_good,
];

/// Checks the flags against each other, and reads the files that they name.
///
/// # Errors
/// The first rule that fails, in words.
pub fn check(config: &Config) -> Result<(), String> {
    CHECKS.iter().try_for_each(|check| check(config))
}

fn require(holds: bool, problem: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem.into()) }
}

fn write_buffer_holds_two_lines(config: &Config) -> Result<(), String> {
    require(
        config.write_buffer >= 2 * config.line_max,
        "--write-buffer must be at least twice --line-max: raise --write-buffer or lower --line-max",
    )
}

fn soft_limit_is_within_write_buffer(config: &Config) -> Result<(), String> {
    let soft_bytes = config.write_buffer_soft.map_or(0, |soft| soft.bytes);
    require(
        soft_bytes <= config.write_buffer,
        "the size of --write-buffer-soft must be at most --write-buffer: lower --write-buffer-soft or raise \
         --write-buffer",
    )
}

fn memory_holds_one_write_buffer(config: &Config) -> Result<(), String> {
    require(
        config.memory >= config.write_buffer,
        "--memory must be at least --write-buffer: raise --memory or lower --write-buffer",
    )
}

fn connections_fit_into_a_process(config: &Config) -> Result<(), String> {
    let quotas = [config.max_clients, config.max_waiting, config.max_http, config.max_closing];
    require(
        quotas.into_iter().fold(0, usize::saturating_add) <= MOST_CONNECTIONS,
        "--max-clients, --max-waiting, --max-http and --max-closing together must be at most 1048576: lower one of \
         them",
    )
}

fn soft_time_lets_the_slowest_reader_finish(config: &Config) -> Result<(), String> {
    let least = time_at_floor(config.round_bytes());
    match config.soft() {
        Some(soft) if soft.span < least => Err(format!(
            "the time of --write-buffer-soft must be at least {}ms with this --message-max and --line-max: a client \
             that reads 1 Mbit/s needs it for the longest message; allow more time or shorter messages",
            least.as_millis()
        )),
        _ => Ok(()),
    }
}

fn burst_is_at_most_half_of_write_buffer(config: &Config) -> Result<(), String> {
    require(
        config.burst_bytes() <= config.write_buffer / 2,
        "--burst-bytes must be at most half of --write-buffer: lower --burst-bytes or raise --write-buffer",
    )
}

fn burst_holds_the_longest_message(config: &Config) -> Result<(), String> {
    require(
        config.burst_bytes() >= config.message_max_bytes(),
        "--burst-bytes must be at least --message-max, or the longest message can't be sent: raise --burst-bytes or \
         lower --message-max",
    )
}

fn burst_holds_the_longest_line(config: &Config) -> Result<(), String> {
    require(
        config.burst_bytes() >= config.line_max_bytes(),
        "--burst-bytes must be at least --line-max, or the longest line can't be sent: raise --burst-bytes or lower \
         --line-max",
    )
}

fn motd_is_readable(config: &Config) -> Result<(), String> {
    read_motd(config).map(drop)
}

fn jwt_key_is_good(config: &Config) -> Result<(), String> {
    read_jwt_key(config).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::reload::ConfigSource;
    use super::*;
    use crate::access::Settings;

    fn unchecked(flags: &str) -> Config {
        let args = std::iter::once("chinwag").chain(flags.split_whitespace());
        let matches = Config::command().try_get_matches_from(args).expect(flags);
        let source = ConfigSource { args: Vec::new(), descriptors: None, has_http_listener: None };
        Config::from_matches(matches, Settings::default(), source)
    }

    #[test]
    fn rule_accepts_flags_that_fit_and_refuses_flags_that_do_not() {
        let quotas = "--max-clients 1000000 --max-http 1 --max-closing 1 --max-waiting";
        let rows: [(Check, String, String); CHECKS.len()] = [
            (
                write_buffer_holds_two_lines,
                "--line-max 4k --write-buffer 8192".into(),
                "--line-max 4k --write-buffer 8191".into(),
            ),
            (
                soft_limit_is_within_write_buffer,
                "--write-buffer 64k --write-buffer-soft 65536:1s".into(),
                "--write-buffer 64k --write-buffer-soft 65537:1s".into(),
            ),
            (memory_holds_one_write_buffer, "--memory 262144".into(), "--memory 262143".into()),
            (connections_fit_into_a_process, format!("{quotas} 48574"), format!("{quotas} 48575")),
            (
                soft_time_lets_the_slowest_reader_finish,
                "--message-max 2m --write-buffer 8m --write-buffer-soft 64k:34s".into(),
                "--message-max 2m --write-buffer 8m --write-buffer-soft 64k:33s".into(),
            ),
            (
                burst_is_at_most_half_of_write_buffer,
                "--burst-bytes 131072".into(),
                "--burst-bytes 131073".into(),
            ),
            (burst_holds_the_longest_message, "--burst-bytes 65536".into(), "--burst-bytes 65535".into()),
            (
                burst_holds_the_longest_line,
                "--message-max 1k --burst-bytes 4096".into(),
                "--message-max 1k --burst-bytes 4095".into(),
            ),
            (motd_is_readable, String::new(), "--motd /does/not/exist".into()),
            (jwt_key_is_good, String::new(), "--jwt-key /does/not/exist".into()),
        ];
        for (rule, good, bad) in rows {
            assert_eq!(rule(&unchecked(&good)), Ok(()), "{good}");
            let problem = rule(&unchecked(&bad)).expect_err(&bad);
            assert_eq!(check(&unchecked(&bad)), Err(problem), "{bad}");
        }
    }
}
