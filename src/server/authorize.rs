//! Access of HTTP requests: their tokens, and the rights that their actions need.

use super::Server;
use crate::access::{Action, Identity, Login, LoginFailed};
use crate::codec::http::{HttpRequest, HttpResponse};
use crate::config::AccessMode;
use crate::host::Host;
use crate::net::{Net, Token};
use crate::protocol::{Arrival, Need, Place, Problem};
use crate::web::{self, HttpAction, Route};

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
    /// Finds the action of a request, and checks that its sender may have it carried out. The query and the body are read after
    /// that. A request without the right gets the same response whatever is in them.
    ///
    /// # Errors
    /// The response that refuses the request.
    pub(super) fn authorized_action(
        &mut self,
        token: Token,
        request: &HttpRequest,
    ) -> Result<(HttpAction, Authentication), HttpResponse> {
        let route = web::route(request, &self.access_rules(token))?;
        let authentication = self.authenticate(token, request)?;
        self.authorize(&route, &authentication)?;
        let action = route.action(request)?;
        self.authorize_reason(&action, &authentication)?;
        Ok((action, authentication))
    }

    /// Checks the token of a request, if it has one.
    ///
    /// # Errors
    /// The response to a token that is wrong, or to too many failed logins of the address.
    fn authenticate(&mut self, token: Token, request: &HttpRequest) -> Result<Authentication, HttpResponse> {
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

    /// Checks that the sender of a request has the right to its route. The match has no wildcard, so a new route must be decided
    /// here.
    ///
    /// # Errors
    /// The response that refuses the request.
    fn authorize(&self, route: &Route, authentication: &Authentication) -> Result<(), HttpResponse> {
        let (action, place, is_speech) = match route {
            Route::Respond(_) | Route::CheckReadiness => (Action::Connect, Place::Nowhere, false),
            Route::ReportMetrics => match self.config.metrics {
                AccessMode::Login if authentication.login().is_none() => {
                    return Err(web::problem_response(&Problem::LoginRequired));
                }
                // Metrics have their own flag.
                AccessMode::Login | AccessMode::Open => (Action::Connect, Place::Nowhere, false),
            },
            Route::ListRooms => (Action::Converse, Place::Nowhere, false),
            Route::ReadHistory(room) | Route::OpenEventStream(room) | Route::OpenRaw(room) => {
                (Action::Enter, Place::Room(room), false)
            }
            Route::Publish(room) => (Action::Speak, Place::Room(room), true),
            Route::Moderate(_) => (Action::Moderate, Place::Nowhere, false),
            // A page can't read the response to a failed upgrade, so JSON clients are refused by the chat.
            Route::OpenJson => (Action::Connect, Place::Nowhere, false),
        };
        self.check_need(Need { action, place, is_speech }, authentication)
    }

    /// Checks that a moderator who gives a reason may speak.
    ///
    /// # Errors
    /// The response that refuses the request.
    fn authorize_reason(
        &self,
        action: &HttpAction,
        authentication: &Authentication,
    ) -> Result<(), HttpResponse> {
        match action {
            HttpAction::Moderate(moderation) if moderation.reason().is_some() => {
                let need = Need { action: Action::Moderate, place: Place::Nowhere, is_speech: true };
                self.check_need(need, authentication)
            }
            _ => Ok(()),
        }
    }

    fn check_need(&self, need: Need<'_>, authentication: &Authentication) -> Result<(), HttpResponse> {
        let checked = self.fanout.chat().check_http(&authentication.identity(), need, self.now);
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
