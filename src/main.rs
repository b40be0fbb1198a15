//! The program: reads the flags, starts the server, and returns its exit code.

use std::io::Write;
use std::process::ExitCode;

use chinwag::config::{Config, ConfigError};
use chinwag::logging;
use chinwag::net::bind;
use chinwag::net::mio::MioNet;
use chinwag::protocol::Dialect;
use chinwag::server::Server;
use sd_notify::NotifyState;

/// Exit code for bad flags.
const USAGE: u8 = 2;
/// Exit code for a failed start or a failed poll loop.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Asked(text)) => {
            print(&text);
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Wrong(message)) => return fail(&message, USAGE),
    };
    logging::start(config.log);
    for name in Config::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        log::warn!("ignored a variable that belongs to no flag name={name}");
    }
    if config.check {
        print("the configuration is good\n");
        return ExitCode::SUCCESS;
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message, FAILURE),
    }
}

/// Opens the listeners, announces them, and serves until a signal or an error ends the loop.
fn serve(mut config: Config) -> Result<(), String> {
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("can't raise the limit on open files (RLIMIT_NOFILE): {error}"))?;
    let opened = bind::open(&config)?;
    config.record_listeners(opened.iter().any(|opened| opened.kind.dialect == Dialect::Http));
    if let Some(note) = config.fit_descriptors(descriptors)? {
        log::warn!("{note}");
    }
    let addresses = bind::addresses_as_json(&opened);
    let places =
        opened.iter().map(|opened| (opened.kind.dialect.as_str(), bind::address_of(&opened.listener)));
    let places: Vec<_> = places.collect();
    let listeners = opened.iter().map(|listener| listener.kind).collect();
    let net = MioNet::new(opened.into_iter().map(|listener| listener.listener).collect())
        .map_err(|error| format!("can't start the poll loop: {error}"))?;
    let print_addresses = config.print_addresses;
    let mut server = Server::new(config, net, listeners)?;
    // A start that has failed before announces no listener.
    for (word, address) in places {
        log::info!("listening listener={word} address={address}");
    }
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

/// Notifies the service manager, if there is one (`sd_notify(3)`).
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("can't notify the service manager at NOTIFY_SOCKET error={:?}", error.to_string());
    }
}

/// Writes to standard output. An error is ignored: the server runs without it.
fn print(text: &str) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes one line to standard error, if it is open.
fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "chinwag: {message}");
    ExitCode::from(code)
}
