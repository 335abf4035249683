//! What the server says in the metadata of every resource it saves, where there are several deployments: who owns the
//! resource, which regions have copies, which service it belongs to, in which shard it is. Pure; the *syncing decorator*.
//!
//! Clients cannot write it; a save that changes nothing else brings it up to date.

use bowline_node::Owner;
use bowline_resource::metadata::{Meta, ServicesInfo, SyncingMeta};
use bowline_schema::model::ResourceType;

/// The ring by which resources are spread over workers, and its size.
const RING_LABEL: &str = "byNameMod16";
const RING_SIZE: u64 = 16;

/// Fills in what follows from name, type and owner.
pub(crate) fn decorate(
    meta: &mut Meta,
    ty: &ResourceType,
    name: &str,
    owner: &Owner,
    has_holder: bool,
) {
    let regions = owner.policy.synced_regions(ty.sync_type, &ty.kind, &owner.region, has_holder);
    meta.syncing = Some(SyncingMeta {
        owning_region: owner.region.to_string(),
        regions: regions.iter().map(ToString::to_string).collect(),
    });
    decorate_everywhere(meta, ty, name);
}

/// The same for types that know no regions.
pub(crate) fn decorate_everywhere(meta: &mut Meta, ty: &ResourceType, name: &str) {
    let mut services = meta.services.take().unwrap_or_default();
    services.owning_service.clone_from(&ty.service);
    let allowed = services.allowed_services;
    meta.services =
        Some(ServicesInfo { allowed_services: allowed_services(allowed, ty), ..services });
    let shard = i64::try_from(fnv1a(name.as_bytes()) % RING_SIZE).unwrap_or_default();
    meta.shards.insert(RING_LABEL.to_owned(), shard);
}

/// What the client said, as a sorted set; the owning service alone if it said nothing.
fn allowed_services(mut said: Vec<String>, ty: &ResourceType) -> Vec<String> {
    if said.is_empty() {
        said.push(ty.service.clone());
    }
    said.sort();
    said.dedup();
    said
}

/// FNV-1a with 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the published test vectors of the function.
    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
