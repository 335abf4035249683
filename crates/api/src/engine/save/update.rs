//! Update.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_node::Policy;
use bowline_resource::document::Document;
use bowline_resource::metadata::Meta;
use bowline_resource::update::Unmasked;
use bowline_resource::value;
use bowline_store::incarnation::Turn;
use bowline_store::{Condition, Row};
use bytes::Bytes;

use super::change::Change;
use super::{Batch, Draft, Ended, Saved, answer_with};
use crate::engine::graph::save::{Before, Settled};
use crate::engine::hooks::SaveKind;
use crate::engine::new_name::NewName;
use crate::engine::ownership::Guard;
use crate::engine::ownership::change::policy_field;
use crate::engine::prepared::Identity;
use crate::engine::read::parse_name;
use crate::engine::request::{Request, field_name};
use crate::engine::select::decode;
use crate::engine::shape::aside_of;
use crate::engine::{Engine, Route, errors};

/// What a change of a resource comes to.
enum Drafted {
    Changed(Draft),
    /// Nothing needs to be written.
    Same {
        policy: Option<Policy>,
    },
}

/// What one attempt has read.
struct Read {
    row: Row,
    before: Document,
    guard: Option<Guard>,
}

impl Drafted {
    fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Changed(draft) => draft.policy.as_ref(),
            Self::Same { policy } => policy.as_ref(),
        }
    }
}

impl Engine {
    /// `until` is the deadline, as monotonic time.
    pub(crate) async fn update(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<'_>,
        until: Duration,
    ) -> Result<Bytes, Status> {
        let idempotent = self.idempotent(route, "update", &request)?;
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(answer);
        }
        let resource = request.resource()?;
        let ty = &route.resource.ty;
        let field = field_name(&request.fields.resource, "");
        let path = if field.is_empty() { "name".to_owned() } else { format!("{field}.name") };
        let text = bowline_resource::document::name_of(ty, &resource).to_owned();
        let name = parse_name(route, &text, &path)?;
        let change = Change::of(ty, &request, resource)?;
        let saved = Saved { route, request: &request, idempotent, until };
        let updated = self.update_named(&saved, &change, name).await;
        self.or_answered(route, saved.idempotent.as_ref(), updated).await
    }

    async fn update_named(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        change: &Change<'_>,
        name: String,
    ) -> Result<Bytes, Status> {
        let (ty, request) = (&saved.route.resource.ty, saved.request);
        for attempt in 0..self.limits.write_attempts_max {
            match self.try_update(saved, change, &name).await? {
                Some(Ended::Committed(answer) | Ended::Answered(answer)) => return Ok(answer),
                Some(Ended::Lost) => self.pause_after(attempt).await,
                None if request.flag(&request.fields.allow_missing) => {
                    return self.create_named(saved, NewName::given(name)).await;
                }
                None => return Err(errors::not_found(ty, &name)),
            }
        }
        Err(errors::conflict(ty, &name, "is written by many at once"))
    }

    /// One attempt; `None` if there is no such resource.
    async fn try_update(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        change: &Change<'_>,
        name: &str,
    ) -> Result<Option<Ended>, Status> {
        let route = saved.route;
        let guard = self.guard(route, name, Some(SaveKind::Update)).await?;
        let turn = route.deployment.begin().await?;
        let found = route.deployment.backend.get(&route.resource.key(name)).await;
        let (row, _) = found.map_err(|error| errors::store(&error))?;
        let Some(row) = row else { return Ok(None) };
        let before = decode(&route.resource.ty, name, &row)?;
        change.check_preconditions(&before, name)?;
        let drafted = self.draft_update(route, change, &before, &row, guard.as_ref())?;
        let read = Read { row, before, guard };
        let outcome = match &drafted {
            Drafted::Same { .. } => {
                self.commit_update(saved, turn, &read, &drafted, &Settled::default()).await
            }
            Drafted::Changed(draft) => {
                let saving = saved.saving(name, draft.identity);
                let held = aside_of(&read.row).references;
                let stored = Before { document: Some(&read.before), held: &held };
                let settled = self.settle(&saving, &draft.document, &stored).await?;
                let outcome = self.commit_update(saved, turn, &read, &drafted, &settled).await;
                self.conclude(saved, &settled, &outcome);
                if draft.identity.is_marked && matches!(outcome, Ok(Ended::Committed(_))) {
                    // It may have been the last finaliser.
                    route.deployment.ring();
                }
                outcome
            }
        };
        outcome.map(Some)
    }

    /// Everything after the references are settled.
    async fn commit_update(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        turn: Turn,
        read: &Read,
        drafted: &Drafted,
        settled: &Settled,
    ) -> Result<Ended, Status> {
        let Read { row, before, guard } = read;
        let route = saved.route;
        let prepared = match drafted {
            Drafted::Changed(draft) => Some(saved.seal(self, draft, settled)?),
            Drafted::Same { .. } => None,
        };
        let shown = prepared.as_ref().map_or(&row.body, |p| &p.row.body);
        let answer = answer_with(route, saved.request, shown, &self.seams)?;
        if saved.is_dry() {
            return Ok(Ended::Answered(answer));
        }
        let had = policy_field(route).and_then(|field| field.read(&before.body));
        let name = before.name();
        let moved = self.change_policy(route, name, had.as_ref(), drafted.policy()).await?;
        let key = route.resource.key(name);
        let conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
        let writes = prepared.map(|prepared| prepared.put(key)).into_iter().collect();
        let batch = Batch { conditions, writes, answer };
        self.commit_save(saved, turn, guard.as_ref(), &moved, settled, batch).await
    }

    /// The document after the change.
    fn draft_update(
        &self,
        route: &Route,
        change: &Change<'_>,
        before: &Document,
        row: &Row,
        guard: Option<&Guard>,
    ) -> Result<Drafted, Status> {
        // Synthesised and Goten-style updates replace what they do not mask; AIP-134 takes what is populated.
        let is_put = change.request.fields.cas.is_some();
        let unmasked = if is_put { Unmasked::Replace } else { Unmasked::Populated };
        let merged = before.updated(&change.resource, &change.mask, unmasked);
        let mut after = merged.map_err(|error| {
            let field = field_name(&change.request.fields.resource, "");
            Status::bad_field(Reason::InvalidField, field, error.to_string())
        })?;
        if let Some(edit) = change.request.edit {
            edit(&mut after.body)?;
            after.set_meta(&before.meta());
        }
        after.set_name(before.name());
        self.run_hooks(&mut after, Some(before))?;
        let policy = self.settle_policy(route, Some(&before.body), &mut after.body)?;
        let stored = before.meta();
        let decorate = |meta: &mut Meta| {
            if let Some(guard) = guard {
                guard.decorate(meta, &before.ty, before.name());
            }
        };
        if guard.is_some() {
            let mut meta = after.meta();
            decorate(&mut meta);
            after.set_meta(&meta);
        }
        if value::same(&before.body, &after.body) && stored == after.meta() {
            return Ok(Drafted::Same { policy });
        }
        let identity = Identity::after(row);
        let spec_changed = after.spec_changed(before);
        let now = self.seams.clock.now();
        let mut meta = after.meta().on_update(&stored, now, identity.version, spec_changed);
        decorate(&mut meta);
        self.check_finalizers(&before.ty, change.request, &stored, &meta)?;
        after.set_meta(&meta);
        self.check_document(&mut after, change.request, SaveKind::Update)?;
        Ok(Drafted::Changed(Draft { document: after, identity, policy }))
    }
}
