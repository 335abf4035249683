//! What a group writes: the difference that all its batches together make, as a few statements over arrays.

use std::sync::Arc;

use bowline_store::plan::{Effect, RowEffect};
use bowline_store::{Change, Key, Row, StoreError};
use uuid::Uuid;

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::flight::{Flight, Value};
use crate::group::{Group, Touched};
use crate::log::line_bytes;
use crate::needs::Base;
use crate::numbers::Numbers;
use crate::row::{id_to_sql, to_sql};

const DELETE_ROWS: &str = "DELETE FROM rows r \
    USING unnest($1::int4[], $2::int4[], $3::bytea[]) AS u(space, kind, name) \
    WHERE r.space = u.space AND r.kind = u.kind AND r.name = u.name";

const UPSERT_ROWS: &str = "INSERT INTO rows \
    (space, kind, name, id, version, body, aside, extracted, readable) \
    SELECT u.space, u.kind, u.name, u.id, u.version, u.body, u.aside, u.extracted, \
    u.readable::jsonb FROM unnest($1::int4[], $2::int4[], $3::bytea[], $4::uuid[], $5::int8[], \
    $6::bytea[], $7::bytea[], $8::bytea[], $9::text[]) \
    AS u(space, kind, name, id, version, body, aside, extracted, readable) \
    ON CONFLICT (space, kind, name) DO UPDATE SET id = excluded.id, version = excluded.version, \
    body = excluded.body, aside = excluded.aside, extracted = excluded.extracted, \
    readable = excluded.readable";

const DELETE_ENTRIES: &str = "DELETE FROM entries e \
    USING unnest($1::int4[], $2::int4[], $3::bytea[], $4::bytea[], $5::bytea[]) \
    AS u(space, index_number, value, kind_rank, name) \
    WHERE e.space = u.space AND e.index_number = u.index_number AND e.value = u.value \
    AND e.kind_rank = u.kind_rank AND e.name = u.name";

const INSERT_ENTRIES: &str = "INSERT INTO entries (space, index_number, value, kind_rank, name) \
    SELECT u.space, u.index_number, u.value, u.kind_rank, u.name \
    FROM unnest($1::int4[], $2::int4[], $3::bytea[], $4::bytea[], $5::bytea[]) \
    AS u(space, index_number, value, kind_rank, name)";

const INSERT_LINES: &str = "INSERT INTO log (sequence, line, namespace, kind, name, \
    before_id, before_version, before_body, before_aside, \
    after_id, after_version, after_body, after_aside, size) \
    SELECT u.* FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int4[], $5::bytea[], \
    $6::uuid[], $7::int8[], $8::bytea[], $9::bytea[], \
    $10::uuid[], $11::int8[], $12::bytea[], $13::bytea[], $14::int8[]) AS u";

const ADVANCE: &str = "UPDATE state SET sequence = $1, log_changes = log_changes + $2, \
    log_bytes = log_bytes + $3, last_space = $4 WHERE id = 1";

/// The same, and the oldest lines go, whole commits.
const ADVANCE_AND_CUT: &str = "WITH gone AS (DELETE FROM log WHERE sequence <= \
    (SELECT max(o.sequence) FROM (SELECT sequence FROM log ORDER BY sequence, line LIMIT $5) o) \
    RETURNING sequence, size) \
    UPDATE state SET sequence = $1, last_space = $4, \
    log_changes = log_changes + $2 - (SELECT count(*) FROM gone)::int8, \
    log_bytes = log_bytes + $3 - (SELECT coalesce(sum(g.size), 0) FROM gone g)::int8, \
    log_oldest = (SELECT coalesce(max(g.sequence), log_oldest) FROM gone g) WHERE id = 1";

const SET_SPACE: &str = "UPDATE namespaces SET space = $2 WHERE number = $1";
const DROP_SPACE: &str = "INSERT INTO dropped (space) VALUES ($1) ON CONFLICT (space) DO NOTHING";
const SWAP_TABLES: &str = "INSERT INTO tables (namespace, kind) \
    SELECT t.namespace, t.kind FROM (SELECT $2::int4 AS namespace, kind FROM tables \
    WHERE namespace = $1 UNION SELECT $1::int4, kind FROM tables WHERE namespace = $2) t \
    ON CONFLICT (namespace, kind) DO NOTHING";

/// What is prepared before it is needed.
pub(crate) const STATEMENTS: [&str; 10] = [
    DELETE_ROWS,
    UPSERT_ROWS,
    DELETE_ENTRIES,
    INSERT_ENTRIES,
    INSERT_LINES,
    ADVANCE,
    ADVANCE_AND_CUT,
    SET_SPACE,
    DROP_SPACE,
    SWAP_TABLES,
];

/// Rows and bytes that one statement carries at most; a message to the server ends at 1 GiB.
const CHUNK_ROWS: usize = 8_192;
const CHUNK_BYTES: usize = 64 * 1024 * 1024;

/// Lines of the log that are removed at most per group and per line that the group adds.
const CUT_LINES_MIN: u64 = 64;

/// How long the log may get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    pub(crate) changes_max: u64,
    pub(crate) bytes_max: u64,
}

/// Adds to `flight` all that `group` writes, but not the `COMMIT`.
pub(crate) async fn write<'s>(
    group: &Group,
    base: &Base,
    numbers: &Numbers,
    limits: LogLimits,
    session: &'s Session,
    flight: &mut Flight<'s>,
) -> Result<(), Failure> {
    let mut written = Written::default();
    {
        let places = Places { base, numbers };
        for (key, touched) in &group.rows {
            written.add(key, touched, &places)?;
        }
        for (index, change) in group.changes.iter().enumerate() {
            written.add_line(index, change, numbers)?;
        }
    }
    let mut statements = Vec::new();
    statements.extend(written.gone_rows.statements());
    statements.extend(written.rows.statements());
    statements.extend(written.gone_entries.statements(DELETE_ENTRIES));
    statements.extend(written.new_entries.statements(INSERT_ENTRIES));
    statements.extend(written.lines.statements());
    let last_space = moves(group, base, numbers, &mut statements)?;
    statements.push(advance(group, base, limits, last_space));
    for (sql, values) in statements {
        flight.execute(session.statement(sql).await?, values);
    }
    Ok(())
}

type Ready = (&'static str, Vec<Value<'static>>);

/// The statements of swaps and drops; the last space that is in use after them.
fn moves(
    group: &Group,
    base: &Base,
    numbers: &Numbers,
    statements: &mut Vec<Ready>,
) -> Result<i32, StoreError> {
    let places = Places { base, numbers };
    let mut last_space = base.state.last_space;
    for effect in &group.moves {
        match effect {
            Effect::Swap { a, b } => {
                let (number_a, space_a) = places.namespace(a)?;
                let (number_b, space_b) = places.namespace(b)?;
                statements.push((SET_SPACE, vec![Box::new(number_a), Box::new(space_b)]));
                statements.push((SET_SPACE, vec![Box::new(number_b), Box::new(space_a)]));
                statements.push((SWAP_TABLES, vec![Box::new(number_a), Box::new(number_b)]));
            }
            Effect::Drop { namespace } => {
                let (number, space) = places.namespace(namespace)?;
                last_space += 1;
                statements.push((SET_SPACE, vec![Box::new(number), Box::new(last_space)]));
                statements.push((DROP_SPACE, vec![Box::new(space)]));
            }
            Effect::Row(_) => {}
        }
    }
    Ok(last_space)
}

fn advance(group: &Group, base: &Base, limits: LogLimits, last_space: i32) -> Ready {
    let lines = group.changes.len() as u64;
    let mut values: Vec<Value<'static>> = vec![
        Box::new(to_sql(group.end(base).sequence)),
        Box::new(to_sql(lines)),
        Box::new(to_sql(group.log_bytes)),
        Box::new(last_space),
    ];
    let changes = base.state.log_changes + lines;
    let bytes = base.state.log_bytes + group.log_bytes;
    let too_many = changes.saturating_sub(limits.changes_max);
    // As many lines as have the excess of bytes if they are of the usual size.
    let usual = (bytes / changes.max(1)).max(1);
    let too_large = bytes.saturating_sub(limits.bytes_max).div_ceil(usual);
    match too_many.max(too_large).min(CUT_LINES_MIN + 2 * lines) {
        0 => (ADVANCE, values),
        cut => {
            values.push(Box::new(to_sql(cut)));
            (ADVANCE_AND_CUT, values)
        }
    }
}

/// Numbers and spaces of what a group writes to. All of it was made or read before.
struct Places<'g> {
    base: &'g Base,
    numbers: &'g Numbers,
}

impl Places<'_> {
    fn namespace(&self, name: &Arc<str>) -> Result<(i32, i32), StoreError> {
        let number = self.numbers.known().namespace(name);
        let space = self.base.spaces.get(name).copied();
        number.zip(space).ok_or_else(|| corrupt("a namespace has no number"))
    }

    fn space(&self, key: &Key) -> Result<i32, StoreError> {
        let space = self.base.spaces.get(&key.table.namespace).copied();
        space.ok_or_else(|| corrupt("a namespace has no space"))
    }
}

#[derive(Default)]
struct Written {
    gone_rows: GoneRows,
    rows: Rows,
    gone_entries: Entries,
    new_entries: Entries,
    lines: Lines,
}

impl Written {
    fn add(&mut self, key: &Key, touched: &Touched, places: &Places<'_>) -> Result<(), StoreError> {
        let Touched { before, after, readable } = touched;
        let space = places.space(key)?;
        let known = places.numbers.known();
        let kind = known.kind(&key.table.kind).ok_or_else(|| corrupt("a kind has no number"))?;
        let id = |row: &Row| row.id;
        // An id that a row gives up must be free before another row takes it, whichever comes first.
        if before.is_some() && after.as_ref().map(id) != before.as_ref().map(id) {
            self.gone_rows.push(space, kind.number, key);
        }
        if let Some(row) = after {
            self.rows.push(space, kind.number, key, row, readable.as_deref());
        }
        // The extracts alone decide which entries come and go.
        let effect = RowEffect {
            key: key.clone(),
            before: before.clone(),
            after: after.clone(),
            readable: None,
            is_logged: false,
        };
        let changes = effect.entries();
        for (entries, into) in
            [(changes.gone, &mut self.gone_entries), (changes.new, &mut self.new_entries)]
        {
            for entry in entries {
                let index = known.index(entry.index);
                let index = index.ok_or_else(|| corrupt("an index has no number"))?;
                into.push(space, index, entry.value.as_bytes(), &kind.rank, key);
            }
        }
        Ok(())
    }

    fn add_line(
        &mut self,
        index: usize,
        change: &Change,
        numbers: &Numbers,
    ) -> Result<(), StoreError> {
        let table = numbers.known().table(&change.key.table);
        let (namespace, kind) = table.ok_or_else(|| corrupt("a table has no number"))?;
        self.lines.push(index, namespace, kind, change);
        Ok(())
    }
}

/// Cuts lists of columns into statements; `$size` is what a row weighs.
macro_rules! columns {
    ($name:ident { $($column:ident: $type:ty),* $(,)? }) => {
        #[derive(Default)]
        struct $name {
            chunks: Vec<Self>,
            bytes: usize,
            $($column: Vec<$type>,)*
        }

        impl $name {
            /// Begins a new chunk if this one is full.
            fn make_room(&mut self, bytes: usize, rows: usize) {
                if rows >= CHUNK_ROWS || (rows > 0 && self.bytes + bytes > CHUNK_BYTES) {
                    let mut full = std::mem::take(self);
                    self.chunks = std::mem::take(&mut full.chunks);
                    self.chunks.push(full);
                }
                self.bytes += bytes;
            }

            fn into_values(mut self) -> Vec<Vec<Value<'static>>> {
                let mut chunks = std::mem::take(&mut self.chunks);
                chunks.push(self);
                chunks
                    .into_iter()
                    .filter(|chunk| chunk.bytes > 0)
                    .map(|chunk| vec![$(Box::new(chunk.$column) as Value<'static>),*])
                    .collect()
            }
        }
    };
}

columns!(GoneRows { spaces: i32, kinds: i32, names: Vec<u8> });
columns!(Rows {
    spaces: i32,
    kinds: i32,
    names: Vec<u8>,
    ids: Option<Uuid>,
    versions: i64,
    bodies: Vec<u8>,
    asides: Vec<u8>,
    extracts: Vec<u8>,
    readables: Option<String>,
});
columns!(Entries {
    spaces: i32,
    indexes: i32,
    values: Vec<u8>,
    ranks: Vec<u8>,
    names: Vec<u8>,
});
columns!(Lines {
    sequences: i64,
    lines: i32,
    namespaces: i32,
    kinds: i32,
    names: Vec<u8>,
    before_ids: Option<Uuid>,
    before_versions: Option<i64>,
    before_bodies: Option<Vec<u8>>,
    before_asides: Option<Vec<u8>>,
    after_ids: Option<Uuid>,
    after_versions: Option<i64>,
    after_bodies: Option<Vec<u8>>,
    after_asides: Option<Vec<u8>>,
    sizes: i64,
});

/// What the fixed columns of a row weigh, about.
const FIXED_BYTES: usize = 32;

impl GoneRows {
    fn push(&mut self, space: i32, kind: i32, key: &Key) {
        self.make_room(FIXED_BYTES + key.name.len(), self.names.len());
        self.spaces.push(space);
        self.kinds.push(kind);
        self.names.push(key.name.as_bytes().to_vec());
    }

    fn statements(self) -> impl Iterator<Item = Ready> {
        self.into_values().into_iter().map(|values| (DELETE_ROWS, values))
    }
}

impl Rows {
    fn push(&mut self, space: i32, kind: i32, key: &Key, row: &Row, readable: Option<&[u8]>) {
        let extract = row.extract.as_bytes();
        let bytes = key.name.len() + row.body.len() + row.aside.len() + extract.len();
        let bytes = bytes + readable.map_or(0, <[u8]>::len);
        self.make_room(FIXED_BYTES + bytes, self.names.len());
        self.spaces.push(space);
        self.kinds.push(kind);
        self.names.push(key.name.as_bytes().to_vec());
        self.ids.push(id_to_sql(row.id));
        self.versions.push(to_sql(row.version));
        self.bodies.push(row.body.to_vec());
        self.asides.push(row.aside.to_vec());
        self.extracts.push(extract.to_vec());
        self.readables.push(readable.and_then(crate::views::readable));
    }

    fn statements(self) -> impl Iterator<Item = Ready> {
        self.into_values().into_iter().map(|values| (UPSERT_ROWS, values))
    }
}

impl Entries {
    fn push(&mut self, space: i32, index: i32, value: &[u8], rank: &[u8], key: &Key) {
        let bytes = FIXED_BYTES + value.len() + rank.len() + key.name.len();
        self.make_room(bytes, self.names.len());
        self.spaces.push(space);
        self.indexes.push(index);
        self.values.push(value.to_vec());
        self.ranks.push(rank.to_vec());
        self.names.push(key.name.as_bytes().to_vec());
    }

    fn statements(self, sql: &'static str) -> impl Iterator<Item = Ready> {
        self.into_values().into_iter().map(move |values| (sql, values))
    }
}

impl Lines {
    fn push(&mut self, index: usize, namespace: i32, kind: i32, change: &Change) {
        let size = line_bytes(change);
        let bytes = FIXED_BYTES + usize::try_from(size).unwrap_or(usize::MAX);
        self.make_room(bytes, self.names.len());
        self.sequences.push(to_sql(change.position.sequence));
        self.lines.push(i32::try_from(index).unwrap_or(i32::MAX));
        self.namespaces.push(namespace);
        self.kinds.push(kind);
        self.names.push(change.key.name.as_bytes().to_vec());
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        self.before_ids.push(before.and_then(|row| id_to_sql(row.id)));
        self.before_versions.push(before.map(|row| to_sql(row.version)));
        self.before_bodies.push(before.map(|row| row.body.to_vec()));
        self.before_asides.push(before.map(|row| row.aside.to_vec()));
        self.after_ids.push(after.and_then(|row| id_to_sql(row.id)));
        self.after_versions.push(after.map(|row| to_sql(row.version)));
        self.after_bodies.push(after.map(|row| row.body.to_vec()));
        self.after_asides.push(after.map(|row| row.aside.to_vec()));
        self.sizes.push(to_sql(size));
    }

    fn statements(self) -> impl Iterator<Item = Ready> {
        self.into_values().into_iter().map(|values| (INSERT_LINES, values))
    }
}
