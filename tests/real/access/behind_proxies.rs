//! Bans by address of clients behind HAProxy and nginx.

use std::fs;

use super::{Files, make_token};
use crate::harness::{Client, Server, free_port};
use crate::proxies::{recipe, start, start_nginx};

const OPERATING: &str = include_str!("../../../src/guide/operating.md");

const TRUST: &str = "--trust-proxy 127.0.0.0/8";

/// Connects to a port of a proxy.
fn at(port: u16) -> Client {
    Client::connect(([127, 0, 0, 1], port).into())
}

/// A server behind a proxy, with a moderator.
fn moderated() -> (Files, Server, String) {
    let (token, section) = make_token("mod", "moderator");
    let files = Files::new(&section);
    let server = files.start(TRUST);
    (files, server, token)
}

/// Checks that a ban of the guest eve, whose address is 192.0.2.7, reaches nobody else. A function connects from an address
/// that ends in this number.
fn assert_ban_reaches_one(token: &str, connect: impl Fn(u8) -> Client) {
    let mut moderator = connect(9);
    moderator.say(&format!("/login {token}"));
    moderator.skip_to("-- hello mod.");
    let (mut eve, mut bob) = (connect(7), connect(8));
    eve.enter("eve");
    bob.enter("bob");
    moderator.say("/whois eve");
    moderator.skip_to("-- eve has the address 192.0.2.7");
    moderator.say("/ban eve 1h spam");
    eve.skip_to("-- mod has banned you for 60 min: spam");
    bob.skip_to("-- eve left (banned by mod: spam)");
    connect(7).skip_to("-- a moderator has banned you");
    connect(8).enter("dan");
    bob.say("still here");
    moderator.skip_to("bob: still here");
    moderator.say("/unban 192.0.2.7");
    moderator.skip_to("-- the ban of 192.0.2.7 is lifted");
    connect(7).enter("eva");
}

#[test]
#[ignore = "needs haproxy"]
fn ban_of_a_client_behind_haproxy_reaches_no_other() {
    let (files, server, token) = moderated();
    let ports = [7, 8, 9].map(|number| (number, free_port()));
    let mut config = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  timeout server 1m\n\
         backend chinwag\n  server one {} send-proxy-v2\n",
        server.address()
    );
    for (number, port) in ports {
        config.push_str(&format!(
            "frontend from{number}\n  bind 127.0.0.1:{port}\n  default_backend chinwag\n  \
             tcp-request connection set-src str(192.0.2.{number})\n"
        ));
    }
    fs::write(files.path("haproxy.cfg"), config).unwrap();
    let folder = files.folder.path();
    let _haproxy = start("/usr/sbin/haproxy", &["-db", "-f", "haproxy.cfg"], folder, ports[2].1);
    assert_ban_reaches_one(&token, |number| {
        at(ports.iter().find(|(from, _)| *from == number).expect("a port").1)
    });
}

#[test]
#[ignore = "needs nginx and libnginx-mod-stream"]
fn ban_of_a_client_behind_a_stream_of_nginx_reaches_no_other() {
    let (files, server, token) = moderated();
    let (port, folder) = (free_port(), files.folder.path().display().to_string());
    // The real address comes to nginx in a header too, since all clients of a test are on this machine.
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nmaster_process off;\n\
         pid {folder}/pid;\nevents {{}}\nstream {{\nserver {{\nlisten 127.0.0.1:{port} proxy_protocol;\n\
         set_real_ip_from 127.0.0.0/8;\nproxy_pass {};\nproxy_protocol on;\n}}\n}}\n",
        server.address()
    );
    fs::write(files.path("nginx.conf"), config).unwrap();
    let args = ["-e", "stderr", "-c", &format!("{folder}/nginx.conf")];
    let _nginx = start("/usr/sbin/nginx", &args, files.folder.path(), port);
    assert_ban_reaches_one(&token, |number| {
        let mut client = at(port);
        client.send(format!("PROXY TCP4 192.0.2.{number} 192.0.2.1 4000 7711\r\n").as_bytes());
        client
    });
}

#[test]
#[ignore = "needs nginx"]
fn ban_of_a_client_behind_nginx_reaches_no_other() {
    let (files, server, token) = moderated();
    let port = free_port();
    let location = recipe(OPERATING, "nginx")
        .replace("127.0.0.1:7712", &server.http_address().to_string())
        .replace("$remote_addr", "$proxy_add_x_forwarded_for");
    let _nginx = start_nginx(files.folder.path(), port, &location);
    let ask = |number: u8, head: &str, body: &str| {
        let mut client = at(port);
        let fields = format!("Host: localhost\r\nX-Forwarded-For: 192.0.2.{number}\r\n");
        let length = format!("Content-Length: {}\r\n", body.len());
        client.send(format!("{head} HTTP/1.1\r\n{fields}{length}\r\n{body}").as_bytes());
        client.line().expect("a response")[9..12].to_string()
    };
    let (rooms, tail) = ("GET /rooms", "GET /rooms/lobby/events");
    assert_eq!([7, 8].map(|number| ask(number, rooms, "")), ["200", "200"]);
    let mut moderator = at(port);
    let body = r#"{"target":"192.0.2.7","seconds":3600,"reason":"spam"}"#;
    moderator.send(
        format!(
            "POST /admin/ban HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    assert!(moderator.line().expect("a response").starts_with("HTTP/1.1 200 "));
    assert_eq!([7, 8].map(|number| ask(number, rooms, "")), ["403", "200"]);
    assert_eq!([7, 8].map(|number| ask(number, tail, "")), ["403", "200"]);
}
