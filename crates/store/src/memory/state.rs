//! The maps of the `memory` backend: every row with the versions that somebody can still see, the index entries of all of
//! those, and which space a namespace's rows are in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::contract::{
    Hit, Index, IndexCursor, IndexRange, Key, NameRange, NamedRow, Position, Row, RowId, Table,
};
use crate::plan::Effect;

/// A point in the history of this process; snapshots see what was written at or before theirs.
pub(super) type Tick = u64;

/// The rows of one namespace, whatever it is called at the moment.
type Space = u64;

/// The versions of one row: tick of the commit, and what it left. Ascending, never empty.
type History = Vec<(Tick, Option<Row>)>;

#[derive(Debug, Default)]
pub(super) struct State {
    head: Position,
    /// Counts commits. Like the sequence, but never goes back, whatever [`State::start_at`] does.
    tick: Tick,
    /// Which space a namespace had from which tick on. Ascending, never empty.
    namespaces: BTreeMap<Arc<str>, Vec<(Tick, Space)>>,
    spaces: BTreeMap<Space, Rows>,
    last_space: Space,
    /// Rows that had old versions when they were written at a tick, to be looked at when no snapshot needs those.
    stale: VecDeque<(Tick, Place)>,
    /// Spaces that were dropped at a tick.
    dropped: VecDeque<(Tick, Space)>,
}

/// A row, by space instead of namespace.
#[derive(Clone, Debug)]
struct Place {
    space: Space,
    kind: Arc<str>,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Rows {
    kinds: BTreeMap<Arc<str>, Kind>,
    /// Every entry of every version that is kept; whether a snapshot sees it, its row tells.
    indexes: BTreeMap<Arc<str>, BTreeSet<IndexCursor>>,
}

#[derive(Debug, Default)]
struct Kind {
    rows: BTreeMap<Arc<str>, History>,
    /// Of every version that is kept.
    ids: BTreeMap<RowId, Arc<str>>,
}

impl State {
    pub(super) fn head(&self) -> Position {
        self.head
    }

    pub(super) fn tick(&self) -> Tick {
        self.tick
    }

    pub(super) fn next_position(&self) -> Position {
        Position { sequence: self.head.sequence + 1, ..self.head }
    }

    pub(super) fn start_at(&mut self, position: Position) {
        self.head = position;
    }

    pub(super) fn row(&self, key: &Key, tick: Tick) -> Option<&Row> {
        let kind = self.kind(&key.table, tick)?;
        visible(kind.rows.get(&key.name)?, tick)
    }

    pub(super) fn row_by_id(&self, table: &Table, id: RowId, tick: Tick) -> Option<NamedRow> {
        let kind = self.kind(table, tick)?;
        let name = kind.ids.get(&id)?;
        let row = visible(kind.rows.get(name)?, tick).filter(|row| row.id == id)?;
        Some((name.clone(), row.clone()))
    }

    pub(super) fn scan(
        &self,
        range: &NameRange,
        tick: Tick,
        limit: usize,
        descending: bool,
    ) -> Vec<NamedRow> {
        let Some(kind) = self.kind(&range.table, tick) else { return Vec::new() };
        if range.is_void() {
            return Vec::new();
        }
        let to = range.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = kind.rows.range::<str, _>((Bound::Included(range.from.as_str()), to));
        let named = |(name, history): (&Arc<str>, &History)| {
            visible(history, tick).map(|row| (name.clone(), row.clone()))
        };
        match descending {
            true => rows.rev().filter_map(named).take(limit).collect(),
            false => rows.filter_map(named).take(limit).collect(),
        }
    }

    /// Calls `each` for the entries of `range` beyond `after`, in order, until it answers false.
    pub(super) fn each_hit(
        &self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        tick: Tick,
        descending: bool,
        mut each: impl FnMut(Hit) -> bool,
    ) {
        let namespace = &range.index.namespace;
        let Some(rows) = self.space(namespace, tick).and_then(|s| self.spaces.get(&s)) else {
            return;
        };
        let Some(entries) = rows.indexes.get(&range.index.name) else { return };
        let (from, to) = bounds(range, after, descending);
        if is_void(&from, &to) {
            return;
        }
        let entries = entries.range((from, to));
        let hit = |entry: &IndexCursor| rows.hit(&range.index, entry, tick);
        if descending {
            let _ = entries.rev().filter_map(hit).all(&mut each);
        } else {
            let _ = entries.filter_map(hit).all(&mut each);
        }
    }

    pub(super) fn tables(&self, tick: Tick) -> Vec<Table> {
        let mut tables = Vec::new();
        for namespace in self.namespaces.keys() {
            let space = self.space(namespace, tick);
            let Some(rows) = space.and_then(|space| self.spaces.get(&space)) else { continue };
            for (name, kind) in &rows.kinds {
                if kind.rows.values().any(|history| visible(history, tick).is_some()) {
                    tables.push(Table { namespace: namespace.clone(), kind: name.clone() });
                }
            }
        }
        tables
    }

    /// Makes `effects` the commit at `position`, which is [`State::next_position`].
    pub(super) fn apply(
        &mut self,
        effects: Vec<Effect>,
        position: Position,
        oldest_viewed: Option<Tick>,
    ) {
        self.head = position;
        self.tick += 1;
        for effect in effects {
            match effect {
                Effect::Row(row) => self.put(row.key, row.after, oldest_viewed),
                Effect::Swap { a, b } => self.swap(&a, &b),
                Effect::Drop { namespace } => self.drop_namespace(&namespace),
            }
        }
        self.clean(oldest_viewed.unwrap_or(self.tick));
    }

    fn put(&mut self, key: Key, after: Option<Row>, oldest_viewed: Option<Tick>) {
        let tick = self.tick;
        let space = self.space_to_write(&key.table.namespace);
        let place = Place { space, kind: key.table.kind, name: key.name };
        let rows = self.spaces.entry(space).or_default();
        rows.add(&place, tick, after);
        if !rows.settle(&place, oldest_viewed.unwrap_or(tick)) {
            self.stale.push_back((tick, place));
        }
    }

    fn swap(&mut self, a: &Arc<str>, b: &Arc<str>) {
        let (space_a, space_b) = (self.space_to_write(a), self.space_to_write(b));
        self.assign(a, space_b);
        self.assign(b, space_a);
    }

    fn drop_namespace(&mut self, namespace: &Arc<str>) {
        let old = self.space_to_write(namespace);
        let new = self.new_space();
        self.assign(namespace, new);
        self.dropped.push_back((self.tick, old));
    }

    /// Drops what only snapshots before `oldest_viewed` could see.
    fn clean(&mut self, oldest_viewed: Tick) {
        while let Some((_, place)) = self.stale.pop_front_if(|(at, _)| *at <= oldest_viewed) {
            let Some(rows) = self.spaces.get_mut(&place.space) else { continue };
            rows.settle(&place, oldest_viewed);
        }
        while let Some((_, space)) = self.dropped.pop_front_if(|(at, _)| *at <= oldest_viewed) {
            self.spaces.remove(&space);
        }
        for spaces in self.namespaces.values_mut() {
            let seen = spaces.partition_point(|(at, _)| *at <= oldest_viewed);
            spaces.drain(..seen.saturating_sub(1));
        }
    }

    fn kind(&self, table: &Table, tick: Tick) -> Option<&Kind> {
        let space = self.space(&table.namespace, tick)?;
        self.spaces.get(&space)?.kinds.get(&table.kind)
    }

    /// The space that a snapshot at `tick` sees under the name.
    fn space(&self, namespace: &str, tick: Tick) -> Option<Space> {
        let spaces = self.namespaces.get(namespace)?;
        Some(spaces.iter().rev().find(|(at, _)| *at <= tick)?.1)
    }

    fn space_to_write(&mut self, namespace: &Arc<str>) -> Space {
        match self.space(namespace, self.tick) {
            Some(space) => space,
            None => {
                let space = self.new_space();
                self.assign(namespace, space);
                space
            }
        }
    }

    fn new_space(&mut self) -> Space {
        self.last_space += 1;
        self.last_space
    }

    fn assign(&mut self, namespace: &Arc<str>, space: Space) {
        let spaces = self.namespaces.entry(namespace.clone()).or_default();
        spaces.push((self.tick, space));
    }

    /// Versions of all rows together, and what is still to be cleaned.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let kinds = self.spaces.values().flat_map(|rows| rows.kinds.values());
        let versions = kinds.flat_map(|kind| kind.rows.values()).map(Vec::len).sum();
        (versions, self.stale.len() + self.dropped.len())
    }

    /// Index entries and ids of all versions that are kept.
    #[cfg(test)]
    pub(super) fn entries(&self) -> (usize, usize) {
        let entries = self.spaces.values().flat_map(|rows| rows.indexes.values());
        let kinds = self.spaces.values().flat_map(|rows| rows.kinds.values());
        (entries.map(BTreeSet::len).sum(), kinds.map(|kind| kind.ids.len()).sum())
    }
}

impl Rows {
    fn add(&mut self, place: &Place, tick: Tick, after: Option<Row>) {
        let kind = self.kinds.entry(place.kind.clone()).or_default();
        if let Some(row) = &after {
            if !row.id.is_none() {
                kind.ids.insert(row.id, place.name.clone());
            }
            for entry in row.extract.entries() {
                let index = self.indexes.entry(entry.index.into()).or_default();
                index.insert(place.cursor(entry.value));
            }
        }
        kind.rows.entry(place.name.clone()).or_default().push((tick, after));
    }

    /// Drops the versions of a row that nobody at or after `oldest_viewed` can see, and what only they had in ids and
    /// indexes; whether no more than one is left.
    fn settle(&mut self, place: &Place, oldest_viewed: Tick) -> bool {
        let Some(kind) = self.kinds.get_mut(&place.kind) else { return true };
        let Some(history) = kind.rows.get_mut(&place.name) else { return true };
        let seen = history.partition_point(|(written, _)| *written <= oldest_viewed);
        let gone: Vec<_> = history.drain(..seen.saturating_sub(1)).collect();
        let is_settled = history.len() == 1;
        let left: Vec<&Row> = history.iter().filter_map(|(_, row)| row.as_ref()).collect();
        for row in gone.iter().filter_map(|(_, row)| row.as_ref()) {
            if left.iter().all(|left| left.id != row.id) {
                kind.ids.remove(&row.id);
            }
            for entry in row.extract.entries() {
                let Some(index) = self.indexes.get_mut(entry.index) else { continue };
                if left.iter().all(|left| left.extract.entries().all(|other| other != entry)) {
                    index.remove(&place.cursor(entry.value));
                }
            }
        }
        if is_settled && left.is_empty() {
            kind.rows.remove(&place.name);
        }
        is_settled
    }

    fn hit(&self, index: &Index, entry: &IndexCursor, tick: Tick) -> Option<Hit> {
        let history = self.kinds.get(&entry.kind)?.rows.get(&entry.name)?;
        let row = visible(history, tick)?;
        let has = |e: crate::contract::Entry<'_>| e.index == &*index.name && e.value == entry.value;
        row.extract.entries().any(has).then(|| {
            let table = Table { namespace: index.namespace.clone(), kind: entry.kind.clone() };
            let key = Key { table, name: entry.name.clone() };
            Hit { value: entry.value.clone(), key, row: row.clone() }
        })
    }
}

impl Place {
    fn cursor(&self, value: crate::contract::Value) -> IndexCursor {
        IndexCursor { value, kind: self.kind.clone(), name: self.name.clone() }
    }
}

/// The row that a snapshot at `tick` sees.
fn visible(history: &History, tick: Tick) -> Option<&Row> {
    history.iter().rev().find(|(written, _)| *written <= tick)?.1.as_ref()
}

/// A range of values as one of entries, cut off at `after`.
fn bounds(
    range: &IndexRange,
    after: Option<&IndexCursor>,
    descending: bool,
) -> (Bound<IndexCursor>, Bound<IndexCursor>) {
    let first = |value: &crate::contract::Value| IndexCursor {
        value: value.clone(),
        kind: "".into(),
        name: "".into(),
    };
    let mut from = Bound::Included(first(&range.from));
    let mut to = range.to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(first(to)));
    match after {
        Some(after) if descending => {
            let is_lower = match &to {
                Bound::Excluded(to) => after < to,
                _ => true,
            };
            if is_lower {
                to = Bound::Excluded(after.clone());
            }
        }
        Some(after) if *after >= first(&range.from) => from = Bound::Excluded(after.clone()),
        _ => {}
    }
    (from, to)
}

/// Whether nothing can lie between the bounds; a map refuses such ranges.
fn is_void(from: &Bound<IndexCursor>, to: &Bound<IndexCursor>) -> bool {
    match (from, to) {
        (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}
