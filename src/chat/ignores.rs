//! Clients that others ignore, by name: [`Ignores`].
//!
//! An ignored client gets no notice. Messages under its name are left out for those that ignore it: in rooms, in private, and in
//! the history.

use std::collections::HashMap;
use std::rc::Rc;

use super::ids::ClientId;
use super::{Chat, Ctx};
use crate::protocol::{Event, Problem};
use crate::sparse::Sparse;
use crate::text::{Name, Text, TypedName, fold};

/// The most names that a client can ignore. Each message of an ignored client costs a look at those that ignore it.
pub const IGNORED_MAX: usize = 100;

/// Both directions of the relation. Names are folded, so that another spelling is ignored too. The clients that ignore a name
/// are sorted.
#[derive(Default, Debug)]
pub struct Ignores {
    ignorers: HashMap<String, Rc<[ClientId]>>,
    ignored: Sparse<Vec<String>>,
}

fn key(name: &str) -> String {
    fold(name).collect()
}

impl Ignores {
    /// The clients that ignore that name; `None` if there are none.
    pub fn of(&self, name: &str) -> Option<&Rc<[ClientId]>> {
        if self.ignorers.is_empty() {
            return None;
        }
        self.ignorers.get(&key(name))
    }

    /// Whether a client ignores that name.
    pub fn has(&self, id: ClientId, name: &str) -> bool {
        self.of(name).is_some_and(|ignorers| ignorers.binary_search(&id).is_ok())
    }

    /// Whether a client ignores anybody.
    pub fn has_any(&self, id: ClientId) -> bool {
        !self.ignored.is_empty() && self.ignored.get(id.0).is_some()
    }

    /// Adds a name to those that a client ignores. Returns false if they are too many.
    fn add(&mut self, id: ClientId, name: &str) -> bool {
        let key = key(name);
        let ignored = self.ignored.get_or_default(id.0);
        if ignored.contains(&key) {
            return true;
        }
        if ignored.len() >= IGNORED_MAX {
            return false;
        }
        ignored.push(key.clone());
        let others = self.ignorers.get(&key).map_or(&[][..], |ignorers| ignorers);
        let mut ignorers: Vec<ClientId> = others.iter().copied().chain([id]).collect();
        ignorers.sort_unstable();
        self.ignorers.insert(key, ignorers.into());
        true
    }

    fn remove(&mut self, id: ClientId, name: &str) {
        let key = key(name);
        if let Some(mut ignored) = self.ignored.take(id.0) {
            ignored.retain(|other| *other != key);
            if !ignored.is_empty() {
                self.ignored.insert(id.0, ignored);
            }
        }
        self.remove_ignorer(id, &key);
    }

    fn remove_ignorer(&mut self, id: ClientId, key: &str) {
        let Some(ignorers) = self.ignorers.remove(key) else {
            return;
        };
        let others: Rc<[ClientId]> = ignorers.iter().copied().filter(|ignorer| *ignorer != id).collect();
        if !others.is_empty() {
            self.ignorers.insert(key.into(), others);
        }
    }

    /// Forgets a client that leaves. Its own name stays ignored, since it may come back.
    pub fn remove_client(&mut self, id: ClientId) {
        for key in self.ignored.take(id.0).unwrap_or_default() {
            self.remove_ignorer(id, &key);
        }
    }

    /// Follows a client to its new name. The old name stays ignored, since it may come back to it, or log in there again.
    pub fn rename(&mut self, old: &str, new: &str) {
        let Some(ignorers) = self.of(old).cloned() else {
            return;
        };
        let (old, new) = (key(old), key(new));
        for id in ignorers.iter() {
            let ignored = self.ignored.get_or_default(id.0);
            if ignored.contains(&new) {
                continue;
            }
            ignored.push(new.clone());
            if ignored.len() > IGNORED_MAX {
                // The new name takes the place of the old one.
                ignored.retain(|name| *name != old);
                self.remove_ignorer(*id, &old);
            }
        }
        let others = self.ignorers.get(&new).map_or(&[][..], |ignorers| ignorers);
        let mut all: Vec<ClientId> = others.iter().chain(ignorers.iter()).copied().collect();
        all.sort_unstable();
        all.dedup();
        self.ignorers.insert(new, all.into());
    }

    /// The names that a client ignores.
    fn names(&self, id: ClientId) -> Vec<Text> {
        self.ignored.get(id.0).into_iter().flatten().filter_map(|name| Text::clean(name)).collect()
    }

    /// The slots of the clients that ignore others.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.ignored.slots()
    }
}

impl Chat {
    /// Ignores a name, or lists the ignored ones.
    pub(super) fn ignore(
        &mut self,
        id: ClientId,
        name: Option<&TypedName>,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        if let Some(name) = name {
            // Guests can be ignored too, and their names are no names that a client may take.
            let name = match Name::of_remote(name.as_str()) {
                Some(name) => name,
                None => Name::parse(name.as_str()).map_err(Problem::BadName)?,
            };
            if !self.ignores.add(id, name.as_str()) {
                return Err(Problem::TooManyIgnored { max: IGNORED_MAX });
            }
        }
        ctx.reply(id, Event::Ignoring(self.ignores.names(id)));
        Ok(())
    }

    pub(super) fn unignore(&mut self, id: ClientId, name: &TypedName, ctx: &mut Ctx<'_>) {
        self.ignores.remove(id, name.as_str());
        ctx.reply(id, Event::Ignoring(self.ignores.names(id)));
    }

    /// Leaves the messages of ignored clients out of a client's history.
    pub(super) fn without_ignored(&self, id: ClientId, mut event: Event) -> Event {
        if self.ignores.has_any(id)
            && let Event::History { messages, .. } = &mut event
        {
            messages.retain(|message| !self.ignores.has(id, message.from.as_str()));
        }
        event
    }
}
