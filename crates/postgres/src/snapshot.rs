//! Consistent views: a read-only transaction of its own connection, at `REPEATABLE READ`.

use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_store::{
    Hit, Index, IndexCursor, IndexRange, Key, NameRange, NamedRow, Position, Row, RowId, Snapshot,
    StoreError, Table, Value,
};
use tokio_postgres::Row as SqlRow;
use uuid::Uuid;

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::flight::Flight;
use crate::numbers::Numbers;
use crate::pool::{Lease, Leases};
use crate::read::POSITION;
use crate::row::{bytes_at, column, name_at, position_at, row_at};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Above every name: names are UTF-8.
pub(crate) const ABOVE_NAMES: &[u8] = &[0xff];

/// Above every value of an index entry.
pub(crate) const ABOVE_VALUES: &[u8] = &[0xff; bowline_store::contract::VALUE_BYTES_MAX + 1];

macro_rules! row {
    () => {
        "r.id, r.version, r.body, r.aside, r.extracted"
    };
}

macro_rules! space {
    () => {
        "(SELECT n.space FROM namespaces n WHERE n.number = $1)"
    };
}

// See `gather` for the form of look-ups.

const ROWS: &str = concat!(
    "SELECT k.place, ",
    row!(),
    " FROM unnest($1::int4[], $2::int4[], $3::int4[], $4::bytea[]) \
     AS k(place, namespace, kind, name) JOIN namespaces n ON n.number = k.namespace \
     CROSS JOIN LATERAL (SELECT o.* FROM rows o \
     WHERE o.space = n.space AND o.kind = k.kind AND o.name = k.name LIMIT 1) r"
);

const ROWS_BY_ID: &str = concat!(
    "SELECT k.place, r.name, ",
    row!(),
    " FROM unnest($3::int4[], $4::uuid[]) AS k(place, id) \
     CROSS JOIN LATERAL (SELECT o.* FROM rows o WHERE o.id = k.id AND o.space + 0 = ",
    space!(),
    " AND o.kind + 0 = $2 LIMIT 1) r"
);

macro_rules! scan {
    ($order:literal) => {
        concat!(
            "SELECT r.name, ",
            row!(),
            " FROM rows r WHERE r.space = ",
            space!(),
            " AND r.kind = $2 AND r.name >= $3 AND r.name < $4 ORDER BY r.name ",
            $order,
            " LIMIT $5"
        )
    };
}

macro_rules! scan_index {
    ($beyond:literal, $order:literal) => {
        concat!(
            "SELECT e.value, k.name, e.name, ",
            row!(),
            " FROM (SELECT value, kind_rank, name \
             FROM entries WHERE space = ",
            space!(),
            " AND index_number = $2 AND value >= $3 \
             AND value < $4 AND (value, kind_rank, name) ",
            $beyond,
            " ($5, $6, $7) ORDER BY value ",
            $order,
            ", kind_rank ",
            $order,
            ", name ",
            $order,
            " LIMIT $8) e \
             JOIN kinds k ON k.rank = e.kind_rank \
             CROSS JOIN LATERAL (SELECT o.* FROM rows o WHERE o.space = ",
            space!(),
            " AND o.kind = k.number AND o.name = e.name LIMIT 1) r ORDER BY e.value ",
            $order,
            ", e.kind_rank ",
            $order,
            ", e.name ",
            $order
        )
    };
}

const TABLES: &str = "SELECT n.name, k.name FROM tables t \
    JOIN namespaces n ON n.number = t.namespace JOIN kinds k ON k.number = t.kind \
    CROSS JOIN LATERAL (SELECT 1 FROM rows o WHERE o.space = n.space AND o.kind = t.kind LIMIT 1) r \
    ORDER BY n.name, k.name";

/// Opens a view of now. Cost: a round trip.
pub(crate) async fn open(
    leases: &Leases,
    numbers: &Arc<Numbers>,
    seams: &Seams,
    since: std::time::Duration,
) -> Result<View, Failure> {
    let lease = leases.take(false, since).await?;
    match begin(lease.session()).await {
        Ok(position) => Ok(View::new(lease, position, numbers, seams)),
        Err(failure) if failure.is_lost() => {
            drop(lease);
            let lease = leases.take(true, since).await?;
            let position = begin(lease.session()).await?;
            Ok(View::new(lease, position, numbers, seams))
        }
        Err(failure) => Err(failure),
    }
}

async fn begin(session: &Session) -> Result<Position, Failure> {
    let position = session.statement(POSITION).await?;
    let mut flight = Flight::new(session);
    flight.plain(BEGIN);
    flight.query(position, Vec::new());
    let mut rows = Vec::new();
    for answer in flight.run().await {
        rows = answer?.rows();
    }
    let row = rows.first().ok_or_else(|| corrupt("state has no row"))?;
    Ok(position_at(row, 0)?)
}

/// A view; its connection goes back to the pool when it is dropped.
pub(crate) struct View {
    lease: Option<Lease>,
    position: Position,
    numbers: Arc<Numbers>,
    seams: Seams,
}

impl View {
    fn new(lease: Lease, position: Position, numbers: &Arc<Numbers>, seams: &Seams) -> Self {
        Self { lease: Some(lease), position, numbers: numbers.clone(), seams: seams.clone() }
    }

    fn session(&self) -> Result<&Session, StoreError> {
        Ok(self.lease.as_ref().ok_or(StoreError::Closed)?.session())
    }

    /// Namespace and kind of a table; `None` if it has no rows here.
    async fn table(&self, table: &Table) -> Result<Option<(i32, i32)>, Failure> {
        if let Some(known) = self.numbers.known().table(table) {
            return Ok(Some(known));
        }
        // Within the view: what was made after it has no rows in it. What this forgets that others know by now, they
        // read again.
        let fresh = Numbers::default();
        fresh.load(self.session()?).await?;
        let found = fresh.known().table(table);
        Ok(found)
    }

    async fn rows_of(&self, keys: &[Key]) -> Result<Vec<Option<Row>>, Failure> {
        let mut found = vec![None; keys.len()];
        let (mut places, mut namespaces, mut kinds, mut names) = (vec![], vec![], vec![], vec![]);
        for (place, key) in keys.iter().enumerate() {
            let Some((namespace, kind)) = self.table(&key.table).await? else { continue };
            places.push(i32::try_from(place).unwrap_or(i32::MAX));
            namespaces.push(namespace);
            kinds.push(kind);
            names.push(key.name.as_bytes());
        }
        let session = self.session()?;
        let statement = session.statement(ROWS).await?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&places, &namespaces, &kinds, &names];
        for row in session.client.query(&statement, &values).await? {
            *at_place(&mut found, &row)? = Some(row_at(&row, 1)?);
        }
        Ok(found)
    }

    async fn rows_by_id(
        &self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, Failure> {
        let mut found = vec![None; ids.len()];
        let Some((namespace, kind)) = self.table(table).await? else { return Ok(found) };
        let (places, ids): (Vec<i32>, Vec<Uuid>) = (0..)
            .zip(ids)
            .filter(|(_, id)| !id.is_none())
            .map(|(place, id)| (place, Uuid::from_u128(id.0)))
            .unzip();
        let session = self.session()?;
        let statement = session.statement(ROWS_BY_ID).await?;
        let rows = session.client.query(&statement, &[&namespace, &kind, &places, &ids]).await?;
        for row in rows {
            *at_place(&mut found, &row)? = Some((name_at(&row, 1)?, row_at(&row, 2)?));
        }
        Ok(found)
    }

    async fn named_rows(
        &self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, Failure> {
        let Some((namespace, kind)) = self.table(&range.table).await? else { return Ok(vec![]) };
        let session = self.session()?;
        let sql = if descending { scan!("DESC") } else { scan!("ASC") };
        let statement = session.statement(sql).await?;
        let (from, to) = name_bounds(range);
        let limit = to_limit(limit);
        let rows =
            session.client.query(&statement, &[&namespace, &kind, &from, &to, &limit]).await?;
        let named = |row: &SqlRow| Ok((name_at(row, 0)?, row_at(row, 1)?));
        rows.iter().map(named).collect()
    }

    async fn hits(
        &self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, Failure> {
        let Index { namespace, name } = &range.index;
        let session = self.session()?;
        let mut numbers = self.numbers.clone();
        let is_known = {
            let known = numbers.known();
            known.namespace(namespace).is_some()
                && known.index(name).is_some()
                && after.is_none_or(|cursor| known.kind(&cursor.kind).is_some())
        };
        if !is_known {
            numbers = Arc::default();
            numbers.load(session).await?;
        }
        let Some(bounds) = EntryBounds::of(&numbers, range, after, descending) else {
            return Ok(vec![]);
        };
        let sql = match descending {
            true => scan_index!("<", "DESC"),
            false => scan_index!(">", "ASC"),
        };
        let statement = session.statement(sql).await?;
        let EntryBounds { namespace: number, index, from, to, value, rank, name } = bounds;
        let limit = to_limit(limit);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&number, &index, &from, &to, &value, &rank, &name, &limit];
        let rows = session.client.query(&statement, &values).await?;
        rows.iter().map(|row| Ok(hit(row, namespace)?)).collect()
    }

    async fn all_tables(&self) -> Result<Vec<Table>, Failure> {
        let session = self.session()?;
        let rows = session.client.query(&session.statement(TABLES).await?, &[]).await?;
        let table =
            |row: &SqlRow| Ok(Table { namespace: name_at(row, 0)?, kind: name_at(row, 1)? });
        rows.iter().map(table).collect()
    }
}

/// Lower bound inclusive, upper exclusive.
pub(crate) fn name_bounds(range: &NameRange) -> (&[u8], &[u8]) {
    (range.from.as_bytes(), range.to.as_deref().map_or(ABOVE_NAMES, str::as_bytes))
}

/// Lower bound inclusive, upper exclusive.
pub(crate) fn value_bounds(range: &IndexRange) -> (&[u8], &[u8]) {
    // A bound that is longer than any value is cut: what it tells apart are values that cannot be.
    let to = range.to.as_ref().map_or(ABOVE_VALUES, Value::as_bytes);
    (range.from.as_bytes(), to)
}

/// What an index scan goes by.
struct EntryBounds {
    namespace: i32,
    index: i32,
    from: Vec<u8>,
    to: Vec<u8>,
    /// The entry beyond which it begins.
    value: Vec<u8>,
    rank: Vec<u8>,
    name: Vec<u8>,
}

impl EntryBounds {
    fn of(
        numbers: &Numbers,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        descending: bool,
    ) -> Option<Self> {
        let known = numbers.known();
        let (from, to) = value_bounds(range);
        let (value, rank, name) = match after {
            // Ranks are never empty, so that these are below all entries with the value.
            None => (if descending { to } else { from }.to_vec(), Vec::new(), Vec::new()),
            Some(cursor) => {
                let value = cursor.value.as_bytes().to_vec();
                match known.kind(&cursor.kind) {
                    Some(kind) => (value, kind.rank.to_vec(), cursor.name.as_bytes().to_vec()),
                    // No entry has that kind, so the place is after all kinds below it.
                    None => match known.rank_below(&cursor.kind) {
                        Some(rank) => (value, rank.to_vec(), ABOVE_NAMES.to_vec()),
                        None => (value, Vec::new(), Vec::new()),
                    },
                }
            }
        };
        Some(Self {
            namespace: known.namespace(&range.index.namespace)?,
            index: known.index(&range.index.name)?,
            from: from.to_vec(),
            to: to.to_vec(),
            value,
            rank,
            name,
        })
    }
}

fn hit(row: &SqlRow, namespace: &Arc<str>) -> Result<Hit, StoreError> {
    let table = Table { namespace: namespace.clone(), kind: name_at(row, 1)? };
    let key = Key { table, name: name_at(row, 2)? };
    Ok(Hit { value: Value::from(bytes_at(row, 0)?), key, row: row_at(row, 3)? })
}

fn at_place<'f, T>(found: &'f mut [T], row: &SqlRow) -> Result<&'f mut T, StoreError> {
    let place: i32 = column(row, 0)?;
    let place = usize::try_from(place).ok().and_then(|place| found.get_mut(place));
    place.ok_or_else(|| corrupt("a row came back for a key that was not asked for"))
}

fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Snapshot for View {
    fn position(&self) -> Position {
        self.position
    }

    async fn batch_get(&mut self, keys: &[Key]) -> Result<Vec<Option<Row>>, StoreError> {
        self.rows_of(keys).await.map_err(Failure::into_store_error)
    }

    async fn batch_get_by_id(
        &mut self,
        table: &Table,
        ids: &[RowId],
    ) -> Result<Vec<Option<NamedRow>>, StoreError> {
        self.rows_by_id(table, ids).await.map_err(Failure::into_store_error)
    }

    async fn scan(
        &mut self,
        range: &NameRange,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<NamedRow>, StoreError> {
        if limit == 0 || range.is_void() {
            return Ok(Vec::new());
        }
        self.named_rows(range, limit, descending).await.map_err(Failure::into_store_error)
    }

    async fn scan_index(
        &mut self,
        range: &IndexRange,
        after: Option<&IndexCursor>,
        limit: usize,
        descending: bool,
    ) -> Result<Vec<Hit>, StoreError> {
        if limit == 0 || range.is_void() {
            return Ok(Vec::new());
        }
        self.hits(range, after, limit, descending).await.map_err(Failure::into_store_error)
    }

    async fn tables(&mut self) -> Result<Vec<Table>, StoreError> {
        self.all_tables().await.map_err(Failure::into_store_error)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let give_back = async move {
            if lease.session().client.batch_execute("ROLLBACK").await.is_ok() {
                lease.give_back();
            }
        };
        self.seams.tasks.spawn("postgres snapshot ends", Box::pin(give_back));
    }
}
