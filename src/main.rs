//! The binary: flags in, exit code out. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

use chinwag::config::{Config, ConfigError};
use chinwag::logging;
use chinwag::net::bind;
use chinwag::net::mio::MioNet;
use chinwag::server::Server;
use sd_notify::NotifyState;

/// Bad flags.
const USAGE: u8 = 2;
/// A start that failed, or a loop that could not go on.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Asked(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Wrong(message)) => return complain(&message, USAGE),
    };
    logging::start(config.log);
    for name in Config::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        log::warn!("variable ignored, there is no such flag name={name}");
    }
    if config.check {
        print("the configuration is good\n");
        return ExitCode::SUCCESS;
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => complain(&message, FAILURE),
    }
}

/// Opens the listeners, says so to whoever wants to know, and serves until told to end.
fn serve(mut config: Config) -> Result<(), String> {
    let descriptors =
        rlimit::increase_nofile_limit(u64::MAX).map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    if let Some(note) = config.fit_descriptors(descriptors)? {
        log::warn!("{note}");
    }
    let opened = bind::open(&config)?;
    let addresses = bind::addresses_as_json(&opened);
    for listener in &opened {
        let (word, address) = (listener.kind.dialect.as_str(), bind::address_of(&listener.listener));
        log::info!("listening listener={word} address={address}");
    }
    let listeners = opened.iter().map(|listener| listener.kind).collect();
    let net = MioNet::new(opened.into_iter().map(|listener| listener.listener).collect())
        .map_err(|error| format!("can't start the poll loop: {error}"))?;
    let print_addresses = config.print_addresses;
    let mut server = Server::new(config, net, listeners)?;
    if print_addresses {
        print(&format!("{addresses}\n"));
    }
    notify(NotifyState::Ready);
    server.run(|| notify(NotifyState::Stopping))?;
    let done = server.metrics();
    log::info!(
        "ended accepted={} refused={} lines_in={} deliveries={} dropped={} missed={} delays={}",
        done.accepted,
        done.refused,
        done.lines_in,
        done.deliveries,
        done.dropped(),
        done.missed,
        done.delays
    );
    Ok(())
}

/// Tells the service manager, if there is one (`sd_notify(3)`).
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("NOTIFY_SOCKET can't be told error={:?}", error.to_string());
    }
}

/// To standard output; whoever closed it did not want to know.
fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// One line on standard error, if there is one.
fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "chinwag: {message}");
    ExitCode::from(code)
}
