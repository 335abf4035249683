//! The round itself, and its steps that write: create, update with a mask, delete, other patterns.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bowline_api::rest::Router;
use bowline_base::{Code, Seams};
use bowline_schema::model::{ResourceType, Verb};
use bowline_schema::pattern::Pattern;
use bowline_store::Backend;
use prost::Message;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::calls::{self, Bound, Calls, Failure};
use super::check;
use super::steps::{Log, Step};
use super::watch::{Seen, Stream, Watcher};
use super::{World, targets};
use crate::generate::names::{self, Name};
use crate::generate::{Plan, pick, values};

/// Everything that the steps of one type share.
pub(super) struct Round<'a> {
    pub(super) world: &'a World,
    pub(super) ty: &'a Arc<ResourceType>,
    pub(super) calls: &'a Calls,
    pub(super) plan: Plan<'a>,
    pub(super) pattern: &'a Pattern,
    pub(super) main: Name,
    pub(super) rest: &'a Router,
    backend: &'a Arc<dyn Backend>,
    seams: &'a Seams,
}

impl<'a> Round<'a> {
    pub(super) fn new(
        world: &'a World,
        ty: &'a Arc<ResourceType>,
        calls: &'a Calls,
        log: &mut Log,
    ) -> Option<Self> {
        let Some(backend) = world.backends.get(&ty.service) else {
            log.fail(Step::Round, format!("service {} has no store", ty.service));
            return None;
        };
        let Some(pattern) = names::main_pattern(ty).or_else(|| ty.patterns.first()) else {
            log.fail(Step::Round, "the type has no pattern".to_owned());
            return None;
        };
        let plan = Plan::new(world.engine.registry(), ty);
        let main = names::name(ty, pattern, "alpha");
        Some(Self {
            world,
            ty,
            calls,
            plan,
            pattern,
            main,
            rest: &world.rest,
            backend,
            seams: &world.seams,
        })
    }

    pub(super) fn name(&self, id: &str) -> Name {
        names::name(self.ty, self.pattern, id)
    }

    /// There can be only one of it below its parent.
    pub(super) fn is_singleton(&self) -> bool {
        self.main.id.is_empty() || self.name("beta").text == self.main.text
    }

    pub(super) fn filled(&self, seed: usize) -> DynamicMessage {
        let mut resource = values::resource(&self.plan, seed);
        targets::clear_own_kind(self.world, self.ty, &mut resource);
        resource
    }

    pub(super) fn put_name(&self, resource: &mut DynamicMessage, name: &str) {
        resource.set_field(&self.ty.name_field, Value::String(name.to_owned()));
    }

    pub(super) async fn run(&self, log: &mut Log) {
        if self.creator().is_none() {
            return self.run_empty(log).await;
        }
        let watcher =
            Watcher::open(self.calls, self.ty, &self.main.parent, self.backend, self.seams).await;
        let mut watcher = log.note(Step::Watch, watcher);
        log.watched_stream = watcher.as_ref().is_some_and(Watcher::is_stream);
        let Some(first) = log.note(Step::Create, self.create(&self.main, 0).await) else { return };
        let first_name = check::name_of(self.ty, &first);
        let second = match self.is_singleton() {
            true => None,
            false => log.note(Step::Create, self.create(&self.name("beta"), 1).await),
        };
        self.saw(log, &mut watcher, "the creation", &first).await;
        self.run_reads(log, &first, second.as_ref()).await;
        let one = self.watch_one(log, &first_name).await;
        let last = self.run_update(log, &first, &mut watcher, one).await;
        self.run_patterns(log).await;
        let created = self.rest_create().await;
        note(
            log,
            Step::RestCreate,
            created,
            "no HTTP path of a create with an id takes the parent",
        );
        self.run_delete(log, &last, &mut watcher).await;
        if let Some(second) = &second {
            self.run_delete(log, second, &mut watcher).await;
        }
    }

    async fn run_reads(
        &self,
        log: &mut Log,
        first: &DynamicMessage,
        second: Option<&DynamicMessage>,
    ) {
        let all: Vec<DynamicMessage> = [first].into_iter().chain(second).cloned().collect();
        let name = check::name_of(self.ty, first);
        let got = self.get(&name).await.map(|got| got.and_then(|got| equal_whole(&got, first)));
        note(log, Step::Get, got, "no get method");
        note(
            log,
            Step::RestGet,
            self.rest_get(first).await,
            "no HTTP path of a get takes the name",
        );
        note(log, Step::BatchGet, self.batch_get(first).await, "no batch get method");
        note(log, Step::List, self.check_list(&all).await, "no list method");
        note(log, Step::Filter, self.check_filter(first, second).await, "no list with a filter");
        note(log, Step::Order, self.check_order(&all).await, "no list with an order");
        note(log, Step::Page, self.check_pages(&all).await, "no list with pages");
    }

    async fn watch_one(&self, log: &mut Log, name: &str) -> Option<Stream> {
        let Some(bound) = self.calls.get(Verb::WatchOne) else {
            log.skip(Step::WatchOne, "no method that watches one resource");
            return None;
        };
        let mut stream =
            log.note(Step::WatchOne, Stream::of_one(self.calls, bound, name, self.seams).await)?;
        let is_there = |seen: &Seen| matches!(seen, Seen::Present(_));
        let shown = stream.next("the resource as it is", &is_there).await;
        log.note(Step::WatchOne, shown)?;
        Some(stream)
    }

    async fn saw(
        &self,
        log: &mut Log,
        watcher: &mut Option<Watcher>,
        what: &str,
        resource: &DynamicMessage,
    ) {
        let Some(watcher) = watcher else { return };
        let wanted = |seen: &Seen| *seen == Seen::Present(resource.clone());
        log.note(Step::Watch, watcher.next(what, &wanted).await);
    }

    // --- create -------------------------------------------------------------------------------------------------------

    /// What makes a resource: a create, or an update that may (singletons often have only that).
    fn creator(&self) -> Option<Bound> {
        let update = || self.calls.get(Verb::Update).filter(|b| b.fields().allow_missing.is_some());
        self.calls.get(Verb::Create).or_else(update)
    }

    /// Creates a resource, checks what came back, and that it cannot be created twice.
    async fn create(&self, name: &Name, seed: usize) -> Result<DynamicMessage, Failure> {
        let Some(bound) = self.creator() else {
            return Err(Failure::Wrong("no create method".to_owned()));
        };
        let sent = self.filled(seed);
        targets::plant(self.world, self.ty, &name.text, &sent).await?;
        let request = self.create_request(&bound, name, sent.clone());
        let answer = self.calls.unary(&bound, request.clone()).await?;
        let created = match bound.resource_in(&answer)? {
            Some(created) => created,
            None => self.read(&name.text).await.ok_or_else(no_way_to_read)??,
        };
        let got = check::name_of(self.ty, &created);
        if got != name.text {
            return Err(Failure::Wrong(format!(
                "created as \"{got}\", asked for \"{}\"",
                name.text
            )));
        }
        check::kept(&self.plan, &sent, &created)?;
        check::filled(self.ty, &created)?;
        if bound.binding.verb == Verb::Create {
            self.create_again(&bound, request, &answer).await?;
        }
        Ok(created)
    }

    /// The same request once more: the same answer if it has an id, otherwise the name is taken.
    async fn create_again(
        &self,
        bound: &Bound,
        request: DynamicMessage,
        answer: &DynamicMessage,
    ) -> Result<(), Failure> {
        let again = self.calls.unary(bound, request).await;
        if bound.fields().request_id.is_none() {
            return calls::expect_code(again, Verb::Create, Code::AlreadyExists);
        }
        if again? == *answer {
            return Ok(());
        }
        Err(Failure::Wrong("Create with the same request id gave another answer".to_owned()))
    }

    fn create_request(
        &self,
        bound: &Bound,
        name: &Name,
        mut resource: DynamicMessage,
    ) -> DynamicMessage {
        let fields = bound.fields();
        let by_id = fields.resource_id.is_some()
            && !name.id.is_empty()
            && (fields.parent.is_some() || name.parent.is_empty());
        if !by_id || fields.request_is_resource {
            self.put_name(&mut resource, &name.text);
        }
        let mut request = bound.request();
        calls::set_resource(bound, &mut request, resource);
        if bound.binding.verb == Verb::Update {
            calls::set(&mut request, &fields.allow_missing, Value::Bool(true));
            calls::set_text(&mut request, &fields.name, &name.text);
            return request;
        }
        if !name.parent.is_empty() {
            calls::set_text(&mut request, &fields.parent, &name.parent);
        }
        if by_id {
            calls::set_text(&mut request, &fields.resource_id, &name.id);
        }
        calls::set_text(&mut request, &fields.request_id, &self.request_id(&name.text));
        request
    }

    /// An id of the form of a UUID (AIP-155), of its own for each resource.
    fn request_id(&self, name: &str) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.ty.kind, &self.ty.version, name).hash(&mut hasher);
        format!("01234567-89ab-4cde-8f01-{:012x}", hasher.finish() & 0xffff_ffff_ffff)
    }

    // --- update -------------------------------------------------------------------------------------------------------

    /// Changes one field under a mask and offers another change outside of it; gives the state after it.
    async fn run_update(
        &self,
        log: &mut Log,
        before: &DynamicMessage,
        watcher: &mut Option<Watcher>,
        one: Option<Stream>,
    ) -> DynamicMessage {
        let Some(bound) = self.calls.get(Verb::Update) else {
            log.skip(Step::Update, "no update method");
            return before.clone();
        };
        let mut places = pick::mutable(&self.plan, before);
        places.retain(|place| place.change(&mut before.clone()));
        let Some(place) = places.first() else {
            // Nothing may be changed by a client; then an update changes nothing.
            let updated = self.update(&bound, before, None, None).await;
            log.note(Step::Update, updated);
            return before.clone();
        };
        let mut expected = before.clone();
        place.change(&mut expected);
        let updated = self.update(&bound, &as_read(&expected), Some(place), places.get(1)).await;
        let Some(updated) = log.note(Step::Update, updated) else { return before.clone() };
        self.saw(log, watcher, "the update", &updated).await;
        if let Some(mut one) = one {
            let wanted = |seen: &Seen| *seen == Seen::Present(updated.clone());
            log.note(Step::WatchOne, one.next("the update", &wanted).await);
        }
        updated
    }

    async fn update(
        &self,
        bound: &Bound,
        expected: &DynamicMessage,
        place: Option<&pick::Place>,
        other: Option<&pick::Place>,
    ) -> Result<DynamicMessage, Failure> {
        let name = check::name_of(self.ty, expected);
        let mut sent = expected.clone();
        if let (Some(other), true) = (other, bound.fields().update_mask.is_some()) {
            // Outside the mask: it must not be taken over.
            other.change(&mut sent);
        }
        let paths: Vec<&str> = place.iter().map(|place| place.path.as_str()).collect();
        let answer = self.update_call(bound, sent, &paths).await?;
        let got = self.read(&name).await.transpose()?;
        let after = match (bound.resource_in(&answer)?, got) {
            (Some(answered), Some(got)) => equal_whole(&got, &answered).map(|()| got)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(no_way_to_read()),
        };
        let told =
            |error: Failure| Failure::Wrong(format!("after an update of {paths:?}: {error}"));
        check::same(&self.plan, expected, &after).map_err(told)?;
        Ok(after)
    }

    pub(super) async fn update_call(
        &self,
        bound: &Bound,
        resource: DynamicMessage,
        paths: &[&str],
    ) -> Result<DynamicMessage, Failure> {
        let name = check::name_of(self.ty, &resource);
        targets::plant(self.world, self.ty, &name, &resource).await?;
        let mut request = bound.request();
        calls::set_resource(bound, &mut request, resource);
        calls::set_text(&mut request, &bound.fields().name, &name);
        if !paths.is_empty() {
            calls::set_mask(&mut request, &bound.fields().update_mask, paths);
        }
        self.calls.unary(bound, request).await
    }

    // --- other patterns -----------------------------------------------------------------------------------------------

    /// Every further pattern of the type makes names that can be created, read and deleted.
    async fn run_patterns(&self, log: &mut Log) {
        let others = self.ty.patterns.iter().filter(|pattern| {
            *pattern != self.pattern && !pattern.is_wildcard() && !pattern.variables().is_empty()
        });
        let mut any = false;
        for pattern in others {
            any = true;
            let result = self.other_pattern(pattern).await;
            let told =
                |error: Failure| Failure::Wrong(format!("pattern \"{}\": {error}", pattern.text));
            log.note(Step::Patterns, result.map_err(told));
        }
        if !any {
            log.skip(Step::Patterns, "one pattern only");
        }
    }

    async fn other_pattern(&self, pattern: &Pattern) -> Result<(), Failure> {
        let name = names::name(self.ty, pattern, "gamma");
        let created = self.create(&name, 2).await?;
        if let Some(got) = self.get(&name.text).await {
            equal_whole(&got?, &created)?;
        }
        if let Some(bound) = self.calls.get(Verb::Delete) {
            self.delete_call(&bound, &name.text, None).await?;
        }
        Ok(())
    }

    // --- delete -------------------------------------------------------------------------------------------------------

    async fn run_delete(
        &self,
        log: &mut Log,
        resource: &DynamicMessage,
        watcher: &mut Option<Watcher>,
    ) {
        let Some(bound) = self.calls.get(Verb::Delete) else {
            log.skip(Step::Delete, "no delete method");
            return;
        };
        let name = check::name_of(self.ty, resource);
        let deleted = self.delete(&bound, resource, &name).await;
        if log.note(Step::Delete, deleted).is_none() {
            return;
        }
        if let Some(watcher) = watcher {
            let wanted = |seen: &Seen| *seen == Seen::Removed(name.clone());
            log.note(Step::Watch, watcher.next("the deletion", &wanted).await);
        }
    }

    async fn delete(
        &self,
        bound: &Bound,
        resource: &DynamicMessage,
        name: &str,
    ) -> Result<(), Failure> {
        self.delete_call(bound, name, Some(resource)).await?;
        if let Some(absent) = self.expect_absent(name).await {
            absent?;
        }
        let again = self.delete_call(bound, name, None).await;
        calls::expect_code(again, Verb::Delete, Code::NotFound)
    }

    /// Deletes by name, with the etag of `current` if there is one and the method takes it.
    pub(super) async fn delete_call(
        &self,
        bound: &Bound,
        name: &str,
        current: Option<&DynamicMessage>,
    ) -> Result<DynamicMessage, Failure> {
        let fields = bound.fields();
        let mut request = bound.request();
        calls::set_text(&mut request, &fields.name, name);
        if let (Some(current), Some(etag)) = (current, &self.ty.standard.etag) {
            let value = current.get_field(etag);
            calls::set_text(&mut request, &fields.etag, value.as_str().unwrap_or_default());
        }
        self.calls.unary(bound, request).await
    }
}

fn note(log: &mut Log, step: Step, result: Option<Result<(), Failure>>, why_not: &str) {
    match result {
        Some(result) => drop(log.note(step, result)),
        None => log.skip(step, why_not),
    }
}

fn no_way_to_read() -> Failure {
    Failure::Wrong("the answer has no resource, and no method reads it".to_owned())
}

/// A message as a reader gets it: fields that were set to their default are not there.
fn as_read(message: &DynamicMessage) -> DynamicMessage {
    let decoded = DynamicMessage::decode(message.descriptor(), message.encode_to_vec().as_slice());
    decoded.unwrap_or_else(|_| message.clone())
}

/// Two answers about the same state are the same to the last field.
fn equal_whole(got: &DynamicMessage, expected: &DynamicMessage) -> Result<(), Failure> {
    if got == expected {
        return Ok(());
    }
    let field =
        expected.fields().map(|(field, _)| field).chain(got.fields().map(|(field, _)| field));
    let field = field.into_iter().find(|field| got.get_field(field) != expected.get_field(field));
    let field = field.map_or_else(|| "presence".to_owned(), |field| field.name().to_owned());
    Err(Failure::Wrong(format!("the answers of two methods differ in {field}")))
}
