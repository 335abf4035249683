//! `bowline.yaml`: which regions there are, which services are in them, where each deployment listens and keeps its data.
//!
//! [`Config`] is the file as it was read, with every relative path taken from the file's folder. Which services its folders
//! hold is known once they are loaded; then [`Plan::of`] says deployment by deployment what is to run. Both are pure but for
//! reading the file; nothing here opens or starts anything. The format is described in `docs/deployments.md`.

mod expand;
mod plan;
mod read;
mod tree;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bowline_schema::diagnostic::{Diagnostic, Place, code};

use crate::storage::Storage;

pub use plan::{DeploymentPlan, Mode, Plan};

/// A `bowline.yaml`.
#[derive(Clone, Debug)]
pub struct Config {
    /// As the user gave it, for diagnostics.
    pub file: String,
    /// What is kept beside databases: the pictures that deployments have of each other.
    pub data: PathBuf,
    /// In the order of the file; never empty.
    pub regions: Vec<RegionConfig>,
    /// Owns what is governed by the services' own policies.
    pub control_region: Arc<str>,
    /// Grows when the services change; a process with an older configuration does not undo what a newer one registered.
    pub generation: i32,
    pub identity: Identity,
    /// Where things are unless a region or deployment says otherwise.
    pub storage: Storage,
    /// What is said about the deployments of the meta service.
    pub meta: ServiceConfig,
    /// In the order of the file; never empty.
    pub services: Vec<ServiceConfig>,
}

/// What the file says about a region.
#[derive(Clone, Debug)]
pub struct RegionConfig {
    pub name: Arc<str>,
    pub listen: SocketAddr,
    /// `host:port` by which others reach it, if it is not `listen`.
    pub address: Option<String>,
    pub storage: Option<Storage>,
    pub place: Place,
}

/// What the file says about the service, or services, of one folder.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig {
    /// Or a descriptor set; empty for the meta service, which needs none.
    pub folder: PathBuf,
    /// Where it is deployed; `None` is everywhere.
    pub regions: Option<Vec<Arc<str>>>,
    /// By region.
    pub deployments: BTreeMap<Arc<str>, DeploymentConfig>,
    pub place: Place,
}

/// What the file says about one deployment; nothing of it has to be there.
#[derive(Clone, Debug, Default)]
pub struct DeploymentConfig {
    pub listen: Option<SocketAddr>,
    pub address: Option<String>,
    pub storage: Option<Storage>,
    /// API version at which a new, empty deployment starts.
    pub start_version: Option<String>,
    /// Of the deployment itself: above that of one that was declared gone. 0 unless it was.
    pub generation: u64,
    pub place: Place,
}

/// Where the keys are by which deployments prove who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Development: a folder in which missing keys are made.
    Made(PathBuf),
    /// The keys are given: a folder with the private keys of the deployments of this process, and one with all public keys.
    Given { private: PathBuf, public: PathBuf },
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used\n{}", bowline_schema::diagnostic::render(diagnostics))]
pub struct ConfigError {
    /// Never empty.
    pub diagnostics: Vec<Diagnostic>,
}

impl Config {
    /// Reads a file; `variable` gives what `${NAME}` stands for, most often [`environment`].
    ///
    /// # Errors
    /// [`ConfigError`] with every problem and its place.
    pub fn read(
        file: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let name = file.to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).map_err(|error| {
            let message = format!("cannot be read: {error}");
            let problem = Diagnostic::error(code::UNREADABLE, &Place::file(&name), message);
            ConfigError { diagnostics: vec![problem] }
        })?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        Self::parse(&name, folder, &text, variable)
    }

    /// The same from a text; `file` is for diagnostics, relative paths are taken from `folder`.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(
        file: &str,
        folder: &Path,
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        read::read(file, folder, text, &variable).map_err(|diagnostics| ConfigError { diagnostics })
    }

    /// Keeps everything there, whatever the file says.
    pub fn set_storage(&mut self, storage: Storage) {
        self.regions.iter_mut().for_each(|region| region.storage = None);
        let services = self.services.iter_mut().chain([&mut self.meta]);
        services
            .flat_map(|service| service.deployments.values_mut())
            .for_each(|deployment| deployment.storage = None);
        self.storage = storage;
    }
}

/// A variable of the process's environment; `None` also for one that is not UTF-8.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
