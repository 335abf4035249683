//! The source's side of deletions: `CheckIfResourceIsBlocked` and `CheckIfResourceHasDeletionSubscriber`.
//!
//! What is answered is in `graph::question`; here it is read and committed. An answer is never older than its question: it is
//! taken from a view that is opened after the question came, and what it denies is a condition of the commit that fences.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::TargetName;
use bowline_graph::index::{self, Rule};
use bowline_graph::question::{About, Facts, Question, Reply, Tally};
use bowline_node::DeploymentId;
use bowline_store::incarnation::TurnError;
use bowline_store::{Batch, CommitError, IndexCursor, IndexRange, Snapshot};
use bowline_wire::bowline::mixin::v1::check_response::Holding;
use bowline_wire::bowline::mixin::v1::{CheckRequest, CheckResponse, check_request};

use super::kept::has_any;
use super::wire;
use crate::engine::{Deployment, Engine, errors};
use crate::handler::Context;

/// Questions that are answered by one commit.
const TOGETHER_MAX: usize = 32;
/// Rows read at once while counting; nothing is kept of them.
const PAGE: usize = 128;

impl Engine {
    /// Answers `CheckIfResourceIsBlocked`.
    ///
    /// Cost: a range scan for each name and stored version, at most 1,000 rows; one commit for 32 questions that are not
    /// blocked, none if they are asked again.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks, `CALLER_REFUSED` unless it is one of the targets' service; what is
    /// wrong with the request; `CONFLICT` if others win all the time.
    pub(crate) async fn check_blocked(
        &self,
        request: &CheckRequest,
        context: &Context,
    ) -> Result<CheckResponse, Status> {
        self.check(About::Blockers, request, context).await
    }

    /// Answers `CheckIfResourceHasDeletionSubscriber`; cost and errors as [`Engine::check_blocked`].
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn check_subscribers(
        &self,
        request: &CheckRequest,
        context: &Context,
    ) -> Result<CheckResponse, Status> {
        self.check(About::Referrers, request, context).await
    }

    async fn check(
        &self,
        about: About,
        request: &CheckRequest,
        context: &Context,
    ) -> Result<CheckResponse, Status> {
        let (deployment, caller) = self.asked(context)?;
        let questions = questions(request, caller)?;
        let mut holdings = Vec::with_capacity(questions.len());
        let mut rest = &questions[..];
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(together(rest));
            holdings.extend(self.answer_together(deployment, about, chunk).await?);
            rest = later;
        }
        Ok(CheckResponse { holdings })
    }

    /// Answers questions that have no name in common, by one commit.
    async fn answer_together(
        &self,
        deployment: &Arc<Deployment>,
        about: About,
        questions: &[Question],
    ) -> Result<Vec<Holding>, Status> {
        let namespaces: Vec<_> = deployment.namespaces().into_iter().collect();
        for _ in 0..self.limits.write_attempts_max {
            let turn = deployment.begin().await?;
            let snapshot = deployment.backend.snapshot().await;
            let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
            let mut replies = Vec::with_capacity(questions.len());
            for question in questions {
                let reply = if self.is_mentioned(deployment, question) {
                    let facts = facts(snapshot.as_mut(), about, question, &namespaces).await?;
                    question.reply(about, facts, &namespaces, snapshot.position())
                } else {
                    Question::mismatch()
                };
                replies.push(reply);
            }
            drop(snapshot);
            let (batch, holdings) = merged(replies);
            if batch.writes.is_empty() {
                return Ok(holdings);
            }
            match turn.commit(batch).await {
                Ok(_) => return Ok(holdings),
                Err(TurnError::Lost | TurnError::Commit(CommitError::ConditionFailed { .. })) => {}
                Err(TurnError::Commit(error)) => return Err(errors::commit(&error)),
            }
        }
        let message = "references to what was asked about are committed all the time; retry";
        Err(Status::new(Reason::Conflict, message))
    }

    /// Whether the question mentions every version in which resources here may name its target.
    fn is_mentioned(&self, deployment: &Deployment, question: &Question) -> bool {
        let Some(target) = question.names.first() else { return true };
        let Some(own) = self.registry.service(&deployment.service) else { return true };
        own.versions.iter().all(|version| {
            let named = if own.name == target.service() {
                Some(&version.version)
            } else {
                version.imports.get(target.service())
            };
            named.is_none_or(|named| question.versions.contains(named.as_str()))
        })
    }
}

/// How many of the questions can be answered by one commit: no fence is written twice in it.
fn together(questions: &[Question]) -> usize {
    let mut names = BTreeSet::new();
    let mut count = 0;
    for question in questions.iter().take(TOGETHER_MAX) {
        if !question.names.iter().all(|name| names.insert(name)) {
            break;
        }
        count += 1;
    }
    // The first one fits alone: no name is in it twice.
    count.max(1)
}

fn merged(replies: Vec<Reply>) -> (Batch, Vec<Holding>) {
    let mut batch = Batch::default();
    let holdings = replies.into_iter().map(|reply| {
        batch.conditions.extend(reply.conditions);
        batch.writes.extend(reply.writes);
        reply.holding
    });
    let holdings = holdings.collect();
    (batch, holdings)
}

fn questions(request: &CheckRequest, caller: &DeploymentId) -> Result<Vec<Question>, Status> {
    wire::check_count("questions", request.questions.len(), wire::ITEMS_MAX)?;
    request.questions.iter().map(|asked| question(asked, caller)).collect()
}

fn question(asked: &check_request::Question, caller: &DeploymentId) -> Result<Question, Status> {
    wire::check_count("questions.names", asked.names.len(), wire::VERSIONS_MAX)?;
    let epoch = asked.epoch.ok_or_else(|| wire::bad("questions.epoch", "is missing"))?;
    let mut names: BTreeSet<TargetName> = BTreeSet::new();
    let mut versions = BTreeSet::new();
    for name in &asked.names {
        let target = wire::target(Some(name), "questions.names")?;
        if target.service() != &*caller.service {
            let message = format!("{caller} does not own resources of {}", target.service());
            return Err(Status::new(Reason::CallerRefused, message));
        }
        versions.insert(target.version.clone());
        if !target.name.is_empty() {
            names.insert(target);
        }
    }
    if names.is_empty() {
        return Err(wire::bad("questions.names", "says no name"));
    }
    Ok(Question {
        uid: wire::uid(&asked.uid, "questions.uid")?,
        epoch: wire::epoch(epoch, "questions.epoch")?,
        names: names.into_iter().collect(),
        versions,
    })
}

/// Reads what a question is about.
async fn facts(
    snapshot: &mut dyn Snapshot,
    about: About,
    question: &Question,
    namespaces: &[Arc<str>],
) -> Result<Facts, Status> {
    let fences = snapshot.batch_get(&question.fence_keys()).await;
    let mut facts =
        Facts { fences: fences.map_err(|error| errors::store(&error))?, ..Facts::default() };
    let mut tally = Tally::default();
    for namespace in namespaces {
        for name in &question.names {
            let blocking = index::range_by(namespace, name, question.uid, Rule::Block);
            let whole = index::range_to(namespace, name, question.uid);
            let (asked, other) = match about {
                About::Blockers => (&blocking, &whole),
                About::Referrers => (&whole, &blocking),
            };
            let is_found = count(snapshot, asked, about, &question.names, &mut tally).await?;
            // What blocks also refers; what refers may block.
            let has_other = match about {
                About::Blockers => is_found || is_used(snapshot, other).await?,
                About::Referrers => is_found && is_used(snapshot, other).await?,
            };
            let (blocks, refers) = match about {
                About::Blockers => (is_found, has_other),
                About::Referrers => (has_other, is_found),
            };
            facts.is_blocked |= blocks;
            facts.holds_any |= refers;
        }
    }
    facts.count = tally.count();
    facts.referrers = tally.into_referrers();
    Ok(facts)
}

async fn is_used(snapshot: &mut dyn Snapshot, range: &IndexRange) -> Result<bool, Status> {
    has_any(snapshot, std::slice::from_ref(range)).await.map_err(|error| errors::store(&error))
}

/// Adds what is in the range to the tally, as far as that has room; whether there is anything.
async fn count(
    snapshot: &mut dyn Snapshot,
    range: &IndexRange,
    about: About,
    names: &[TargetName],
    tally: &mut Tally,
) -> Result<bool, Status> {
    let mut after: Option<IndexCursor> = None;
    loop {
        // One row tells that there are some, where no more are counted.
        let size = if tally.is_full() { 1 } else { PAGE };
        let hits = snapshot.scan_index(range, after.as_ref(), size, false).await;
        let hits = hits.map_err(|error| errors::store(&error))?;
        hits.iter().for_each(|hit| tally.note(&hit.key, &hit.row, about, names));
        match hits.last() {
            Some(hit) if hits.len() == size && !tally.is_full() => {
                let (kind, name) = (hit.key.table.kind.clone(), hit.key.name.clone());
                after = Some(IndexCursor { value: hit.value.clone(), kind, name });
            }
            last => return Ok(last.is_some() || after.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bowline_graph::Epoch;
    use bowline_store::RowId;

    use super::*;

    fn about(name: &str) -> Question {
        let names = vec![TargetName::new("iam.test/Project", "v1", name)];
        let versions = BTreeSet::from(["v1".into()]);
        Question { uid: RowId(1), epoch: Epoch::default(), names, versions }
    }

    #[test]
    fn one_commit_writes_no_fence_twice() {
        let all = [about("projects/a"), about("projects/b"), about("projects/a")];
        assert_eq!(together(&all), 2);
        assert_eq!(together(&all[2..]), 1);
        let many: Vec<_> = (0..100).map(|n| about(&format!("projects/{n}"))).collect();
        assert_eq!(together(&many), TOGETHER_MAX);
    }
}
