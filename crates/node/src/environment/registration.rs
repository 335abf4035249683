//! What a deployment says of itself and of its service. Pure.

use std::fmt::Write;
use std::sync::Arc;

use prost::Message;
use ring::digest::{SHA256, digest};

use super::convert;
use crate::id::DeploymentId;
use crate::picture::{DeploymentInfo, ServiceInfo};

/// A deployment that wants to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub deployment: DeploymentId,
    /// As [`super::service_info`] reads it off a loaded service.
    pub service: ServiceInfo,
    /// `current_version` is the one in which a deployment that is not registered yet begins; what it is later, its upgrades say.
    pub info: DeploymentInfo,
}

impl Registration {
    /// The registration of `service` in `region`. Starts in the newest version if `info` says none.
    pub fn new(deployment: DeploymentId, service: ServiceInfo, mut info: DeploymentInfo) -> Self {
        if info.current_version.is_empty() {
            info.current_version =
                service.versions.first().map_or_else(|| Arc::from(""), Clone::clone);
        }
        Self { deployment, service, info }
    }

    /// Tells whether another registration would say the same.
    pub(super) fn digest(&self) -> String {
        let name = &self.deployment.service;
        let mut bytes = convert::service(name, &self.service).encode_length_delimited_to_vec();
        for (id, info) in &self.service.resources {
            bytes.extend(convert::resource(name, id, info).encode_length_delimited_to_vec());
        }
        let deployment = convert::deployment(&self.deployment, &self.info);
        bytes.extend(deployment.encode_length_delimited_to_vec());
        hex(&bytes)
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, bytes).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
