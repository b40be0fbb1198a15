//! Requests of HTTP clients: most are answered at once, some make the connection a client of the chat.

use std::time::{Duration, SystemTime};

use ::http::header;
use ::http::{Method, StatusCode, Version};
use httpdate::fmt_http_date;

use super::Server;
use crate::chat::RoomId;
use crate::codec::http::{self, AfterHead, HttpRequest, HttpResponse, Refusal};
use crate::connection::State;
use crate::host::Host;
use crate::metrics::{self, Gauges};
use crate::net::{Net, Token};
use crate::protocol::{Arrival, CloseReason, Dialect, Problem};
use crate::quota::Quota;
use crate::web::{self, Guard, HttpAction, NotReady};

impl<N: Net> Server<N> {
    /// Answers a request, or what was none.
    pub(super) fn answer(&mut self, token: Token, call: Result<Box<HttpRequest>, Refusal>) {
        self.metrics.requests += 1;
        let call = match call {
            Ok(call) => call,
            Err(refusal) => {
                let origin = refusal.origin.as_deref();
                return self.respond(token, &web::unreadable(&refusal), origin, AfterHead::Body, true);
            }
        };
        let guard = self.guard(token);
        let origin = http::origin_of(call.headers());
        let mut answer = match web::route(&call, &guard) {
            Ok(HttpAction::Enter { answer, arrival }) => match self.refusal(token, &arrival) {
                None => return self.enter(token, &answer, origin, arrival),
                Some(refusal) => refusal,
            },
            Ok(action) => self.perform(action),
            Err(answer) => answer,
        };
        let follows = if call.method() == Method::HEAD { AfterHead::Nothing } else { AfterHead::Body };
        let stays = http::keeps_alive(&call);
        // A client of HTTP/1.0 waits for the end of the connection unless it is told that it stays (RFC 2068, 19.7.1).
        if stays && call.version() == Version::HTTP_10 {
            answer = answer.with(header::CONNECTION, "keep-alive");
        }
        self.respond(token, &answer, origin, follows, !stays);
    }

    /// The room that a request publishes in, if it does.
    pub(super) fn room_of_call(&self, token: Token, call: &HttpRequest) -> Option<RoomId> {
        match web::route(call, &self.guard(token)) {
            Ok(HttpAction::Publish { room, .. }) => self.fanout.chat().find_room(&room),
            _ => None,
        }
    }

    fn guard(&self, token: Token) -> Guard<'_> {
        let config = &self.config;
        Guard { loopback: self.is_guarded(token), hosts: &config.host, origins: &config.origin }
    }

    fn is_guarded(&self, token: Token) -> bool {
        let state = self.roster.get(token).map(|connection| connection.state());
        state == Some(State::Http { guarded: true })
    }

    fn perform(&mut self, action: HttpAction) -> HttpResponse {
        // What was said before counts before.
        self.deliver_batch();
        match action {
            HttpAction::Respond(answer) => answer,
            HttpAction::Ready => self.readiness(),
            HttpAction::Metrics => {
                HttpResponse::new(StatusCode::OK).body(metrics::CONTENT_TYPE, self.metrics_text())
            }
            HttpAction::Rooms => web::told(&self.fanout.chat().rooms_for_programs()),
            HttpAction::History { room, count, after } => {
                match self.fanout.chat().history_for_programs(room, count, after) {
                    Ok(history) => web::told(&history),
                    Err(problem) => web::refused(&problem),
                }
            }
            HttpAction::Publish { room, from, body } => {
                let before = self.metrics.deliveries;
                self.metrics.lines_in += 1;
                let published =
                    self.call_chat(|chat, now, effects| chat.publish(room, from, body, now, effects));
                self.deliver_batch();
                match published {
                    Ok(seq) => web::accepted(seq, self.metrics.deliveries - before),
                    Err(problem) => web::refused(&problem),
                }
            }
            HttpAction::Enter { answer, .. } => answer,
        }
    }

    fn readiness(&self) -> HttpResponse {
        let link = self.linked.as_ref().map(|linked| &linked.backplane);
        let why_not = match link.filter(|link| !link.is_accepted()) {
            _ if self.ending.is_some() => Some(NotReady::Draining),
            _ if !self.admission.has_place() => Some(NotReady::Full),
            Some(link) => Some(NotReady::Unlinked { refusal: link.refusal() }),
            None => None,
        };
        web::readiness(why_not)
    }

    /// The answer to a request to enter that can't be granted, as far as that can be known before the protocol is
    /// switched.
    fn refusal(&mut self, token: Token, arrival: &Arrival) -> Option<HttpResponse> {
        let waits = arrival.dialect.is_websocket() && self.admission.has_place_or_queue();
        if !self.admission.has_place() && !waits {
            self.metrics.closed(CloseReason::Full);
            let peer = self.roster.get(token).map_or(Host::LOCAL, |connection| connection.host());
            self.log_refusal(Some(token), peer, CloseReason::Full);
            return Some(web::full());
        }
        let opens = arrival.room.as_ref().is_none_or(|room| self.fanout.chat().can_open(room));
        if arrival.dialect != Dialect::Json && !opens {
            return Some(web::refused(&Problem::TooManyRooms));
        }
        // A browser can't read an answer that is no upgrade; it is told once it is in.
        let name = arrival.name.as_ref().filter(|_| arrival.dialect == Dialect::Raw);
        name.and_then(|name| self.fanout.chat().name_taken(name)).map(|problem| web::refused(&problem))
    }

    /// The connection is a client from now on, with a place or in the queue.
    fn enter(&mut self, token: Token, answer: &HttpResponse, origin: Option<&str>, arrival: Arrival) {
        let is_stream = arrival.dialect == Dialect::Events;
        self.send_answer(token, answer, origin, AfterHead::Stream, is_stream);
        let Some(connection) = self.roster.get_mut(token) else {
            return;
        };
        connection.dialect = arrival.dialect;
        self.receive_arrival(token, Box::new(arrival));
    }

    fn respond(
        &mut self,
        token: Token,
        answer: &HttpResponse,
        origin: Option<&str>,
        follows: AfterHead,
        last: bool,
    ) {
        // It is busy until the answer is written.
        self.roster.record_idle(token, None);
        self.send_answer(token, answer, origin, follows, last);
        if let Some(connection) = self.roster.get_mut(token) {
            connection.touch(self.now.moment);
            connection.outbox.count(1);
        }
        if last {
            self.roster.close(token, CloseReason::Answered);
        }
    }

    /// Tells an HTTP client that was too slow so, if it was in the middle of a request.
    pub(super) fn complain_of_slowness(&mut self, token: Token) {
        let Some(inbox) = self.inboxes.get(token.slot) else {
            return;
        };
        let origin = http::origin_of_unfinished(inbox.unfinished.as_deref(), inbox.bytes());
        let origin = origin.map(String::from);
        let text = "the request took too long (--http-timeout)";
        let answer = web::error(StatusCode::REQUEST_TIMEOUT, "timeout", text);
        self.send_answer(token, &answer, origin.as_deref(), AfterHead::Body, true);
    }

    /// Answers a connection that is refused for its address, whatever it is about to ask.
    pub(super) fn complain_of_address(&mut self, token: Token, reason: CloseReason) {
        self.send_answer(token, &web::too_many_connections(reason), None, AfterHead::Body, true);
    }

    /// Queues an answer to a page of that origin, with the time it was made at (RFC 9110, 6.6.1).
    fn send_answer(
        &mut self,
        token: Token,
        answer: &HttpResponse,
        origin: Option<&str>,
        follows: AfterHead,
        last: bool,
    ) {
        let mut answer = web::complete(answer.clone(), origin, &self.config.origin);
        if let Some(date) = http_date(self.now.unix_millis) {
            answer = answer.with(header::DATE, date);
        }
        self.send_last(token, |out| answer.encode(follows, last, out));
    }

    fn metrics_text(&self) -> Vec<u8> {
        let mut clients = [0; Dialect::IN_ROOMS.len()];
        let mut delayed = 0;
        for (_, connection) in
            self.roster.iter().filter(|(_, connection)| connection.claim.quota() == Quota::Client)
        {
            clients[connection.dialect as usize] += 1;
            delayed += usize::from(connection.is_delayed());
        }
        let census = self.fanout.chat().census();
        let link = self.linked.as_ref().map(|linked| &linked.backplane);
        let state = Gauges {
            clients,
            far: census.remote,
            remote_ignored: census.remote_ignored,
            link: link.map(|backplane| (backplane.counts(), backplane.state())),
            delayed,
            waiting: self.admission.waiting(),
            http: self.admission.quotas().taken(Quota::Http),
            closing: self.admission.quotas().closing(),
            rooms: census.rooms,
            history_bytes: census.history_bytes,
            queued_bytes: self.fanout.arena().held_bytes(),
            retained_bytes: self.fanout.arena().memory_bytes(),
        };
        self.metrics.text(&state)
    }
}

/// The time as HTTP writes it. It has no form for years after 9999; then the field is left out, as it is by a server that
/// has no clock (RFC 9110, 6.6.1).
fn http_date(unix_millis: u64) -> Option<String> {
    const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;
    (unix_millis < YEAR_10000_MILLIS)
        .then(|| fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_millis)))
}
