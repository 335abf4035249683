//! `owned_pending`: what saves of this deployment left to be done; blockades here that nobody confirmed in time, and sources
//! that said that they hold nothing any more.
//!
//! One queue for each deployment that is asked. A task is removed when all that it names are told; a blockade that has
//! expired is not dropped by the clock: its source is marked as leaving and asked, and the answer fences.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_control::{Controller, Fate, Item, Trouble, Worked};
use bowline_graph::grant::{Answer, Change};
use bowline_graph::{Epoch, Inbound, TargetName, inbound, task};
use bowline_node::DeploymentId;
use bowline_store::ring::Shards;
use bowline_store::{Condition, IndexCursor, Key, NamedRow, RowId, Version, Write};
use bowline_wire::bowline::graph::v1 as stored;
use bowline_wire::bowline::mixin::v1::{self as wire, method};

use super::commit::Piece;
use super::{ANSWER_MAX, Here, PAGE};
use crate::engine::graph::damaged;
use crate::engine::{Deployment, Engine, errors};

/// A task that is younger is not changed because it failed.
const NOTED_AFTER_MILLIS: i64 = 60_000;
/// Longest text of an error that is kept in a task.
const ERROR_CHARS_MAX: usize = 500;
/// Blockades in one message.
const BLOCKADES_MAX: usize = 1_000;

/// See the module's header.
pub(super) struct Pending(pub(super) Here);

/// What is to be done, at one deployment.
pub(super) enum Work {
    Confirm(Box<Confirm>),
    Ask(Box<Expired>),
}

/// The part of a task that concerns one deployment.
pub(super) struct Confirm {
    to: DeploymentId,
    key: Key,
    version: Version,
    task: stored::Task,
}

/// A source with a blockade that has expired, or one that suggested to be asked.
pub(super) struct Expired {
    source: DeploymentId,
    target: TargetName,
    uid: RowId,
}

#[async_trait]
impl Controller for Pending {
    type Work = Work;

    fn name(&self) -> &'static str {
        "owned_pending"
    }

    async fn find(
        &self,
        shards: Shards,
        offer: &mut (dyn FnMut(Item<Work>) + Send),
    ) -> Result<(), Trouble> {
        let (engine, deployment) = self.0.get()?;
        find_tasks(&deployment, shards, offer).await?;
        let now = engine.seams.clock.now().as_millisecond();
        find_expired(&deployment, shards, now, offer).await?;
        let leavers = deployment.leavers.due(engine.seams.clock.monotonic());
        leavers.into_iter().map(|(uid, source, target)| ask(source, target, uid)).for_each(offer);
        Ok(())
    }

    async fn work(&self, queue: &Arc<str>, items: Vec<Item<Work>>) -> Result<Worked, Trouble> {
        let (engine, deployment) = self.0.get()?;
        let (mut confirms, mut expired) = (Vec::new(), Vec::new());
        for item in items {
            match item.work {
                Work::Confirm(confirm) => confirms.push(*confirm),
                Work::Ask(ask) => expired.push((item.id, *ask)),
            }
        }
        tracing::debug!(%queue, confirms = confirms.len(), expired = expired.len(), "pending");
        if let Err(status) = engine.confirm_at(&self.0.me, &deployment, &confirms).await {
            engine.note_failure(&deployment, &confirms, &status).await?;
            return Err(status.into());
        }
        Ok(engine.ask_expired(&self.0.me, &deployment, expired).await?)
    }
}

async fn find_tasks(
    deployment: &Deployment,
    shards: Shards,
    offer: &mut (dyn FnMut(Item<Work>) + Send),
) -> Result<(), Status> {
    let mut range = task::range(shards);
    loop {
        let read = async { deployment.backend.snapshot().await?.scan(&range, PAGE, false).await };
        let rows = read.await.map_err(|error| errors::store(&error))?;
        rows.iter().flat_map(confirms).for_each(&mut *offer);
        match rows.last() {
            Some((name, _)) if rows.len() == PAGE => range.from = format!("{name}\0"),
            _ => return Ok(()),
        }
    }
}

/// One item for each deployment that is to be told.
fn confirms((name, row): &NamedRow) -> Vec<Item<Work>> {
    let task = match task::of_row(row) {
        Ok(task) => task,
        Err(error) => {
            tracing::error!(task = %name, error = %bowline_base::chain(&error), "stored task");
            return Vec::new();
        }
    };
    // Those of a later program are for it to do.
    if task.r#type != task::kind::CONFIRM_BLOCKADES {
        return Vec::new();
    }
    let key = Key { table: task::table(), name: name.clone() };
    let mut told = BTreeMap::new();
    for confirmation in &task.confirmations {
        let to = DeploymentId::new(&*confirmation.service, &*confirmation.region);
        told.entry(to).or_insert(());
    }
    let item = |to: DeploymentId| Item {
        queue: to.to_string().into(),
        id: name.clone(),
        since_millis: task.create_millis,
        is_urgent: false,
        work: Work::Confirm(Box::new(Confirm {
            to,
            key: key.clone(),
            version: row.version,
            task: task.clone(),
        })),
    };
    told.into_keys().map(item).collect()
}

async fn find_expired(
    deployment: &Deployment,
    shards: Shards,
    now_millis: i64,
    offer: &mut (dyn FnMut(Item<Work>) + Send),
) -> Result<(), Status> {
    let range = inbound::expired(now_millis);
    let mut after: Option<IndexCursor> = None;
    loop {
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let hits = snapshot.scan_index(&range, after.as_ref(), PAGE, false).await;
        let hits = hits.map_err(|error| errors::store(&error))?;
        drop(snapshot);
        for hit in hits.iter().filter(|hit| shards.hold(hit.key.name.as_bytes())) {
            let inbound = Inbound::of_row(&hit.row).map_err(|error| damaged(&error))?;
            expired(&inbound, &hit.key.name, now_millis).into_iter().for_each(&mut *offer);
        }
        match hits.last() {
            Some(last) if hits.len() == PAGE => {
                let (value, name) = (last.value.clone(), last.key.name.clone());
                after = Some(IndexCursor { value, kind: last.key.table.kind.clone(), name });
            }
            _ => return Ok(()),
        }
    }
}

/// While a deletion tries its luck no question of another kind starts: it asks all sources itself. A deletion that was
/// given up leaves the same state, so that this ends some time after the blockade has expired.
const COURTESY_MILLIS: i64 = 60_000;

fn expired(inbound: &Inbound, name: &Arc<str>, now_millis: i64) -> Vec<Item<Work>> {
    let Ok(uid) = u128::from_str_radix(name, 16) else { return Vec::new() };
    let courtesy = if inbound.attempt { COURTESY_MILLIS } else { 0 };
    if inbound.is_deleting {
        return Vec::new();
    }
    let sources = inbound.expired(now_millis.saturating_sub(courtesy));
    let listed = sources.into_iter().filter(|source| inbound.source(source).is_some());
    listed.map(|source| ask(source, inbound.target.clone(), RowId(uid))).collect()
}

/// A question to a source about one target; the same whatever it is asked for.
fn ask(source: DeploymentId, target: TargetName, uid: RowId) -> Item<Work> {
    Item {
        queue: source.to_string().into(),
        id: format!("{} {:032x}", target.kind, uid.0).into(),
        since_millis: 0,
        is_urgent: false,
        work: Work::Ask(Box::new(Expired { source, target, uid })),
    }
}

impl Engine {
    /// Tells one deployment that references were committed, then removes what said so.
    async fn confirm_at(
        self: &Arc<Self>,
        me: &DeploymentId,
        deployment: &Arc<Deployment>,
        confirms: &[Confirm],
    ) -> Result<(), Status> {
        let Some(to) = confirms.first().map(|confirm| confirm.to.clone()) else { return Ok(()) };
        let blockades: Vec<_> = confirms.iter().flat_map(Confirm::blockades).collect();
        for some in blockades.chunks(BLOCKADES_MAX) {
            let request = wire::BlockadesRequest { blockades: some.to_vec() };
            let path = method::CONFIRM_BLOCKADES;
            let _: wire::BlockadesResponse = self.ask(me, &to, path, &request, ANSWER_MAX).await?;
        }
        let pieces: Vec<_> = confirms.iter().map(Confirm::done).collect();
        // A task that somebody else has changed is found again, and confirming twice does nothing.
        self.commit_pieces(deployment, &pieces).await?;
        Ok(())
    }

    /// Writes into tasks that they failed, as seldom as their age doubles, so that those who read rows see it too.
    async fn note_failure(
        &self,
        deployment: &Deployment,
        confirms: &[Confirm],
        why: &Status,
    ) -> Result<(), Status> {
        let now = self.seams.clock.now().as_millisecond();
        let pieces: Vec<_> = confirms.iter().filter_map(|c| c.failed(now, &why.message)).collect();
        self.commit_pieces(deployment, &pieces).await?;
        Ok(())
    }

    /// Asks a source whether it holds anything of the targets on which its blockades have expired.
    async fn ask_expired(
        self: &Arc<Self>,
        me: &DeploymentId,
        deployment: &Arc<Deployment>,
        expired: Vec<(Arc<str>, Expired)>,
    ) -> Result<Worked, Status> {
        let (mut asked, mut worked) = (Vec::new(), Worked::new());
        for (id, Expired { source, target, uid }) in expired {
            deployment.leavers.forget(uid, &source);
            let leave = Change::Leave { source: source.clone() };
            match self.change_inbound(deployment, &target, uid, leave).await {
                Ok(Answer::Leaving(epoch)) => {
                    asked.push((id, Expired { source, target, uid }, epoch));
                }
                // There is nothing to ask for any more.
                Ok(_) => {}
                Err(status) => {
                    worked.insert(id, Fate::Waits(status.message));
                }
            }
        }
        let Some(to) = asked.first().map(|(_, expired, _)| expired.source.clone()) else {
            return Ok(worked);
        };
        let mut questions = Vec::new();
        for (_, Expired { target, uid, .. }, epoch) in &asked {
            let names = self.versioned_names(target).await?;
            questions.push(question(*uid, *epoch, names));
        }
        let holdings = self.ask_holdings(me, &to, questions).await?;
        for ((id, Expired { source, target, uid }, epoch), holding) in
            asked.into_iter().zip(holdings)
        {
            if !holding.is_fenced {
                let why = format!("{source} could not say whether it refers to {target}");
                worked.insert(id, Fate::Waits(why));
                continue;
            }
            let change = match holding.holds_any {
                true => Change::Stay { source, epoch },
                false => Change::Clear { source, epoch },
            };
            if let Err(status) = self.change_inbound(deployment, &target, uid, change).await {
                worked.insert(id, Fate::Waits(status.message));
            }
        }
        Ok(worked)
    }

    /// `CheckIfResourceHasDeletionSubscriber`, with an answer for each question.
    pub(super) async fn ask_holdings(
        self: &Arc<Self>,
        me: &DeploymentId,
        to: &DeploymentId,
        questions: Vec<wire::check_request::Question>,
    ) -> Result<Vec<wire::check_response::Holding>, Status> {
        let count = questions.len();
        let request = wire::CheckRequest { questions };
        let path = method::CHECK_IF_RESOURCE_HAS_DELETION_SUBSCRIBER;
        let answer: wire::CheckResponse = self.ask(me, to, path, &request, ANSWER_MAX).await?;
        if answer.holdings.len() != count {
            let message = format!("{to} answered {} of {count} questions", answer.holdings.len());
            return Err(Status::new(Reason::Internal, message));
        }
        Ok(answer.holdings)
    }
}

/// A question about one target.
pub(super) fn question(
    uid: RowId,
    epoch: Epoch,
    names: Vec<wire::VersionedName>,
) -> wire::check_request::Question {
    let uid = uid.0.to_be_bytes().to_vec();
    wire::check_request::Question { uid, epoch: Some(epoch.into()), names }
}

impl Confirm {
    fn is_told(&self, confirmation: &stored::Confirmation) -> bool {
        *confirmation.service == *self.to.service && *confirmation.region == *self.to.region
    }

    fn blockades(&self) -> Vec<wire::blockades_request::Blockade> {
        let told = self.task.confirmations.iter().filter(|one| self.is_told(one));
        let blockade = |one: &stored::Confirmation| wire::blockades_request::Blockade {
            target: Some(wire::VersionedName {
                version: one.version.clone(),
                kind: one.kind.clone(),
                name: one.name.clone(),
            }),
            uid: one.uid.clone(),
            blockade_id: one.blockade_id.clone(),
        };
        told.map(blockade).collect()
    }

    /// The task without what was told; nothing of it if that was all.
    fn done(&self) -> Piece {
        let mut task = self.task.clone();
        task.confirmations.retain(|one| !self.is_told(one));
        match task.confirmations.is_empty() {
            true => self.piece(Write::Remove { key: self.key.clone() }),
            false => self.put(&task),
        }
    }

    /// The task with one more attempt, if that is to be written.
    fn failed(&self, now_millis: i64, why: &str) -> Option<Piece> {
        let age = now_millis.saturating_sub(self.task.create_millis);
        if age < NOTED_AFTER_MILLIS.saturating_mul(2_i64.saturating_pow(self.task.attempts)) {
            return None;
        }
        let mut task = self.task.clone();
        task.attempts = task.attempts.saturating_add(1);
        task.last_error = why.chars().take(ERROR_CHARS_MAX).collect();
        Some(self.put(&task))
    }

    fn put(&self, task: &stored::Task) -> Piece {
        self.piece(Write::put(self.key.clone(), task::row(task, self.version + 1)))
    }

    fn piece(&self, write: Write) -> Piece {
        let conditions = vec![Condition::RowAt { key: self.key.clone(), version: self.version }];
        Piece { conditions, writes: vec![write], guard: None }
    }
}

#[cfg(test)]
mod tests {
    use bowline_graph::inbound::{Blockade, Source};

    use super::*;

    fn id(text: &str) -> DeploymentId {
        text.parse().unwrap()
    }

    fn task(regions: &[&str]) -> NamedRow {
        let confirmation = |region: &&str| stored::Confirmation {
            service: "iam.test".to_owned(),
            region: (*region).to_owned(),
            ..stored::Confirmation::default()
        };
        let task = stored::Task {
            r#type: task::kind::CONFIRM_BLOCKADES.to_owned(),
            confirmations: regions.iter().map(confirmation).collect(),
            ..stored::Task::default()
        };
        ("0001/CONFIRM_BLOCKADES/07".into(), task::row(&task, 5))
    }

    fn confirm(item: Item<Work>) -> Confirm {
        match item.work {
            Work::Confirm(confirm) => *confirm,
            Work::Ask(_) => panic!("a confirmation was expected"),
        }
    }

    #[test]
    fn a_task_goes_when_all_that_it_names_are_told() {
        let items = confirms(&task(&["eu", "us", "eu"]));
        let queues: Vec<_> = items.iter().map(|item| item.queue.to_string()).collect();
        assert_eq!(queues, ["iam.test@eu", "iam.test@us"]);
        let eu = confirm(items.into_iter().next().unwrap());
        assert_eq!(eu.blockades().len(), 2);
        let Piece { conditions, writes, .. } = eu.done();
        assert!(matches!(&conditions[..], [Condition::RowAt { version: 5, .. }]));
        let [Write::Put { key, row, .. }] = &writes[..] else { panic!("{writes:?}") };
        let mut rest = confirms(&(key.name.clone(), row.clone()));
        let us = confirm(rest.remove(0));
        assert!(rest.is_empty() && *us.to.region == *"us");
        assert!(matches!(&us.done().writes[..], [Write::Remove { .. }]));
    }

    #[test]
    fn failures_are_noted_as_seldom_as_the_age_doubles() {
        let mut row = task(&["eu"]);
        let mut noted = Vec::new();
        for minute in 0..40 {
            let eu = confirm(confirms(&row).remove(0));
            if let Some(piece) = eu.failed(minute * 60_000, "no answer") {
                let [Write::Put { row: put, .. }] = &piece.writes[..] else { panic!() };
                row.1 = put.clone();
                noted.push(minute);
            }
        }
        assert_eq!(noted, [1, 2, 4, 8, 16, 32]);
        let task = task::of_row(&row.1).unwrap();
        assert_eq!((task.attempts, task.last_error.as_str()), (6, "no answer"));
    }

    #[test]
    fn sources_are_asked_once_their_blockades_have_expired() {
        let (one, other) = (id("a.test@eu"), id("b.test@eu"));
        let blockade = |deployment: &DeploymentId, expires_millis| Blockade {
            id: [1; 16],
            deployment: deployment.clone(),
            epoch: Epoch::default(),
            expires_millis,
        };
        let source =
            |deployment: &DeploymentId| Source { deployment: deployment.clone(), leaving: None };
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let inbound = Inbound {
            sources: vec![source(&one), source(&other)],
            blockades: vec![blockade(&one, 100_000), blockade(&other, 200_000)],
            ..Inbound::new(target, Epoch::default())
        };
        let name: Arc<str> = format!("{:032x}", 7).into();
        let asked = |inbound: &Inbound, now| {
            let items = expired(inbound, &name, now);
            items.iter().map(|item| item.queue.to_string()).collect::<Vec<_>>()
        };
        assert!(asked(&inbound, 99_999).is_empty());
        assert_eq!(asked(&inbound, 100_000), ["a.test@eu"]);
        assert_eq!(asked(&inbound, 200_000), ["a.test@eu", "b.test@eu"]);
        let attempted = Inbound { attempt: true, ..inbound.clone() };
        assert!(asked(&attempted, 100_000 + COURTESY_MILLIS - 1).is_empty());
        assert_eq!(asked(&attempted, 100_000 + COURTESY_MILLIS), ["a.test@eu"]);
        let deleting = Inbound { is_deleting: true, ..inbound };
        assert!(asked(&deleting, 1_000_000).is_empty());
    }
}
