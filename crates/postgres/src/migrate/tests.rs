//! Programs of two formats on one schema, and many that make it at once.

use std::time::Duration;

use bowline_base::Seams;
use bowline_store::{Backend, Batch, Key, Row, StoreError, Table, Write};
use bowline_testkit::postgres::{Options, Server, require};
use futures::future::join_all;

use super::*;
use crate::options::{DatabaseUrl, PostgresOptions};
use crate::store::Postgres;

const ADDS: Migration = Migration {
    format: 2,
    min_compatible: 1,
    sql: "ALTER TABLE rows ADD COLUMN color text DEFAULT 'red'; CREATE TABLE extra (id int4)",
};
const BREAKS: Migration =
    Migration { format: 3, min_compatible: 3, sql: "CREATE TABLE broken (id int4)" };

fn options(server: &Server) -> PostgresOptions {
    let url = DatabaseUrl::new(server.url("postgres"));
    PostgresOptions { schema: "grown".to_owned(), ..PostgresOptions::new(url) }
}

async fn open(server: &Server, migrations: &[Migration]) -> Result<Postgres, OpenError> {
    Postgres::open_with(options(server), Seams::real(), migrations).await
}

fn key(name: &str) -> Key {
    let table = Table { namespace: "v1".into(), kind: "Device".into() };
    Key { table, name: name.into() }
}

fn put(name: &str) -> Batch {
    let writes = vec![Write::put(key(name), Row::new(1, "body"))];
    Batch { conditions: Vec::new(), writes }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_previous_program_goes_on_beside_the_new_one() {
    let Some(server) = require(Options::default()) else { return };
    let with_addition = [MIGRATIONS, &[ADDS]].concat();
    let old = open(&server, MIGRATIONS).await.unwrap();
    old.commit(put("a")).await.unwrap();
    let new = open(&server, &with_addition).await.unwrap();
    old.commit(put("b")).await.unwrap();
    new.commit(put("c")).await.unwrap();
    let again = open(&server, MIGRATIONS).await.unwrap();
    for store in [&old, &new, &again] {
        for name in ["a", "b", "c"] {
            assert!(store.get(&key(name)).await.unwrap().0.is_some(), "{name}");
        }
    }
    for store in [old, new, again] {
        store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_too_old_is_told_so_whether_it_runs_or_starts() {
    let Some(server) = require(Options::default()) else { return };
    let old = open(&server, MIGRATIONS).await.unwrap();
    old.commit(put("a")).await.unwrap();
    let newest = [MIGRATIONS, &[ADDS, BREAKS]].concat();
    let new = open(&server, &newest).await.unwrap();
    let refused = old.commit(put("b")).await.unwrap_err();
    let bowline_store::CommitError::Store(StoreError::Failed(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("format 3"), "{error}");
    let error = open(&server, MIGRATIONS).await.unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { needed: 3, known: 1, .. }), "{error:?}");
    new.commit(put("c")).await.unwrap();
    for store in [old, new] {
        store.close().await.unwrap();
    }
}

/// Makes whoever makes `bowline_meta` pause before its row is in.
const PAUSE: &str = "
    CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$;
    CREATE FUNCTION pause_later() RETURNS event_trigger LANGUAGE plpgsql AS $$
        DECLARE made record;
        BEGIN
            FOR made IN SELECT object_identity AS name FROM pg_event_trigger_ddl_commands()
                WHERE object_identity LIKE '%.bowline_meta' AND object_type = 'table'
            LOOP
                EXECUTE format('CREATE TRIGGER pause BEFORE INSERT ON %s
                    EXECUTE FUNCTION public.pause()', made.name);
            END LOOP;
        END $$;
    CREATE EVENT TRIGGER pause_later ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION pause_later();";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_programs_make_one_schema() {
    let Some(server) = require(Options::default()) else { return };
    server.sql("postgres", PAUSE).unwrap();
    let with_addition = [MIGRATIONS, &[ADDS]].concat();
    let stores = join_all((0..8u64).map(|n| {
        let migrations: &[Migration] = if n % 2 == 0 { MIGRATIONS } else { &with_addition };
        let server = &server;
        async move {
            // They come one after the other while the first is at it.
            #[expect(clippy::disallowed_methods, reason = "the pause staggers the programs")]
            tokio::time::sleep(Duration::from_millis(30 * n)).await;
            open(server, migrations).await
        }
    }));
    for (n, store) in stores.await.into_iter().enumerate() {
        let store = store.unwrap();
        store.commit(put(&format!("d{n}"))).await.unwrap();
        store.close().await.unwrap();
    }
}
