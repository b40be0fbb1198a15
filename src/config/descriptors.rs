//! Limits on connections, lowered to fit the limit on open files.

use super::Config;

/// Descriptors for other uses than connections: listeners, standard streams, the poll loop, the link to Redis.
const OTHER_DESCRIPTORS: usize = 36;

impl Config {
    /// Lowers the limits on clients, waiting clients and HTTP connections to fit `descriptors`. If it lowered any, it
    /// returns a line for the log.
    ///
    /// # Errors
    /// There are too few descriptors for a single client.
    pub fn fit_descriptors(&mut self, descriptors: u64) -> Result<Option<String>, String> {
        self.source.descriptors = Some(descriptors);
        // A client and, with an HTTP listener, one HTTP connection.
        let least = 1 + self.http_slots().min(1);
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let others = OTHER_DESCRIPTORS + self.max_closing;
        let for_clients = descriptors.saturating_sub(others);
        if for_clients < least {
            return Err(format!(
                "the limit of {descriptors} open files (ulimit -n) is too low: raise it to at least {}, or lower \
                 --max-closing from {}",
                others + least,
                self.max_closing
            ));
        }
        if self.max_clients + self.max_waiting + self.http_slots() <= for_clients {
            return Ok(None);
        }
        // A queue is friendlier than a refusal, so it keeps a tenth of the descriptors.
        self.max_waiting = self.max_waiting.min(for_clients / 10);
        self.max_http = self.max_http.min((for_clients / 10).max(1));
        let others = self.max_waiting + self.http_slots();
        self.max_clients = self.max_clients.min(for_clients.saturating_sub(others).max(1));
        Ok(Some(format!(
            "limits lowered to fit {descriptors} open files (ulimit -n) max_clients={} max_waiting={} max_http={}",
            self.max_clients, self.max_waiting, self.max_http
        )))
    }

    /// Most connections at once, in all states together.
    pub fn most_slots(&self) -> usize {
        self.max_clients + self.max_waiting + self.http_slots() + self.max_closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_lowered_to_fit_the_limit_on_open_files() {
        let fit = |descriptors, flags: &str| {
            let mut config = Config::from_flags(flags);
            let note = config.fit_descriptors(descriptors);
            note.map(|note| (config.max_clients, config.max_waiting, note.is_some()))
        };
        let lines_only = "--http none";
        assert_eq!(fit(11_100, lines_only), Ok((10_000, 1_000, false)));
        assert_eq!(fit(11_099, lines_only), Ok((9_999, 1_000, true)));
        assert_eq!(fit(1_024, lines_only), Ok((832, 92, true)));
        assert_eq!(fit(101, lines_only), Ok((1, 0, true)));
        assert!(fit(100, lines_only).is_err());
        assert_eq!(fit(u64::MAX, lines_only), Ok((10_000, 1_000, false)));
        assert_eq!(fit(12_100, ""), Ok((10_000, 1_000, false)));
        assert_eq!(fit(12_099, ""), Ok((9_999, 1_000, true)));
        assert_eq!(fit(1_024, ""), Ok((740, 92, true)));
        assert_eq!(fit(102, ""), Ok((1, 0, true)));
        assert!(fit(101, "").is_err());
    }

    #[test]
    fn http_slots_follow_the_listeners_that_are_open() {
        for (flags, has_http, slots) in [("--http none", true, 1_000), ("", false, 0), ("", true, 1_000)] {
            let mut config = Config::from_flags(flags);
            config.record_listeners(has_http);
            assert_eq!(
                (config.http_slots(), config.most_slots()),
                (slots, 11_000 + slots + config.max_closing)
            );
        }
    }
}
