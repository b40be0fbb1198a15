//! The keys of a database, and the values of each type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::commands::WRONG_TYPE;

pub type Members = BTreeSet<Vec<u8>>;
pub type Scores = BTreeMap<Vec<u8>, f64>;

#[derive(Clone)]
pub enum Value {
    Text(Vec<u8>),
    Hash(Fields),
    Set(Members),
    Sorted(Scores),
    Stream(Stream),
}

/// The fields of a hash, in the order in which they were first set.
#[derive(Clone, Default)]
pub struct Fields {
    by_name: BTreeMap<Vec<u8>, (usize, Vec<u8>)>,
    set: usize,
}

impl Fields {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn get(&self, field: &[u8]) -> Option<&Vec<u8>> {
        self.by_name.get(field).map(|(_, value)| value)
    }

    pub fn set(&mut self, field: &[u8], value: &[u8]) {
        let order = self.by_name.get(field).map_or(self.set, |(order, _)| *order);
        self.set += 1;
        self.by_name.insert(field.to_vec(), (order, value.to_vec()));
    }

    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.by_name.remove(field).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> + use<'_> {
        let mut fields: Vec<_> = self.by_name.iter().collect();
        fields.sort_by_key(|(_, (order, _))| *order);
        fields.into_iter().map(|(field, (_, value))| (field, value))
    }
}

/// The number of an entry of a stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Id(pub u64, pub u64);

impl Id {
    pub const MAX: Id = Id(u64::MAX, u64::MAX);
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

#[derive(Clone, Default)]
pub struct Stream {
    pub entries: BTreeMap<Id, Vec<Vec<u8>>>,
    pub last: Id,
}

/// A type of values.
pub trait Kind: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;

    /// Returns whether a key with this value is removed.
    fn is_over(&self) -> bool;
}

macro_rules! kind {
    ($kind:ty, $variant:ident, $value:ident => $is_over:expr) => {
        impl Kind for $kind {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }

            fn into_value(self) -> Value {
                Value::$variant(self)
            }

            fn is_over(&self) -> bool {
                let $value = self;
                $is_over
            }
        }
    };
}

kind!(Vec<u8>, Text, _value => false);
kind!(Fields, Hash, fields => fields.len() == 0);
kind!(Members, Set, members => members.is_empty());
kind!(Scores, Sorted, scores => scores.is_empty());
kind!(Stream, Stream, _stream => false);

#[derive(Clone)]
pub struct Entry {
    pub value: Value,
    /// The last moment at which the key exists.
    pub until_millis: Option<u64>,
}

impl Entry {
    pub fn is_there(&self, now_millis: u64) -> bool {
        self.until_millis.is_none_or(|until_millis| until_millis >= now_millis)
    }

    pub fn value<K: Kind>(&self) -> Option<&K> {
        K::of(&self.value)
    }
}

#[derive(Clone, Default)]
pub struct Keyspace {
    entries: BTreeMap<Vec<u8>, Entry>,
    swept_millis: u64,
}

impl Keyspace {
    /// Removes the keys whose time to live has ended.
    pub fn sweep(&mut self, now_millis: u64) {
        if self.swept_millis != now_millis {
            self.swept_millis = now_millis;
            self.entries.retain(|_, entry| entry.is_there(now_millis));
        }
    }

    pub fn keys(&self, now_millis: u64) -> impl Iterator<Item = &[u8]> {
        let there = self.entries.iter().filter(move |(_, entry)| entry.is_there(now_millis));
        there.map(|(key, _)| &key[..])
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Sets a key, whatever it was before.
    pub fn set(&mut self, key: &[u8], value: impl Kind, until_millis: Option<u64>) {
        self.entries.insert(key.to_vec(), Entry { value: value.into_value(), until_millis });
    }

    /// Returns the value of a key, if there is one.
    pub fn read<K: Kind>(&self, key: &[u8]) -> Result<Option<&K>, String> {
        match self.entries.get(key).map(|entry| entry.value::<K>()) {
            Some(None) => Err(WRONG_TYPE.into()),
            Some(there) => Ok(there),
            None => Ok(None),
        }
    }

    /// Changes the value of a key. It begins as an empty one, and the key is removed if it is empty at the end.
    pub fn change<K: Kind, R>(&mut self, key: &[u8], change: impl FnOnce(&mut K) -> R) -> Result<R, String> {
        let Some(entry) = self.entries.get_mut(key) else {
            let mut value = K::default();
            let result = change(&mut value);
            if !value.is_over() {
                self.set(key, value, None);
            }
            return Ok(result);
        };
        let value = K::of_mut(&mut entry.value).ok_or(WRONG_TYPE)?;
        let result = change(value);
        if value.is_over() {
            self.entries.remove(key);
        }
        Ok(result)
    }
}
