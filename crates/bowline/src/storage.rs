//! Where a node keeps its data: the layers of a store, outermost first, one store per deployment.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bowline_base::Seams;
use bowline_node::DeploymentId;
use bowline_postgres::{DatabaseUrl, Postgres, PostgresOptions};
use bowline_store::cache::{CacheOptions, Cached};
use bowline_store::memory::Memory;
use bowline_store::sqlite::{Sqlite, SqliteOptions};
use bowline_store::{Backend, StoreError, backup};
use xxhash_rust::xxh3::xxh3_64;

/// The region of deployments of a node that knows no others.
pub const REGION: &str = "local";

/// Where the rows go. The password of a database does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Gone when the process ends.
    Memory,
    /// One SQLite file per service below this folder: `<folder>/<region>/<service>.db`.
    Folder(PathBuf),
    /// One schema per service in this database: `bowline_<region>_<service>`.
    Postgres(DatabaseUrl),
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Embedded(#[from] bowline_store::OpenError),
    #[error(transparent)]
    Postgres(#[from] bowline_postgres::OpenError),
    /// Opening was cut short, as it is when the program ends meanwhile.
    #[error("opening the store of {deployment} was interrupted")]
    Interrupted { deployment: DeploymentId },
    /// A restore into it was begun and not finished.
    #[error(
        "the store of {deployment} is a restore that was not finished; run `bowline restore` into an empty store again"
    )]
    Restoring { deployment: DeploymentId },
    /// Its service has a longer name than a schema can have.
    #[error("schema {schema} does not tell the whole name of its service; name the services")]
    Shortened { schema: String },
    #[error("the store of {deployment} cannot be read")]
    Store {
        deployment: DeploymentId,
        #[source]
        source: StoreError,
    },
}

/// A text that names no storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected postgres://USER@HOST/DATABASE, a folder, or \"memory\"")]
pub struct ParseError;

impl FromStr for Storage {
    type Err = ParseError;

    /// `postgres://…` (or `postgresql://…`), `memory`, or a folder.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(DatabaseUrl::new(text))),
            Some(_) => Err(ParseError),
            None if text.is_empty() => Err(ParseError),
            None if text == "memory" => Ok(Self::Memory),
            None => Ok(Self::Folder(text.into())),
        }
    }
}

impl fmt::Display for Storage {
    /// For people; of a database only that it is one, since a URL can hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Postgres(_) => f.write_str("a PostgreSQL database"),
        }
    }
}

impl Storage {
    /// Opens the store of one deployment to be served from: the cache where there can be one, over the backend.
    ///
    /// # Errors
    /// [`OpenError`], also for a store into which a restore was not finished.
    pub async fn open(
        &self,
        deployment: &DeploymentId,
        seams: &Seams,
    ) -> Result<Arc<dyn Backend>, OpenError> {
        let restoring = || OpenError::Restoring { deployment: deployment.clone() };
        if let Self::Folder(folder) = self
            && restoring_file(folder, deployment).exists()
            && !file(folder, deployment).exists()
        {
            return Err(restoring());
        }
        let backend = self.open_with(deployment, seams, PostgresOptions::new).await?;
        let failed = |source| OpenError::Store { deployment: deployment.clone(), source };
        match backup::is_unfinished(&*backend).await.map_err(failed)? {
            true => Err(restoring()),
            false => Ok(backend),
        }
    }

    /// The services that have a store of this region here, in order. Makes nothing.
    ///
    /// # Errors
    /// [`OpenError::Shortened`] where a name cannot be told; [`OpenError`] if the folder or the database cannot be asked.
    pub async fn services(&self, region: &str, seams: &Seams) -> Result<Vec<String>, OpenError> {
        let mut services = match self {
            Self::Memory => Vec::new(),
            Self::Folder(folder) => services_in(&folder.join(region))?,
            Self::Postgres(url) => {
                let schemas = schemas(url, seams).await?;
                let services = schemas.into_iter().map(|schema| service_of(&schema, region));
                services.filter_map(Result::transpose).collect::<Result<_, _>>()?
            }
        };
        services.sort();
        Ok(services)
    }

    /// Whether the deployment has a store here. Makes nothing.
    ///
    /// # Errors
    /// [`OpenError`] if the folder or the database cannot be asked.
    pub async fn has(&self, deployment: &DeploymentId, seams: &Seams) -> Result<bool, OpenError> {
        Ok(match self {
            Self::Memory => false,
            Self::Folder(folder) => file(folder, deployment).exists(),
            Self::Postgres(url) => schemas(url, seams).await?.contains(&schema(deployment)),
        })
    }

    /// The same, whatever is in it: for restoring into it. A restore writes to one store at a time and has all of them
    /// open until its end, so each has as few connections as there can be: at most four at a time.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open_bare(
        &self,
        deployment: &DeploymentId,
        seams: &Seams,
    ) -> Result<Arc<dyn Backend>, OpenError> {
        let sparing = |url| PostgresOptions {
            writers: 1,
            reads_max: 1,
            snapshots_max: 1,
            notify: false,
            ..PostgresOptions::new(url)
        };
        self.open_with(deployment, seams, sparing).await
    }

    async fn open_with(
        &self,
        deployment: &DeploymentId,
        seams: &Seams,
        options: impl FnOnce(DatabaseUrl) -> PostgresOptions,
    ) -> Result<Arc<dyn Backend>, OpenError> {
        match self {
            Self::Memory => Ok(Arc::new(Memory::new())),
            Self::Folder(folder) => {
                let (path, own) = (file(folder, deployment), seams.clone());
                let opened = seams.blocking(move || open_file(&path, &own)).await;
                opened.ok_or_else(|| OpenError::Interrupted { deployment: deployment.clone() })?
            }
            Self::Postgres(url) => {
                let options =
                    PostgresOptions { schema: schema(deployment), ..options(url.clone()) };
                // Several processes write, so no cache here could know of every change in time.
                Ok(Arc::new(Postgres::open(options, seams.clone()).await?))
            }
        }
    }
}

fn services_in(folder: &Path) -> Result<Vec<String>, OpenError> {
    let failed = |source| bowline_store::OpenError::File { path: folder.to_owned(), source };
    let mut services = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        services.extend(name.to_str().and_then(|name| name.strip_suffix(".db")).map(str::to_owned));
    }
    Ok(services)
}

async fn schemas(url: &DatabaseUrl, seams: &Seams) -> Result<Vec<String>, OpenError> {
    let options = PostgresOptions::new(url.clone());
    Ok(bowline_postgres::schemas(&options, seams.clone()).await?)
}

/// The service that has this schema in the region; `None` if it is that of something else.
///
/// Regions have no underscore, so no schema of one region begins as those of another.
fn service_of(schema: &str, region: &str) -> Result<Option<String>, OpenError> {
    let Some(service) = schema.strip_prefix(&prefix(region)) else { return Ok(None) };
    // Services are domains, so none has an underscore before its end.
    let is_shortened = schema.len() == SCHEMA_BYTES_MAX
        && service.rsplit_once('_').is_some_and(|(_, hash)| {
            hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
    match is_shortened {
        true => Err(OpenError::Shortened { schema: schema.to_owned() }),
        false => Ok(Some(service.to_owned())),
    }
}

fn open_file(path: &Path, seams: &Seams) -> Result<Arc<dyn Backend>, OpenError> {
    if let Some(folder) = path.parent() {
        let failed = |source| bowline_store::OpenError::File { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let backend = Sqlite::open(path, SqliteOptions::default(), seams.clone())?;
    // Names are chosen by clients; with a secret seed nobody can choose them to collide.
    let mut seed = [0; 8];
    seams.random.fill(&mut seed);
    let options = CacheOptions { seed: u64::from_ne_bytes(seed), ..CacheOptions::default() };
    Ok(Arc::new(Cached::new(backend, options)))
}

/// `<folder>/<region>/<service>.db`
pub fn file(folder: &Path, deployment: &DeploymentId) -> PathBuf {
    folder.join(&*deployment.region).join(format!("{}.db", deployment.service))
}

/// Where the file of a deployment is while a restore makes it; it gets its name once it is complete.
pub fn restoring_file(folder: &Path, deployment: &DeploymentId) -> PathBuf {
    folder.join(&*deployment.region).join(format!("{}.db.restoring", deployment.service))
}

/// Longest name of a schema in PostgreSQL.
const SCHEMA_BYTES_MAX: usize = 63;

/// The schema of a deployment: `bowline_<region>_<service>`, shortened where PostgreSQL's 63 bytes make it necessary.
pub fn schema(deployment: &DeploymentId) -> String {
    let whole = format!("{}{}", prefix(&deployment.region), deployment.service);
    if whole.len() <= SCHEMA_BYTES_MAX {
        return whole;
    }
    // The hash of the whole name keeps two long names apart.
    let hash = format!("_{:016x}", xxh3_64(whole.as_bytes()));
    let mut end = SCHEMA_BYTES_MAX - hash.len();
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", &whole[..end])
}

/// What the schemas of a region begin with.
fn prefix(region: &str) -> String {
    format!("bowline_{region}_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_named_by_url_folder_or_word() {
        assert_eq!("memory".parse(), Ok(Storage::Memory));
        assert_eq!("./data".parse(), Ok(Storage::Folder("./data".into())));
        assert!(matches!("postgresql://h/d".parse(), Ok(Storage::Postgres(_))));
        assert_eq!("mysql://h/d".parse::<Storage>(), Err(ParseError));
        assert_eq!("".parse::<Storage>(), Err(ParseError));
    }

    #[test]
    fn a_password_does_not_show() {
        let storage: Storage = "postgres://me:secret@host/db".parse().unwrap();
        assert!(!format!("{storage:?}").contains("secret"));
    }

    fn in_region(region: &str, service: &str) -> String {
        schema(&DeploymentId::new(service, region))
    }

    #[test]
    fn long_services_have_schemas_of_their_own() {
        assert_eq!(in_region("local", "devices.example.com"), "bowline_local_devices.example.com");
        let long = |last: &str| in_region("local", &format!("{}{last}", "x".repeat(99)));
        let (a, b) = (long("a"), long("b"));
        assert_eq!((a.len(), b.len()), (63, 63));
        assert_ne!(a, b);
        assert!(matches!(service_of(&a, "local"), Err(OpenError::Shortened { .. })));
    }

    #[test]
    fn a_schema_tells_its_service() {
        let found = service_of(&in_region("local", "a.example.com"), "local").unwrap();
        assert_eq!(found.as_deref(), Some("a.example.com"));
        assert_eq!(service_of("somebody_elses", "local").unwrap(), None);
    }

    #[test]
    fn regions_keep_apart() {
        assert_eq!(service_of(&in_region("eu-west", "a.example.com"), "eu").unwrap(), None);
        let id = DeploymentId::new("a.example.com", "eu-west");
        assert_eq!(file(Path::new("d"), &id), Path::new("d/eu-west/a.example.com.db"));
    }
}
