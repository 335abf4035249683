//! Create and update: read, decide, commit once; start over if somebody else was faster.
//!
//! Nothing is held between reading and committing. A create is conditional on the name being free, an update on the
//! version that was read, so that two writers never overwrite each other unseen; both on what their references need. Here is
//! what they have in common; `create` and `update` are the verbs, `change` is what an update asks for.

mod change;
mod create;
mod finalizers;
mod update;

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Reason, Status};
use bowline_node::Policy;
use bowline_resource::document::Document;
use bowline_resource::mask::Mask;
use bowline_resource::rules;
use bowline_schema::model::ResourceType;
use bowline_store::{Condition, Write};
use bytes::Bytes;
use prost::Message;
use prost_reflect::DynamicMessage;

use super::graph::save::{Saving, Settled};
use super::hooks::{Save, SaveKind};
use super::idempotency::{Idempotent, Outcome};
use super::ownership::Guard;
use super::ownership::change::PolicyChange;
use super::prepared::{Identity, Prepared};
use super::request::{Request, mask_paths};
use super::{Engine, Route, errors, respond, validate};

pub(crate) use change::etag_matches;

/// The first pause before a write that lost a race twice is tried again; it doubles with each loss.
const PAUSE_FIRST: Duration = Duration::from_millis(1);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// A request that saves a resource.
struct Saved<'a> {
    route: &'a Arc<Route>,
    request: &'a Request<'a>,
    idempotent: Option<Idempotent>,
    /// Until when, as monotonic time.
    until: Duration,
}

/// A document that is ready but for its references.
struct Draft {
    document: Document,
    identity: Identity,
    /// See [`Engine::settle_policy`].
    policy: Option<Policy>,
}

/// What one attempt of a save commits.
struct Batch {
    /// Of the resource itself, beside those of ownership, policy and references.
    conditions: Vec<Condition>,
    /// Of the resource itself.
    writes: Vec<Write>,
    answer: Bytes,
}

/// How one attempt ended.
enum Ended {
    Committed(Bytes),
    /// Nothing was committed by it: the same request was answered by another call, or nothing was to be committed.
    Answered(Bytes),
    Lost,
}

impl Saved<'_> {
    fn is_dry(&self) -> bool {
        self.request.flag(&self.request.fields.validate_only)
    }

    fn saving<'s>(&'s self, name: &'s str, identity: Identity) -> Saving<'s> {
        Saving {
            deployment: &self.route.deployment,
            shape: &self.route.resource,
            name,
            id: identity.id,
            is_marked: identity.is_marked,
            until: self.until,
            is_dry: self.is_dry(),
        }
    }

    /// The draft as it is written, with the references that were settled for it.
    fn seal(&self, engine: &Engine, draft: &Draft, settled: &Settled) -> Result<Prepared, Status> {
        let Route { resource, deployment, .. } = &**self.route;
        let Draft { document, identity, .. } = draft;
        let references = settled.references();
        let prepared = Prepared::of(deployment, resource, document, references, *identity);
        prepared.check_size(engine.limits.resource_bytes_max)?;
        Ok(prepared)
    }
}

impl Engine {
    /// Checks a document, and takes out what is not kept.
    fn check_document(
        &self,
        document: &mut Document,
        request: &Request<'_>,
        save: SaveKind,
    ) -> Result<(), Status> {
        let field = request.fields.resource.as_ref().map_or("", |f| f.name());
        validate::check(&self.registry, document, field, save)?;
        // Hooks and checks have seen what is for input only; nobody reads it again (AIP-203).
        rules::clear_input_only(&document.ty, &mut document.body);
        Ok(())
    }

    /// Commits what one attempt comes to; what it asked of others for it is given back if it does not.
    async fn commit_save(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        turn: bowline_store::incarnation::Turn,
        guard: Option<&Guard>,
        change: &PolicyChange,
        settled: &Settled,
        batch: Batch,
    ) -> Result<Ended, Status> {
        let Batch { mut conditions, mut writes, answer } = batch;
        conditions.extend(self.ownership_conditions(guard));
        conditions.extend(change.conditions());
        conditions.extend(settled.conditions());
        writes.extend(settled.task());
        let idempotent = saved.idempotent.as_ref();
        match self.commit(saved.route, turn, conditions, writes, idempotent, &answer).await? {
            Outcome::Committed => Ok(Ended::Committed(answer)),
            Outcome::Answered(answer) => Ok(Ended::Answered(answer)),
            Outcome::Lost => {
                self.lost(saved.route, guard, change).await?;
                Ok(Ended::Lost)
            }
        }
    }

    /// Follows up what was settled for an attempt.
    fn conclude(
        self: &Arc<Self>,
        saved: &Saved<'_>,
        settled: &Settled,
        outcome: &Result<Ended, Status>,
    ) {
        if matches!(outcome, Ok(Ended::Committed(_))) {
            settled.committed(&saved.route.deployment);
        } else {
            // Also where nobody knows whether the commit happened: a blockade is only a courtesy.
            self.withdraw(&self.me(&saved.route.deployment.service), settled.footings());
        }
    }

    /// Waits before another attempt, longer each time, so that many who disturb each other come apart.
    async fn pause_after(&self, attempt: usize) {
        let Some(doublings) = attempt.checked_sub(1) else { return };
        let doublings = u32::try_from(doublings).unwrap_or(u32::MAX).min(16);
        let longest = (PAUSE_FIRST * (1 << doublings)).min(PAUSE_MAX);
        let mut byte = [0];
        self.seams.random.fill(&mut byte);
        self.seams.clock.sleep(longest.mul_f64(f64::from(byte[0]) / f64::from(u8::MAX))).await;
    }

    /// Runs the hooks of the kind; what they did to the name or the metadata is undone.
    fn run_hooks(&self, document: &mut Document, before: Option<&Document>) -> Result<(), Status> {
        let hooks = self.hooks_of(&document.ty.kind);
        if hooks.is_empty() {
            return Ok(());
        }
        let (name, meta, ty) = (document.name().to_owned(), document.meta(), document.ty.clone());
        for hook in hooks {
            let kind = if before.is_some() { SaveKind::Update } else { SaveKind::Create };
            let before = before.map(|document| &document.body);
            let resource = &mut document.body;
            hook.before_save(&mut Save { kind, ty: &ty, name: &name, before, resource })?;
        }
        document.set_name(name);
        document.set_meta(&meta);
        Ok(())
    }
}

fn parse_mask(ty: &Arc<ResourceType>, paths: &[String], field: &str) -> Result<Mask, Status> {
    Mask::parse(paths, ty).map_err(|error| {
        let text = bowline_base::chain(&error).to_string();
        Status::bad_field(Reason::InvalidMask, field, text)
    })
}

/// The response of a write, cut down to what `response_mask` asks for.
fn answer_with(
    route: &Route,
    request: &Request<'_>,
    body: &Bytes,
    seams: &bowline_base::Seams,
) -> Result<Bytes, Status> {
    let ty = &route.resource.ty;
    let body = match request.submessage(&request.fields.response_mask) {
        None => body.clone(),
        Some(mask) => masked_answer(ty, &mask, body)?,
    };
    Ok(respond::written(&route.binding.response, ty, Some(body), seams))
}

fn masked_answer(
    ty: &Arc<ResourceType>,
    mask: &DynamicMessage,
    body: &Bytes,
) -> Result<Bytes, Status> {
    let value = |name: &str| mask.get_field_by_name(name).map(|v| v.into_owned());
    if value("skip_entire_response_body").and_then(|v| v.as_bool()) == Some(true) {
        return Ok(Bytes::new());
    }
    let Some(prost_reflect::Value::Message(paths)) = value("body_mask") else {
        return Ok(body.clone());
    };
    let paths = mask_paths(&paths);
    if paths.is_empty() {
        return Ok(body.clone());
    }
    let mask = parse_mask(ty, &paths, "response_mask.body_mask")?;
    let document =
        Document::decode(ty.clone(), body, &[]).map_err(|error| errors::damaged(ty, "", &error))?;
    Ok(mask.project(&document.body).encode_to_vec().into())
}
