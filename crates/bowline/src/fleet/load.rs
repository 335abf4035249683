//! The services of a configuration, compiled once for all regions of a process.

use std::path::Path;
use std::sync::Arc;

use bowline_schema::Source;
use bowline_schema::diagnostic::Diagnostic;
use bowline_schema::load::{self, Loaded};
use bowline_schema::model::Registry;
use bowline_wire::meta;

use crate::config::{Config, ConfigError, Mode, Plan};

/// All services of a fleet, the meta service among them.
#[derive(Debug)]
pub struct Services {
    pub registry: Arc<Registry>,
    /// For each of the configuration's `services`, the names of what its folder holds.
    pub homes: Vec<Vec<Arc<str>>>,
    /// Warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Loads what the configuration names. A fleet is whole or not at all: unlike with single folders, no service is left out.
///
/// # Errors
/// [`ConfigError`] with what is wrong in the services' files.
pub fn load(config: &Config) -> Result<Services, ConfigError> {
    let folders = config.services.iter().map(|service| source(&service.folder));
    let sources: Vec<Source> = [meta::source()].into_iter().chain(folders).collect();
    let loaded = load::load(&sources);
    if loaded.has_errors() {
        return Err(ConfigError { diagnostics: loaded.diagnostics });
    }
    let Loaded { registry, diagnostics, homes } = loaded;
    let shared = |names: Vec<String>| names.into_iter().map(Arc::from).collect();
    let homes = homes.into_iter().skip(1).map(shared).collect();
    Ok(Services { registry: Arc::new(registry), homes, diagnostics })
}

/// A descriptor set if it is a file, else a folder.
fn source(path: &Path) -> Source {
    match path.is_file() {
        true => Source::DescriptorSet(path.to_owned()),
        false => Source::Folder(path.to_owned()),
    }
}

impl Services {
    /// What is to run.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn plan(&self, config: &Config, mode: Mode) -> Result<Plan, ConfigError> {
        Plan::of(config, &self.registry, &self.homes, mode)
    }
}
