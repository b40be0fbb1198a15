//! The message of the day: lines of a file that each new client gets.

use super::file::read_bytes;
use super::{Config, UNNAMED_BUFFER_BYTES};
use crate::text::{Text, clean};

/// The rest of the write buffer of a client without a name is for other messages.
const MOTD_MAX_BYTES: usize = UNNAMED_BUFFER_BYTES / 2;

/// Reads the lines of `--motd`, made safe for terminals. There are none without the flag.
///
/// # Errors
/// The file can't be read or is too long: one line that names it and the problem.
pub fn read_motd(config: &Config) -> Result<Vec<Text>, String> {
    let Some(path) = &config.motd else {
        return Ok(Vec::new());
    };
    let wrong = |why: String| clean(&format!("--motd {}: {why}", path.display())).into_owned();
    let bytes = read_bytes(path).map_err(wrong)?;
    let motd = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".into()))?;
    let lines: Vec<Text> = motd.lines().filter_map(Text::clean).collect();
    let bytes: usize = lines.iter().map(|line| line.as_str().len() + "-- \n".len()).sum();
    match bytes > MOTD_MAX_BYTES {
        true => {
            Err(wrong(format!("it takes {bytes} bytes, but must take at most {MOTD_MAX_BYTES}; shorten it")))
        }
        false => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn message_of_the_day_is_made_safe_and_has_a_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let motd = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            let args = ["chinwag", "--motd", file.path().to_str().unwrap()].map(OsString::from);
            Config::read(args).map(|config| read_motd(&config).unwrap().len())
        };
        assert_eq!(motd("be kind\n\n\x1b[2Jread the rules\n").unwrap(), 2);
        assert_eq!(motd(&"x".repeat(MOTD_MAX_BYTES - 4)).unwrap(), 1);
        assert!(motd(&"x".repeat(MOTD_MAX_BYTES - 3)).is_err());
        assert!(motd(&"x\n".repeat(MOTD_MAX_BYTES / 5 + 1)).is_err());
    }

    #[test]
    fn message_of_the_day_is_a_regular_file_in_utf_8() {
        let wrong = |path: &std::path::Path| {
            let args = ["chinwag".into(), "--motd".into(), path.as_os_str().to_os_string()];
            Config::read(args)
                .map(|config| read_motd(&config).unwrap_err())
                .unwrap_or_else(|error| format!("{error:?}"))
        };
        // A device without an end, or a pipe, would block the server.
        assert!(wrong("/dev/zero".as_ref()).contains("it is no regular file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"caf\xe9").unwrap();
        assert!(wrong(file.path()).contains("it is not UTF-8"));
    }
}
