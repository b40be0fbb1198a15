//! A variant that runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::yield_now;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::PATIENCE;
use crate::client::{Client, Door};

/// Killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub door: Door,
}

impl Server {
    pub fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (door, address) = match line.split('"').collect::<Vec<_>>()[..] {
            [_, "line", _, address, _, "http", ":[],", "unix", _] => (Door::Line, address),
            [_, "line", ":[],", "http", _, address, _, "unix", _] => (Door::WebSocket, address),
            _ => panic!("the address, not {line}"),
        };
        Server { address: address.parse().unwrap(), child, door }
    }

    /// Connects so many clients, one after the other: the first hears each of the others once it is in.
    pub fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients = vec![self.connect()];
        for id in 1..count {
            let mut client = self.connect();
            client.say(&format!("{id} is in\n"));
            for earlier in &mut clients {
                assert_eq!(earlier.hear(), format!("{id} is in\n"));
            }
            clients.push(client);
        }
        clients
    }

    pub fn connect(&self) -> Client {
        Client::enter(TcpStream::connect(self.address).unwrap(), self.door, 8 * 1024)
    }

    /// Connects a client with the smallest buffer that the kernel gives, so that it is soon found not to read.
    pub fn connect_small(&self) -> Client {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::enter(TcpStream::from(socket), self.door, 8 * 1024)
    }

    /// Sockets that the server holds open: its door and its clients.
    pub fn sockets(&self) -> usize {
        let held = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One may be closed between the two calls.
        let targets = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    pub fn wait_for_sockets(&self, count: usize) {
        let start = Instant::now();
        while self.sockets() != count {
            assert!(start.elapsed() < PATIENCE, "{} sockets, not {count}", self.sockets());
            yield_now();
        }
    }

    /// Its memory and its threads, from `/proc`.
    pub fn status(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let figures = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("Threads"));
        figures.collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
