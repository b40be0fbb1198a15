//! Logins and moderation: the effects of the chat that need addresses, the log or the state file.

use super::Server;
use crate::access::{AccessChange, Ban, Network, Role};
use crate::chat::{Asker, ClientId};
use crate::connection::State;
use crate::host::Host;
use crate::net::{Net, Token};
use crate::protocol::{CloseReason, Event, ForwardedAnswer, LocalEvent, Moderation, Problem, Removal, Whois};
use crate::text::Name;

impl<N: Net> Server<N> {
    /// The address of a connection; `None` if it has ended.
    fn host_of(&self, id: ClientId) -> Option<Host> {
        let connection = self.roster.live_token(id).and_then(|token| self.roster.get(token))?;
        Some(connection.host())
    }

    /// Whether the address of a connection may try one more login.
    pub(super) fn may_log_in(&mut self, host: Host) -> bool {
        self.roster.may_log_in(host, self.now.moment)
    }

    pub(super) fn record_failed_login(&mut self, host: Host) {
        self.metrics.logins_failed += 1;
        self.roster.charge_login(host, self.now.moment);
        log::info!("login failed peer={host}");
    }

    pub(super) fn record_failed_login_of(&mut self, id: ClientId) {
        if let Some(host) = self.host_of(id) {
            self.record_failed_login(host);
        }
    }

    pub(super) fn record_login(&mut self, id: ClientId) {
        self.metrics.logins += 1;
        let identity = self.fanout.chat().access().identity(id);
        let (account, role) = (identity.account.as_ref().map_or("-", Name::as_str), identity.role);
        let serial = self.roster.live_token(id).map_or(0, |token| token.serial);
        log::info!("login id={serial} account={account:?} role={role}");
    }

    pub(super) fn log_moderation(&self, by: &Name, moderation: &Moderation) {
        let (action, target) = (moderation.word(), moderation.target());
        let reason = moderation.reason().map_or("", |reason| reason.as_str());
        log::info!("moderation by={:?} action={action} target={target:?} reason={reason:?}", by.as_str());
    }

    /// Shares a change, writes the state file, and then sends a client the answer. If the file can't be written, the client is
    /// sent the reason too.
    pub(super) fn save_state(
        &mut self,
        change: Option<AccessChange>,
        answer: Option<(ClientId, Box<Event>)>,
    ) {
        change.into_iter().for_each(|change| self.share_change(change));
        let state = self.fanout.chat().access().state(self.now);
        let saved = match &mut self.state_file {
            Some(file) => file.save(&state),
            // Redis keeps it.
            None if self.link.is_some() => Ok(()),
            None => {
                log::warn!("change not saved, since there is no --state: it ends with this process");
                Ok(())
            }
        };
        if let Err(error) = &saved {
            self.metrics.saves_failed += 1;
            log::error!("state file not written error={error:?}");
        }
        self.save_error = saved.err();
        let Some((id, event)) = answer else {
            return;
        };
        let problem = self.save_error.take().map(Problem::NotSaved);
        self.answer(id, &event);
        if let Some(problem) = problem {
            self.answer(id, &Event::Problem { problem, unnamed: false });
        }
    }

    /// Sends a change of the kept tables to the other processes, if there are any.
    fn share_change(&mut self, change: AccessChange) {
        if let Some(link) = &mut self.link {
            link.backplane.record(change, self.now);
        }
    }

    fn answer(&mut self, id: ClientId, event: &Event) {
        if let Some(token) = self.roster.live_token(id) {
            self.send_event(token, event);
        }
    }

    /// Bans the address of a client as well. This machine can't be banned, since moderators and proxies are there.
    pub(super) fn ban_address(&mut self, of: ClientId, ban: Ban, (removal, rank): (Removal, Role)) {
        let network = self.host_of(of).and_then(Host::network);
        let Some(network) = network else {
            return log::info!(
                "the address of a banned guest is of this machine, so its name alone is banned"
            );
        };
        let added = self.call_chat(|chat, now, _| chat.ban_network(network, ban, now));
        match added {
            Ok(applied) => {
                self.share_change(applied.into());
                // The chat has removed the client itself.
                self.disconnect_others(Some(of), network, &removal, rank);
            }
            Err(error) => log::warn!("address not banned error={error:?}"),
        }
    }

    /// Disconnects all connections of a network.
    pub(super) fn disconnect(&mut self, network: Network, removal: &Removal, rank: Role) {
        self.disconnect_others(None, network, removal, rank);
    }

    /// Disconnects all connections of a network but that of one client.
    fn disconnect_others(
        &mut self,
        except: Option<ClientId>,
        network: Network,
        removal: &Removal,
        rank: Role,
    ) {
        let is_banned = |host: Host| host.address().is_some_and(|address| network.contains(address));
        let is_other = |token: Token| except != Some(token.into());
        let live = self.roster.iter().filter(|(_, c)| !c.is_closing() && is_banned(c.host()));
        let live = live.filter(|(token, _)| is_other(*token));
        let (clients, others): (Vec<_>, Vec<_>) =
            live.map(|(token, c)| (token, c.state())).partition(|(_, state)| *state == State::Active);
        let ids: Vec<ClientId> = clients.into_iter().map(|(token, _)| token.into()).collect();
        self.call_chat(|chat, now, effects| chat.remove_clients(&ids, (removal, rank), now, effects));
        others.into_iter().for_each(|(token, _)| self.roster.close(token, CloseReason::Banned));
    }

    /// The reason to refuse a connection whose address is banned.
    pub(super) fn ban_of(&self, host: Host) -> Option<CloseReason> {
        let bans = &self.fanout.chat().access().bans();
        let address = if bans.is_empty() { None } else { host.address() };
        bans.address(address?, self.now.unix_millis).map(|_| CloseReason::Banned)
    }

    /// Sends a client what the server has about another one.
    pub(super) fn send_whois(&mut self, to: Asker, of: ClientId, mut whois: Whois, with_address: bool) {
        let connection = self.roster.live_token(of).and_then(|token| self.roster.get(token));
        if let Some(connection) = connection {
            let now = self.now.moment;
            whois.connected = Some(now.since(connection.connected_at.into()));
            whois.idle = Some(now.since(connection.last_request_at()));
            whois.address = with_address.then(|| connection.host().to_string());
        }
        let whois = Box::new(whois);
        match to {
            Asker::Client(to) => self.answer(to, &Event::Whois(whois)),
            Asker::Process(of) => {
                self.share(LocalEvent::Outcome { of, outcome: Ok(ForwardedAnswer::Whois(whois)) });
            }
        }
    }
}
