//! `SIGHUP`: the configuration is read again, and what can change while the server runs takes effect.

use super::Server;
use crate::config;
use crate::limits::Limits;
use crate::logging;
use crate::net::Net;

impl<N: Net> Server<N> {
    /// Reads the configuration file and the message of the day again. An error changes nothing.
    pub(super) fn reload(&mut self) {
        let read = self.config.reread();
        let read = read.and_then(|reloaded| {
            let motd = config::read_motd(&reloaded.config)?;
            Ok((motd, config::read_jwt_key(&reloaded.config)?, reloaded))
        });
        let (motd, jwt, reloaded) = match read {
            Ok(read) => read,
            Err(error) => {
                return log::error!("reload failed, the old configuration stays error={error:?}");
            }
        };
        self.config = reloaded.config;
        if reloaded.at_once.iter().any(|name| name == "log") {
            logging::set_level(self.config.log);
        }
        log::info!("reload motd_lines={} changed={:?}", motd.len(), reloaded.at_once.join(","));
        if !reloaded.needs_restart.is_empty() {
            log::warn!("reload needs_restart={:?}", reloaded.needs_restart.join(","));
        }
        if !reloaded.at_once.is_empty() {
            self.apply_flags();
        }
        let config = self.config.clone();
        self.call_chat(|chat, now, effects| {
            chat.set_motd(motd);
            chat.set_access(&config, jwt, now, effects);
        });
    }

    /// Applies the flags that can change at once, except those that are read from `config` at each use.
    fn apply_flags(&mut self) {
        self.limits = Limits::new(&self.config);
        self.roster.set_limits(self.limits, self.now.moment);
        self.admission.set_max_per_ip(*self.config.max_per_ip);
        if let Some(link) = &mut self.link {
            link.backplane.reload(&self.config);
        }
        let config = self.config.clone();
        self.call_chat(|chat, _, _| chat.set_rules(&config));
    }
}
