//! Where the public keys of deployments come from.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::key::PublicKey;
use crate::id::DeploymentId;

/// The public keys that are known, and a way to learn of new ones.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The key of a deployment as it was last read; no I/O.
    fn key_of(&self, id: &DeploymentId) -> Option<PublicKey>;

    /// Reads all keys anew; returns when a reading that began after this call has ended. May make the caller wait, so
    /// that no number of callers makes it read often.
    async fn refresh(&self);
}

/// Keys that never change: for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct Keyring(BTreeMap<DeploymentId, PublicKey>);

impl FromIterator<(DeploymentId, PublicKey)> for Keyring {
    fn from_iter<I: IntoIterator<Item = (DeploymentId, PublicKey)>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

#[async_trait]
impl KeySource for Keyring {
    fn key_of(&self, id: &DeploymentId) -> Option<PublicKey> {
        self.0.get(id).copied()
    }

    async fn refresh(&self) {}
}
