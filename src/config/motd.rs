//! The message of the day: lines of a file that each new client gets.

use super::{Config, UNNAMED_BUFFER_BYTES};
use crate::text::Text;

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
    let wrong = |why: String| format!("--motd {}: {why}", path.display());
    let motd = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("{error}; name a readable file in UTF-8")))?;
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
}
