//! One row, read by itself, with the position of the view that it was read in.

use bowline_store::{Key, Position, Row};

use crate::connect::Session;
use crate::failure::{Failure, corrupt};
use crate::numbers::Numbers;
use crate::row::{position_at, row_if_any_at};

pub(crate) const POSITION: &str = "SELECT era, sequence FROM state WHERE id = 1";

const GET: &str = "SELECT s.era, s.sequence, r.id, r.version, r.body, r.aside, r.extracted \
    FROM state s LEFT JOIN rows r \
    ON r.space = (SELECT n.space FROM namespaces n WHERE n.number = $1) \
    AND r.kind = $2 AND r.name = $3 WHERE s.id = 1";

/// The row under `key`. Cost: a round trip.
pub(crate) async fn get(
    session: &Session,
    numbers: &Numbers,
    key: &Key,
) -> Result<(Option<Row>, Position), Failure> {
    let known = numbers.known().table(&key.table);
    let (namespace, kind) = match known {
        Some(table) => table,
        None => {
            // Who makes the table after this position cannot have put a row into it before.
            let position = position(session).await?;
            numbers.load(session).await?;
            let Some(table) = numbers.known().table(&key.table) else {
                return Ok((None, position));
            };
            table
        }
    };
    let statement = session.statement(GET).await?;
    let name = key.name.as_bytes();
    let rows = session.client.query(&statement, &[&namespace, &kind, &name]).await?;
    let row = rows.first().ok_or_else(|| corrupt("state has no row"))?;
    Ok((row_if_any_at(row, 2)?, position_at(row, 0)?))
}

pub(crate) async fn position(session: &Session) -> Result<Position, Failure> {
    let statement = session.statement(POSITION).await?;
    let rows = session.client.query(&statement, &[]).await?;
    let row = rows.first().ok_or_else(|| corrupt("state has no row"))?;
    Ok(position_at(row, 0)?)
}
