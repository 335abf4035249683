//! Which rows a deployment keeps, and where. The one place that gives tables of the store their meaning.
//!
//! | rows | namespace | kind | name | id |
//! | --- | --- | --- | --- | --- |
//! | resources, with the outbound part of their shadow in `aside` | API version | the kind | resource name in that version | uid |
//! | alias index: names in other served versions, and names kept taken | `~alias/<version>` | the kind | resource name in that version | uid of the resource it leads to |
//! | inbound parts of shadows | `~` | `~inbound/<kind>` | uid | - |
//! | deletions that are not finished; in the change log | `deletions` | the kind | uid | - |
//! | fences: what saves may no longer rely on | `~` | `~fence` | `KIND\|VERSION\|NAME` of the target | - |
//! | work that commits left to controllers | `~` | `~task` | shard, type, id | - |
//! | server processes | `~` | `~incarnation` | uid of the process | - |
//! | who owns what changed hands, by policy holder and part | `~` | `~ownership` | `HOLDER\|control`, `HOLDER\|region/REGION` | - |
//! | answers to requests with an id | `~` | `~request` | version, method, id | - |
//! | the mark of a restore that is under way | `~` | `~restoring` | - | - |
//! | indexes that are complete | `~` | `~index` | namespace, index | - |
//!
//! Only rows of API versions are in namespaces that are copied, swapped and dropped; all else is keyed by id and knows
//! no version. A resource in another version than the stored one is found in two steps: its alias row gives the id, and the
//! row with that id is in the namespace of whatever version is stored.

use std::sync::Arc;

use crate::contract::{Key, RowId, Table};

/// What lies outside the namespaces of API versions.
pub const COMMON: &str = "~";

/// Rows of one internal kind; `kind` starts with `~`.
pub fn common(kind: &str) -> Table {
    debug_assert!(kind.starts_with('~'), "internal kinds start with a tilde");
    Table { namespace: COMMON.into(), kind: kind.into() }
}

/// Resources of a kind as an API version has them.
pub fn resources(version: &str, kind: &str) -> Table {
    Table { namespace: version.into(), kind: kind.into() }
}

/// Names of a kind in an API version that is not the stored one, and names that are to stay taken.
pub fn aliases(version: &str, kind: &str) -> Table {
    Table { namespace: format!("{COMMON}alias/{version}").into(), kind: kind.into() }
}

/// The inbound part of the shadow of a resource.
pub fn inbound(kind: &str, id: RowId) -> Key {
    let name: Arc<str> = format!("{:032x}", id.0).into();
    Key { table: common(&format!("~inbound/{kind}")), name }
}
