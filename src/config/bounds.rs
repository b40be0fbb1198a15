//! The bounds that flags must keep, each for itself and against others.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, read_motd};

/// The most a connection may hold before it has given a name, in bytes: enough for the welcome, a message of the
/// day and some refused names.
pub const UNNAMED_BUFFER_BYTES: usize = 4 * 1024;

/// An over-long line is thrown away up to here, in bytes; one that is still not over is the end of the connection.
pub const DISCARD_MAX_BYTES: usize = 1024 * 1024;

/// The most rooms a client can be allowed to be in, here or in another process.
pub const MOST_ROOMS_PER_CLIENT: usize = 1024;

/// A command with a name in it must fit a line, and the line a read buffer that everybody may own one of.
const LINE_BYTES: RangeInclusive<usize> = 128..=1024 * 1024;

/// A request with a name and a room in it must fit a message, and each client may hold one that is not complete.
const MESSAGE_BYTES: RangeInclusive<usize> = 512..=16 * 1024 * 1024;

/// Outboxes count their bytes in 32 bits, with room to spare.
const WRITE_BUFFER_MOST_BYTES: usize = 1 << 30;

/// More connections than a Linux process can have open (`/proc/sys/fs/nr_open`).
const MOST_CONNECTIONS: usize = 1 << 20;

/// The longest a flush may wait for what else is coming: nobody is served meanwhile.
const COALESCE_MOST: Duration = Duration::from_millis(100);

/// The slowest steady reader that is never dropped for what others say within their limits: 1 Mbit/s.
const FLOOR_BYTES_PER_SECOND: usize = 125_000;

/// The most that is queued in one go for somebody, unless a single message is longer.
pub const ROUND_BYTES: usize = 256 * 1024;

/// The time in which a client that reads at the floor takes so many bytes.
pub fn time_at_floor(bytes: usize) -> Duration {
    Duration::from_millis((bytes * 1_000).div_ceil(FLOOR_BYTES_PER_SECOND) as u64)
}

/// The most that is put around a text: names, keys, a number, the frame's header.
const AROUND_BYTES: usize = 512;

/// The most that a text of so many bytes is for one client: as JSON, every byte may become two.
pub fn frame_bytes(text_bytes: usize) -> usize {
    2 * text_bytes + AROUND_BYTES
}

/// The longest text of which [`frame_bytes`] are no more than that.
pub fn longest_text_in(frame_bytes: usize) -> usize {
    (frame_bytes - AROUND_BYTES) / 2
}

/// Whether the flags keep their bounds, and the files they name can be read.
///
/// # Errors
/// The first that does not, in words.
pub fn check(config: &Config) -> Result<(), String> {
    let rules = sizes(config).into_iter().chain(times(config)).chain(numbers(config));
    for (is_kept, told) in rules {
        if !is_kept {
            return Err(told.into());
        }
    }
    check_soft_time(config)?;
    check_burst_bytes(config)?;
    read_motd(config).map(drop)
}

/// Whether a rule is kept, and what it is.
type Rule = (bool, &'static str);

fn sizes(config: &Config) -> [Rule; 6] {
    let soft_bytes = config.write_buffer_soft.map_or(0, |soft| soft.bytes);
    [
        (LINE_BYTES.contains(&config.line_max), "--line-max is between 128 and 1m"),
        (MESSAGE_BYTES.contains(&config.message_max), "--message-max is between 512 and 16m"),
        (
            config.write_buffer >= UNNAMED_BUFFER_BYTES.max(2 * config.line_max),
            "--write-buffer is at least 4k and at least twice --line-max",
        ),
        (config.write_buffer <= WRITE_BUFFER_MOST_BYTES, "--write-buffer is at most 1g"),
        (soft_bytes <= config.write_buffer, "--write-buffer-soft is at most --write-buffer"),
        (config.memory >= config.write_buffer, "--memory is at least --write-buffer"),
    ]
}

fn times(config: &Config) -> [Rule; 6] {
    let soft_is_over_zero = config.write_buffer_soft.is_none_or(|soft| !soft.span.is_zero());
    [
        (!config.name_timeout.is_zero(), "--name-timeout is over zero"),
        (soft_is_over_zero, "the time of --write-buffer-soft is over zero"),
        (!config.http_timeout.is_zero(), "--http-timeout is over zero"),
        (!config.ping_interval.is_zero(), "--ping-interval is over zero"),
        (!config.ping_timeout.is_zero(), "--ping-timeout is over zero"),
        (
            config.coalesce.is_none_or(|wait| wait <= COALESCE_MOST),
            "--coalesce is at most 100ms: nobody is served meanwhile",
        ),
    ]
}

fn numbers(config: &Config) -> [Rule; 8] {
    let quotas = [config.max_clients, config.max_waiting, config.max_http, config.max_closing];
    let connections = quotas.into_iter().fold(0, usize::saturating_add);
    [
        (config.burst > 0, "--burst is at least 1"),
        (config.max_clients > 0, "--max-clients is at least 1"),
        (config.max_rooms > 0, "--max-rooms is at least 1"),
        (config.max_rooms_per_client > 0, "--max-rooms-per-client is at least 1"),
        (config.max_rooms_per_client <= MOST_ROOMS_PER_CLIENT, "--max-rooms-per-client is at most 1024"),
        (config.max_http > 0, "--max-http is at least 1"),
        (config.max_closing > 0, "--max-closing is at least 1"),
        (
            connections <= MOST_CONNECTIONS,
            "--max-clients, --max-waiting, --max-http and --max-closing together are at most 1048576",
        ),
    ]
}

/// A client that reads at the floor has time to take the longest message.
fn check_soft_time(config: &Config) -> Result<(), String> {
    match config.soft() {
        Some(soft) if soft.span < time_at_floor(config.round_bytes()) => Err(format!(
            "the time of --write-buffer-soft is at least {}ms with this --message-max and --line-max: so long takes who \
             reads 1 Mbit/s for the longest message; allow more time, or shorter messages",
            time_at_floor(config.round_bytes()).as_millis()
        )),
        _ => Ok(()),
    }
}

/// A client's burst fits into the write buffer of others, and its longest message into its burst.
fn check_burst_bytes(config: &Config) -> Result<(), String> {
    let burst_bytes = config.burst_bytes();
    let rules = [
        (burst_bytes <= config.write_buffer / 2, "--burst-bytes is at most half of --write-buffer"),
        (
            burst_bytes >= config.message_max_bytes(),
            "--burst-bytes is at least --message-max: a message of that length could not be sent",
        ),
        (
            burst_bytes >= config.line_max_bytes(),
            "--burst-bytes is at least --line-max: a line of that length could not be sent",
        ),
    ];
    match rules.into_iter().find(|(is_kept, _)| !is_kept) {
        Some((_, told)) => Err(told.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Config, ConfigError};

    fn wrong(flags: &str) -> String {
        let args = std::iter::once("chinwag").chain(flags.split_whitespace()).map(OsString::from);
        match Config::read(args) {
            Err(ConfigError::Wrong(message)) => message,
            other => panic!("{flags:?} gave {other:?}"),
        }
    }

    #[test]
    fn wrong_flags_are_told_in_one_line_that_names_them() {
        let table = [
            ("--lien x", "--lien"),
            ("--line 7711", "HOST:PORT"),
            ("--line-max 64q", "--line-max"),
            ("--line-max 100", "between 128 and 1m"),
            ("--line-max 2m", "between 128 and 1m"),
            ("--write-buffer 4095", "at least 4k"),
            ("--line-max 4k --write-buffer 8191", "twice --line-max"),
            ("--write-buffer 64k --write-buffer-soft 65537:1s", "at most --write-buffer"),
            ("--memory 1k", "--memory"),
            ("--write-buffer 1025m --memory 2g", "at most 1g"),
            ("--burst 0", "--burst"),
            ("--burst-bytes 65535", "--burst-bytes is at least --message-max"),
            ("--burst-bytes 4095 --message-max 1k", "--burst-bytes is at least --line-max"),
            ("--burst-bytes 131073", "--burst-bytes is at most half of --write-buffer"),
            ("--burst-bytes 100k --write-buffer 150k", "--burst-bytes is at most half of --write-buffer"),
            ("--rate-bytes 64k", "--rate-bytes"),
            ("--rate-bytes 0/s", "--rate-bytes"),
            ("--line-max 1m --write-buffer 2m", "--write-buffer-soft is at least 16778ms"),
            ("--message-max 2m --write-buffer 8m --write-buffer-soft 64k:33s", "--message-max"),
            ("--name-timeout 0s", "--name-timeout"),
            ("--write-buffer-soft 64k:0s", "--write-buffer-soft"),
            ("--max-clients 0", "at least 1"),
            ("--max-rooms 0", "at least 1"),
            ("--max-clients 2000000", "at most"),
            (
                "--max-clients 1000000 --max-waiting 48575 --max-http 1 --max-closing 1",
                "together are at most 1048576",
            ),
            ("--max-http 0", "--max-http is at least 1"),
            ("--max-closing 0", "--max-closing is at least 1"),
            ("--max-rooms-per-client 0", "at least 1"),
            ("--max-rooms-per-client 1025", "at most 1024"),
            ("--message-max 511", "between 512 and 16m"),
            ("--message-max 16777217", "between 512 and 16m"),
            ("--http-timeout 0s", "--http-timeout"),
            ("--ping-interval 0s", "--ping-interval"),
            ("--ping-timeout 0s", "--ping-timeout"),
            ("--origin localhost", "an origin is https://HOST"),
            ("--origin https://localhost/", "an origin is https://HOST"),
            ("--origin https://localhost?a", "an origin is https://HOST"),
            ("--origin https://", "an origin is https://HOST"),
            ("--origin ://localhost", "an origin is https://HOST"),
            ("--origin https://localhost/", "write https://localhost"),
            ("--origin https://a,https://*", "write * alone"),
            ("--host https://localhost", "write localhost"),
            ("--host chat.*", "a host is NAME"),
            ("--rate 5", "--rate"),
            ("--rate 0/s", "--rate"),
            ("--stall-timeout 5", "--stall-timeout"),
            ("--slow-client maybe", "drop"),
            ("--log loud", "--log"),
            ("--motd /does/not/exist", "/does/not/exist"),
            ("--coalesce 101ms", "at most 100ms"),
            ("--grace", "--grace"),
            ("stray", "stray"),
        ];
        for (flags, expected) in table {
            let message = wrong(flags);
            assert!(message.contains(expected), "{flags:?}: {message}");
            assert!(!message.contains('\n'), "{flags:?}: {message}");
        }
    }

    #[test]
    fn both_sides_of_the_bounds() {
        for flags in [
            "--line-max 128",
            "--line-max 1m --write-buffer 2m --write-buffer-soft 64k:17s",
            "--line-max 1m --write-buffer 2m --write-buffer-soft off",
            "--message-max 2m --write-buffer 8m --write-buffer-soft 64k:34s",
            "--burst-bytes 65536 --write-buffer 256k",
            "--burst-bytes 131072",
            "--burst-bytes 4k --message-max 1k",
            "--rate-bytes 1/h",
            "--rate-bytes off",
            "--line-max 2k --write-buffer 4096 --write-buffer-soft 4096:1s",
            "--write-buffer 64k --write-buffer-soft 65536:1s",
            "--write-buffer 64k --write-buffer-soft off --memory 64k",
            "--write-buffer 1g --memory 1g",
            "--burst 1 --max-clients 1 --max-rooms 1 --max-waiting 0 --history 0 --grace 0s",
            "--max-clients 1000000 --max-waiting 48574 --max-http 1 --max-closing 1",
            "--max-rooms-per-client 1",
            "--max-rooms-per-client 1024",
            "--message-max 512",
            "--message-max 16m",
            "--name-timeout 1ms --http-timeout 1ms --ping-interval 1ms --ping-timeout 1ms",
            "--write-buffer-soft 64k:1ms",
            "--origin https://localhost --origin *",
            "--origin https://localhost:443,HTTP://*.example.org:8080,null,https://bücher.example",
            "--host Chat.Example.,chat.example:8080,*.example.org,[::1]:80,::1,10.0.0.1,bücher.example,*",
            "--coalesce 100ms",
            "--coalesce off",
        ] {
            Config::from_flags(flags);
        }
    }
}
