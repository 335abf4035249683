//! References that commits of this deployment let go of, and what comes of it: what waits here goes on at once, and owners of
//! targets elsewhere are told that asking is worth while.
//!
//! A suggestion binds nobody, and may be lost. It is made a moment after the commit, by a task that looks whether
//! anything here still refers to the target; what comes to one owner in that moment is one message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_base::{Seams, Status};
use bowline_control::{Bell, Heard};
use bowline_graph::index::{self, Rule};
use bowline_graph::{Behaviour, Held, TargetName, aside};
use bowline_node::DeploymentId;
use bowline_store::{RowId, Snapshot};
use bowline_wire::bowline::mixin::v1::{
    SuggestQuestionsRequest, SuggestQuestionsResponse, method, suggest_questions_request,
};
use futures::future::join_all;

use super::control::Here;
use super::kept::has_any;
use crate::engine::{Deployment, Engine, errors};

/// Targets that are kept in mind; those beyond are not suggested.
const NOTED_MAX: usize = 4_096;
/// Targets in one message.
const TOGETHER_MAX: usize = 1_000;
/// After something was noted, so that what follows is told together with it.
const GATHER: Duration = Duration::from_millis(50);
/// Longest wait for an answer, which nothing hangs on.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Foreign targets that were let go of and not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    noted: Mutex<Noted>,
    bell: Bell,
}

/// By target and uid: the owner's region if that is another one, and whether a reference blocked.
type Noted = BTreeMap<(TargetName, RowId), (Option<Arc<str>>, bool)>;

impl Dropped {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, held: &Held) {
        let mut noted = self.lock();
        let key = (held.target.clone(), held.uid);
        if noted.len() >= NOTED_MAX && !noted.contains_key(&key) {
            return;
        }
        let noted_before = noted.entry(key).or_insert_with(|| (held.region.clone(), false));
        noted_before.1 |= held.behaviour == Behaviour::Block;
        drop(noted);
        self.bell.ring();
    }

    pub(crate) fn close(&self) {
        self.bell.close();
    }
}

impl Deployment {
    /// A commit has removed the resource `own`, which held these references.
    pub(crate) fn removed(&self, own: RowId, held: &[Held]) {
        if self.waits.freed(own) {
            self.ring();
        }
        self.let_go(aside::strictest(held).into_values());
    }

    /// After a commit some resource does not hold these references any more.
    ///
    /// Cost: nothing that waits, no read.
    pub(crate) fn let_go<'h>(&self, dropped: impl IntoIterator<Item = &'h Held>) {
        for held in dropped {
            let is_local = held.region.is_none() && *held.target.service() == *self.service;
            if !is_local {
                self.dropped.note(held);
            } else if self.waits.freed(held.uid) {
                self.ring();
            }
        }
    }
}

/// Starts the task that makes suggestions; it ends with the deployment.
pub(super) fn start(deployment: &Arc<Deployment>, here: Here, seams: &Seams) {
    let (mut bell, clock) = (deployment.dropped.bell.listen(), seams.clock.clone());
    let task = async move {
        while bell.heard().await == Heard::Ring {
            clock.sleep(GATHER).await;
            let Ok((engine, deployment)) = here.get() else { return };
            if let Err(status) = engine.suggest(&here.me, &deployment).await {
                tracing::debug!(service = %deployment.service, %status, "suggestions are lost");
            }
        }
    };
    seams.tasks.spawn("suggestions", Box::pin(task));
}

impl Engine {
    /// Tells the owners of what was noted what is worth asking about.
    async fn suggest(
        self: &Arc<Self>,
        me: &DeploymentId,
        deployment: &Deployment,
    ) -> Result<(), Status> {
        let noted = std::mem::take(&mut *deployment.dropped.lock());
        let mut by_owner: BTreeMap<DeploymentId, Vec<_>> = BTreeMap::new();
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        for ((target, uid), (region, did_block)) in noted {
            let region = region.unwrap_or_else(|| me.region.clone());
            let owner = DeploymentId::new(target.service(), region);
            let left = left(deployment, snapshot.as_mut(), &target, uid).await?;
            if left == Left::Nothing || (left == Left::Others && did_block) {
                let suggestion = suggest_questions_request::Suggestion {
                    target: Some((&target).into()),
                    uid: uid.0.to_be_bytes().to_vec(),
                    holds_some: left == Left::Others,
                };
                by_owner.entry(owner).or_default().push(suggestion);
            }
        }
        drop(snapshot);
        let messages = by_owner.iter().flat_map(|(owner, suggestions)| {
            suggestions.chunks(TOGETHER_MAX).map(move |some| (owner, some.to_vec()))
        });
        let told = messages.map(|(owner, suggestions)| async move {
            let (request, path) =
                (SuggestQuestionsRequest { suggestions }, method::SUGGEST_QUESTIONS);
            let answer = self.ask(me, owner, path, &request, ANSWER_MAX).await;
            if let Err(status) = answer.map(|_: SuggestQuestionsResponse| ()) {
                tracing::debug!(%owner, %status, "a suggestion is lost");
            }
        });
        join_all(told).await;
        Ok(())
    }
}

/// What a deployment still holds of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// References that do not block.
    Others,
    Blocking,
}

async fn left(
    deployment: &Deployment,
    snapshot: &mut dyn Snapshot,
    target: &TargetName,
    uid: RowId,
) -> Result<Left, Status> {
    let mut left = Left::Nothing;
    for space in deployment.namespaces() {
        for rule in Rule::ALL {
            let range = index::range_by(&space, target, uid, rule);
            let found = has_any(snapshot, &[range]).await;
            if found.map_err(|error| errors::store(&error))? {
                if rule == Rule::Block {
                    return Ok(Left::Blocking);
                }
                left = Left::Others;
            }
        }
    }
    Ok(left)
}
