//! HTTP requests: most get a response at once, some make the connection a client of the chat.

use std::time::{Duration, SystemTime};

use ::http::header;
use ::http::{Method, StatusCode, Version};
use httpdate::fmt_http_date;

use super::Server;
use super::questions::Then;
use crate::access::Identity;
use crate::chat::RoomId;
use crate::codec::http::{self, AfterHead, HttpRequest, HttpResponse, Refusal};
use crate::connection::State;
use crate::host::Host;
use crate::metrics::{self, Gauges};
use crate::net::{Net, Token};
use crate::protocol::{Arrival, CloseReason, Dialect, Facts, Moderation, Moderator, Problem, Question};
use crate::quota::Quota;
use crate::text::{Name, TypedName};
use crate::web::{self, AccessRules, HttpAction, NotReady, Route};

/// The form of a response, which its request decides.
#[derive(Debug)]
pub struct ResponseForm {
    origin: Option<String>,
    is_head: bool,
    is_http_10: bool,
    /// Whether the connection stays open.
    stays: bool,
}

impl ResponseForm {
    fn of(request: &HttpRequest) -> ResponseForm {
        ResponseForm {
            origin: http::origin_of(request.headers()).map(String::from),
            is_head: request.method() == Method::HEAD,
            is_http_10: request.version() == Version::HTTP_10,
            stays: http::keeps_alive(request),
        }
    }
}

impl<N: Net> Server<N> {
    /// Restarts the deadline of an HTTP connection whose next request has begun, so that each request has the whole time.
    pub(super) fn record_request_begun(&mut self, token: Token) {
        if let Some(connection) = self.roster.live_mut(token)
            && matches!(connection.state(), State::Http { .. })
        {
            connection.touch(self.now.moment);
        }
    }

    /// Handles a request, or a refusal of the codec.
    pub(super) fn handle_http(&mut self, token: Token, request: Result<Box<HttpRequest>, Refusal>) {
        self.metrics.requests += 1;
        let request = match request {
            Ok(request) => request,
            Err(refusal) => {
                let origin = refusal.origin.as_deref();
                let follows = AfterHead::of(refusal.is_head);
                return self.respond(token, &web::refusal_response(&refusal), origin, follows, true);
            }
        };
        self.route_http(token, request);
    }

    /// Handles a request, which may have waited for answers of Redis.
    pub(super) fn route_http(&mut self, token: Token, request: Box<HttpRequest>) {
        let authorized = self.authorized_action(token, &request);
        let form = ResponseForm::of(&request);
        match authorized {
            Ok((HttpAction::Enter { response, .. }, _)) if form.is_head => {
                self.respond_in(token, &response, &form);
            }
            Ok((action, authentication)) => {
                let questions = if self.has_link() {
                    self.questions_of(&action, &authentication.identity())
                } else {
                    Vec::new()
                };
                let Some((answers, _)) = self.answers(token, questions, Then::Http(request)) else {
                    return;
                };
                self.use_answers(token, answers, |server, facts| match action {
                    HttpAction::Enter { response, arrival } => {
                        let arrival = Self::with_login(arrival, authentication);
                        match server.refusal(token, &arrival, facts) {
                            None => server.enter(token, &response, form.origin.as_deref(), arrival),
                            Some(refusal) => server.respond_in(token, &refusal, &form),
                        }
                    }
                    action => server.execute(token, action, (&authentication.identity(), facts), form),
                });
            }
            Err(response) => self.respond_in(token, &response, &form),
        }
    }

    /// The questions of a request to the other processes.
    fn questions_of(&self, action: &HttpAction, identity: &Identity) -> Vec<Question> {
        let chat = self.fanout.chat();
        match action {
            HttpAction::ListRooms => chat.questions_about_rooms(),
            HttpAction::ReadHistory { room, .. } => vec![chat.question_of_room(room)],
            HttpAction::Publish { from: Some(from), .. } => chat.find_elsewhere(&TypedName::of(from), None),
            HttpAction::Moderate(moderation) => {
                let by = identity.account.clone().map(|name| Moderator { name, role: identity.role });
                by.map_or(Vec::new(), |by| chat.questions_of_moderation(by, moderation))
            }
            HttpAction::Enter { arrival, .. } => named_at_upgrade(arrival)
                .map_or(Vec::new(), |name| chat.find_elsewhere(&TypedName::of(name), None)),
            HttpAction::Publish { from: None, .. }
            | HttpAction::Respond(_)
            | HttpAction::CheckReadiness
            | HttpAction::ReportMetrics => Vec::new(),
        }
    }

    /// The room that the request publishes to; `None` for other requests and unknown rooms.
    pub(super) fn publish_room(&self, token: Token, request: &HttpRequest) -> Option<RoomId> {
        match web::route(request, &self.access_rules(token)) {
            Ok(Route::Publish(room)) => self.fanout.chat().find_room(&room),
            _ => None,
        }
    }

    pub(super) fn access_rules(&self, token: Token) -> AccessRules<'_> {
        let config = &self.config;
        AccessRules { loopback: self.is_guarded(token), hosts: &config.host, origins: &config.origin }
    }

    fn is_guarded(&self, token: Token) -> bool {
        let state = self.roster.get(token).map(|connection| connection.state());
        state == Some(State::Http { guarded: true })
    }

    fn execute(
        &mut self,
        token: Token,
        action: HttpAction,
        (identity, facts): (&Identity, &Facts),
        form: ResponseForm,
    ) {
        // The batch has earlier messages, so it comes first.
        self.deliver_batch();
        let chat = self.fanout.chat();
        let response = match action {
            HttpAction::Respond(response) => response,
            HttpAction::Enter { response, .. } => {
                debug_assert!(false, "`route_http` handles it");
                response
            }
            HttpAction::CheckReadiness => self.readiness(),
            HttpAction::ReportMetrics => {
                HttpResponse::new(StatusCode::OK).body(metrics::CONTENT_TYPE, self.metrics_text())
            }
            HttpAction::ListRooms => web::event_response(&chat.rooms_for_programs(identity, facts)),
            HttpAction::ReadHistory { room, count, after } => {
                match chat.history_for_programs(room, count, after) {
                    Ok(history) => web::event_response(&history),
                    Err(problem) => web::problem_response(&problem),
                }
            }
            HttpAction::Moderate(moderation) => self.moderate((identity, facts), moderation),
            HttpAction::Publish { room, from, body } => {
                let from = from.or_else(|| identity.account.clone()).unwrap_or_else(Name::of_http);
                let author = (from, identity.account.as_ref());
                self.metrics.lines_in += 1;
                let checked = self.call_chat(|chat, now, effects| {
                    chat.check_publication(room, author, body, (now, facts), effects)
                });
                match checked {
                    Ok(publication) => return self.publish(token, publication, form),
                    Err(problem) => web::problem_response(&problem),
                }
            }
        };
        self.respond_in(token, &response, &form);
    }

    /// Sends a response in the form that its request asks for.
    pub(super) fn respond_in(&mut self, token: Token, response: &HttpResponse, form: &ResponseForm) {
        let follows = AfterHead::of(form.is_head);
        let mut response = response.clone();
        // Without this field a client of HTTP/1.0 waits for the connection to close (RFC 2068, 19.7.1).
        if form.stays && form.is_http_10 {
            response = response.with(header::CONNECTION, "keep-alive");
        }
        self.respond(token, &response, form.origin.as_deref(), follows, !form.stays);
    }

    /// Sends the response to a request that has waited for Redis, unless its connection has ended.
    pub(super) fn respond_later(&mut self, token: Token, response: &HttpResponse, form: &ResponseForm) {
        let Some(state) = self.roster.get(token).map(|connection| connection.state()) else {
            return;
        };
        self.end_waiting_for_redis(token);
        if matches!(state, State::Http { .. }) {
            self.respond_in(token, response, form);
        }
        self.roster.wake(token);
        self.roster.arm(token);
    }

    /// Carries out an action of a moderator. If the state file can't be written, the response says so.
    fn moderate(&mut self, (identity, facts): (&Identity, &Facts), moderation: Moderation) -> HttpResponse {
        // The failure to save a change of another process concerns no request.
        self.save_error = None;
        let done =
            self.call_chat(|chat, now, effects| chat.moderate(identity, moderation, (now, facts), effects));
        match (done, self.save_error.take()) {
            (Ok(_), Some(error)) => web::problem_response(&Problem::NotSaved(error)),
            (Ok(event), None) => web::event_response(&event),
            (Err(problem), _) => web::problem_response(&problem),
        }
    }

    fn readiness(&self) -> HttpResponse {
        let link = self.link.as_ref().map(|link| &link.backplane);
        let why_not = match link.filter(|link| !link.is_up()) {
            _ if self.ending.is_some() => Some(NotReady::Draining),
            _ if !self.admission.has_place() => Some(NotReady::Full),
            Some(link) => Some(NotReady::LinkDown { refusal: link.refusal() }),
            None => None,
        };
        web::readiness(why_not)
    }

    /// The response that refuses a new client, for reasons that are known before the upgrade.
    fn refusal(&mut self, token: Token, arrival: &Arrival, facts: &Facts) -> Option<HttpResponse> {
        let waits = arrival.dialect.is_websocket() && self.admission.has_place_or_queue();
        if !self.admission.has_place() && !waits {
            let peer = self.roster.get(token).map_or(Host::LOCAL, |connection| connection.host());
            self.record_refusal(Some(token), peer, CloseReason::ServerFull);
            return Some(web::server_full());
        }
        if let Some(reason) = self.refusal_behind_proxy(token) {
            return Some(web::too_many_connections(reason));
        }
        let opens = arrival.room.as_ref().is_none_or(|room| self.fanout.chat().can_open(room));
        if arrival.dialect != Dialect::Json && !opens {
            return Some(web::problem_response(&Problem::TooManyRooms));
        }
        named_at_upgrade(arrival)
            .and_then(|name| self.fanout.chat().refused_name(None, name, self.now, facts))
            .map(|problem| web::problem_response(&problem))
    }

    /// Makes the connection a client, which is active or in the queue.
    fn enter(&mut self, token: Token, response: &HttpResponse, origin: Option<&str>, arrival: Box<Arrival>) {
        let is_stream = arrival.dialect == Dialect::Events;
        self.send_response(token, response, origin, AfterHead::Stream, is_stream);
        let Some(connection) = self.roster.get_mut(token) else {
            debug_assert!(false, "a connection is freed only when the tick reaps");
            return;
        };
        connection.dialect = arrival.dialect;
        self.receive_arrival(token, arrival);
    }

    pub(super) fn respond(
        &mut self,
        token: Token,
        response: &HttpResponse,
        origin: Option<&str>,
        follows: AfterHead,
        last: bool,
    ) {
        // The connection is busy until the response is written.
        self.roster.record_idle(token, None);
        self.send_response(token, response, origin, follows, last);
        if let Some(connection) = self.roster.get_mut(token) {
            connection.touch(self.now.moment);
            connection.outbox.count(1);
        }
        self.end_request(token);
        if last {
            self.roster.close(token, CloseReason::ResponseSent);
        }
    }

    /// Sends 408 if the client is in the middle of a request (RFC 9110, 15.5.9).
    pub(super) fn send_timeout_response(&mut self, token: Token) {
        // Without an inbox there is no unfinished request.
        let Some(inbox) = self.inboxes.get(token.slot) else {
            return;
        };
        let (origin, is_head) = http::unfinished_request(inbox.unfinished.as_deref(), inbox.bytes());
        let origin = origin.map(String::from);
        let text = "the request took too long (--http-timeout)";
        let response = web::error(StatusCode::REQUEST_TIMEOUT, "timeout", text);
        self.send_response(token, &response, origin.as_deref(), AfterHead::of(is_head), true);
    }

    /// Refuses a connection because of its address. `origin` is that of its request, if a proxy has sent one.
    pub(super) fn send_refusal(
        &mut self,
        token: Token,
        reason: CloseReason,
        origin: Option<&str>,
        follows: AfterHead,
    ) {
        let response = match reason {
            CloseReason::Banned => web::banned(),
            _ => web::too_many_connections(reason),
        };
        self.send_response(token, &response, origin, follows, true);
    }

    /// Queues a response with the fields for `origin` and the date (RFC 9110, 6.6.1).
    fn send_response(
        &mut self,
        token: Token,
        response: &HttpResponse,
        origin: Option<&str>,
        follows: AfterHead,
        last: bool,
    ) {
        let mut response = web::add_common_headers(response.clone(), origin, &self.config.origin);
        if let Some(date) = http_date(self.now.unix_millis) {
            response = response.with(header::DATE, date);
        }
        self.send_last(token, |out| response.encode(follows, last, out));
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
        let link = self.link.as_ref().map(|link| &link.backplane);
        let state = Gauges {
            clients,
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

/// The time in HTTP's format, which ends with the year 9999. `None` omits the field, as a server without a clock does
/// (RFC 9110, 6.6.1).
fn http_date(unix_millis: u64) -> Option<String> {
    const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;
    (unix_millis < YEAR_10000_MILLIS)
        .then(|| fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_millis)))
}

/// The name of a raw client, whose upgrade fails if it is taken. A page can't read the response to a failed upgrade, so JSON
/// clients get an event.
fn named_at_upgrade(arrival: &Arrival) -> Option<&Name> {
    arrival.name.as_ref().filter(|_| arrival.dialect == Dialect::Raw)
}
