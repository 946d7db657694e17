//! The flows that are followed at once: found by key in constant time, and let go in the order in which they fell silent, each kind after its time.

use crate::flow::{FlowEnd, FlowKey, Protocol};
use crate::packet::Stamp;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::net::IpAddr;

const NONE: u32 = u32::MAX;
const SECOND: u64 = 1_000_000_000;

/// Kinds of flows, by how long silence lets them live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ended; late packets may still come.
    Over,
    /// SYNs without an answer: Linux pauses 32 s at most between the first six.
    Attempt,
    /// Not TCP.
    Datagram,
    /// Established.
    Connection,
}

impl Class {
    /// All, the most dispensable first.
    pub(crate) const ALL: [Self; 4] = [Self::Over, Self::Attempt, Self::Datagram, Self::Connection];

    /// Silence after which a flow is forgotten.
    pub(crate) const fn patience_ns(self) -> u64 {
        match self {
            Self::Over => 5 * SECOND,
            Self::Attempt => 35 * SECOND,
            Self::Datagram => 60 * SECOND,
            Self::Connection => 300 * SECOND,
        }
    }
}

/// What has a key by which it is found.
pub(crate) trait Keyed {
    fn key(&self) -> &FlowKey;
}

/// What of a key is hashed.
#[derive(Hash)]
struct Bits {
    low: u128,
    high: u128,
    ports: u32,
    rest: u64,
}

impl Bits {
    fn of(key: &FlowKey) -> Self {
        let bits = |end: FlowEnd| match end.ip {
            IpAddr::V4(v4) => u128::from(u32::from(v4)),
            IpAddr::V6(v6) => u128::from(v6),
        };
        let protocol = match key.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmp => 1,
            Protocol::Other(number) => 0x100 | u64::from(number),
        };
        let family = u64::from(key.low.ip.is_ipv6()) << 16;
        Self {
            low: bits(key.low),
            high: bits(key.high),
            ports: u32::from(key.low.port) << 16 | u32::from(key.high.port),
            rest: u64::from(key.realm) << 32 | family | protocol,
        }
    }
}

/// Memory of a flow. When the flow is over it stays until another one takes its place.
struct Slot<T> {
    used: bool,
    value: T,
    /// Another key under which it is found.
    alias: Option<Box<FlowKey>>,
}

impl<T: Keyed> Slot<T> {
    fn is_of(&self, key: &FlowKey) -> bool {
        self.used && (self.value.key() == key || self.alias.as_deref() == Some(key))
    }
}

/// The place of a flow among those of its class. Kept apart from the flows: each packet changes the links of three neighbours, which would else have to
/// come from memory.
#[derive(Clone, Copy)]
struct Link {
    touched: Stamp,
    older: u32,
    newer: u32,
    class: Class,
}

#[derive(Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

/// Where the flow of a key is. The keys themselves stand in the flows, which are looked at next in any case; so all places of ten thousand flows stay
/// in the processor's cache.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    at: u32,
}

impl Place {
    /// The hash as the index wants it, whose upper bits tell entries apart and whose lower ones place them.
    fn spread(self) -> u64 {
        u64::from(self.hash).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }
}

/// Flows by key.
pub(crate) struct Table<T> {
    seed: RandomState,
    index: HashTable<Place>,
    slots: Vec<Slot<T>>,
    links: Vec<Link>,
    free: Vec<u32>,
    lists: [Ends; 4],
    counts: [usize; 4],
}

impl<T: Keyed> Table<T> {
    pub(crate) fn new() -> Self {
        let lists = [Ends { oldest: NONE, newest: NONE }; 4];
        Self {
            seed: RandomState::default(),
            index: HashTable::new(),
            slots: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            lists,
            counts: [0; 4],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Flows of a class.
    pub(crate) fn count(&self, class: Class) -> usize {
        self.counts[class as usize]
    }

    pub(crate) fn find(&self, key: &FlowKey) -> Option<u32> {
        let wanted = self.place(key, NONE);
        let is = |place: &Place| place.hash == wanted.hash && self.slots.get(place.at as usize).is_some_and(|slot| slot.is_of(key));
        self.index.find(wanted.spread(), is).map(|place| place.at)
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.slots.get_mut(at as usize).filter(|slot| slot.used).map(|slot| &mut slot.value)
    }

    pub(crate) fn insert(&mut self, value: T, class: Class, now: Stamp) -> u32 {
        let key = *value.key();
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(slot) = self.slots.get_mut(at as usize) {
                    slot.value = value;
                    slot.used = true;
                    slot.alias = None;
                }
                at
            }
            None => {
                self.slots.push(Slot { value, used: true, alias: None });
                self.links.push(Link { touched: now, older: NONE, newer: NONE, class });
                (self.slots.len() - 1) as u32
            }
        };
        self.note(&key, at);
        self.link(at, class, now);
        at
    }

    /// The flow is found under `key`, too.
    pub(crate) fn alias(&mut self, at: u32, key: &FlowKey) {
        if self.find(key).is_some() {
            return;
        }
        let Some(slot) = self.slots.get_mut(at as usize).filter(|slot| slot.alias.is_none() && slot.used) else { return };
        slot.alias = Some(Box::new(*key));
        self.note(key, at);
    }

    /// All of them, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter(|slot| slot.used).map(|slot| &slot.value)
    }

    /// The flow spoke.
    pub(crate) fn touch(&mut self, at: u32, class: Class, now: Stamp) {
        let newest = self.lists[class as usize].newest;
        if newest == at
            && let Some(link) = self.links.get_mut(at as usize)
        {
            link.touched = now;
            return;
        }
        self.unlink(at);
        self.link(at, class, now);
    }

    /// The one of a class that has been silent for longest, and since when.
    pub(crate) fn oldest(&self, class: Class) -> Option<(u32, Stamp)> {
        let at = self.lists[class as usize].oldest;
        self.links.get(at as usize).map(|link| (at, link.touched))
    }

    /// The flow is over: nothing leads to it any more. Its last sight, before another one takes its place.
    pub(crate) fn remove(&mut self, at: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut(at as usize).filter(|slot| slot.used)?;
        slot.used = false;
        let (key, alias) = (*slot.value.key(), slot.alias.take());
        self.unlink(at);
        self.forget(&key, at);
        if let Some(alias) = alias {
            self.forget(&alias, at);
        }
        self.free.push(at);
        self.slots.get_mut(at as usize).map(|slot| &mut slot.value)
    }

    /// Those that are left at the end, in the order of `by`.
    pub(crate) fn drain<K: Ord>(&mut self, by: impl Fn(&T) -> K) -> impl Iterator<Item = &mut T> {
        let mut left: Vec<&mut T> = self.slots.iter_mut().filter(|slot| slot.used).map(|slot| &mut slot.value).collect();
        left.sort_by_cached_key(|value| by(value));
        left.into_iter()
    }

    #[inline]
    fn place(&self, key: &FlowKey, at: u32) -> Place {
        Place { hash: self.seed.hash_one(Bits::of(key)) as u32, at }
    }

    /// The key leads to `at`.
    fn note(&mut self, key: &FlowKey, at: u32) {
        let place = self.place(key, at);
        self.index.insert_unique(place.spread(), place, |place| place.spread());
    }

    /// The key leads nowhere.
    fn forget(&mut self, key: &FlowKey, at: u32) {
        let place = self.place(key, at);
        if let Ok(entry) = self.index.find_entry(place.spread(), |other| other.at == at && other.hash == place.hash) {
            entry.remove();
        }
    }

    fn link(&mut self, at: u32, class: Class, now: Stamp) {
        let newest = self.lists[class as usize].newest;
        if let Some(link) = self.links.get_mut(at as usize) {
            *link = Link { touched: now, older: newest, newer: NONE, class };
        }
        match self.links.get_mut(newest as usize) {
            Some(link) => link.newer = at,
            None => self.lists[class as usize].oldest = at,
        }
        self.lists[class as usize].newest = at;
        self.counts[class as usize] += 1;
    }

    fn unlink(&mut self, at: u32) {
        let Some(Link { class, older, newer, .. }) = self.links.get(at as usize).copied() else { return };
        self.counts[class as usize] -= 1;
        match self.links.get_mut(older as usize) {
            Some(link) => link.newer = newer,
            None => self.lists[class as usize].oldest = newer,
        }
        match self.links.get_mut(newer as usize) {
            Some(link) => link.older = older,
            None => self.lists[class as usize].newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for (FlowKey, char) {
        fn key(&self) -> &FlowKey {
            &self.0
        }
    }

    fn key(port: u16) -> FlowKey {
        let end = |port| FlowEnd { ip: IpAddr::from([10, 0, 0, 1]), port };
        FlowKey::of(end(port), end(80), Protocol::Tcp, 0).0
    }

    #[test]
    fn the_longest_silent_flow_of_a_class_goes_first() {
        let mut table = Table::new();
        let a = table.insert((key(1), 'a'), Class::Attempt, Stamp(1));
        let b = table.insert((key(2), 'b'), Class::Attempt, Stamp(2));
        table.touch(a, Class::Attempt, Stamp(3));
        assert_eq!(table.oldest(Class::Attempt), Some((b, Stamp(2))));
        table.touch(b, Class::Connection, Stamp(4));
        assert_eq!(table.oldest(Class::Attempt), Some((a, Stamp(3))));
        assert_eq!(table.oldest(Class::Connection), Some((b, Stamp(4))));
        assert_eq!(table.remove(a).map(|value| value.1), Some('a'));
        assert_eq!((table.find(&key(1)), table.find(&key(2)), table.len()), (None, Some(b), 1));
        assert_eq!(table.oldest(Class::Attempt), None);
        let c = table.insert((key(3), 'c'), Class::Attempt, Stamp(5));
        assert_eq!(c, a, "slots are used again");
        assert_eq!(table.drain(|value| value.1).map(|value| value.1).collect::<String>(), "bc");
    }
}
