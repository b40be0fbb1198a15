//! Random scenarios of access, and an oracle: nobody without the right reads or speaks.
//!
//! Each text has a number. A model of rights, which uses nothing of the server, says for each request whether it is allowed,
//! and who may read its text. A client that reads another text, a secret, or the name of a room that is hidden from it fails
//! the test. So does a client that does not get a text that it must get, or one that should be closed and is open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use chinwag::access::{LoginToken, Role};
use chinwag::net::Signal;
use tempfile::TempDir;

use crate::log_lines::{capture, end_capture, take_log};
use crate::seeds::seeds;
use crate::socket::{TEXT, frame, handshake};
use crate::stage::{Stage, WIDE};
use crate::web::{ask, get, post};
use crate::world::{Weather, Wire};

/// Number of seeds by default.
const SEEDS: u64 = 100;
const ROOMS: [&str; 4] = ["lobby", "radio", "hushed", "vault"];
const NAMES: [&str; 5] = ["ulla", "vera", "mona", "nils", "anna"];
/// Part of every secret, which nothing else has.
const SECRET: &str = "s3cr3t";

/// The clients that have a right in a room.
#[derive(Clone, Debug)]
enum Circle {
    From(Role),
    Of(Vec<&'static str>),
}

#[derive(Clone, Debug)]
struct Rules {
    enter: Circle,
    speak: Circle,
    listed: bool,
}

/// An account in the model.
#[derive(Clone, Debug)]
struct Owner {
    role: Role,
    token: String,
    /// Whether it is in the configuration file.
    configured: bool,
}

/// The rights, as `access.md` of the guide has them.
#[derive(Clone, Default, Debug)]
struct Model {
    owners: BTreeMap<String, Owner>,
    rules: BTreeMap<&'static str, Rules>,
    login_required: bool,
    /// Ends of mutes and bans, in milliseconds; `None`: no end.
    mutes: BTreeMap<String, Option<u64>>,
    name_bans: BTreeMap<String, Option<u64>>,
    address_bans: BTreeMap<String, Option<u64>>,
    /// The accounts that have banned, by name or address.
    authors: BTreeMap<String, String>,
    now: u64,
}

impl Model {
    fn role(&self, account: Option<&str>) -> Role {
        account.and_then(|account| self.owners.get(account)).map_or(Role::Guest, |owner| owner.role)
    }

    /// Whether a ban of that target is by a higher role.
    fn is_protected(&self, target: &str, role: Role) -> bool {
        let lasts = [&self.name_bans, &self.address_bans].into_iter().any(|bans| self.lasts(bans, target));
        lasts && self.authors.get(target).is_some_and(|author| self.role(Some(author)) > role)
    }

    fn is_in(&self, circle: &Circle, account: Option<&str>) -> bool {
        match circle {
            Circle::From(least) => self.role(account) >= *least,
            Circle::Of(names) => {
                self.role(account) == Role::Admin || account.is_some_and(|account| names.contains(&account))
            }
        }
    }

    fn converses(&self, account: Option<&str>) -> bool {
        account.is_some() || !self.login_required
    }

    fn enters(&self, account: Option<&str>, room: &str) -> bool {
        self.converses(account) && self.rules.get(room).is_none_or(|rules| self.is_in(&rules.enter, account))
    }

    fn speaks(&self, account: Option<&str>, room: &str) -> bool {
        let is_speaker = |rules: &Rules| match &rules.speak {
            Circle::Of(_) if self.role(account) >= Role::Moderator => true,
            circle => self.is_in(circle, account),
        };
        self.enters(account, room) && self.rules.get(room).is_none_or(is_speaker)
    }

    fn lasts(&self, ends: &BTreeMap<String, Option<u64>>, key: &str) -> bool {
        ends.get(key).is_some_and(|end| end.is_none_or(|end| self.now < end))
    }

    fn file(&self) -> String {
        let circle = |circle: &Circle| match circle {
            Circle::From(role) => format!("{:?}", role.as_str()),
            Circle::Of(names) => format!("{names:?}"),
        };
        let access = if self.login_required { "login" } else { "open" };
        let mut file = format!("access = \"{access}\"\n");
        for (name, owner) in self.owners.iter().filter(|(_, owner)| owner.configured) {
            let hash = LoginToken::parse(&owner.token).expect("a token").hash();
            file += &format!("[accounts.{name}]\nrole = \"{}\"\ntoken = \"{hash}\"\n", owner.role);
        }
        for (room, rules) in &self.rules {
            let (enter, speak) = (circle(&rules.enter), circle(&rules.speak));
            file += &format!("[rooms.{room}]\nenter = {enter}\nspeak = {speak}\nlisted = {}\n", rules.listed);
        }
        file
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Line,
    Tab,
    Program,
    Stream,
}

/// A client of the scenario.
struct Actor {
    kind: Kind,
    wire: Wire,
    address: Option<&'static str>,
    /// `None` for a name that the server has chosen.
    name: Option<String>,
    account: Option<String>,
    rooms: BTreeSet<&'static str>,
    /// End of the mute of a guest.
    mute: Option<Option<u64>>,
    failures: u8,
    /// Whether it is in the chat.
    alive: bool,
    eager: bool,
    /// The texts that it may read, and the rooms that it may know.
    granted: BTreeSet<usize>,
    known: BTreeSet<&'static str>,
    seen: usize,
}

struct Scenario {
    stage: Stage,
    rng: fastrand::Rng,
    folder: TempDir,
    model: Model,
    actors: Vec<Actor>,
    newest_gets_name: bool,
    /// The number of texts, and the accepted ones of each room.
    texts: usize,
    said: BTreeMap<&'static str, BTreeSet<usize>>,
    /// Texts that a client must have read at the end of the step.
    due: Vec<(usize, usize)>,
    /// Texts that everybody may read.
    public: BTreeSet<usize>,
    secrets: BTreeSet<String>,
}

fn text(number: usize) -> String {
    format!("U{number}Z")
}

/// Finds the numbers of all texts in some output.
fn numbers(output: &str) -> BTreeSet<usize> {
    let parts = output.split('U').skip(1);
    parts.filter_map(|part| part.split_once('Z')?.0.parse().ok()).collect()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

impl Scenario {
    fn new(seed: u64) -> Scenario {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let mut model = Model::default();
        for (name, role) in
            NAMES.iter().zip([Role::User, Role::User, Role::Moderator, Role::Moderator, Role::Admin])
        {
            let owner = Owner { role, token: format!("{SECRET}-{name}"), configured: true };
            model.owners.insert((*name).into(), owner);
        }
        shuffle_rules(&mut model, &mut rng);
        model.login_required = rng.u8(0..4) == 0;
        let (file, state) = (folder.path().join("chinwag.toml"), folder.path().join("state.json"));
        fs::write(&file, model.file()).expect("a file");
        let newest_gets_name = rng.bool();
        let takeover = if newest_gets_name { "newer" } else { "older" };
        let flags = format!(
            "--rate off --registration --takeover {takeover} --connects-per-ip off --max-per-ip off \
             --rate-per-ip off --name-timeout 100h --idle-timeout off --ping-interval 100h --stall-timeout off \
             --config {} --state {}",
            file.display(),
            state.display()
        );
        let weather =
            if rng.bool() { Weather { accept_fails: 0, ..Weather::storm() } } else { Weather::default() };
        let stage = Stage::with_weather(&flags, seed, weather);
        Scenario {
            stage,
            rng,
            folder,
            model,
            actors: Vec::new(),
            newest_gets_name,
            texts: 0,
            said: BTreeMap::new(),
            due: Vec::new(),
            public: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    fn play(&mut self) {
        for _ in 0..self.rng.usize(40..160) {
            self.model.now = self.stage.world().millis();
            match self.rng.u8(0..100) {
                _ if self.actors.iter().filter(|actor| actor.alive).count() < 3 => self.arrive(),
                0..10 => self.arrive(),
                10..35 => self.speak(),
                35..50 => self.act(),
                50..60 => self.log_in(),
                60..72 => self.moderate(),
                72..84 => self.request(),
                84..92 => self.reload(),
                92..96 => self.depart(),
                _ => {
                    let seconds = self.rng.u64(1..90);
                    self.stage.pass(Duration::from_secs(seconds));
                }
            }
            self.settle();
        }
        for index in 0..self.actors.len() {
            self.stage.read_again(self.actors[index].wire);
            self.actors[index].eager = true;
        }
        self.settle();
    }

    fn pick<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.rng.usize(0..some.len())]
    }

    /// A client in the chat, of one of these kinds.
    fn pick_actor(&mut self, kinds: &[Kind]) -> Option<usize> {
        // A line client in no room can only log in: other lines would be names.
        let is_in = |actor: &Actor| actor.kind != Kind::Line || !actor.rooms.is_empty();
        let fits = |actor: &Actor| actor.alive && kinds.contains(&actor.kind) && is_in(actor);
        let some: Vec<usize> = (0..self.actors.len()).filter(|index| fits(&self.actors[*index])).collect();
        (!some.is_empty()).then(|| self.pick(&some))
    }

    fn next_text(&mut self) -> usize {
        self.texts += 1;
        self.texts
    }

    fn may_enter(&self, index: usize, room: &str) -> bool {
        self.model.enters(self.actors[index].account.as_deref(), room)
    }

    fn is_muted(&self, index: usize) -> bool {
        let actor = &self.actors[index];
        let of_account =
            actor.account.as_ref().is_some_and(|account| self.model.lasts(&self.model.mutes, account));
        of_account || actor.mute.is_some_and(|end| end.is_none_or(|end| self.model.now < end))
    }

    fn home(&self, index: usize) -> Option<&'static str> {
        Some("lobby").filter(|room| self.may_enter(index, room))
    }

    /// Puts a client into a room, where it reads the history.
    fn put(&mut self, index: usize, room: &'static str) {
        let said = self.said.entry(room).or_default();
        self.actors[index].granted.extend(said.iter());
        self.actors[index].rooms.insert(room);
    }

    fn close(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        (actor.alive, actor.name) = (false, None);
        actor.rooms.clear();
    }

    /// Sends a line of a line client, or a JSON request of a tab.
    fn send(&mut self, index: usize, line: &str, json: &str) {
        let actor = &self.actors[index];
        let bytes = match actor.kind {
            Kind::Line => format!("{line}\n").into_bytes(),
            _ => frame(TEXT, json),
        };
        let cut = if self.rng.bool() { bytes.len() } else { self.rng.usize(0..bytes.len()) };
        let wire = actor.wire;
        self.stage.send(wire, &bytes[..cut]);
        if cut < bytes.len() {
            self.stage.tick();
            self.stage.send(wire, &bytes[cut..]);
        }
    }
}

fn shuffle_rules(model: &mut Model, rng: &mut fastrand::Rng) {
    model.rules.clear();
    for room in ROOMS {
        // A lobby that is closed to guests is rarer, since few line clients can be in such a server.
        if rng.u8(0..4) == 0 || (room == "lobby" && rng.u8(0..3) > 0) {
            continue;
        }
        let mut circle = || match rng.u8(0..3) {
            0 => Circle::Of(NAMES.into_iter().filter(|_| rng.bool()).collect()),
            _ => Circle::From(Role::ALL[rng.usize(0..4)]),
        };
        let (enter, speak) = (circle(), circle());
        let listed = room != "hushed" && rng.bool();
        model.rules.insert(room, Rules { enter, speak, listed });
    }
}

// Requests.

impl Scenario {
    fn arrive(&mut self) {
        let kind = self.pick(&[Kind::Line, Kind::Line, Kind::Tab, Kind::Tab, Kind::Program, Kind::Stream]);
        let address = self.pick(&[None, Some("10.0.0.1"), Some("10.0.0.2"), Some("10.0.1.1")]);
        let name = format!("c{}", self.actors.len());
        let room = self.pick(&ROOMS);
        let wire = match (kind, address) {
            (Kind::Line, address) => self.stage.connect_from(address, WIDE),
            (_, None) => self.stage.connect_http(),
            (_, Some(address)) => self.stage.connect_http_from(address, WIDE),
        };
        let eager = self.rng.u8(0..5) > 0;
        self.actors.push(Actor {
            kind,
            wire,
            address,
            name: Some(name.clone()),
            account: None,
            rooms: BTreeSet::new(),
            mute: None,
            failures: 0,
            alive: !address.is_some_and(|address| self.model.lasts(&self.model.address_bans, address)),
            eager: true,
            granted: BTreeSet::new(),
            known: BTreeSet::new(),
            seen: 0,
        });
        let index = self.actors.len() - 1;
        let credential = if self.rng.bool() { self.credential(address.is_none()) } else { None };
        match kind {
            Kind::Line => {
                self.stage.run();
                self.stage.send(wire, format!("{name}\n").as_bytes());
                self.arrive_by_line(index);
            }
            _ => {
                self.actors[index].known.insert(room);
                let token =
                    credential.as_ref().map(|(token, _)| format!("&token={token}")).unwrap_or_default();
                let request = match kind {
                    Kind::Tab => handshake(&format!("/ws?name={name}&room={room}{token}"), ""),
                    Kind::Program => handshake(&format!("/raw/{room}?name={name}{token}"), ""),
                    _ => get(&format!("/rooms/{room}/events?x=1{token}")),
                };
                self.stage.send(wire, request.as_bytes());
                self.arrive_by_http(index, room, credential);
            }
        }
        self.settle();
        if !eager && self.actors[index].alive {
            self.actors[index].eager = false;
            self.stage.set_eager(wire, false);
        }
    }

    /// A token with its account. Wrong ones are from this machine, where they are not counted.
    fn credential(&mut self, may_be_wrong: bool) -> Option<(String, Option<String>)> {
        if may_be_wrong && self.rng.u8(0..4) == 0 {
            return Some((format!("{SECRET}-wrong"), None));
        }
        let names: Vec<String> = self.model.owners.keys().cloned().collect();
        let name = names.get(self.rng.usize(0..names.len().max(1)))?.clone();
        Some((self.model.owners[&name].token.clone(), Some(name)))
    }

    fn arrive_by_line(&mut self, index: usize) {
        if !self.actors[index].alive {
            return;
        }
        match self.home(index) {
            Some(room) => self.put(index, room),
            // A client that must log in is asked again; one that may enter no room is closed.
            None if self.model.login_required => self.actors[index].name = None,
            None => self.close(index),
        }
    }

    fn arrive_by_http(
        &mut self,
        index: usize,
        room: &'static str,
        credential: Option<(String, Option<String>)>,
    ) {
        if !self.actors[index].alive {
            return;
        }
        if self.actors[index].kind == Kind::Stream {
            self.actors[index].name = None;
        }
        let is_login = credential.is_some();
        if !is_login && self.model.login_required {
            // It has a guest name until it has logged in.
            self.actors[index].name = None;
        }
        match credential {
            Some((_, None)) => return self.close(index),
            Some((_, Some(account))) if self.model.lasts(&self.model.name_bans, &account) => {
                return self.close(index);
            }
            Some((_, Some(account))) => {
                self.actors[index].account = Some(account.clone());
                self.actors[index].name = None;
            }
            None => {}
        }
        let enters = self.may_enter(index, room);
        match self.actors[index].kind {
            Kind::Program | Kind::Stream if !enters => return self.close(index),
            Kind::Program | Kind::Tab if is_login => self.claim(index),
            _ => {}
        }
        if enters {
            self.put(index, room);
        }
    }

    /// Gives a client the name of its account, if it can have it.
    fn claim(&mut self, index: usize) {
        let account = self.actors[index].account.clone();
        let holds = |actor: &Actor| actor.alive && actor.name == account;
        let others: Vec<usize> =
            (0..self.actors.len()).filter(|other| *other != index && holds(&self.actors[*other])).collect();
        if others.iter().any(|other| self.actors[*other].account == account) && !self.newest_gets_name {
            let is_of_another =
                self.actors[index].name.as_ref().is_some_and(|name| self.model.owners.contains_key(name));
            if is_of_another && self.actors[index].name != account {
                self.actors[index].name = None;
            }
            return;
        }
        others.into_iter().for_each(|other| self.actors[other].name = None);
        self.actors[index].name = account;
    }

    fn speak(&mut self) {
        let Some(index) = self.pick_actor(&[Kind::Line, Kind::Tab, Kind::Program]) else {
            return;
        };
        let number = self.next_text();
        let (kind, room) = match self.actors[index].kind {
            Kind::Tab => (Kind::Tab, Some(self.pick(&ROOMS))),
            kind => (kind, self.actors[index].rooms.first().copied()),
        };
        self.actors[index].known.extend(room);
        let named = room.unwrap_or("lobby");
        let (text, word) = (text(number), if self.rng.bool() { "say" } else { "me" });
        let line = if word == "me" { format!("/me {text}") } else { text.clone() };
        match kind {
            Kind::Program => self.stage.send(self.actors[index].wire, &frame(TEXT, &text)),
            _ => self.send(
                index,
                &line,
                &format!(r#"{{"type":"{word}","room":"{named}","text":"{text}","id":1}}"#),
            ),
        }
        let account = self.actors[index].account.clone();
        if let Some(room) = room.filter(|room| self.actors[index].rooms.contains(room))
            && self.model.speaks(account.as_deref(), room)
            && !self.is_muted(index)
        {
            self.deliver(number, room, Some(index));
        }
    }

    /// Grants an accepted text to the members of its room.
    fn deliver(&mut self, number: usize, room: &'static str, author: Option<usize>) {
        self.said.entry(room).or_default().insert(number);
        let is_relayed = author.is_some_and(|author| self.actors[author].kind == Kind::Program);
        for (index, actor) in self.actors.iter_mut().enumerate() {
            if actor.alive && actor.rooms.contains(room) {
                actor.granted.insert(number);
                let gets_echo = author != Some(index) || actor.kind == Kind::Tab;
                if actor.eager && gets_echo && (actor.kind != Kind::Program || is_relayed) {
                    self.due.push((index, number));
                }
            }
        }
    }

    fn act(&mut self) {
        let Some(index) = self.pick_actor(&[Kind::Line, Kind::Tab]) else {
            return;
        };
        let room = self.pick(&ROOMS);
        let has_name = !self.actors[index].rooms.is_empty() || self.actors[index].kind == Kind::Tab;
        match self.rng.u8(0..8) {
            0..3 => self.join(index, room),
            3 => self.leave(index, room),
            4 => self.tell(index, has_name),
            5 => self.set_topic(index, room),
            6 => self.set_away(index, has_name),
            _ => self.ask_questions(index, room),
        }
    }

    fn join(&mut self, index: usize, room: &'static str) {
        self.actors[index].known.insert(room);
        self.send(
            index,
            &format!("/join {room}"),
            &format!(r#"{{"type":"join","room":"{room}","history":50}}"#),
        );
        let is_line = self.actors[index].kind == Kind::Line;
        if !self.may_enter(index, room) || (is_line && self.actors[index].rooms.is_empty()) {
            return;
        }
        if is_line {
            self.actors[index].rooms.clear();
        }
        self.put(index, room);
    }

    fn leave(&mut self, index: usize, room: &'static str) {
        self.actors[index].known.insert(room);
        self.send(index, "/leave", &format!(r#"{{"type":"leave","room":"{room}"}}"#));
        match self.actors[index].kind {
            Kind::Line if self.actors[index].rooms.is_empty() => {}
            Kind::Line => {
                if let Some(home) = self.home(index) {
                    self.actors[index].rooms.clear();
                    self.put(index, home);
                }
            }
            _ => {
                self.actors[index].rooms.remove(room);
            }
        }
    }

    fn tell(&mut self, index: usize, has_name: bool) {
        let number = self.next_text();
        let Some(to) = self.pick_actor(&[Kind::Line, Kind::Tab, Kind::Program]) else {
            return;
        };
        let Some(name) = self.actors[to].name.clone() else {
            return;
        };
        let text = text(number);
        self.send(
            index,
            &format!("/msg {name} {text}"),
            &format!(r#"{{"type":"tell","to":"{name}","text":"{text}","id":1}}"#),
        );
        let may = self.model.converses(self.actors[index].account.as_deref()) && !self.is_muted(index);
        // Nobody can write to a client that must log in first.
        let is_reached = self.model.converses(self.actors[to].account.as_deref());
        if may && has_name && is_reached {
            [to, index].into_iter().for_each(|reader| {
                self.actors[reader].granted.insert(number);
            });
            if self.actors[to].eager && self.actors[to].kind != Kind::Program {
                self.due.push((to, number));
            }
        }
    }

    fn set_topic(&mut self, index: usize, room: &'static str) {
        let number = self.next_text();
        let room = if self.actors[index].kind == Kind::Line {
            self.actors[index].rooms.first().copied()
        } else {
            Some(room)
        };
        let named = room.unwrap_or("lobby");
        self.actors[index].known.insert(named);
        let text = text(number);
        self.send(
            index,
            &format!("/topic {text}"),
            &format!(r#"{{"type":"topic","room":"{named}","text":"{text}"}}"#),
        );
        let is_moderator = self.model.role(self.actors[index].account.as_deref()) >= Role::Moderator;
        let member = room.filter(|room| self.actors[index].rooms.contains(room));
        if let Some(room) =
            member.filter(|room| is_moderator && self.may_enter(index, room) && !self.is_muted(index))
        {
            self.said.entry(room).or_default().insert(number);
            for actor in self.actors.iter_mut().filter(|actor| actor.rooms.contains(room)) {
                actor.granted.insert(number);
            }
        }
    }

    /// Everybody may read why a client is away.
    fn set_away(&mut self, index: usize, has_name: bool) {
        let number = self.next_text();
        let text = text(number);
        self.send(index, &format!("/away {text}"), &format!(r#"{{"type":"away","text":"{text}"}}"#));
        if has_name && self.model.converses(self.actors[index].account.as_deref()) && !self.is_muted(index) {
            self.public.insert(number);
        }
    }

    fn ask_questions(&mut self, index: usize, room: &'static str) {
        self.actors[index].known.insert(room);
        self.send(index, "/history 50", &format!(r#"{{"type":"history","room":"{room}","count":50}}"#));
        self.send(index, &format!("/who {room}"), &format!(r#"{{"type":"who","room":"{room}"}}"#));
        self.send(index, "/rooms", r#"{"type":"rooms"}"#);
        self.send(index, "/topic", &format!(r#"{{"type":"topic","room":"{room}"}}"#));
        for room in self.actors[index].rooms.clone() {
            self.put(index, room);
        }
    }

    fn log_in(&mut self) {
        let fits = |actor: &Actor| actor.alive && [Kind::Line, Kind::Tab].contains(&actor.kind);
        let some: Vec<usize> = (0..self.actors.len()).filter(|index| fits(&self.actors[*index])).collect();
        if some.is_empty() {
            return;
        }
        let index = self.pick(&some);
        if self.rng.u8(0..6) == 0 {
            return self.register(index);
        }
        let is_local = self.actors[index].address.is_none();
        let Some((token, account)) = self.credential(is_local) else {
            return;
        };
        let name = account.clone().unwrap_or_else(|| NAMES[0].into());
        self.send(
            index,
            &format!("/login {name} {token}"),
            &format!(r#"{{"type":"login","token":"{token}"}}"#),
        );
        let Some(account) = account else {
            self.actors[index].failures += 1;
            if self.actors[index].failures == 3 {
                self.close(index);
            }
            return;
        };
        self.begin_session(index, account);
    }

    fn begin_session(&mut self, index: usize, account: String) {
        if self.model.lasts(&self.model.name_bans, &account) {
            return self.close(index);
        }
        let is_line = self.actors[index].kind == Kind::Line;
        if is_line && !self.model.enters(Some(&account), "lobby") {
            return;
        }
        self.actors[index].account = Some(account);
        self.actors[index].failures = 0;
        self.claim(index);
        if is_line && self.actors[index].rooms.is_empty() {
            return self.put(index, "lobby");
        }
        self.apply_rights(index);
    }

    fn register(&mut self, index: usize) {
        let Some(name) = self.actors[index].name.clone() else {
            return;
        };
        if self.actors[index].account.is_some() || self.model.login_required || !self.actors[index].eager {
            return;
        }
        let before = self.stage.raw(self.actors[index].wire).len();
        self.send(index, "/register", r#"{"type":"register"}"#);
        self.stage.run();
        let answer = String::from_utf8_lossy(&self.stage.raw(self.actors[index].wire)[before..]).into_owned();
        let token = answer.split(r#""token":""#).nth(1).or(answer.split("only once: ").nth(1));
        // A name that was registered before is an account already.
        let Some(token) =
            token.map(|rest| rest.chars().take_while(char::is_ascii_alphanumeric).collect::<String>())
        else {
            assert!(
                self.model.owners.contains_key(&name) || self.model.lasts(&self.model.name_bans, &name),
                "{answer}"
            );
            return;
        };
        self.secrets.insert(token.clone());
        self.model.owners.insert(name.clone(), Owner { role: Role::User, token, configured: false });
        self.actors[index].seen = self.stage.raw(self.actors[index].wire).len();
        self.begin_session(index, name);
    }

    fn depart(&mut self) {
        let Some(index) = self.pick_actor(&[Kind::Line, Kind::Tab, Kind::Program, Kind::Stream]) else {
            return;
        };
        let wire = self.actors[index].wire;
        self.stage.world().reset(wire);
        self.close(index);
    }

    /// Applies the rights of a client to its rooms.
    fn apply_rights(&mut self, index: usize) {
        let rooms = self.actors[index].rooms.clone();
        let (stays, leaves): (BTreeSet<_>, BTreeSet<_>) =
            rooms.into_iter().partition(|room| self.may_enter(index, room));
        if leaves.is_empty() {
            return;
        }
        self.actors[index].rooms = stays;
        match (self.actors[index].kind, self.home(index)) {
            (Kind::Tab, _) => {}
            (Kind::Line, Some(home)) => self.put(index, home),
            _ => self.close(index),
        }
    }

    fn reload(&mut self) {
        let (was_required, names) = (self.model.login_required, NAMES);
        match self.rng.u8(0..4) {
            0 => self.model.login_required = !was_required,
            1 => {
                let name = self.pick(&names);
                if let None | Some(Owner { configured: true, .. }) = self.model.owners.get(name) {
                    let role = self.pick(&Role::ALL[1..]);
                    let owner = Owner { role, token: format!("{SECRET}-{name}"), configured: true };
                    match self.rng.u8(0..3) {
                        0 => drop(self.model.owners.remove(name)),
                        _ => drop(self.model.owners.insert(name.into(), owner)),
                    }
                }
            }
            _ => shuffle_rules(&mut self.model, &mut self.rng),
        }
        fs::write(self.folder.path().join("chinwag.toml"), self.model.file()).expect("a file");
        self.stage.world().signal(Signal::Reload);
        for index in 0..self.actors.len() {
            let account = self.actors[index].account.clone();
            let has_ended = account.as_ref().is_some_and(|account| !self.model.owners.contains_key(account));
            let must_log_in = self.model.login_required && !was_required && account.is_none();
            if has_ended || must_log_in {
                self.close(index);
            }
        }
        for index in 0..self.actors.len() {
            if self.actors[index].alive {
                self.apply_rights(index);
            }
        }
        // A message in the same tick comes after the reload.
        self.speak();
    }
}

// Moderation, and requests by HTTP.

/// A request to moderate, and its sender.
struct Order {
    by: String,
    role: Role,
    target: String,
    seconds: Option<u64>,
}

impl Scenario {
    fn moderate(&mut self) {
        let target = match self.rng.u8(0..4) {
            0 => self.pick(&NAMES).to_string(),
            1 => self.pick(&["10.0.0.1", "10.0.0.2"]).to_string(),
            _ => {
                let named = self.pick_actor(&[Kind::Line, Kind::Tab, Kind::Program]);
                let name = named.and_then(|index| self.actors[index].name.clone());
                name.unwrap_or_else(|| NAMES[0].into())
            }
        };
        let word = if target.starts_with("10.") {
            self.pick(&["ban", "unban"])
        } else {
            self.pick(&["kick", "mute", "mute", "unmute", "ban", "unban", "unban"])
        };
        let seconds = if self.rng.bool() { Some(self.rng.u64(1..120)) } else { None };
        let key = if word.ends_with("ban") { "target" } else { "name" };
        let time = seconds.map(|seconds| format!(r#","seconds":{seconds}"#)).unwrap_or_default();
        let time = if ["mute", "ban"].contains(&word) { time } else { String::new() };
        let body = format!(r#"{{"{key}":"{target}"{time}}}"#);
        let sender = if self.rng.bool() { self.pick_actor(&[Kind::Line, Kind::Tab]) } else { None };
        let account = match sender {
            Some(index) => {
                let time = if time.is_empty() {
                    String::new()
                } else {
                    format!(" {}s", seconds.unwrap_or_default())
                };
                let json = body.replacen('{', &format!(r#"{{"type":"{word}","#), 1);
                self.send(index, &format!("/{word} {target}{time}"), &json);
                self.actors[index].account.clone()
            }
            None => {
                let credential = self.credential(true);
                let token = credential.as_ref().map(|(token, _)| bearer(token)).unwrap_or_default();
                let wire = self.stage.connect_http();
                ask(&mut self.stage, wire, &post(&format!("/admin/{word}"), &token, &body));
                credential
                    .and_then(|(_, account)| account)
                    .filter(|account| !self.model.lasts(&self.model.name_bans, account))
            }
        };
        let role = self.model.role(account.as_deref());
        let is_protected = matches!(word, "ban" | "unban") && self.model.is_protected(&target, role);
        if role >= Role::Moderator && !is_protected {
            let by = account.unwrap_or_default();
            let order = Order { by, role, target, seconds };
            match word {
                "kick" => self.kick(&order),
                "mute" => self.mute(&order),
                "unmute" => self.unmute(&order),
                "ban" => self.ban(&order),
                _ => {
                    self.model.name_bans.remove(&order.target);
                    self.model.address_bans.remove(&order.target);
                }
            }
        }
    }

    fn named(&self, name: &str) -> Option<usize> {
        self.actors.iter().position(|actor| actor.alive && actor.name.as_deref() == Some(name))
    }

    fn role_of(&self, index: usize) -> Role {
        self.model.role(self.actors[index].account.as_deref())
    }

    fn end_of(&self, order: &Order) -> Option<u64> {
        order.seconds.map(|seconds| self.model.now + seconds * 1_000)
    }

    fn kick(&mut self, order: &Order) {
        if let Some(index) = self.named(&order.target).filter(|index| self.role_of(*index) < order.role) {
            self.close(index);
        }
    }

    /// The client with the name of an order, and the account that the order is about.
    fn person(&self, order: &Order) -> Option<(Option<usize>, Option<String>)> {
        let index = self.named(&order.target);
        let account = match index {
            Some(index) => self.actors[index].account.clone(),
            None => Some(order.target.clone()).filter(|name| self.model.owners.contains_key(name)),
        };
        let role = index.map_or_else(|| self.model.role(account.as_deref()), |index| self.role_of(index));
        ((index.is_some() || account.is_some()) && role < order.role).then_some((index, account))
    }

    fn mute(&mut self, order: &Order) {
        let end = self.end_of(order);
        match self.person(order) {
            Some((_, Some(account))) => drop(self.model.mutes.insert(account, end)),
            Some((Some(index), None)) => self.actors[index].mute = Some(end),
            _ => {}
        }
    }

    fn unmute(&mut self, order: &Order) {
        if let Some((index, account)) = self.person(order) {
            self.model.mutes.remove(account.as_ref().unwrap_or(&order.target));
            index.into_iter().for_each(|index| self.actors[index].mute = None);
        }
    }

    fn ban(&mut self, order: &Order) {
        let end = self.end_of(order);
        if order.target.starts_with("10.") {
            return self.ban_address(&order.target, order, end);
        }
        let index = self.named(&order.target);
        let is_too_high = index.is_some_and(|index| self.role_of(index) >= order.role);
        if is_too_high || self.model.role(Some(&order.target)) >= order.role {
            return;
        }
        self.model.name_bans.insert(order.target.clone(), end);
        self.model.authors.insert(order.target.clone(), order.by.clone());
        let is_guest = |index: &usize| self.actors[*index].account.is_none();
        let address = index.filter(is_guest).and_then(|index| self.actors[index].address);
        for other in 0..self.actors.len() {
            if Some(other) == index || self.actors[other].account.as_ref() == Some(&order.target) {
                self.close(other);
            }
        }
        if let Some(address) = address {
            self.ban_address(address, order, end);
        }
    }

    fn ban_address(&mut self, address: &str, order: &Order, end: Option<u64>) {
        self.model.address_bans.insert(address.into(), end);
        self.model.authors.insert(address.into(), order.by.clone());
        for index in 0..self.actors.len() {
            if self.actors[index].address == Some(address) && self.role_of(index) < order.role {
                self.close(index);
            }
        }
    }

    fn request(&mut self) {
        let address = self.pick(&[None, Some("10.0.0.1"), Some("10.0.1.1")]);
        let credential = if self.rng.bool() { self.credential(address.is_none()) } else { None };
        let token = credential.as_ref().map(|(token, _)| bearer(token)).unwrap_or_default();
        let room = self.pick(&ROOMS);
        let number = self.next_text();
        let action = self.rng.u8(0..3);
        let request = match action {
            0 => post(&format!("/rooms/{room}/messages"), &token, &text(number)),
            1 => get(&format!("/rooms/{room}/messages")).replacen("Host:", &format!("{token}Host:"), 1),
            _ => get("/rooms").replacen("Host:", &format!("{token}Host:"), 1),
        };
        let wire = match address {
            None => self.stage.connect_http(),
            Some(address) => self.stage.connect_http_from(address, WIDE),
        };
        let answer = ask(&mut self.stage, wire, &request);
        let is_wrong = matches!(credential, Some((_, None)));
        let account = credential.and_then(|(_, account)| account);
        let account = account.as_deref();
        let may = match action {
            0 => {
                self.model.speaks(account, room)
                    && !account.is_some_and(|name| self.model.lasts(&self.model.mutes, name))
            }
            1 => self.model.enters(account, room),
            _ => self.model.converses(account),
        };
        let is_banned = account.is_some_and(|name| self.model.lasts(&self.model.name_bans, name))
            || address.is_some_and(|address| self.model.lasts(&self.model.address_bans, address));
        let expected: &[&str] = match action {
            _ if is_banned || is_wrong || !may => &["401", "403"],
            0 => &["202"],
            // The room may not exist.
            1 => &["200", "404"],
            _ => &["200"],
        };
        assert!(expected.contains(&status(&answer)), "{account:?} of {address:?}: {request} {answer}");
        match action {
            0 if expected == ["202"] => self.deliver(number, room, None),
            1 if expected[0] == "200" => {
                let said = self.said.entry(room).or_default();
                assert!(numbers(&answer).is_subset(said), "{answer}");
            }
            1 => assert_eq!(numbers(&answer), BTreeSet::new()),
            _ => {}
        }
        for hidden in ROOMS.into_iter().filter(|hidden| *hidden != room || action == 2) {
            let is_shown = self.model.rules.get(hidden).is_none_or(|rules| rules.listed);
            assert!(is_shown || self.model.enters(account, hidden) || !answer.contains(hidden), "{answer}");
        }
    }
}

// The oracle.

impl Scenario {
    /// Runs, and compares all that clients have read with the model.
    fn settle(&mut self) {
        self.stage.run();
        for index in 0..self.actors.len() {
            for room in ROOMS {
                let is_shown = self.model.rules.get(room).is_none_or(|rules| rules.listed);
                if is_shown || self.may_enter(index, room) {
                    self.actors[index].known.insert(room);
                }
            }
            self.check(index);
        }
        for (index, number) in std::mem::take(&mut self.due) {
            let output = String::from_utf8_lossy(self.stage.raw(self.actors[index].wire)).into_owned();
            assert!(output.contains(&text(number)), "{} misses {number}", self.shown(index));
        }
        let log = take_log();
        assert!(!self.has_secret(&log), "{log}");
    }

    fn shown(&self, index: usize) -> String {
        let actor = &self.actors[index];
        let output = String::from_utf8_lossy(self.stage.raw(actor.wire)).into_owned();
        format!(
            "client {index}, {:?} {:?} {:?} in {:?} of\n{output}\n",
            actor.kind, actor.name, actor.account, actor.rooms
        )
    }

    fn has_secret(&self, output: &str) -> bool {
        output.contains(SECRET) || self.secrets.iter().any(|secret| output.contains(secret.as_str()))
    }

    fn check(&mut self, index: usize) {
        let actor = &self.actors[index];
        let wire = actor.wire;
        let output = String::from_utf8_lossy(&self.stage.raw(wire)[actor.seen..]).into_owned();
        let read = numbers(&output);
        let stolen: Vec<_> =
            read.difference(&actor.granted).filter(|number| !self.public.contains(number)).collect();
        assert!(stolen.is_empty(), "texts {stolen:?} read by {}", self.shown(index));
        assert!(!self.has_secret(&output), "a secret read by {}", self.shown(index));
        for room in ROOMS.into_iter().filter(|room| !actor.known.contains(room)) {
            assert!(!output.contains(room), "the name {room} read by {}", self.shown(index));
        }
        if actor.eager {
            // A connection whose request was refused stays open for another one.
            let is_refused = self.stage.raw(wire).starts_with(b"HTTP/1.1 4");
            let is_over = is_refused || self.stage.world().is_over(wire);
            assert_eq!(is_over, !self.actors[index].alive, "the end of {}", self.shown(index));
        }
        // A text that is cut is read to its end later.
        self.actors[index].seen = self.stage.raw(wire).len().saturating_sub(16).max(self.actors[index].seen);
    }
}

fn run(seed: u64) -> u64 {
    capture();
    let mut scenario = Scenario::new(seed);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario.play()));
    end_capture();
    if let Err(panic) = outcome {
        eprintln!("SIM_SEED={seed} fails, with\n{}{:#?}", scenario.model.file(), scenario.model.mutes);
        std::panic::resume_unwind(panic);
    }
    let hash = scenario.stage.world().hash;
    scenario.stage.end();
    hash
}

#[test]
fn random_access_gives_nobody_more_than_its_rights() {
    for seed in seeds(SEEDS) {
        run(seed);
    }
}

#[test]
fn random_access_is_repeatable_by_its_seed() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}
