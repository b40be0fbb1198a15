//! Changes as in a server without Redis: the chat commits each one at once, and its effects stand where it was submitted.

use chinwag::chat::{Chat, Effect, Placed};
use chinwag::protocol::{Body, Facts, Order, Problem};
use chinwag::text::{Name, RoomName};
use chinwag::time::Now;

/// The facts of a process that is alone.
pub static ALONE: Facts = Facts { holder: None, members: None, rooms: None, outcome: None };

/// Calls the chat, and commits what it submits. Returns all effects in order.
pub fn settled(chat: &mut Chat, now: Now, ask: impl FnOnce(&mut Chat, &mut Vec<Effect>)) -> Vec<Effect> {
    let mut asked = Vec::new();
    ask(chat, &mut asked);
    let mut effects = Vec::new();
    for effect in asked {
        match effect {
            Effect::Submit { room, author, change, receipt, .. } => {
                let placed = Placed { change, order: Order::Next, author, receipt };
                chat.commit(room, placed, now, &mut effects);
            }
            effect => effects.push(effect),
        }
    }
    effects
}

/// Publishes a message of an HTTP request, and returns its number.
pub fn publish(
    chat: &mut Chat,
    to: RoomName,
    from: Name,
    body: Body,
    now: Now,
    effects: &mut Vec<Effect>,
) -> Result<u64, Problem> {
    let publication = chat.check_publication(to, (from, None), body, (now, &ALONE), effects)?;
    let placed = Placed { change: publication.change, order: Order::Next, author: None, receipt: false };
    Ok(chat.commit_to(&publication.room, placed, now, effects))
}
