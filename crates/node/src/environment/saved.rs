//! The last picture as bytes: a line that says format and checksum, then JSON. Pure.
//!
//! A damaged or unknown file is an error, which the reader takes for 'nothing there'.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::registration::hex;
use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, Picture, ResourceInfo, ServiceInfo};
use crate::policy::{Criterion, Policy};

/// Raised when a reader of before could not read what is written now.
const FORMAT: &str = "bowline-picture-1";

/// What is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) picture: Picture,
    /// Digests of what the deployments of this process registered.
    pub(super) registered: BTreeMap<DeploymentId, String>,
}

/// Why bytes are not what was saved.
#[derive(Debug, thiserror::Error)]
pub(super) enum SavedError {
    #[error("not a picture, or one of another release")]
    Format,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("malformed content")]
    Json(#[source] serde_json::Error),
    #[error("{0} is not a deployment")]
    Deployment(String),
}

impl Saved {
    pub(super) fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&SavedJson::of(self)).expect("texts and numbers are JSON");
        let mut bytes = format!("{FORMAT} {}\n", hex(&json)).into_bytes();
        bytes.extend(json);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SavedError> {
        let end = bytes.iter().take(128).position(|byte| *byte == b'\n');
        let (line, json) = bytes.split_at(end.ok_or(SavedError::Format)? + 1);
        let line = std::str::from_utf8(line).map_err(|_| SavedError::Format)?;
        let (format, checksum) = line.trim_end().split_once(' ').ok_or(SavedError::Format)?;
        if format != FORMAT {
            return Err(SavedError::Format);
        }
        if checksum != hex(json) {
            return Err(SavedError::Checksum);
        }
        serde_json::from_slice::<SavedJson>(json).map_err(SavedError::Json)?.into_saved()
    }
}

#[derive(Serialize, Deserialize)]
struct SavedJson {
    regions: Vec<String>,
    services: BTreeMap<String, ServiceJson>,
    deployments: BTreeMap<String, DeploymentJson>,
    registered: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct ServiceJson {
    versions: Vec<String>,
    enabled_regions: Vec<String>,
    control_region: String,
    /// `[kind, source, destination]`.
    disabled_sync: Vec<[String; 3]>,
    imports: Vec<String>,
    uses: Vec<String>,
    /// `[version, imported service, its version]`.
    imported_versions: Vec<[String; 3]>,
    resources: BTreeMap<String, ResourceJson>,
    generation: i32,
}

#[derive(Serialize, Deserialize)]
struct ResourceJson {
    plural: String,
    versions: Vec<String>,
    regional: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct DeploymentJson {
    public_address: String,
    private_address: String,
    local_network: String,
    current_version: String,
    is_disabled: bool,
    generation: u64,
    config_generation: i32,
}

impl SavedJson {
    fn of(saved: &Saved) -> Self {
        let Saved { picture, registered } = saved;
        let services = picture.services.iter();
        let deployments = picture.deployments.iter();
        Self {
            regions: strings(&picture.regions),
            services: services.map(|(name, info)| (name.to_string(), service(info))).collect(),
            deployments: deployments.map(|(id, info)| (id.to_string(), deployment(info))).collect(),
            registered: registered.iter().map(|(id, at)| (id.to_string(), at.clone())).collect(),
        }
    }

    fn into_saved(self) -> Result<Saved, SavedError> {
        let id = |text: String| text.parse().map_err(|_| SavedError::Deployment(text));
        let mut saved = Saved::default();
        saved.picture.regions = set(self.regions);
        for (name, service) in self.services {
            saved.picture.services.insert(name.into(), Arc::new(service.into_info()));
        }
        for (name, deployment) in self.deployments {
            saved.picture.deployments.insert(id(name)?, Arc::new(deployment.into_info()));
        }
        for (name, digest) in self.registered {
            saved.registered.insert(id(name)?, digest);
        }
        Ok(saved)
    }
}

fn service(info: &ServiceInfo) -> ServiceJson {
    let criterion = |one: &Criterion| [&one.kind, &one.source, &one.destination].map(string);
    let imported =
        |((version, name), at): (&(Arc<str>, Arc<str>), &Arc<str>)| [version, name, at].map(string);
    let resource = |(id, info): (&Arc<str>, &ResourceInfo)| {
        let (plural, versions) = (string(&info.plural), strings(&info.versions));
        (id.to_string(), ResourceJson { plural, versions, regional: strings(&info.regional) })
    };
    ServiceJson {
        versions: strings(&info.versions),
        enabled_regions: strings(&info.policy.enabled_regions),
        control_region: string(&info.policy.control_region),
        disabled_sync: info.policy.disabled_sync.iter().map(criterion).collect(),
        imports: strings(&info.imports),
        uses: strings(&info.uses),
        imported_versions: info.imported_versions.iter().map(imported).collect(),
        resources: info.resources.iter().map(resource).collect(),
        generation: info.generation,
    }
}

impl ServiceJson {
    fn into_info(self) -> ServiceInfo {
        let criterion = |one: [String; 3]| {
            let [kind, source, destination] = one.map(Arc::from);
            Criterion { kind, source, destination }
        };
        let imported = |one: [String; 3]| {
            let [version, name, at] = one.map(Arc::from);
            ((version, name), at)
        };
        let resource = |(id, json): (String, ResourceJson)| {
            let (plural, versions) = (json.plural.into(), texts(json.versions));
            (id.into(), ResourceInfo { plural, versions, regional: set(json.regional) })
        };
        ServiceInfo {
            versions: texts(self.versions),
            policy: Policy {
                enabled_regions: texts(self.enabled_regions),
                control_region: self.control_region.into(),
                disabled_sync: self.disabled_sync.into_iter().map(criterion).collect(),
            },
            imports: set(self.imports),
            uses: set(self.uses),
            imported_versions: self.imported_versions.into_iter().map(imported).collect(),
            resources: self.resources.into_iter().map(resource).collect(),
            generation: self.generation,
        }
    }
}

fn deployment(info: &DeploymentInfo) -> DeploymentJson {
    DeploymentJson {
        public_address: string(&info.public_address),
        private_address: string(&info.private_address),
        local_network: string(&info.local_network),
        current_version: string(&info.current_version),
        is_disabled: info.is_disabled,
        generation: info.generation,
        config_generation: info.config_generation,
    }
}

impl DeploymentJson {
    fn into_info(self) -> DeploymentInfo {
        DeploymentInfo {
            public_address: self.public_address.into(),
            private_address: self.private_address.into(),
            local_network: self.local_network.into(),
            current_version: self.current_version.into(),
            is_disabled: self.is_disabled,
            generation: self.generation,
            config_generation: self.config_generation,
        }
    }
}

fn string(text: &Arc<str>) -> String {
    text.to_string()
}

fn strings<'a>(texts: impl IntoIterator<Item = &'a Arc<str>>) -> Vec<String> {
    texts.into_iter().map(string).collect()
}

fn texts(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

fn set(texts: Vec<String>) -> BTreeSet<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}
