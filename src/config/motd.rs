//! The message of the day: lines of a file that greet whoever connects.

use super::{Config, UNNAMED_BUFFER_BYTES};
use crate::text::Text;

/// A message of the day must leave room in the write buffer of a client that has no name yet.
const MOTD_MAX_BYTES: usize = UNNAMED_BUFFER_BYTES / 2;

/// The message of the day, line by line, made safe for terminals; none without `--motd`.
///
/// # Errors
/// One line that names the file and what is wrong with it.
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
        true => Err(wrong(format!("it takes {bytes} bytes; at most {MOTD_MAX_BYTES} fit"))),
        false => Ok(lines),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn the_message_of_the_day_is_made_safe_and_held_short() {
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
