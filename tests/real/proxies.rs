//! The guide's recipes for proxies, with other ports.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::cluster::Cluster;
use crate::harness::{Client, Launch, Running, eventually, free_port, require};

const OPERATING: &str = include_str!("../../src/guide/operating.md");
const CLUSTER: &str = include_str!("../../src/guide/cluster.md");

/// Returns the page's block in that language.
pub fn recipe(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("it is there");
    rest.split("```").next().expect("it ends").to_string()
}

/// A proxy. Its log is printed if the test fails.
pub struct Proxy {
    _running: Running,
    log: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the proxy's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

pub fn start(program: &str, args: &[&str], folder: &Path, port: u16) -> Proxy {
    require(program);
    let log = folder.join("log");
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap());
    let proxy = Proxy { _running: Running::start(&mut command), log };
    eventually(program, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    proxy
}

/// Sends a request on a connection of its own, and returns the answer up to the end of its head.
fn ask(port: u16, request: &str) -> String {
    let mut client = Client::connect(([127, 0, 0, 1], port).into());
    client.send(request.as_bytes());
    client.line().expect("an answer")
}

/// Returns the configuration of an nginx that serves this at `port`.
fn nginx_config(folder: &Path, port: u16, location: &str) -> String {
    let folder = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}\
         server {{ listen 127.0.0.1:{port};\n{location}\n}}\n}}\n"
    )
}

pub fn start_nginx(folder: &Path, port: u16, location: &str) -> Proxy {
    let path = folder.join("nginx.conf");
    fs::write(&path, nginx_config(folder, port, location)).unwrap();
    start("/usr/sbin/nginx", &["-e", "stderr", "-c", &path.display().to_string()], folder, port)
}

#[test]
#[ignore = "needs nginx"]
fn nginx_forwards_pages_websockets_and_events_at_any_port() {
    let server = Launch::new("--host chat.example.org").with_listeners().start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let location = recipe(OPERATING, "nginx").replace("127.0.0.1:7712", &server.http_address().to_string());
    let _nginx = start_nginx(folder.path(), port, &location);
    let host = format!("Host: chat.example.org:{port}\r\n");
    let origin = format!("Origin: http://chat.example.org:{port}\r\n");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert!(ask(port, &format!("GET / HTTP/1.1\r\n{host}\r\n")).starts_with("HTTP/1.1 200 "));
    let answer = ask(port, &format!("GET /ws HTTP/1.1\r\n{host}{origin}{upgrade}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 101 "), "a page of this host and port: {answer}");
    let other = "Origin: http://chat.example.org:1\r\n";
    let answer = ask(port, &format!("GET /ws HTTP/1.1\r\n{host}{other}{upgrade}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "a page of another port: {answer}");
    let mut listener = Client::connect(([127, 0, 0, 1], port).into());
    listener.send(format!("GET /rooms/lobby/events HTTP/1.1\r\n{host}\r\n").as_bytes());
    listener.skip_to("\r");
    let post = format!("POST /rooms/lobby/messages HTTP/1.1\r\n{host}{origin}Content-Length: 2\r\n\r\nhi");
    assert!(ask(port, &post).starts_with("HTTP/1.1 202 "));
    listener.skip_to("data: ");
}

#[test]
#[ignore = "needs haproxy and redis-server"]
fn haproxy_spreads_clients_over_processes_that_are_one_chat() {
    let cluster = Cluster::start(3, "--max-per-ip off");
    let folder = tempfile::tempdir().unwrap();
    let (lines, pages) = (free_port(), free_port());
    let mut config = recipe(CLUSTER, "haproxy");
    for (index, server) in cluster.servers.iter().enumerate() {
        config = config.replace(&format!("127.0.0.1:772{}", index + 1), &server.address().to_string());
        config = config.replace(&format!("127.0.0.1:773{}", index + 1), &server.http_address().to_string());
    }
    config = config.replace("bind 127.0.0.1:7711", &format!("bind 127.0.0.1:{lines}"));
    config = config.replace("bind 127.0.0.1:7712", &format!("bind 127.0.0.1:{pages}"));
    fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
    // The attempt to connect goes to the other listener: it would count as a client where the least connections decide.
    let _haproxy = start("/usr/sbin/haproxy", &["-db", "-f", "haproxy.cfg"], folder.path(), pages);
    let mut people = ["ann", "bob", "cy"].map(|name| {
        let mut client = Client::connect(([127, 0, 0, 1], lines).into());
        client.enter(name);
        client
    });
    cluster.acquaint(&mut people.each_mut());
    let [ann, bob, cy] = &mut people;
    ann.say("hi");
    bob.skip_to("ann: hi");
    cy.skip_to("ann: hi");
    let post = "POST /rooms/lobby/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nho";
    assert!(ask(pages, post).starts_with("HTTP/1.1 202 "));
    ann.skip_to("http: ho");
    cy.skip_to("http: ho");
}

#[test]
#[ignore = "needs haproxy"]
fn line_clients_behind_haproxy_are_limited_by_their_own_addresses() {
    for version in ["send-proxy", "send-proxy-v2"] {
        let server = Launch::new("--trust-proxy 127.0.0.0/8 --max-per-ip 2").with_listeners().start();
        let folder = tempfile::tempdir().unwrap();
        let (port, other) = (free_port(), free_port());
        let address = server.address();
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
             frontend lines\n  bind 127.0.0.1:{port}\n  default_backend chinwag\n\
             frontend others\n  bind 127.0.0.1:{other}\n  tcp-request connection set-src str(192.0.2.7)\n  \
             default_backend chinwag\n\
             backend chinwag\n  server one {address} {version} check check-send-proxy inter 100ms\n"
        );
        fs::write(folder.path().join("haproxy.cfg"), config).unwrap();
        // The probe of the start is a client too, so it uses the port whose clients are not counted.
        let _haproxy = start("/usr/sbin/haproxy", &["-db", "-f", "haproxy.cfg"], folder.path(), port);
        let connect = |port: u16| Client::connect(([127, 0, 0, 1], port).into());
        let mut clients = ["ann", "bob"].map(|name| {
            let mut client = connect(other);
            client.enter(name);
            client
        });
        let mut third = connect(other);
        third.skip_to("-- too many connections from your address");
        let mut local = connect(port);
        local.enter("cy");
        local.say("hi");
        let [ann, bob] = &mut clients;
        ann.skip_to("cy: hi");
        bob.skip_to("cy: hi");
        server.log.wait_for("peer=192.0.2.7 reason=too-many-from-address");
        let mut direct = Client::connect(address);
        direct.say("ann");
        direct.skip_to("-- a trusted proxy must begin with a header of the PROXY protocol");
        server.log.wait_for("PROXY header refused");
    }
}

#[test]
#[ignore = "needs nginx"]
fn clients_behind_nginx_are_limited_by_their_own_addresses() {
    let server = Launch::new("--trust-proxy 127.0.0.0/8 --max-per-ip 2").with_listeners().start();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let location = recipe(OPERATING, "nginx")
        .replace("127.0.0.1:7712", &server.http_address().to_string())
        .replace("$remote_addr", "$proxy_add_x_forwarded_for");
    let _nginx = start_nginx(folder.path(), port, &location);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let open = |address: &str| {
        let mut client = Client::connect(([127, 0, 0, 1], port).into());
        let forwarded = format!("X-Forwarded-For: {address}\r\n");
        let host = "Host: localhost\r\n";
        client.send(format!("GET /ws HTTP/1.1\r\n{host}{forwarded}{upgrade}\r\n").as_bytes());
        let status = client.line().expect("an answer");
        (client, status[9..12].to_string())
    };
    let clients = ["192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"].map(open);
    let statuses = clients.each_ref().map(|(_, status)| status.as_str());
    assert_eq!(statuses, ["101", "101", "429", "101"]);
    server.log.wait_for("peer=192.0.2.7 reason=too-many-from-address");
}
