//! Work that can wait: rows of dropped spaces are removed in slices, views of new tables are made.

use std::sync::Arc;
use std::time::Duration;

use crate::connect::{Purpose, Session};
use crate::failure::Failure;
use crate::row::column;
use crate::schema::{Schema, Stop};
use crate::views;

/// How often to look whether another process has left something to do.
const INTERVAL: Duration = Duration::from_secs(60);

const NEXT_DROPPED: &str = "SELECT space FROM dropped ORDER BY space LIMIT 1";
const FREE_ROWS: &str = "DELETE FROM rows r USING (SELECT space, kind, name FROM rows \
    WHERE space = $1 ORDER BY kind, name LIMIT 1000) o \
    WHERE r.space = o.space AND r.kind = o.kind AND r.name = o.name";
const FREE_ENTRIES: &str = "DELETE FROM entries e USING (SELECT space, index_number, value, \
    kind_rank, name FROM entries WHERE space = $1 \
    ORDER BY index_number, value, kind_rank, name LIMIT 1000) o \
    WHERE e.space = o.space AND e.index_number = o.index_number AND e.value = o.value \
    AND e.kind_rank = o.kind_rank AND e.name = o.name";
const FREED: &str = "DELETE FROM dropped WHERE space = $1";

/// Processes that have not committed for so long are forgotten; one that is still there comes back under a new id.
const FORGET_WRITERS: &str = "DELETE FROM writers WHERE used_at < now() - interval '7 days'";

/// Does it whenever there is something to do.
pub(crate) async fn run(schema: Arc<Schema>, mut stop: Stop) {
    loop {
        let done = tokio::select! {
            done = once(&schema) => done,
            _ = stop.changed() => return,
        };
        if let Err(failure) = done {
            tracing::warn!(error = %bowline_base::chain(&failure), "upkeep of the store failed");
        }
        let interval = schema.connector.seams().clock.sleep(INTERVAL);
        tokio::select! {
            () = schema.upkeep.notified() => {}
            () = interval => {}
            _ = stop.changed() => return,
        }
    }
}

async fn once(schema: &Schema) -> Result<(), Failure> {
    let session = schema.connector.connect(Purpose::Read, schema.connector.now()).await?;
    if schema.readable {
        let made = views::make(&session).await;
        if made.is_err() {
            // An open transaction would keep others out.
            session.client.batch_execute("ROLLBACK").await?;
        }
        made?;
    }
    session.client.batch_execute(FORGET_WRITERS).await?;
    while let Some(space) = dropped(&session).await? {
        free(&session, FREE_ROWS, space).await?;
        free(&session, FREE_ENTRIES, space).await?;
        session.client.execute(&session.statement(FREED).await?, &[&space]).await?;
    }
    Ok(())
}

async fn dropped(session: &Session) -> Result<Option<i32>, Failure> {
    let rows = session.client.query(&session.statement(NEXT_DROPPED).await?, &[]).await?;
    Ok(rows.first().map(|row| column(row, 0)).transpose()?)
}

async fn free(session: &Session, sql: &'static str, space: i32) -> Result<(), Failure> {
    let statement = session.statement(sql).await?;
    while session.client.execute(&statement, &[&space]).await? > 0 {}
    Ok(())
}
