//! The conformance suite on PostgreSQL: a schema per store, one server for all of them that run at the same time.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails by panicking, and runs in real time"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use bowline_base::Seams;
use bowline_postgres::{DatabaseUrl, Postgres, PostgresOptions};
use bowline_store::conformance::{Factory, LogLength, SHORT_LOG_CHANGES_MAX, run_case};
use bowline_store::{Backend, conformance_cases};
use bowline_testkit::postgres::{Options, Server, require};

/// Kept for as long as some test needs it.
static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());

/// `None` where there is no PostgreSQL and that is allowed.
fn server() -> Option<Arc<Server>> {
    let mut running = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(server) = running.upgrade() {
        return Some(server);
    }
    let server = Arc::new(require(Options::default())?);
    *running = Arc::downgrade(&server);
    Some(server)
}

struct Schemas {
    server: Arc<Server>,
    /// The schema of each store, by address.
    schemas: Mutex<BTreeMap<usize, String>>,
}

/// Every commit waits a random moment after its sequence was chosen and before anybody sees it.
fn slowing(schema: &str) -> String {
    format!(
        "CREATE FUNCTION \"{schema}\".pause() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(random() * 0.01); RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER pause AFTER UPDATE ON \"{schema}\".state \
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION \"{schema}\".pause();"
    )
}

impl Schemas {
    async fn open(&self, schema: String, log: LogLength) -> Arc<dyn Backend> {
        let url = DatabaseUrl::new(self.server.url("postgres"));
        let mut options = PostgresOptions { schema, ..PostgresOptions::new(url) };
        if log == LogLength::Short {
            options.log_changes_max = SHORT_LOG_CHANGES_MAX as u64;
        }
        let schema = options.schema.clone();
        let store: Arc<dyn Backend> =
            Arc::new(Postgres::open(options, Seams::real()).await.unwrap());
        self.schemas.lock().unwrap().insert(address(&store), schema);
        store
    }

    fn new_schema(&self) -> String {
        format!("store \"{}\"", self.seams().new_uid())
    }

    fn schema(&self, store: &Arc<dyn Backend>) -> String {
        self.schemas.lock().unwrap()[&address(store)].clone()
    }
}

fn address(store: &Arc<dyn Backend>) -> usize {
    Arc::as_ptr(store).cast::<()>() as usize
}

#[async_trait]
impl Factory for Schemas {
    async fn fresh(&self, log: LogLength) -> Arc<dyn Backend> {
        self.open(self.new_schema(), log).await
    }

    async fn reopen(&self, store: Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        let schema = self.schema(&store);
        drop(store);
        Some(self.open(schema, LogLength::Long).await)
    }

    async fn slow(&self) -> Arc<dyn Backend> {
        let store = self.fresh(LogLength::Long).await;
        let schema = self.schema(&store).replace('"', "\"\"");
        self.server.sql("postgres", &slowing(&schema)).unwrap();
        store
    }

    async fn second(&self, store: &Arc<dyn Backend>) -> Option<Arc<dyn Backend>> {
        Some(self.open(self.schema(store), LogLength::Long).await)
    }

    fn seams(&self) -> Seams {
        Seams::real()
    }
}

async fn check(name: &'static str) {
    let Some(server) = server() else { return };
    let factory = Arc::new(Schemas { server, schemas: Mutex::default() });
    if let Err(failure) = run_case(name, factory).await {
        panic!("{name}: {failure}");
    }
}

conformance_cases!(bowline_store::conformance_tests);
