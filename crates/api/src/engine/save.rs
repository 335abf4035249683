//! Create and update: read, decide, commit once; start over if somebody else was faster.
//!
//! Nothing is held between reading and committing. A create is conditional on the name being free, an update on the
//! version that was read, so that two writers never overwrite each other unseen.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_node::Policy;
use bowline_resource::document::Document;
use bowline_resource::mask::Mask;
use bowline_resource::metadata::Meta;
use bowline_resource::rules;
use bowline_resource::update::Unmasked;
use bowline_resource::value;
use bowline_schema::model::ResourceType;
use bowline_store::{Condition, Row, RowId};
use bytes::Bytes;
use prost::Message;
use prost_reflect::DynamicMessage;

use super::hooks::{Save, SaveKind};
use super::idempotency::{Idempotent, Outcome};
use super::new_name::NewName;
use super::ownership::Guard;
use super::ownership::change::policy_field;
use super::prepared::{Identity, Prepared};
use super::request::{Request, field_name, mask_paths};
use super::select::decode;
use super::{Engine, Route, errors, respond, validate};

/// What a change of a resource comes to.
struct Changed {
    /// `None` if nothing needs to be written.
    prepared: Option<Prepared>,
    /// See [`Engine::settle_policy`].
    policy: Option<Policy>,
}

/// What an update asks for, read from its request once.
struct Change<'a> {
    request: &'a Request<'a>,
    resource: DynamicMessage,
    /// Empty if the request has none.
    mask: Mask,
    /// The etag of the request, or the one in the resource.
    etag: String,
    /// Fields that must still be as they are in this message.
    expected: Option<(DynamicMessage, Mask)>,
}

impl Engine {
    pub(crate) async fn create(
        &self,
        route: &Arc<Route>,
        request: Request<'_>,
    ) -> Result<Bytes, Status> {
        let idempotent = self.idempotent(route, "create", &request)?;
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(answer);
        }
        let new_name = NewName::of(route, &request)?;
        self.create_named(route, &request, new_name, idempotent).await
    }

    async fn create_named(
        &self,
        route: &Arc<Route>,
        request: &Request<'_>,
        new_name: NewName,
        idempotent: Option<Idempotent>,
    ) -> Result<Bytes, Status> {
        let ty = &route.resource.ty;
        let backend = &route.deployment.backend;
        for _ in 0..self.limits.write_attempts_max {
            let name = new_name.make(ty, &self.seams)?;
            let guard = self.guard(route, &name, Some(SaveKind::Create)).await?;
            let turn = route.deployment.begin().await?;
            // Above any version that the name ever had, as long as it is not removed once more meanwhile.
            let head = *backend.head().borrow();
            let version = head.sequence + 1;
            let (prepared, policy) =
                self.prepare_new(route, request, &name, version, guard.as_ref())?;
            let answer = answer(route, request, &prepared, &self.seams)?;
            let key = route.resource.key(&name);
            if request.flag(&request.fields.validate_only) {
                let (row, _) = backend.get(&key).await.map_err(|error| errors::store(&error))?;
                return if row.is_some() { Err(errors::exists(ty, &name)) } else { Ok(answer) };
            }
            let change = self.change_policy(route, &name, None, policy.as_ref()).await?;
            let mut conditions = vec![
                Condition::RowAbsent { key: key.clone() },
                Condition::NotRemovedSince { key: key.clone(), since: head },
            ];
            conditions.extend(self.ownership_conditions(guard.as_ref()));
            conditions.extend(change.conditions());
            let writes = vec![prepared.put(key.clone())];
            match self.commit(route, turn, conditions, writes, idempotent.as_ref(), &answer).await?
            {
                Outcome::Committed => return Ok(answer),
                Outcome::Answered(answer) => return Ok(answer),
                Outcome::Lost => {
                    self.lost(route, guard.as_ref(), &change).await?;
                    let (row, _) =
                        backend.get(&key).await.map_err(|error| errors::store(&error))?;
                    if row.is_some() && !new_name.is_generated() {
                        return Err(errors::exists(ty, &name));
                    }
                }
            }
        }
        Err(Status::new(Reason::Conflict, "no free name was found in time; retry"))
    }

    fn prepare_new(
        &self,
        route: &Route,
        request: &Request<'_>,
        name: &str,
        version: u64,
        guard: Option<&Guard>,
    ) -> Result<(Prepared, Option<Policy>), Status> {
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
        document.set_meta(&meta);
        let identity = Identity { id: RowId(uid.as_u128()), version };
        let prepared = self.finish(route, document, request, identity, SaveKind::Create)?;
        Ok((prepared, policy))
    }

    /// Checks a document and encodes it.
    fn finish(
        &self,
        route: &Route,
        mut document: Document,
        request: &Request<'_>,
        identity: Identity,
        save: SaveKind,
    ) -> Result<Prepared, Status> {
        let field = request.fields.resource.as_ref().map_or("", |f| f.name()).to_owned();
        validate::check(&self.registry, &document, &field, save)?;
        // Hooks and checks have seen what is for input only; nobody reads it again (AIP-203).
        rules::clear_input_only(&document.ty, &mut document.body);
        let deployment = &route.deployment;
        let prepared = Prepared::of(deployment, &route.resource, &document, Vec::new(), identity);
        prepared.check_size(self.limits.resource_bytes_max)?;
        Ok(prepared)
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

    pub(crate) async fn update(
        &self,
        route: &Arc<Route>,
        request: Request<'_>,
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
        let name = super::read::parse_name(route, &text, &path)?;
        let change = Change::of(ty, &request, resource)?;
        let key = route.resource.key(&name);
        for _ in 0..self.limits.write_attempts_max {
            let guard = self.guard(route, &name, Some(SaveKind::Update)).await?;
            let turn = route.deployment.begin().await?;
            let found = route.deployment.backend.get(&key).await;
            let (row, _) = found.map_err(|error| errors::store(&error))?;
            let Some(row) = row else {
                if !request.flag(&request.fields.allow_missing) {
                    return Err(errors::not_found(ty, &name));
                }
                let new_name = NewName::given(name);
                return self.create_named(route, &request, new_name, idempotent).await;
            };
            let before = decode(ty, &name, &row)?;
            change.check_preconditions(&before, &name)?;
            let Changed { prepared, policy } =
                self.prepare_update(route, &change, &before, &row, guard.as_ref())?;
            let shown = prepared.as_ref().map_or(&row.body, |p| &p.row.body);
            let answer = answer_with(route, &request, shown, &self.seams)?;
            if request.flag(&request.fields.validate_only) {
                return Ok(answer);
            }
            let had = policy_field(route).and_then(|field| field.read(&before.body));
            let moved = self.change_policy(route, &name, had.as_ref(), policy.as_ref()).await?;
            let mut conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
            conditions.extend(self.ownership_conditions(guard.as_ref()));
            conditions.extend(moved.conditions());
            let put = prepared.map(|p| p.put(key.clone()));
            let writes = put.into_iter().collect();
            match self.commit(route, turn, conditions, writes, idempotent.as_ref(), &answer).await?
            {
                Outcome::Committed => return Ok(answer),
                Outcome::Answered(answer) => return Ok(answer),
                Outcome::Lost => self.lost(route, guard.as_ref(), &moved).await?,
            }
        }
        Err(errors::conflict(ty, &name, "is written by many at once"))
    }

    /// The document after the change; `None` if the change changes nothing, and nothing needs to be written.
    fn prepare_update(
        &self,
        route: &Route,
        change: &Change<'_>,
        before: &Document,
        row: &Row,
        guard: Option<&Guard>,
    ) -> Result<Changed, Status> {
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
            return Ok(Changed { prepared: None, policy });
        }
        // The version is above the old one, and never above the sequence of the commit that brings it.
        let version = row.version + 1;
        let spec_changed = after.spec_changed(before);
        let now = self.seams.clock.now();
        let mut meta = after.meta().on_update(&stored, now, version, spec_changed);
        decorate(&mut meta);
        after.set_meta(&meta);
        let identity = Identity { id: row.id, version };
        let prepared = self.finish(route, after, change.request, identity, SaveKind::Update)?;
        Ok(Changed { prepared: Some(prepared), policy })
    }
}

impl<'a> Change<'a> {
    fn of(
        ty: &Arc<ResourceType>,
        request: &'a Request<'a>,
        resource: DynamicMessage,
    ) -> Result<Self, Status> {
        let fields = request.fields;
        let paths = request.mask(&fields.update_mask).unwrap_or_default();
        let mask = parse_mask(ty, &paths, &field_name(&fields.update_mask, "update_mask"))?;
        let mut etag = request.text(&fields.etag);
        if let (true, Some(field)) = (etag.is_empty(), &ty.standard.etag) {
            etag = resource.get_field(field).as_str().unwrap_or_default().to_owned();
        }
        let expected = expected_state(ty, request)?;
        Ok(Self { request, resource, mask, etag, expected })
    }

    fn check_preconditions(&self, before: &Document, name: &str) -> Result<(), Status> {
        let ty = &before.ty;
        if !self.etag.is_empty() && !etag_matches(before, &self.etag) {
            return Err(errors::conflict(ty, name, "has another etag now"));
        }
        if let Some((expected, mask)) = &self.expected {
            let expected = Document::new(ty.clone(), expected.clone());
            if mask.changed(before, &expected) {
                return Err(errors::conflict(ty, name, "is not in the state that cas expects"));
            }
        }
        Ok(())
    }
}

/// Whether a client's etag is that of the document; its plain resource version will do as well.
pub(crate) fn etag_matches(document: &Document, etag: &str) -> bool {
    etag == document.etag() || etag == document.meta().resource_version
}

/// `cas`: the state that the client expects, and which fields of it count (all without a mask).
fn expected_state(
    ty: &Arc<ResourceType>,
    request: &Request<'_>,
) -> Result<Option<(DynamicMessage, Mask)>, Status> {
    let Some(cas) = request.submessage(&request.fields.cas) else { return Ok(None) };
    let part = |name: &str| {
        let value = cas.get_field_by_name(name).map(|v| v.into_owned());
        match value {
            Some(prost_reflect::Value::Message(message)) => Some(message),
            _ => None,
        }
    };
    let Some(state) = part("conditional_state") else { return Ok(None) };
    let paths = part("field_mask").map(|mask| mask_paths(&mask)).unwrap_or_default();
    let mask = if paths.is_empty() {
        Mask::everything(&ty.message)
    } else {
        parse_mask(ty, &paths, "cas.field_mask")?
    };
    Ok(Some((state, mask)))
}

fn parse_mask(ty: &Arc<ResourceType>, paths: &[String], field: &str) -> Result<Mask, Status> {
    Mask::parse(paths, ty).map_err(|error| {
        let text = bowline_base::chain(&error).to_string();
        Status::bad_field(Reason::InvalidMask, field, text)
    })
}

fn answer(
    route: &Route,
    request: &Request<'_>,
    prepared: &Prepared,
    seams: &bowline_base::Seams,
) -> Result<Bytes, Status> {
    answer_with(route, request, &prepared.row.body, seams)
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
