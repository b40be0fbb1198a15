//! How many connections there can be: what was asked for, or as many as there are descriptors for.

use super::Config;

/// Descriptors that are not for connections: listeners, standard streams, the poll loop, the link to Redis.
const OTHER_DESCRIPTORS: usize = 36;

impl Config {
    /// Lowers the numbers of clients and waiting ones to what so many descriptors allow, and says so if it had to.
    ///
    /// # Errors
    /// There are too few to serve anybody.
    pub fn fit_descriptors(&mut self, descriptors: u64) -> Result<Option<String>, String> {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let others = OTHER_DESCRIPTORS + self.max_closing;
        let for_clients = descriptors.saturating_sub(others);
        if for_clients == 0 {
            return Err(format!(
                "{descriptors} open files are too few (ulimit -n); {} are needed, {} of them for --max-closing",
                others + 1,
                self.max_closing
            ));
        }
        if self.max_clients + self.max_waiting + self.http_slots() <= for_clients {
            return Ok(None);
        }
        // Clients come first, but some may wait: a queue is friendlier than a refusal.
        self.max_waiting = self.max_waiting.min(for_clients / 10);
        self.max_http = self.max_http.min((for_clients / 10).max(1));
        let others = self.max_waiting + self.http_slots();
        self.max_clients = self.max_clients.min(for_clients.saturating_sub(others).max(1));
        Ok(Some(format!(
            "limits lowered to fit {descriptors} open files (ulimit -n) max_clients={} max_waiting={} max_http={}",
            self.max_clients, self.max_waiting, self.max_http
        )))
    }

    /// The most connections at once, in whatever state.
    pub fn most_slots(&self) -> usize {
        self.max_clients + self.max_waiting + self.http_slots() + self.max_closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_fitted_under_the_limit_on_open_files() {
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
    }
}
