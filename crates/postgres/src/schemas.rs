//! Which stores a database has, for tools that look at all of them.

use bowline_base::Seams;

use crate::connect::{Connector, Purpose};
use crate::failure::{Failure, OpenError};
use crate::options::PostgresOptions;
use crate::row::column;

/// The schemas of the database at `options.url` that hold a store, in order, whatever `options.schema` is.
///
/// Makes nothing, unlike opening a store.
///
/// # Errors
/// [`OpenError`] if the database cannot be asked.
pub async fn schemas(options: &PostgresOptions, seams: Seams) -> Result<Vec<String>, OpenError> {
    let connector = Connector::new(options, seams)?;
    let mut schemas = ask(&connector).await.map_err(|failure| OpenError::Store {
        schema: options.schema.clone(),
        source: failure.into_store_error(),
    })?;
    // Not by the database, whose order depends on its collation.
    schemas.sort();
    Ok(schemas)
}

async fn ask(connector: &Connector) -> Result<Vec<String>, Failure> {
    let session = connector.connect(Purpose::Read, connector.now()).await?;
    let sql = "SELECT schemaname::text FROM pg_tables WHERE tablename = 'bowline_meta'";
    let rows = session.client.query(sql, &[]).await?;
    rows.iter().map(|row| Ok(column(row, 0)?)).collect()
}
