//! The meta service as a schema source, with the names of its types and methods.

use std::fmt::Debug;

use bowline_schema::{Source, shipped};
use prost::Message;

use crate::goten::meta::v1::{Deployment, Region, Resource, Service};
use crate::goten::types::Meta;

/// Domain name of the meta service.
pub const SERVICE: &str = "meta.goten.com";
/// Its only version.
pub const VERSION: &str = "v1";

/// The kinds of its types.
pub mod kind {
    pub const REGION: &str = "meta.goten.com/Region";
    pub const SERVICE: &str = "meta.goten.com/Service";
    pub const RESOURCE: &str = "meta.goten.com/Resource";
    pub const DEPLOYMENT: &str = "meta.goten.com/Deployment";
}

/// Paths of the methods of deployments that are not standard.
pub mod method {
    pub const BEGIN_UPGRADE: &str = "/goten.meta.v1.DeploymentService/BeginUpgrade";
    pub const SET_AVAILABLE_UPGRADE: &str = "/goten.meta.v1.DeploymentService/SetAvailableUpgrade";
    pub const NOTIFY_SHARDS_UPGRADE_READINESS: &str =
        "/goten.meta.v1.DeploymentService/NotifyShardsUpgradeReadiness";
    pub const GET_OR_REGISTER_DATA_UPDATE_TASK: &str =
        "/goten.meta.v1.DeploymentService/GetOrRegisterDataUpdateTask";
    pub const UPDATE_DATA_TASK_UPDATE: &str =
        "/goten.meta.v1.DeploymentService/UpdateDataTaskUpdate";
    /// The standard update, which the others are made of.
    pub const UPDATE_DEPLOYMENT: &str = "/goten.meta.v1.DeploymentService/UpdateDeployment";
}

/// What the manifest says: what decides for a service's resources is the policy in its `Service`, and the last id of a
/// `Region` is its own name, not the region that it would be kept in. References between registrations are left to those
/// who register: a deployment must be able to say that it is there before it can ask anybody anything.
const MANIFEST: &str = "\
name: meta.goten.com
versions:
  v1: { package: goten.meta.v1 }
http_prefix: /meta
resources:
  Region: { regional: false, opt_outs: { constraints: true } }
  Service: { policy_holder: true, opt_outs: { constraints: true } }
  Resource: { opt_outs: { constraints: true } }
  Deployment: { opt_outs: { constraints: true } }
";

/// Where its protos are among the shipped ones.
const FOLDER: &str = "goten/meta/v1/";

/// The meta service, to be loaded beside the services of users.
pub fn source() -> Source {
    let files = shipped::all().into_iter().filter(|(name, _)| name.starts_with(FOLDER));
    Source::Files {
        service_yaml: Some(MANIFEST.to_owned()),
        files: files.map(|(name, text)| (name, text.to_owned())).collect(),
    }
}

/// A resource of the meta service, as a Rust type.
pub trait MetaResource: Message + Clone + Default + PartialEq + Debug + 'static {
    /// `meta.goten.com/Region`.
    const KIND: &'static str;
    /// `Region`.
    const SINGULAR: &'static str;
    /// `Regions`.
    const PLURAL: &'static str;

    fn name(&self) -> &str;
    fn metadata(&self) -> Option<&Meta>;

    /// Path of a standard method, `/goten.meta.v1.RegionService/GetRegion` for `Get`.
    fn path(verb: StandardVerb) -> String {
        let noun = if verb == StandardVerb::List { Self::PLURAL } else { Self::SINGULAR };
        format!("/goten.meta.v1.{}Service/{verb:?}{noun}", Self::SINGULAR)
    }
}

/// The standard methods that deployments call of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardVerb {
    Get,
    List,
    Create,
    Update,
    Delete,
}

macro_rules! meta_resource {
    ($message:ident, $kind:expr, $plural:literal) => {
        impl MetaResource for $message {
            const KIND: &'static str = $kind;
            const SINGULAR: &'static str = stringify!($message);
            const PLURAL: &'static str = $plural;

            fn name(&self) -> &str {
                &self.name
            }

            fn metadata(&self) -> Option<&Meta> {
                self.metadata.as_ref()
            }
        }
    };
}

meta_resource!(Region, kind::REGION, "Regions");
meta_resource!(Service, kind::SERVICE, "Services");
meta_resource!(Resource, kind::RESOURCE, "Resources");
meta_resource!(Deployment, kind::DEPLOYMENT, "Deployments");

#[cfg(test)]
mod tests;
