//! A name proves nothing. Every listener shows the sender's id, and marks messages that no client sent.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::web::{ask, ask_once, get, post};

fn parsed(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

/// Returns the events of that type, as objects.
fn of_type(texts: &[String], kind: &str) -> Vec<Value> {
    parsed(texts).into_iter().filter(|event| event["type"] == kind).collect()
}

/// Returns the fields that identify the sender: `from`, `by` and `via`.
fn origin(message: &Value) -> (Value, Value, Value) {
    (message["from"].clone(), message["by"].clone(), message["via"].clone())
}

#[test]
fn message_published_under_the_name_of_an_absent_client_is_marked_in_every_dialect() {
    let mut stage = Stage::new("");
    let bob = stage.join("bob");
    let mut ann = Socket::open(&mut stage, "/ws?name=ann");
    let id = of_type(&ann.texts(&mut stage), "welcome")[0]["id"].clone();
    ann.say(&mut stage, r#"{"type":"say","room":"lobby","text":"mine"}"#);
    ann.say(&mut stage, r#"{"type":"leave","room":"lobby"}"#);
    stage.expect(bob, &["-- ann joined", "ann: mine", "-- ann left"]);
    let taken = ask_once(&mut stage, &post("/rooms/lobby/messages?from=ann", "", "I resign"));
    assert!(taken.starts_with("HTTP/1.1 409 "), "she is not in the room, but she is here: {taken}");
    stage.world().end(ann.wire);
    stage.run();

    let mut tab = Socket::open(&mut stage, "/ws?name=tab");
    tab.texts(&mut stage);
    let mut program = Socket::open(&mut stage, "/raw/lobby?name=bot");
    let tail = stage.connect_http();
    ask(&mut stage, tail, &get("/rooms/lobby/events"));
    stage.expect(bob, &["-- tab joined", "-- bot joined"]);
    tab.texts(&mut stage);
    ask_once(&mut stage, &post("/rooms/lobby/messages?from=ann", "", "I resign"));
    ask_once(&mut stage, &post("/rooms/lobby/messages", "Content-Type: application/json\r\n", "[1]"));

    stage.expect(bob, &["ann (http): I resign", "http: [1]"]);
    stage.say(bob, "/history 2");
    stage.expect(bob, &["-- 0 s ago ann (http): I resign", "-- 0 s ago http: [1]"]);
    let said = of_type(&tab.texts(&mut stage), "message");
    let by_http = |name: &str| (name.into(), Value::Null, "http".into());
    assert_eq!(said.iter().map(origin).collect::<Vec<_>>(), [by_http("ann"), by_http("http")]);
    stage.expect_contains(tail, r#""text":"I resign","seq":2,"at":1600000001000,"via":"http"}"#);
    assert_eq!(program.frames(&stage), [], "programs are sent what programs send");
    tab.say(&mut stage, r#"{"type":"history","room":"lobby"}"#);
    let history = of_type(&tab.texts(&mut stage), "history").remove(0);
    let remembered = ask_once(&mut stage, &get("/rooms/lobby/messages"));
    let body = remembered.split("\r\n\r\n").nth(1).expect("a body");
    for history in [history, serde_json::from_str(body).expect("JSON")] {
        let messages: Vec<_> = history["messages"].as_array().expect("a list").iter().map(origin).collect();
        assert_eq!(messages, [("ann".into(), id.clone(), Value::Null), by_http("ann"), by_http("http")]);
    }
    stage.end();
}

#[test]
fn client_can_distinguish_its_own_rename_from_that_of_the_next_owner_of_its_name() {
    let mut stage = Stage::new("");
    let mut ann = Socket::open(&mut stage, "/ws?name=ann&echo=1");
    let id = of_type(&ann.texts(&mut stage), "welcome")[0]["id"].clone();
    ann.say(&mut stage, r#"{"type":"nick","name":"amy"}"#);
    let own = of_type(&ann.texts(&mut stage), "nick");
    assert_eq!((own[0]["to"].as_str(), &own[0]["by"]), (Some("amy"), &id));
    let eve = stage.join("ann");
    stage.say(eve, "/nick eve\nhi\n/msg amy psst");
    stage.run();
    let texts = ann.texts(&mut stage);
    for kind in ["joined", "nick", "message", "private"] {
        let event = of_type(&texts, kind).remove(0);
        assert!(event["by"].is_string() && event["by"] != id, "{event}");
    }
    stage.end();
}

#[test]
fn clients_of_other_processes_have_one_id_everywhere_and_published_messages_stay_marked() {
    let mut cluster = Cluster::new(2, "");
    let mut here = cluster.open(0, "/ws?name=ann");
    cluster.run();
    let mut there = cluster.open(1, "/ws?name=bob");
    let id = of_type(&cluster.texts(1, &mut there), "welcome")[0]["id"].clone();
    cluster.run();
    for request in [
        r#"{"type":"say","room":"lobby","text":"hi"}"#,
        r#"{"type":"me","room":"lobby","text":"waves"}"#,
        r#"{"type":"tell","to":"ann","text":"psst"}"#,
        r#"{"type":"nick","name":"bo"}"#,
        r#"{"type":"leave","room":"lobby"}"#,
    ] {
        there.say(cluster.stage(1), request);
        cluster.run();
    }
    let texts = cluster.texts(0, &mut here);
    let of_bob = parsed(&texts).into_iter().filter(|event| event["by"] == id);
    let kinds: Vec<Value> = of_bob.map(|mut event| event["type"].take()).collect();
    assert_eq!(kinds, ["joined", "message", "message", "private", "nick", "left"], "{texts:?}");

    let wire = cluster.stage(1).connect_http();
    cluster.stage(1).send(wire, post("/rooms/lobby/messages?from=bob", "", "hi").as_bytes());
    cluster.run();
    let said = of_type(&cluster.texts(0, &mut here), "message");
    assert_eq!(origin(&said[0]), ("bob".into(), Value::Null, "http".into()));
    cluster.end();
}

#[test]
fn message_of_another_program_is_shown_without_a_client_id() {
    let mut cluster = Cluster::new(1, "");
    let ann = cluster.join(0, "ann");
    let mut tab = cluster.open(0, "/ws?name=tab");
    cluster.expect(ann, &["-- tab joined"]);
    cluster.texts(0, &mut tab);
    let entry = br#"chinwag - - - {"say":{"at":5,"from":"old","text":"hi"}}"#;
    cluster.redis.publish("chinwag:lobby", entry);
    cluster.redis.publish("chinwag:lobby", b"hello");
    cluster.expect(ann, &["old: hi", "redis: hello"]);
    let said = of_type(&cluster.texts(0, &mut tab), "message");
    let of_nobody = |name: &str| (name.into(), Value::Null, Value::Null);
    assert_eq!(said.iter().map(origin).collect::<Vec<_>>(), [of_nobody("old"), of_nobody("redis")]);
    assert!(said.iter().all(|message| message["seq"].as_u64().unwrap_or(0) == 0), "{said:?}");
    cluster.end();
}
