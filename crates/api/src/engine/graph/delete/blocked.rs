//! The refusal of a deletion that something blocks: who, how many, and whether that can ever change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bowline_base::{Detail, PreconditionViolation, Reason, Status};
use bowline_graph::index::Rule;
use bowline_graph::plan_delete::{Blocked, Blocker, NAMED_MAX, counted, cycle};
use bowline_graph::reference::PARENT;
use bowline_graph::{Behaviour, TargetName};
use bowline_store::{Key, layout};

use super::Wish;
use super::gather::Gathered;
use crate::engine::shape::aside_of;
use crate::engine::{Deployment, Engine};

/// Resources that are read to find a cycle.
const CYCLE_READ_MAX: usize = 256;

impl Engine {
    /// What the deletion is refused with. Sources that were not asked are looked at first, without binding anybody, so that
    /// the answer tells all.
    pub(super) async fn blocked(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        gathered: &Gathered,
        mut blocked: Blocked,
    ) -> Status {
        let unseen = self.look(wish, gathered, &mut blocked).await;
        let cycle = self.cycle_of(wish.deployment, &blocked).await;
        let me = self.me(&wish.deployment.service).to_string();
        let mut status =
            refusal(&wish.shape.ty.singular, wish.name, &me, &blocked, cycle.as_deref());
        if !unseen.is_empty() {
            let unseen: Vec<_> = unseen.iter().map(|(source, _)| source.to_string()).collect();
            status = status.with_metadata("unasked", unseen.join(", "));
        }
        status
    }

    /// A cycle of blocking references that a blocked target is in, as far as this deployment's rows tell.
    async fn cycle_of(
        &self,
        deployment: &Deployment,
        blocked: &Blocked,
    ) -> Option<Vec<TargetName>> {
        let starts: BTreeSet<_> = blocked.by.iter().map(|blocker| blocker.target.clone()).collect();
        let blocks = self.blocking_from(deployment, starts.clone()).await;
        starts.iter().find_map(|start| cycle(start, &blocks))
    }

    /// What the resources block, and what those block in turn.
    async fn blocking_from(
        &self,
        deployment: &Deployment,
        from: BTreeSet<TargetName>,
    ) -> BTreeMap<TargetName, Vec<TargetName>> {
        let mut blocks = BTreeMap::new();
        let mut queue: VecDeque<_> = from.into_iter().collect();
        while let Some(at) = queue.pop_front() {
            if blocks.len() >= CYCLE_READ_MAX || blocks.contains_key(&at) {
                continue;
            }
            let table = layout::resources(&at.version, &at.kind);
            let row = deployment.backend.get(&Key { table, name: at.name.clone() }).await;
            let held = row.ok().and_then(|(row, _)| row).map(|row| aside_of(&row).references);
            let held = held.into_iter().flatten().filter(|held| {
                Rule::of(held.behaviour, held.is_sync) == Rule::Block
                    && held.behaviour == Behaviour::Block
                    && held.region.is_none()
            });
            let targets: Vec<_> = held.map(|held| held.target).collect();
            queue.extend(targets.iter().cloned());
            blocks.insert(at, targets);
        }
        blocks
    }
}

fn refusal(
    singular: &str,
    name: &str,
    me: &str,
    blocked: &Blocked,
    cycle: Option<&[TargetName]>,
) -> Status {
    let total = blocked.total();
    let noun = if total == 1 { "resource that blocks" } else { "resources that block" };
    let mut message =
        format!("{singular} \"{name}\" is referred to by {} {noun} its deletion", counted(total));
    if let Some(first) = blocked.by.first() {
        message += &format!(", first {}", told(first));
        if &*first.target.name != name {
            message += &format!(", which refers to {}, which would go too", first.target.name);
        }
    }
    if let Some(cycle) = cycle {
        let names: Vec<_> = cycle.iter().chain(cycle.first()).map(|name| &*name.name).collect();
        message += &format!("; they block each other: {}", names.join(" -> "));
    }
    let violations = blocked.by.iter().take(NAMED_MAX).map(violation).collect();
    let mut status = Status::new(Reason::DeletionBlocked, message)
        .with(Detail::Precondition(violations))
        .with_metadata("blockers", counted(total));
    for (at, count) in &blocked.counts {
        let at = at.as_ref().map_or_else(|| me.to_owned(), ToString::to_string);
        status = status.with_metadata(format!("blockers.{at}"), counted(*count));
    }
    status
}

/// `Device "projects/p/devices/d" (model)`
fn told(blocker: &Blocker) -> String {
    let kind = blocker.kind.rsplit('/').next().unwrap_or_default();
    format!("{kind} \"{}\" ({})", blocker.name, field(blocker))
}

fn field(blocker: &Blocker) -> &str {
    if blocker.path == PARENT { "parent" } else { &blocker.path }
}

fn violation(blocker: &Blocker) -> PreconditionViolation {
    let service = blocker.kind.split('/').next().unwrap_or_default();
    PreconditionViolation {
        kind: "REFERRER".to_owned(),
        subject: format!("//{service}/{}", blocker.name),
        description: format!("{} refers to {}", field(blocker), blocker.target.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocker(name: &str, path: &str) -> Blocker {
        Blocker {
            name: name.to_owned(),
            kind: "devices.test/Device".to_owned(),
            path: path.to_owned(),
            target: TargetName::new("devices.test/Model", "v1", "models/m"),
            at: None,
        }
    }

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let names = (0..12).map(|n| blocker(&format!("devices/d{n:02}"), "model"));
        let blocked = Blocked { by: names.collect(), counts: [(None, 12)].into() };
        let status = refusal("Model", "models/m", "devices.test@eu", &blocked, None);
        expect_test::expect![[r#"FAILED_PRECONDITION (DELETION_BLOCKED): Model "models/m" is referred to by 12 resources that block its deletion, first Device "devices/d00" (model)"#]]
            .assert_eq(&status.to_string());
        let Some(Detail::Precondition(violations)) = status.details.first() else { panic!() };
        assert_eq!(violations.len(), NAMED_MAX);
        assert_eq!(violations[0].subject, "//devices.test/devices/d00");
        assert_eq!(status.metadata["blockers.devices.test@eu"], "12");
    }

    #[test]
    fn a_cycle_is_told() {
        let blocked = Blocked { by: [blocker("devices/d", "")].into(), counts: [(None, 1)].into() };
        let at = |name: &str| TargetName::new("devices.test/Model", "v1", name);
        let cycle = [at("models/m"), at("devices/d")];
        let status = refusal("Model", "models/m", "devices.test@eu", &blocked, Some(&cycle));
        expect_test::expect![[r#"Model "models/m" is referred to by 1 resource that blocks its deletion, first Device "devices/d" (parent); they block each other: models/m -> devices/d -> models/m"#]]
            .assert_eq(&status.message);
    }

    #[test]
    fn more_than_are_counted_are_not_counted() {
        let blocked = Blocked { by: BTreeSet::new(), counts: [(None, 1_001)].into() };
        let status = refusal("Model", "models/m", "devices.test@", &blocked, None);
        assert_eq!(status.metadata["blockers"], "more than 1000");
    }
}
