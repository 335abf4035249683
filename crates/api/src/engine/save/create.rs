//! Create.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_graph::index;
use bowline_resource::document::Document;
use bowline_resource::metadata::Meta;
use bowline_store::incarnation::Turn;
use bowline_store::{Condition, Position, RowId};
use bytes::Bytes;

use super::{Batch, Draft, Ended, Saved, answer_with};
use crate::engine::graph::save::{Before, Settled, alias_key};
use crate::engine::hooks::SaveKind;
use crate::engine::new_name::NewName;
use crate::engine::ownership::Guard;
use crate::engine::prepared::Identity;
use crate::engine::request::Request;
use crate::engine::{Engine, Route, errors};

/// One attempt to make a resource.
struct Attempt<'a> {
    name: &'a str,
    guard: Option<Guard>,
    /// Where the log ended before anything was read.
    head: Position,
}

impl Engine {
    /// `until` is the deadline, as monotonic time.
    pub(crate) async fn create(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        until: Duration,
    ) -> Result<Bytes, Status> {
        let idempotent = self.idempotent(route, "create", &request)?;
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(answer);
        }
        let new_name = NewName::of(route, &request)?;
        let saved = Saved { route, request: &request, idempotent, until };
        let made = self.create_named(&saved, new_name).await;
        self.or_answered(route, saved.idempotent.as_ref(), made).await
    }

    pub(super) async fn create_named(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        new_name: NewName,
    ) -> Result<Bytes, Status> {
        let ty = &saved.route.resource.ty;
        for attempt in 0..self.limits.write_attempts_max {
            let name = new_name.make(ty, &self.seams)?;
            match self.try_create(saved, &name).await? {
                Ended::Committed(answer) | Ended::Answered(answer) => return Ok(answer),
                Ended::Lost => {}
            }
            if !new_name.is_generated() {
                self.check_free(saved.route, &name).await?;
            }
            self.pause_after(attempt).await;
        }
        Err(match new_name {
            NewName::Given(name) => errors::conflict(ty, &name, "is written by many at once"),
            NewName::Generated { .. } => {
                Status::new(Reason::Conflict, "no free name was found in time; retry")
            }
        })
    }

    /// # Errors
    /// `RESOURCE_EXISTS`, or `DELETION_PENDING` while the name is kept taken.
    async fn check_free(&self, route: &Route, name: &str) -> Result<(), Status> {
        let (ty, backend) = (&route.resource.ty, &route.deployment.backend);
        let found = backend.get(&route.resource.key(name)).await;
        match found.map_err(|error| errors::store(&error))?.0 {
            Some(row) if !index::is_marked(&row) => return Err(errors::exists(ty, name)),
            _ => {}
        }
        self.check_not_deleting(route, name).await
    }

    /// # Errors
    /// `DELETION_PENDING` while the name is kept taken.
    async fn check_not_deleting(&self, route: &Route, name: &str) -> Result<(), Status> {
        let found = route.deployment.backend.get(&alias_key(&route.resource, name)).await;
        match found.map_err(|error| errors::store(&error))?.0 {
            Some(_) => Err(self.deletion_pending(&route.deployment, &route.resource, name).await),
            None => Ok(()),
        }
    }

    async fn try_create(self: &Arc<Self>, saved: &Saved<'_>, name: &str) -> Result<Ended, Status> {
        let route = saved.route;
        let guard = self.guard(route, name, Some(SaveKind::Create)).await?;
        let turn = route.deployment.begin().await?;
        // Above any version that the name ever had, as long as it is not removed once more meanwhile.
        let head = *route.deployment.backend.head().borrow();
        let draft = self.draft_new(saved, name, head.sequence + 1, guard.as_ref())?;
        let saving = saved.saving(name, draft.identity);
        let settled = self.settle(&saving, &draft.document, &Before::default()).await?;
        let attempt = Attempt { name, guard, head };
        let outcome = self.commit_new(saved, turn, &attempt, &draft, &settled).await;
        self.conclude(saved, &settled, &outcome);
        outcome
    }

    /// Everything after the references are settled.
    async fn commit_new(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        turn: Turn,
        attempt: &Attempt<'_>,
        draft: &Draft,
        settled: &Settled,
    ) -> Result<Ended, Status> {
        let Attempt { name, guard, head } = attempt;
        let (route, shape) = (saved.route, &saved.route.resource);
        let prepared = saved.seal(self, draft, settled)?;
        let answer = answer_with(route, saved.request, &prepared.row.body, &self.seams)?;
        if saved.is_dry() {
            self.check_free(route, name).await?;
            return Ok(Ended::Answered(answer));
        }
        if draft.policy.is_some() {
            // The commit requires it anyway; before, others would be asked to give up what is not free.
            self.check_not_deleting(route, name).await?;
        }
        let change = self.change_policy(route, name, None, draft.policy.as_ref()).await?;
        let key = shape.key(name);
        let mut conditions = vec![
            Condition::RowAbsent { key: key.clone() },
            Condition::NotRemovedSince { key: key.clone(), since: *head },
        ];
        if shape.has_shadows() {
            // A deletion that has not finished keeps the name.
            conditions.push(Condition::RowAbsent { key: alias_key(shape, name) });
        }
        let batch = Batch { conditions, writes: vec![prepared.put(key)], answer };
        self.commit_save(saved, turn, guard.as_ref(), &change, settled, batch).await
    }

    fn draft_new(
        &self,
        saved: &Saved<'_>,
        name: &str,
        version: u64,
        guard: Option<&Guard>,
    ) -> Result<Draft, Status> {
        let (route, request) = (saved.route, saved.request);
        let ty = &route.resource.ty;
        let mut document = Document::for_create(ty.clone(), request.resource()?);
        document.set_name(name);
        self.run_hooks(&mut document, None)?;
        let policy = self.settle_policy(route, None, &mut document.body)?;
        let uid = self.seams.new_uid();
        let now = self.seams.clock.now();
        let mut meta = document.meta().on_create(now, &uid.to_string(), version);
        if let Some(guard) = guard {
            guard.decorate(&mut meta, ty, name);
        }
        self.check_finalizers(ty, request, &Meta::default(), &meta)?;
        document.set_meta(&meta);
        self.check_document(&mut document, request, SaveKind::Create)?;
        let identity = Identity { id: RowId(uid.as_u128()), version, is_marked: false };
        Ok(Draft { document, identity, policy })
    }
}
