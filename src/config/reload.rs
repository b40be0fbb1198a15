//! The configuration read again, while the server runs: [`Config::reread`].

use std::ffi::OsString;
use std::fmt;

use super::flag::{Flag, OnReload};
use super::{Config, ConfigError, checks};

/// The inputs of a configuration, kept to read it again. The environment of a process does not change.
#[derive(Clone)]
pub struct ConfigSource {
    pub args: Vec<OsString>,
    /// The limit on open files, if [`Config::fit_descriptors`] has applied it.
    pub descriptors: Option<u64>,
    /// Whether there is an HTTP listener, once the listeners are open. The service manager may have opened others than the flags
    /// name.
    pub has_http_listener: Option<bool>,
}

/// An argument may be a password, so `Debug` shows none.
impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigSource").field("descriptors", &self.descriptors).finish_non_exhaustive()
    }
}

/// The configuration after it was read again.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The configuration from now on. Flags that need a restart keep their values; the sections are new.
    pub config: Config,
    /// Names of the flags and sections whose new values are in `config`.
    pub at_once: Vec<String>,
    /// Names of the flags that have changed, but keep their values until a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Reads the same flags and variables again, and the configuration file as it is now.
    ///
    /// If the flags that change at once do not fit those that need a restart, all of them keep their values.
    ///
    /// # Errors
    /// As for [`Config::read`]. Nothing has changed then.
    pub fn reread(&self) -> Result<Reloaded, String> {
        let mut new = Config::read(self.source.args.clone()).map_err(|error| match error {
            ConfigError::Asked(text) | ConfigError::Wrong(text) => text,
        })?;
        new.source.has_http_listener = self.source.has_http_listener;
        if let Some(descriptors) = self.source.descriptors {
            new.fit_descriptors(descriptors)?;
        }
        let changed = self.changed_flags(&new);
        let mut config = self.clone();
        config.take_flags(&new, OnReload::AtOnce);
        let fits = checks::check(&config).is_ok();
        if !fits {
            config.take_flags(self, OnReload::AtOnce);
        }
        let sections = self.sections.changed(&new.sections);
        config.sections = new.sections;
        let is_at_once = |flag: &&Flag| fits && flag.on_reload == OnReload::AtOnce;
        let (at_once, needs_restart): (Vec<&Flag>, Vec<&Flag>) = changed.into_iter().partition(is_at_once);
        let names = |flags: Vec<&Flag>| -> Vec<String> { flags.into_iter().map(Flag::name).collect() };
        let at_once = names(at_once).into_iter().chain(sections.into_iter().map(String::from)).collect();
        Ok(Reloaded { config, at_once, needs_restart: names(needs_restart) })
    }
}
