//! Who is calling: what a deployment asks before it believes what only deployments may say.

use async_trait::async_trait;
use bowline_base::Status;

use crate::id::DeploymentId;

/// A caller that has proved to be a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    pub from: DeploymentId,
    /// The deployment that it wants to talk to, by its own word; one of those that are served here.
    pub to: DeploymentId,
}

/// Verifies the header `bowline-caller`.
#[async_trait]
pub trait Callers: Send + Sync + 'static {
    /// Who sent `token`, and to whom. A token that was seen before costs no I/O and no cryptography.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` if it proves nothing; `CALLER_REFUSED` if the caller is not one that is listened to.
    async fn identify(&self, token: &str) -> Result<Identified, Status>;
}
