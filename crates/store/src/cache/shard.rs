//! One shard of the cache: a bounded map with second-chance eviction, and the marks that keep stale rows out.
//!
//! A row that was read may be put in only if no commit announced a change in this shard since before the read, and none
//! was under way for its key then; see [`Shard::look_up`] and [`Shard::insert`].

use std::collections::BTreeMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as TableEntry;

use crate::contract::{Key, Row, Table};

/// A key in parts, with its hash.
#[derive(Clone, Copy)]
pub(super) struct Place<'k> {
    pub(super) hash: u64,
    pub(super) table: &'k Table,
    pub(super) name: &'k str,
}

impl Place<'_> {
    fn is(&self, key: &Key) -> bool {
        *key.name == *self.name && key.table == *self.table
    }
}

/// What the cache says of a key.
pub(super) enum Lookup {
    /// The row as of now; `None`: it is known to be absent.
    Hit(Option<Row>),
    Miss(MissTicket),
}

/// The permission to insert what is read after a miss; void as soon as anything in the shard changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissTicket {
    /// Absent if the key was changing at that time.
    epoch: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Shard {
    /// From hash to index in `slots`.
    index: HashTable<usize>,
    slots: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Where eviction looks next.
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    /// Raised whenever a change is announced.
    epoch: u64,
    /// Hashes of keys whose change was announced and is not yet visible to all.
    changing: BTreeMap<u64, Changing>,
    /// How many changes of everything were announced and are not yet visible to all.
    changing_all: usize,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    key: Key,
    row: Option<Row>,
    /// Looked up since the hand came by.
    is_used: bool,
}

#[derive(Debug, Default)]
struct Changing {
    announced: usize,
    /// A row that was asked for before is worth keeping in its new state.
    was_cached: bool,
}

impl Shard {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            bytes_max,
            epoch: 0,
            changing: BTreeMap::new(),
            changing_all: 0,
        }
    }

    /// What is known of the row at `place`. After a miss: read it, then offer it to [`Shard::insert`].
    pub(super) fn look_up(&mut self, place: Place<'_>) -> Lookup {
        if let Some(entry) = self.entry(place) {
            entry.is_used = true;
            return Lookup::Hit(entry.row.clone());
        }
        let is_changing = self.changing_all > 0 || self.changing.contains_key(&place.hash);
        Lookup::Miss(MissTicket { epoch: (!is_changing).then_some(self.epoch) })
    }

    /// Keeps a row that was read after the miss that gave `ticket`, if it cannot have become stale since.
    pub(super) fn insert(&mut self, ticket: MissTicket, hash: u64, key: &Key, row: Option<Row>) {
        if ticket.epoch == Some(self.epoch) {
            self.put(hash, key, row);
        }
    }

    /// A change of `place` is about to become visible: forget the row, and take none until [`Shard::settle`].
    pub(super) fn announce(&mut self, place: Place<'_>) {
        self.epoch += 1;
        let was_cached = self.remove(place);
        let changing = self.changing.entry(place.hash).or_default();
        changing.announced += 1;
        changing.was_cached |= was_cached;
    }

    /// The change of `key` is visible to all (`after` is its row), or did not happen (`after` is `None`).
    pub(super) fn settle(&mut self, hash: u64, key: &Key, after: Option<&Option<Row>>) {
        let Some(changing) = self.changing.get_mut(&hash) else { return };
        changing.announced -= 1;
        if changing.announced > 0 {
            return;
        }
        let was_cached = changing.was_cached;
        self.changing.remove(&hash);
        if let Some(row) = after
            && was_cached
            && self.changing_all == 0
        {
            self.put(hash, key, row.clone());
        }
    }

    /// Any row may become another one: forget all, and take none until [`Shard::settle_all`].
    pub(super) fn announce_all(&mut self) {
        self.epoch += 1;
        self.changing_all += 1;
        self.index.clear();
        self.slots.clear();
        self.free.clear();
        self.hand = 0;
        self.bytes = 0;
    }

    /// What [`Shard::announce_all`] announced is visible to all, or did not happen.
    pub(super) fn settle_all(&mut self) {
        self.changing_all -= 1;
    }

    fn entry(&mut self, place: Place<'_>) -> Option<&mut Entry> {
        let slots = &self.slots;
        let slot = *self.index.find(place.hash, |&slot| is_at(slots, slot, place))?;
        self.slots[slot].as_mut()
    }

    /// Whether there was something to remove.
    fn remove(&mut self, place: Place<'_>) -> bool {
        let slots = &self.slots;
        let Ok(found) = self.index.find_entry(place.hash, |&slot| is_at(slots, slot, place)) else {
            return false;
        };
        let (slot, _) = found.remove();
        self.clear_slot(slot);
        true
    }

    fn clear_slot(&mut self, slot: usize) {
        if let Some(entry) = self.slots[slot].take() {
            self.bytes -= size(&entry.key, entry.row.as_ref());
            self.free.push(slot);
        }
    }

    fn put(&mut self, hash: u64, key: &Key, row: Option<Row>) {
        let bytes = size(key, row.as_ref());
        // One row must not push out all others.
        if bytes > self.bytes_max / 4 {
            return;
        }
        let place = Place { hash, table: &key.table, name: &key.name };
        self.remove(place);
        self.make_room(bytes);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Entry { hash, key: key.clone(), row, is_used: false });
        self.bytes += bytes;
        let slots = &self.slots;
        let found = self.index.entry(
            hash,
            |&slot| is_at(slots, slot, place),
            |&slot| slots[slot].as_ref().map_or(0, |entry| entry.hash),
        );
        if let TableEntry::Vacant(vacant) = found {
            vacant.insert(slot);
        }
    }

    /// Evicts what was not used since the hand last came by, until `bytes` more fit.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.bytes_max {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let hand = self.hand;
            let Some(entry) = self.slots.get_mut(hand).and_then(Option::as_mut) else { continue };
            if std::mem::take(&mut entry.is_used) {
                continue;
            }
            if let Ok(found) = self.index.find_entry(entry.hash, |&slot| slot == hand) {
                found.remove();
            }
            self.clear_slot(hand);
        }
    }
}

fn is_at(slots: &[Option<Entry>], slot: usize, place: Place<'_>) -> bool {
    slots[slot].as_ref().is_some_and(|entry| place.is(&entry.key))
}

/// Bytes that an entry holds, about; strings of tables are shared and not counted.
fn size(key: &Key, row: Option<&Row>) -> usize {
    const OVERHEAD: usize = 256;
    let row_bytes = |row: &Row| row.body.len() + row.aside.len() + row.extract.as_bytes().len();
    OVERHEAD + key.name.len() + row.map_or(0, row_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { table: Table { namespace: "v1".into(), kind: "Device".into() }, name: name.into() }
    }

    fn row(version: u64) -> Option<Row> {
        Some(Row::new(version, vec![0; 100]))
    }

    fn place(hash: u64, key: &Key) -> Place<'_> {
        Place { hash, table: &key.table, name: &key.name }
    }

    fn version(shard: &mut Shard, hash: u64, key: &Key) -> Option<u64> {
        match shard.look_up(place(hash, key)) {
            Lookup::Hit(row) => row.map(|row| row.version),
            Lookup::Miss(_) => None,
        }
    }

    fn miss(shard: &mut Shard, hash: u64, key: &Key) -> MissTicket {
        match shard.look_up(place(hash, key)) {
            Lookup::Hit(_) => panic!("a miss was expected"),
            Lookup::Miss(ticket) => ticket,
        }
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let (mut shard, a) = (Shard::new(100_000), key("a"));
        let ticket = miss(&mut shard, 1, &a);
        shard.announce(place(1, &a));
        shard.settle(1, &a, Some(&row(2)));
        shard.insert(ticket, 1, &a, row(1));
        assert_eq!(version(&mut shard, 1, &a), None);
    }

    #[test]
    fn what_was_read_during_a_change_is_not_kept_after_it() {
        let (mut shard, a) = (Shard::new(100_000), key("a"));
        shard.announce(place(1, &a));
        let ticket = miss(&mut shard, 1, &a);
        shard.insert(ticket, 1, &a, row(1));
        assert_eq!(version(&mut shard, 1, &a), None);
        shard.settle(1, &a, Some(&row(2)));
        shard.insert(ticket, 1, &a, row(1));
        assert_eq!(version(&mut shard, 1, &a), None);
    }

    #[test]
    fn a_cached_row_is_kept_in_its_new_state_once_the_last_change_settled() {
        let (mut shard, a) = (Shard::new(100_000), key("a"));
        let ticket = miss(&mut shard, 1, &a);
        shard.insert(ticket, 1, &a, row(1));
        shard.announce(place(1, &a));
        shard.announce(place(1, &a));
        shard.settle(1, &a, Some(&row(2)));
        assert_eq!(version(&mut shard, 1, &a), None);
        shard.settle(1, &a, Some(&row(3)));
        assert_eq!(version(&mut shard, 1, &a), Some(3));
    }

    #[test]
    fn a_change_that_did_not_happen_leaves_nothing() {
        let (mut shard, a) = (Shard::new(100_000), key("a"));
        let ticket = miss(&mut shard, 1, &a);
        shard.insert(ticket, 1, &a, row(1));
        shard.announce(place(1, &a));
        shard.settle(1, &a, None);
        assert_eq!(version(&mut shard, 1, &a), None);
        assert!(shard.changing.is_empty());
    }

    #[test]
    fn after_a_change_of_everything_nothing_from_before_is_kept() {
        let (mut shard, a, b) = (Shard::new(100_000), key("a"), key("b"));
        let (ticket_a, ticket_b) = (miss(&mut shard, 1, &a), miss(&mut shard, 2, &b));
        shard.insert(ticket_a, 1, &a, row(1));
        shard.announce_all();
        // The same group has changed the row before.
        shard.announce(place(1, &a));
        assert_eq!(version(&mut shard, 1, &a), None);
        let during = miss(&mut shard, 2, &b);
        shard.settle(1, &a, Some(&row(2)));
        shard.settle_all();
        shard.insert(ticket_b, 2, &b, row(1));
        shard.insert(during, 2, &b, row(1));
        assert_eq!((version(&mut shard, 1, &a), version(&mut shard, 2, &b)), (None, None));
        assert_eq!(shard.bytes, 0);
        let ticket = miss(&mut shard, 2, &b);
        shard.insert(ticket, 2, &b, row(3));
        assert_eq!(version(&mut shard, 2, &b), Some(3));
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let mut shard = Shard::new(100_000);
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            let key = key(name);
            let ticket = miss(&mut shard, 7, &key);
            shard.insert(ticket, 7, &key, row(at as u64));
        }
        assert_eq!(version(&mut shard, 7, &key("b")), Some(1));
        shard.announce(place(7, &key("b")));
        assert_eq!(version(&mut shard, 7, &key("a")), Some(0));
    }

    #[test]
    fn bytes_stay_below_the_limit_and_used_rows_stay_longest() {
        let mut shard = Shard::new(5_000);
        let hot = key("hot");
        let ticket = miss(&mut shard, 0, &hot);
        shard.insert(ticket, 0, &hot, row(1));
        for n in 1..1_000 {
            let key = key(&format!("k{n}"));
            let ticket = miss(&mut shard, n, &key);
            shard.insert(ticket, n, &key, row(n));
            assert!(shard.bytes <= 5_000);
            assert_eq!(version(&mut shard, 0, &hot), Some(1));
        }
        assert_eq!(shard.index.len() + shard.free.len(), shard.slots.len());
    }
}
