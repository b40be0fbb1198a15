//! Changes of rooms get their place: at once in a single process, by Redis with several.

use super::Server;
use super::http::ResponseForm;
use crate::backplane::Withdrawal;
use crate::chat::{ClientId, Placed, Publication, RoomId};
use crate::codec::Tag;
use crate::net::{Net, Token};
use crate::protocol::{Change, Order, Problem};
use crate::text::RoomName;
use crate::web;

/// The author of a change that is on its way to Redis.
#[derive(Debug)]
pub enum Submitter {
    Client {
        token: Token,
        tag: Option<Tag>,
        receipt: bool,
    },
    /// The server itself: a summary.
    Server,
    Http {
        token: Token,
        form: ResponseForm,
    },
}

impl<N: Net> Server<N> {
    /// Commits a change of a client, or sends it to Redis.
    pub(super) fn submit(
        &mut self,
        (room, name): (RoomId, RoomName),
        author: Option<ClientId>,
        change: Change,
        receipt: bool,
    ) {
        let Some(link) = &mut self.link else {
            return self.commit(room, Placed { change, order: Order::Next, author, receipt });
        };
        let ticket = link.backplane.submit(name, change);
        let submitter = author.and_then(|author| self.roster.token(author)).map(|token| {
            let tag = self.fanout.tag_for(token.into());
            Submitter::Client { token, tag, receipt }
        });
        link.tickets.insert(ticket, submitter.unwrap_or(Submitter::Server));
    }

    /// Commits a message of an HTTP request, or sends it to Redis. The response follows when the message has its place.
    pub(super) fn publish(&mut self, token: Token, publication: Publication, form: ResponseForm) {
        let Publication { room, change } = publication;
        let before = self.metrics.deliveries;
        let Some(link) = &mut self.link else {
            let placed = Placed { change, order: Order::Next, author: None, receipt: false };
            let seq = self.commit_to(&room, placed);
            self.deliver_batch();
            return self.respond_in(token, &web::published(seq, self.metrics.deliveries - before), &form);
        };
        if self.fanout.chat().is_disconnected() {
            return self.respond_in(token, &web::problem_response(&Problem::NotKept), &form);
        }
        let ticket = link.backplane.submit(room, change);
        link.tickets.insert(ticket, Submitter::Http { token, form });
        self.begin_waiting_for_redis(token);
    }

    /// Commits a change that has come back from Redis, or comes from another process. The link delivers each numbered change
    /// once. An unnumbered one that was made here may come twice, and its ticket is gone the second time.
    pub(super) fn commit_remote(
        &mut self,
        room: &RoomName,
        change: Change,
        order: Order,
        ticket: Option<u64>,
    ) {
        // The members here have seen it. Scripts publish it again if this process registers its clients again, or if
        // another one has removed it as dead.
        if ticket.is_none() && change.member().is_some_and(|by| by.process == self.process_id) {
            return;
        }
        let submitter = match ticket.zip(self.link.as_mut()) {
            Some((ticket, link)) => match link.tickets.remove(&ticket) {
                // A numbered change may have no submitter any more: the room was read again, or the response was sent before.
                None if order == Order::Unnumbered => return,
                submitter => submitter.map(|submitter| (ticket, submitter)),
            },
            None => None,
        };
        let id = self.fanout.chat().find_room(room);
        let placed = Placed { change, order, author: None, receipt: false };
        match (submitter, id) {
            (Some((ticket, Submitter::Http { token, form })), id) => {
                let withdrawal = self.withdraw_unnumbered(room, ticket, order);
                self.commit_published(id, placed, withdrawal, (token, form));
            }
            (Some((_, Submitter::Client { token, tag, receipt })), Some(room)) => {
                let author = self.roster.get(token).map(|_| token.into());
                self.on_behalf_of(token, tag, |server| {
                    server.commit(room, Placed { author, receipt, ..placed });
                });
            }
            (Some((_, Submitter::Server)) | None, Some(room)) => self.commit(room, placed),
            // A room without subscribers here may have been closed.
            (Some((_, Submitter::Client { .. } | Submitter::Server)) | None, None) => {}
        }
    }

    /// Withdraws a message that is to be shown without a number. Its publisher can send it again later.
    fn withdraw_unnumbered(&mut self, room: &RoomName, ticket: u64, order: Order) -> Withdrawal {
        match (order, &mut self.link) {
            (Order::Unnumbered, Some(link)) => link.backplane.withdraw(room, ticket),
            (Order::Next | Order::At(_) | Order::Seen(_), _) | (_, None) => Withdrawal::Confirmed,
        }
    }

    /// Commits the message of an HTTP request, unless it was withdrawn, and responds.
    fn commit_published(
        &mut self,
        room: Option<RoomId>,
        placed: Placed,
        withdrawal: Withdrawal,
        (token, form): (Token, ResponseForm),
    ) {
        if withdrawal == Withdrawal::Withdrawn {
            return self.respond_later(token, &web::problem_response(&Problem::NotKept), &form);
        }
        // Messages that came before it are not delivered by this one.
        self.deliver_batch();
        let (before, order) = (self.metrics.deliveries, placed.order);
        if let Some(room) = room {
            self.commit(room, placed);
            self.deliver_batch();
        }
        let response = match order {
            _ if withdrawal == Withdrawal::Unconfirmed => web::problem_response(&Problem::NotConfirmed),
            Order::At(seq) | Order::Seen(seq) => web::published(seq, self.metrics.deliveries - before),
            // Redis has confirmed it, and this process has no number for it yet, or none any more.
            Order::Next | Order::Unnumbered => web::published(0, self.metrics.deliveries - before),
        };
        self.respond_later(token, &response, &form);
    }

    /// Removes the ticket of a discarded message. An HTTP request gets an error.
    pub(super) fn record_shed(&mut self, ticket: u64) {
        let submitter = self.link.as_mut().and_then(|link| link.tickets.remove(&ticket));
        if let Some(Submitter::Http { token, form }) = submitter {
            self.respond_later(token, &web::problem_response(&Problem::NotKept), &form);
        }
    }

    /// Answers an HTTP request whose message Redis has numbered, if this process does not follow the room. If it does, the
    /// change is answered when it comes back in its place.
    pub(super) fn record_confirmed(&mut self, ticket: u64, seq: u64, is_followed: bool) {
        let Some(link) = &mut self.link else {
            return debug_assert!(false, "only a process with a link has tickets");
        };
        if is_followed {
            return;
        }
        if let Some(Submitter::Http { token, form }) = link.tickets.remove(&ticket) {
            self.respond_later(token, &web::published(seq, 0), &form);
        }
    }
}
