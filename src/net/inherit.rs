//! Sockets that a service manager has opened and hands over at the start (`sd_listen_fds(3)`).

use std::env;

use listenfd::ListenFd;
use socket2::SockRef;

use super::bind::{Listener, prepare};
use crate::protocol::Dialect;

/// The descriptor that the first socket has.
const FIRST_DESCRIPTOR: usize = 3;

/// The sockets handed over, and what each is for. `FileDescriptorName=http` in the unit of a socket makes it one for
/// HTTP; any other name, or none, makes it one for lines.
///
/// # Errors
/// One line that names the descriptor and what is wrong with it.
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

/// The socket of that index, which must be one that listens.
fn listener(handed_over: &mut ListenFd, index: usize) -> Result<Listener, String> {
    // The crate puts a socket back that is not of the kind asked for, so asking twice loses nothing.
    if let Ok(Some(socket)) = handed_over.take_tcp_listener(index) {
        expect_listening(&SockRef::from(&socket))?;
        prepare(&socket).map_err(|error| format!("can't be prepared: {error}"))?;
        return Ok(Listener::Tcp(socket));
    }
    match handed_over.take_unix_listener(index) {
        Ok(Some(socket)) => {
            expect_listening(&SockRef::from(&socket))?;
            socket.set_nonblocking(true).map_err(|error| format!("can't be prepared: {error}"))?;
            Ok(Listener::Unix(socket, None))
        }
        _ => Err("is no TCP or Unix stream socket; a socket unit needs ListenStream=".into()),
    }
}

/// A connection can't be accepted from.
fn expect_listening(socket: &SockRef<'_>) -> Result<(), String> {
    match socket.is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("is a socket that does not listen; a socket unit needs Accept=no, the default".into())
        }
        Err(error) => Err(format!("can't be looked at: {error}")),
    }
}
