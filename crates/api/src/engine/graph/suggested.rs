//! The owner's side of suggestions: `SuggestQuestions`. A source says that it is worth asking whether it still refers to
//! something. What waits for that is tried at once; of a target that nobody deletes the source is asked after a while, so
//! that it need not be asked when somebody does.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::Status;
use bowline_graph::{Inbound, TargetName, inbound};
use bowline_node::DeploymentId;
use bowline_store::{Key, RowId};
use bowline_wire::bowline::mixin::v1::{SuggestQuestionsRequest, SuggestQuestionsResponse};

use super::{damaged, wire};
use crate::engine::{Deployment, Engine, errors};
use crate::handler::Context;

/// For so long nothing must have been suggested about a target that nobody deletes: who lets go of it and takes it up
/// again is not asked each time.
const QUIET: Duration = Duration::from_secs(60);
/// Questions that are kept in mind; those beyond are not asked.
const KEPT_MAX: usize = 4_096;

/// Sources that say to hold nothing any more, of targets that are active.
#[derive(Debug, Default)]
pub(crate) struct Leavers(Mutex<BTreeMap<(RowId, DeploymentId), Leaver>>);

#[derive(Clone, Debug)]
struct Leaver {
    /// As the stored version has it.
    target: TargetName,
    /// Monotonic time.
    due: Duration,
}

impl Leavers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(RowId, DeploymentId), Leaver>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, uid: RowId, source: DeploymentId, target: TargetName, now: Duration) {
        let mut kept = self.lock();
        let key = (uid, source);
        if kept.len() < KEPT_MAX || kept.contains_key(&key) {
            kept.insert(key, Leaver { target, due: now + QUIET });
        }
    }

    /// Those whose time has come.
    pub(crate) fn due(&self, now: Duration) -> Vec<(RowId, DeploymentId, TargetName)> {
        let kept = self.lock();
        let due = kept.iter().filter(|(_, leaver)| leaver.due <= now);
        due.map(|((uid, source), leaver)| (*uid, source.clone(), leaver.target.clone())).collect()
    }

    /// It is being asked.
    pub(crate) fn forget(&self, uid: RowId, source: &DeploymentId) {
        self.lock().remove(&(uid, source.clone()));
    }
}

impl Engine {
    /// Answers `SuggestQuestions`. What is said of what the caller is no source of is passed over.
    ///
    /// Cost: one read for all; nothing is written.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks; what is wrong with the request; the store's.
    pub(crate) async fn suggest_questions(
        &self,
        request: &SuggestQuestionsRequest,
        context: &Context,
    ) -> Result<SuggestQuestionsResponse, Status> {
        let (deployment, caller) = self.asked(context)?;
        wire::check_count("suggestions", request.suggestions.len(), wire::ITEMS_MAX)?;
        let mut keys = Vec::new();
        let mut rings = false;
        for suggestion in &request.suggestions {
            let target = wire::target(suggestion.target.as_ref(), "suggestions.target")?;
            let uid = wire::uid(&suggestion.uid, "suggestions.uid")?;
            let was_awaited = deployment.waits.freed(uid);
            rings |= was_awaited;
            if !was_awaited && !suggestion.holds_some {
                let kinds = self.stored_kinds(&target.kind, &target.version);
                keys.extend(kinds.iter().map(|kind| (uid, inbound::key(kind, uid))));
            }
        }
        rings |= self.keep_leavers(deployment, caller, keys).await?;
        if rings {
            deployment.ring();
        }
        Ok(SuggestQuestionsResponse {})
    }

    /// Keeps those in mind whose target is active; whether something is being deleted among the others.
    async fn keep_leavers(
        &self,
        deployment: &Deployment,
        caller: &DeploymentId,
        keys: Vec<(RowId, Key)>,
    ) -> Result<bool, Status> {
        if keys.is_empty() {
            return Ok(false);
        }
        let (uids, keys): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let rows = snapshot.batch_get(&keys).await.map_err(|error| errors::store(&error))?;
        let now = self.seams.clock.monotonic();
        let mut is_deleting = false;
        for (uid, row) in uids.into_iter().zip(rows) {
            let Some(row) = row else { continue };
            let inbound = Inbound::of_row(&row).map_err(|error| damaged(&error))?;
            if inbound.source(caller).is_none() {
                continue;
            }
            if inbound.is_deleting {
                is_deleting = true;
                deployment.waits.hurry(uid);
            } else {
                deployment.leavers.keep(uid, caller.clone(), inbound.target, now);
            }
        }
        Ok(is_deleting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_asked_when_it_has_been_quiet_for_a_while() {
        let (leavers, source) = (Leavers::default(), DeploymentId::new("a.test", "eu"));
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let second = Duration::from_secs;
        leavers.keep(RowId(1), source.clone(), target.clone(), second(0));
        leavers.keep(RowId(1), source.clone(), target.clone(), second(30));
        assert!(leavers.due(second(60)).is_empty(), "it was not quiet since");
        assert_eq!(leavers.due(second(90)), [(RowId(1), source.clone(), target.clone())]);
        leavers.forget(RowId(1), &source);
        assert!(leavers.due(second(90)).is_empty());
        for uid in 0..2 * KEPT_MAX as u128 {
            leavers.keep(RowId(uid), source.clone(), target.clone(), second(0));
        }
        assert_eq!(leavers.lock().len(), KEPT_MAX);
    }
}
