//! The change log in the database, read by pages. Lines are written with the group that they are of (see `net`).
//!
//! A page is read in two steps: how far it goes, by the sizes of its lines, then the lines. What retention removes in
//! between shows in the second step, which reads where the log begins in the same statement.

use std::sync::Arc;

use bowline_store::{Change, Changes, Key, Position, StoreError};
use tokio_postgres::Row as SqlRow;

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::numbers::Numbers;
use crate::row::{column, from_sql, line_if_any_at, name_at, position_at, to_sql};

/// A page ends after this many bytes, so that long bodies do not pile up in memory.
const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Most changes that a page is asked for.
const PAGE_CHANGES_MAX: usize = 100_000;

const SIZES: &str = "SELECT s.era, s.sequence, s.log_oldest, l.sequence, l.size FROM state s \
    LEFT JOIN (SELECT sequence, line, size FROM log WHERE sequence > $1 \
    ORDER BY sequence, line LIMIT $2) l ON true WHERE s.id = 1 ORDER BY l.sequence, l.line";

const LINES: &str = "SELECT s.era, s.sequence, s.log_oldest, l.sequence, l.namespace, l.kind, \
    l.name, l.before_id, l.before_version, l.before_body, l.before_aside, \
    l.after_id, l.after_version, l.after_body, l.after_aside FROM state s \
    LEFT JOIN log l ON l.sequence > $1 AND l.sequence <= $2 WHERE s.id = 1 \
    ORDER BY l.sequence, l.line";

/// What a line counts in the size of the log.
pub(crate) fn line_bytes(change: &Change) -> u64 {
    let row = |row: &Option<bowline_store::Row>| {
        row.as_ref().map_or(0, |row| row.body.len() + row.aside.len())
    };
    (change.key.name.len() + row(&change.before) + row(&change.after)) as u64
}

/// Changes after `after`: about `limit`, whole commits.
pub(crate) async fn read(
    session: &Session,
    numbers: &Numbers,
    after: Position,
    limit: usize,
) -> Result<Changes, Failure> {
    let limit = limit.clamp(1, PAGE_CHANGES_MAX);
    let asked = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let sizes = session.statement(SIZES).await?;
    let sizes = session.client.query(&sizes, &[&to_sql(after.sequence), &asked]).await?;
    let begin = Bounds::read(&sizes)?;
    if !begin.contains(after) {
        return Ok(Changes::TooOld { oldest: begin.oldest });
    }
    let Some((end, is_whole)) = end_of_page(&sizes, limit)? else {
        return Ok(Changes::Page { changes: Vec::new(), next: begin.head, at_head: true });
    };
    let lines = session.statement(LINES).await?;
    let lines = session.client.query(&lines, &[&to_sql(after.sequence), &to_sql(end)]).await?;
    let now = Bounds::read(&lines)?;
    if !now.contains(after) {
        return Ok(Changes::TooOld { oldest: now.oldest });
    }
    let changes = changes(session, numbers, &lines, after.era).await?;
    let next = if is_whole { begin.head } else { Position { sequence: end, ..after } };
    Ok(Changes::Page { changes, next, at_head: is_whole && now.head == begin.head })
}

/// Where the log begins and ends.
struct Bounds {
    head: Position,
    oldest: Position,
}

impl Bounds {
    fn read(rows: &[SqlRow]) -> Result<Self, StoreError> {
        let row = rows.first().ok_or_else(|| corrupt("state has no row"))?;
        let head = position_at(row, 0)?;
        Ok(Self { head, oldest: Position { sequence: from_sql(column(row, 2)?), ..head } })
    }

    fn contains(&self, after: Position) -> bool {
        after.era == self.head.era && after <= self.head && after >= self.oldest
    }
}

/// The last sequence of the page that begins with `sizes`, and whether nothing comes after it; `None` if it is empty.
fn end_of_page(sizes: &[SqlRow], limit: usize) -> Result<Option<(u64, bool)>, StoreError> {
    let (mut end, mut bytes) = (None, 0);
    for (at, row) in sizes.iter().enumerate() {
        let sequence: Option<i64> = column(row, 3)?;
        let Some(sequence) = sequence.map(from_sql) else { return Ok(None) };
        let is_full = at >= limit || bytes >= PAGE_BYTES_MAX;
        match end {
            Some(last) if last != sequence && is_full => return Ok(Some((last, false))),
            _ => end = Some(sequence),
        }
        bytes += from_sql(column(row, 4)?);
    }
    // With as many lines as were asked for, the last commit may go on after them, and is read whole by its sequence.
    Ok(end.map(|end| (end, sizes.len() <= limit)))
}

async fn changes(
    session: &Session,
    numbers: &Numbers,
    lines: &[SqlRow],
    era: u64,
) -> Result<Vec<Arc<Change>>, Failure> {
    match decode(numbers, lines, era)? {
        Some(changes) => Ok(changes),
        None => {
            // Another process has made a table since we looked.
            numbers.load(session).await?;
            Ok(decode(numbers, lines, era)?
                .ok_or_else(|| corrupt("the log names no known table"))?)
        }
    }
}

/// `None` if a line is of a table that has no name here yet.
fn decode(
    numbers: &Numbers,
    lines: &[SqlRow],
    era: u64,
) -> Result<Option<Vec<Arc<Change>>>, StoreError> {
    let known = numbers.known();
    let mut changes = Vec::with_capacity(lines.len());
    for row in lines {
        let sequence: Option<i64> = column(row, 3)?;
        let Some(sequence) = sequence.map(from_sql) else { continue };
        let Some(table) = known.table_of(column(row, 4)?, column(row, 5)?) else { return Ok(None) };
        changes.push(Arc::new(Change {
            position: Position { era, sequence },
            key: Key { table, name: name_at(row, 6)? },
            before: line_if_any_at(row, 7)?,
            after: line_if_any_at(row, 11)?,
        }));
    }
    Ok(Some(changes))
}
