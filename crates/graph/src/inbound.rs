//! The inbound part of a shadow: which deployments may refer to a resource, and what grants and deletions have come to.
//!
//! A small row of its own, made by the first foreign grant or deletion attempt that needs one. What happens to it is
//! decided here, as functions of a state; `Epoch`s only grow.

use std::fmt;
use std::sync::Arc;

use bowline_node::DeploymentId;
use bowline_store::{Extract, Index, IndexRange, Key, Row, RowId, Value, Version, layout};
use bowline_wire::bowline::graph::v1 as stored;
use prost::Message;

use crate::Damaged;
use crate::epoch::Epoch;
use crate::reference::TargetName;

/// Fields of the row that commits look at.
pub const EPOCH: &str = "epoch";
pub const GRANTS: &str = "grants";
/// The index of inbound parts by the times at which their blockades expire.
pub const BLOCKADES: &str = "~blockade";

/// See the module's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The resource, as the stored version has it.
    pub target: TargetName,
    pub epoch: Epoch,
    /// Raised by every grant and new epoch that is written, and by nothing else.
    pub grants: u64,
    /// A deletion has raised the epoch and may commit its verdict as long as `grants` stays as it is.
    pub attempt: bool,
    /// Sorted by deployment, none twice; never the own deployment.
    pub sources: Vec<Source>,
    pub blockades: Vec<Blockade>,
    /// The deletion has committed.
    pub is_deleting: bool,
}

/// A deployment that may hold references.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    pub deployment: DeploymentId,
    /// It is being asked, at this epoch, whether it still holds any.
    pub leaving: Option<Epoch>,
}

/// A promise not to delete while a reference is being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockade {
    /// Chosen by the source.
    pub id: [u8; 16],
    pub deployment: DeploymentId,
    pub epoch: Epoch,
    /// Milliseconds since 1970 by the owner's clock; safety does not hang on it.
    pub expires_millis: i64,
}

/// Where the row of a resource is.
pub fn key(kind: &str, uid: RowId) -> Key {
    layout::inbound(kind, uid)
}

/// The inbound parts of all kinds with a blockade that has expired at `now_millis`.
pub fn expired(now_millis: i64) -> IndexRange {
    let index = Index { namespace: layout::COMMON.into(), name: BLOCKADES.into() };
    let now = Value::number(u64::try_from(now_millis).unwrap_or(0));
    IndexRange { to: Some(now.successor()), ..IndexRange::all(index) }
}

impl Inbound {
    /// Of a resource that nobody has referred to yet.
    pub fn new(target: TargetName, epoch: Epoch) -> Self {
        Self {
            target,
            epoch,
            grants: 0,
            attempt: false,
            sources: Vec::new(),
            blockades: Vec::new(),
            is_deleting: false,
        }
    }

    pub fn source(&self, deployment: &DeploymentId) -> Option<&Source> {
        self.sources.iter().find(|source| source.deployment == *deployment)
    }

    /// The row that keeps it; `version` is above any that the row had.
    pub fn row(&self, version: Version) -> Row {
        let extract = Extract::builder()
            .field(EPOCH, self.epoch.value())
            .field(GRANTS, Value::number(self.grants));
        // One entry is enough to be found by; it is the first to expire that is waited for.
        let expiry = self.blockades.iter().map(|blockade| blockade.expires_millis).min();
        let extract = expiry.iter().fold(extract, |extract, millis| {
            extract.entry(BLOCKADES, Value::number(u64::try_from(*millis).unwrap_or(0)))
        });
        let body = self.stored().encode_to_vec();
        Row { extract: extract.build(), ..Row::new(version, body) }
    }

    /// # Errors
    /// If the row is not what [`Inbound::row`] made.
    pub fn of_row(row: &Row) -> Result<Self, Damaged> {
        let damaged = |source| Damaged { what: "inbound part of a shadow".to_owned(), source };
        let read = stored::Inbound::decode(row.body.as_ref()).map_err(damaged)?;
        let epoch = |epoch: Option<stored::Epoch>| epoch.map(Epoch::from).unwrap_or_default();
        let source = |source: stored::Source| Source {
            deployment: DeploymentId::new(source.service, source.region),
            leaving: source.leaving.map(Epoch::from),
        };
        let blockade = |blockade: stored::Blockade| Blockade {
            id: blockade.id.as_slice().try_into().unwrap_or_default(),
            deployment: DeploymentId::new(blockade.service, blockade.region),
            epoch: epoch(blockade.epoch),
            expires_millis: blockade.expires_millis,
        };
        Ok(Self {
            target: TargetName::new(read.kind, read.version, read.name),
            epoch: epoch(read.epoch),
            grants: read.grants,
            attempt: read.attempt,
            sources: read.sources.into_iter().map(source).collect(),
            blockades: read.blockades.into_iter().map(blockade).collect(),
            is_deleting: read.is_deleting,
        })
    }

    fn stored(&self) -> stored::Inbound {
        let text = |text: &Arc<str>| text.to_string();
        let source = |source: &Source| stored::Source {
            service: text(&source.deployment.service),
            region: text(&source.deployment.region),
            leaving: source.leaving.map(Into::into),
        };
        let blockade = |blockade: &Blockade| stored::Blockade {
            id: blockade.id.to_vec(),
            service: text(&blockade.deployment.service),
            region: text(&blockade.deployment.region),
            epoch: Some(blockade.epoch.into()),
            expires_millis: blockade.expires_millis,
        };
        stored::Inbound {
            kind: text(&self.target.kind),
            name: text(&self.target.name),
            version: text(&self.target.version),
            epoch: Some(self.epoch.into()),
            grants: self.grants,
            attempt: self.attempt,
            sources: self.sources.iter().map(source).collect(),
            blockades: self.blockades.iter().map(blockade).collect(),
            is_deleting: self.is_deleting,
        }
    }
}

impl fmt::Display for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {} grants", self.target, self.epoch, self.grants)?;
        if self.attempt {
            f.write_str(", attempt")?;
        }
        if self.is_deleting {
            f.write_str(", deleting")?;
        }
        for source in &self.sources {
            write!(f, "\n  source {}", source.deployment)?;
            if let Some(epoch) = source.leaving {
                write!(f, " leaving at {epoch}")?;
            }
        }
        for blockade in &self.blockades {
            write!(f, "\n  blockade of {} at {}", blockade.deployment, blockade.epoch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_all_of_it() {
        let epoch = Epoch { ownership: 1, era: 2, number: 3 };
        let deployment = DeploymentId::new("devices.test", "eu");
        let blockade =
            Blockade { id: [7; 16], deployment: deployment.clone(), epoch, expires_millis: 9 };
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let inbound = Inbound {
            grants: 4,
            attempt: true,
            sources: vec![Source { deployment, leaving: Some(epoch.next()) }],
            blockades: vec![blockade],
            is_deleting: true,
            ..Inbound::new(target, epoch)
        };
        assert_eq!(Inbound::of_row(&inbound.row(1)).unwrap(), inbound);
        expect_test::expect![[r#"
            iam.test/Project projects/p (v1) at 1.2.3, 4 grants, attempt, deleting
              source devices.test@eu leaving at 1.2.4
              blockade of devices.test@eu at 1.2.3"#]]
        .assert_eq(&inbound.to_string());
    }
}
