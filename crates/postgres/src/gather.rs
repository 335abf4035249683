//! Reads what a group needs, all of it in one flight, behind the lock that keeps other commits out.

use std::sync::Arc;

use bowline_store::{Key, Range, StoreError, Table};
use tokio_postgres::Row as SqlRow;
use uuid::Uuid;

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::flight::{Answer, Flight};
use crate::needs::{Base, Keys, Needs, Read, range_key};
use crate::numbers::Numbers;
use crate::row::{column, from_sql, id_to_sql, name_at, row_if_any_at};
use crate::snapshot::{name_bounds, value_bounds};

// Every look-up is a subquery with a limit or an aggregate. Joined plainly, a planner that takes a table for small may use
// a part of the key only, and compares thousands of rows for each that is wanted.

const ROWS: &str = "SELECT k.place, r.id, r.version, \
    CASE WHEN k.whole THEN r.body END, CASE WHEN k.whole THEN r.aside END, r.extracted \
    FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::bytea[], $5::bool[]) \
    AS k(place, namespace, kind, name, whole) JOIN namespaces n ON n.number = k.namespace \
    CROSS JOIN LATERAL (SELECT o.id, o.version, o.body, o.aside, o.extracted FROM rows o \
    WHERE o.space = n.space AND o.kind = k.kind AND o.name = k.name LIMIT 1) r";

// By `id` alone, which few rows share: the sums keep the primary key from being taken for a better way.
const IDS: &str = "SELECT k.place, r.name \
    FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::uuid[]) AS k(place, namespace, kind, id) \
    JOIN namespaces n ON n.number = k.namespace \
    CROSS JOIN LATERAL (SELECT o.name FROM rows o WHERE o.id = k.id \
    AND o.space + 0 = n.space AND o.kind + 0 = k.kind LIMIT 1) r";

const REMOVALS: &str = "SELECT k.place, l.sequence \
    FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::bytea[]) AS k(place, namespace, kind, name) \
    CROSS JOIN LATERAL (SELECT max(g.sequence + 0) AS sequence FROM log g \
    WHERE g.namespace = k.namespace AND g.kind = k.kind AND g.name = k.name \
    AND g.after_version IS NULL) l WHERE l.sequence IS NOT NULL";

const NAMES: &str = "SELECT k.place, f.name \
    FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::bytea[], $5::bytea[]) \
    AS k(place, namespace, kind, low, high) JOIN namespaces n ON n.number = k.namespace \
    CROSS JOIN LATERAL (SELECT r.name FROM rows r WHERE r.space = n.space AND r.kind = k.kind \
    AND r.name >= k.low AND r.name < k.high ORDER BY r.name LIMIT $6) f ORDER BY k.place, f.name";

const ENTRIES: &str = "SELECT k.place, x.name, f.name \
    FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::bytea[], $5::bytea[]) \
    AS k(place, namespace, index_number, low, high) JOIN namespaces n ON n.number = k.namespace \
    CROSS JOIN LATERAL (SELECT e.value, e.kind_rank, e.name FROM entries e \
    WHERE e.space = n.space AND e.index_number = k.index_number \
    AND e.value >= k.low AND e.value < k.high ORDER BY e.value, e.kind_rank, e.name LIMIT $6) f \
    JOIN kinds x ON x.rank = f.kind_rank";

const SPACES: &str = "SELECT n.number, n.space FROM namespaces n \
    JOIN unnest($1::int4[]) AS k(number) ON n.number = k.number";

/// What is prepared before it is needed.
pub(crate) const STATEMENTS: [&str; 6] = [ROWS, IDS, REMOVALS, NAMES, ENTRIES, SPACES];

/// Needs with numbers, in the order in which their places in the statements are numbered.
pub(crate) struct Reads {
    rows: Vec<(Key, bool)>,
    ids: Vec<(Table, bowline_store::RowId)>,
    removals: Vec<Key>,
    names: Vec<(Range, usize)>,
    entries: Vec<(Range, usize)>,
    spaces: Vec<(Arc<str>, i32)>,
}

fn split(needs: Needs, numbers: &Numbers) -> Reads {
    let known = numbers.known();
    let (names, entries) =
        needs.ranges.into_iter().partition(|(range, _)| matches!(range, Range::Names(_)));
    let spaces = needs.namespaces.into_iter();
    let spaces = spaces.filter_map(|name| Some((name.clone(), known.namespace(&name)?))).collect();
    Reads {
        rows: needs.rows.into_iter().collect(),
        ids: needs.ids.into_iter().collect(),
        removals: needs.removals.into_iter().collect(),
        names,
        entries,
        spaces,
    }
}

/// Places, namespaces and kinds.
type Columns = (Vec<i32>, Vec<i32>, Vec<i32>);

/// Tables as columns of numbers. All tables of a group have numbers by the time it is read.
fn tables<'t>(
    numbers: &Numbers,
    tables: impl Iterator<Item = &'t Table>,
) -> Result<Columns, StoreError> {
    let known = numbers.known();
    let (mut places, mut namespaces, mut kinds) = (vec![], vec![], vec![]);
    for (place, table) in (0..).zip(tables) {
        let (namespace, kind) =
            known.table(table).ok_or_else(|| corrupt("a table has no number"))?;
        places.push(place);
        namespaces.push(namespace);
        kinds.push(kind);
    }
    Ok((places, namespaces, kinds))
}

impl Reads {
    /// Adds the statements for `needs` to a flight; their answers go to [`Reads::take`].
    pub(crate) async fn ask<'s>(
        needs: Needs,
        numbers: &Numbers,
        session: &'s Session,
        flight: &mut Flight<'s>,
    ) -> Result<Self, Failure> {
        let reads = split(needs, numbers);
        if !reads.rows.is_empty() {
            let (places, namespaces, kinds) =
                tables(numbers, reads.rows.iter().map(|(key, _)| &key.table))?;
            let names: Vec<_> = reads.rows.iter().map(|(key, _)| bytes_of(&key.name)).collect();
            let whole: Vec<bool> = reads.rows.iter().map(|(_, whole)| *whole).collect();
            flight.query(
                session.statement(ROWS).await?,
                vec![
                    Box::new(places),
                    Box::new(namespaces),
                    Box::new(kinds),
                    Box::new(names),
                    Box::new(whole),
                ],
            );
        }
        if !reads.ids.is_empty() {
            let (places, namespaces, kinds) = tables(numbers, reads.ids.iter().map(|(t, _)| t))?;
            let ids: Vec<Option<Uuid>> = reads.ids.iter().map(|(_, id)| id_to_sql(*id)).collect();
            flight.query(
                session.statement(IDS).await?,
                vec![Box::new(places), Box::new(namespaces), Box::new(kinds), Box::new(ids)],
            );
        }
        if !reads.removals.is_empty() {
            let (places, namespaces, kinds) =
                tables(numbers, reads.removals.iter().map(|key| &key.table))?;
            let names: Vec<_> = reads.removals.iter().map(|key| bytes_of(&key.name)).collect();
            flight.query(
                session.statement(REMOVALS).await?,
                vec![Box::new(places), Box::new(namespaces), Box::new(kinds), Box::new(names)],
            );
        }
        reads.ask_ranges(numbers, session, flight).await?;
        if !reads.spaces.is_empty() {
            let namespaces: Vec<i32> = reads.spaces.iter().map(|(_, number)| *number).collect();
            flight.query(session.statement(SPACES).await?, vec![Box::new(namespaces)]);
        }
        Ok(reads)
    }

    async fn ask_ranges<'s>(
        &self,
        numbers: &Numbers,
        session: &'s Session,
        flight: &mut Flight<'s>,
    ) -> Result<(), Failure> {
        for (sql, ranges) in [(NAMES, &self.names), (ENTRIES, &self.entries)] {
            if ranges.is_empty() {
                continue;
            }
            let (mut places, mut namespaces, mut within) = (vec![], vec![], vec![]);
            let (mut lows, mut highs) = (vec![], vec![]);
            for (place, (range, _)) in (0_i32..).zip(ranges) {
                let known = numbers.known();
                let (namespace, number, (low, high)) = match range {
                    Range::Names(range) => (
                        known.namespace(&range.table.namespace),
                        known.kind(&range.table.kind).map(|kind| kind.number),
                        name_bounds(range),
                    ),
                    Range::Index(range) => (
                        known.namespace(&range.index.namespace),
                        known.index(&range.index.name),
                        value_bounds(range),
                    ),
                };
                places.push(place);
                namespaces.push(namespace.ok_or_else(|| corrupt("a namespace has no number"))?);
                within.push(number.ok_or_else(|| corrupt("a kind or index has no number"))?);
                lows.push(low.to_vec());
                highs.push(high.to_vec());
            }
            let limit = most(ranges);
            flight.query(
                session.statement(sql).await?,
                vec![
                    Box::new(places),
                    Box::new(namespaces),
                    Box::new(within),
                    Box::new(lows),
                    Box::new(highs),
                    Box::new(i64::try_from(limit).unwrap_or(i64::MAX)),
                ],
            );
        }
        Ok(())
    }

    /// Puts the answers to what was asked into `base`.
    pub(crate) fn take(
        self,
        answers: &mut impl Iterator<Item = Answer>,
        base: &mut Base,
    ) -> Result<(), StoreError> {
        let mut next = |any: bool| match any {
            true => answers.next().map(Answer::rows).unwrap_or_default(),
            false => Vec::new(),
        };
        let rows = next(!self.rows.is_empty());
        let ids = next(!self.ids.is_empty());
        let removals = next(!self.removals.is_empty());
        let names = next(!self.names.is_empty());
        let entries = next(!self.entries.is_empty());
        let spaces = next(!self.spaces.is_empty());
        take_rows(self.rows, &rows, base)?;
        let mut found = by_place(self.ids.len(), &ids, |row| name_at(row, 1))?;
        for (place, id) in self.ids.into_iter().enumerate() {
            base.ids.insert(id, found[place].pop());
        }
        let mut found = by_place(self.removals.len(), &removals, |row| column::<i64>(row, 1))?;
        for (place, key) in self.removals.into_iter().enumerate() {
            base.removals.insert(key, found[place].pop().map(from_sql));
        }
        take_names(self.names, &names, base)?;
        take_entries(self.entries, &entries, base)?;
        for (name, number) in self.spaces {
            for row in &spaces {
                if column::<i32>(row, 0)? == number {
                    base.spaces.insert(name.clone(), column(row, 1)?);
                }
            }
        }
        Ok(())
    }
}

fn most(ranges: &[(Range, usize)]) -> usize {
    ranges.iter().map(|(_, limit)| *limit).max().unwrap_or(0)
}

fn bytes_of(name: &Arc<str>) -> Vec<u8> {
    name.as_bytes().to_vec()
}

/// What was found for each place, in order.
fn by_place<T>(
    places: usize,
    rows: &[SqlRow],
    decode: impl Fn(&SqlRow) -> Result<T, StoreError>,
) -> Result<Vec<Vec<T>>, StoreError> {
    let mut found: Vec<Vec<T>> = Vec::new();
    found.resize_with(places, Vec::new);
    for row in rows {
        let place = usize::try_from(column::<i32>(row, 0)?).unwrap_or(usize::MAX);
        let at = found.get_mut(place);
        at.ok_or_else(|| corrupt("a row came back that nobody asked for"))?.push(decode(row)?);
    }
    Ok(found)
}

fn take_rows(keys: Vec<(Key, bool)>, rows: &[SqlRow], base: &mut Base) -> Result<(), StoreError> {
    // Body and aside are empty where nobody asked for them.
    let mut found = by_place(keys.len(), rows, |row| row_if_any_at(row, 1))?;
    for (place, (key, is_whole)) in keys.into_iter().enumerate() {
        base.rows.insert(key, Read { row: found[place].pop().flatten(), is_whole });
    }
    Ok(())
}

fn take_names(
    ranges: Vec<(Range, usize)>,
    rows: &[SqlRow],
    base: &mut Base,
) -> Result<(), StoreError> {
    let limit = most(&ranges);
    let found = by_place(ranges.len(), rows, |row| name_at(row, 1))?;
    for ((range, _), names) in ranges.into_iter().zip(found) {
        let Range::Names(of) = &range else { continue };
        let is_all = names.len() < limit;
        let key = |name| Key { table: of.table.clone(), name };
        let keys = names.into_iter().map(key).collect();
        base.ranges.insert(range_key(&range), Keys { keys, is_all });
    }
    Ok(())
}

fn take_entries(
    ranges: Vec<(Range, usize)>,
    rows: &[SqlRow],
    base: &mut Base,
) -> Result<(), StoreError> {
    let limit = most(&ranges);
    let found = by_place(ranges.len(), rows, |row| Ok((name_at(row, 1)?, name_at(row, 2)?)))?;
    for ((range, _), entries) in ranges.into_iter().zip(found) {
        let is_all = entries.len() < limit;
        let mut keys = Vec::new();
        for (kind, name) in entries {
            let table = Table { namespace: range.namespace().into(), kind };
            let key = Key { table, name };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        base.ranges.insert(range_key(&range), Keys { keys, is_all });
    }
    Ok(())
}
