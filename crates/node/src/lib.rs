//! A deployment among others: who they are, who owns what, and how to reach them.
//!
//! A *deployment* is one service in one region. `picture` is what a deployment knows of all others, `environment` keeps it
//! true; `policy` and `place` say which region owns a name; `peers` is the way to another deployment.
//! `owners` puts these together: who owns what. `mirror` is a live set of resources over all deployments of a service.

mod backoff;
pub mod callers;
pub mod environment;
pub mod id;
pub mod identity;
pub mod layering;
pub mod meta_client;
pub mod mirror;
pub mod network;
pub mod owners;
pub mod ownership;
pub mod peers;
pub mod picture;
pub mod place;
pub mod policies;
pub mod policy;
pub mod upgrade_state;

pub use callers::{Callers, Identified};
pub use id::DeploymentId;
pub use meta_client::MetaClient;
pub use owners::{Owner, Owners};
pub use ownership::Ownership;
pub use peers::{Answer, Call, Peers};
pub use picture::Picture;
pub use place::{Holder, Holders, Part, Parts, Place, Places, Scope};
pub use policies::{PolicyStore, PolicyStoreParts};
pub use policy::Policy;
