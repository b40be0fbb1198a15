//! Listeners inherited from a service manager (`sd_listen_fds(3)`).

use std::env;

use listenfd::ListenFd;
use socket2::SockRef;

use super::bind::{Listener, set_listener_options};
use crate::protocol::Dialect;

/// The descriptor of the first socket.
const FIRST_DESCRIPTOR: usize = 3;

/// The inherited listeners with their dialects. `FileDescriptorName=http` in the socket unit selects HTTP; any other name, or
/// none, selects lines.
///
/// # Errors
/// One line with the descriptor and the reason why it is no usable listener (`getsockopt(2)`, `setsockopt(2)`).
pub fn listeners() -> Result<Vec<(Listener, Dialect)>, String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed_over = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed_over.len() {
        let dialect = if names.next() == Some("http") { Dialect::Http } else { Dialect::Line };
        let listener = listener(&mut handed_over, index)
            .map_err(|error| format!("LISTEN_FDS: descriptor {} {error}", FIRST_DESCRIPTOR + index))?;
        listeners.push((listener, dialect));
    }
    Ok(listeners)
}

/// The inherited socket at `index`.
///
/// # Errors
/// It is no listener, or its options can't be set (`setsockopt(2)`).
fn listener(handed_over: &mut ListenFd, index: usize) -> Result<Listener, String> {
    // `ListenFd` keeps a socket of another kind, so both kinds can be tried.
    if let Ok(Some(socket)) = handed_over.take_tcp_listener(index) {
        expect_listening(&SockRef::from(&socket))?;
        set_listener_options(&socket).map_err(|error| format!("can't be configured: {error}"))?;
        return Ok(Listener::Tcp(socket));
    }
    match handed_over.take_unix_listener(index) {
        Ok(Some(socket)) => {
            expect_listening(&SockRef::from(&socket))?;
            socket.set_nonblocking(true).map_err(|error| format!("can't be configured: {error}"))?;
            Ok(Listener::Unix(socket, None))
        }
        _ => Err("is no TCP or Unix stream socket; a socket unit needs ListenStream=".into()),
    }
}

/// Refuses a connected socket, which can't accept connections.
///
/// # Errors
/// It does not listen (`getsockopt(2)`, `SO_ACCEPTCONN`).
fn expect_listening(socket: &SockRef<'_>) -> Result<(), String> {
    match socket.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("is a socket that does not listen; a socket unit needs Accept=no, the default".into())
        }
        Err(error) => Err(format!("can't be inspected: {error}")),
    }
}
