//! Access of HTTP requests: their tokens, and the rights that their actions need.

use super::Server;
use crate::access::{Action, Identity, Login, LoginFailed};
use crate::codec::http::{HttpRequest, HttpResponse};
use crate::config::AccessMode;
use crate::host::Host;
use crate::net::{Net, Token};
use crate::protocol::{Arrival, Dialect, Need, Place, Problem};
use crate::web::{self, HttpAction};

/// The result of the token of a request; `None` without a token. A problem is sent to the client after it has entered.
#[derive(Debug)]
pub(super) struct Authentication(Option<Result<Login, Problem>>);

impl Authentication {
    fn login(&self) -> Option<&Login> {
        self.0.as_ref()?.as_ref().ok()
    }

    pub fn identity(&self) -> Identity {
        self.login().map(|login| login.identity.clone()).unwrap_or_default()
    }
}

impl<N: Net> Server<N> {
    /// Checks the token of a request, if it has one.
    ///
    /// # Errors
    /// The response to a token that is wrong, or to too many failed logins of the address.
    pub(super) fn authenticate(
        &mut self,
        token: Token,
        request: &HttpRequest,
    ) -> Result<Authentication, HttpResponse> {
        let Some(credential) = web::credential(request) else {
            return Ok(Authentication(None));
        };
        let host = self.roster.get(token).map_or(Host::LOCAL, |connection| connection.host());
        let problem = match &credential.token {
            _ if !self.may_log_in(host) => Problem::TooManyLogins,
            Some(secret) => match self.fanout.chat().check_token(None, secret, self.now) {
                Ok(login) => return Ok(Authentication(Some(Ok(login)))),
                Err(LoginFailed) => Problem::LoginFailed,
            },
            None => Problem::LoginFailed,
        };
        if problem == Problem::LoginFailed {
            self.record_failed_login(host);
        }
        match credential.is_in_query && request.uri().path() == "/ws" {
            true => Ok(Authentication(Some(Err(problem)))),
            false => Err(web::problem_response(&problem)),
        }
    }

    /// Checks that the sender of a request may have the action carried out. The match has no wildcard, so a new action must
    /// be decided here.
    ///
    /// # Errors
    /// The response that refuses the request.
    pub(super) fn authorize(
        &self,
        action: &HttpAction,
        authentication: &Authentication,
    ) -> Result<(), HttpResponse> {
        let (action, place, is_speech) = match action {
            HttpAction::Respond(_) | HttpAction::CheckReadiness => (Action::Connect, Place::Nowhere, false),
            HttpAction::ReportMetrics => match self.config.metrics {
                AccessMode::Login if authentication.login().is_none() => {
                    return Err(web::problem_response(&Problem::LoginRequired));
                }
                // Metrics have their own flag.
                AccessMode::Login | AccessMode::Open => (Action::Connect, Place::Nowhere, false),
            },
            HttpAction::ListRooms => (Action::Converse, Place::Nowhere, false),
            HttpAction::ReadHistory { room, .. } => (Action::Enter, Place::Room(room), false),
            HttpAction::Publish { room, .. } => (Action::Speak, Place::Room(room), true),
            HttpAction::Moderate(moderation) => {
                (Action::Moderate, Place::Nowhere, moderation.reason().is_some())
            }
            // A page can't read the response to a failed upgrade, so JSON clients are refused by the chat.
            HttpAction::Enter { arrival, .. } if arrival.dialect == Dialect::Json => {
                (Action::Connect, Place::Nowhere, false)
            }
            HttpAction::Enter { arrival, .. } => {
                (Action::Enter, arrival.room.as_ref().map_or(Place::Nowhere, Place::Room), false)
            }
        };
        let identity = authentication.identity();
        let chat = self.fanout.chat();
        let checked = chat.check_http(&identity, Need { action, place, is_speech }, self.now);
        checked.map_err(|problem| web::problem_response(&problem))
    }

    /// The arrival of a client, with the result of its token.
    pub(super) fn with_login(mut arrival: Box<Arrival>, authentication: Authentication) -> Box<Arrival> {
        let Authentication(login) = authentication;
        // An account has its own name, which the session claims.
        arrival.name = arrival.name.filter(|_| login.is_none());
        arrival.login = login;
        arrival
    }
}
