//! What clients ask of a fleet: requests to any region, judged by what their answers say.

use std::sync::Arc;
use std::time::Duration;

use bowline_api::handler::{Context, Handler, Reply};
use bowline_base::{Reason, Status};
use bytes::Bytes;
use futures::channel::oneshot;
use futures::future::{Either, select};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::Fleet;
use crate::judge::{Asked, Listed, Policy, Wanted};
use crate::planted::Fault;
use crate::references::fields;
use crate::services::{Kind, registry};

/// Beyond its deadline a request must have ended: the engine promises it, and a client waits no longer.
const GRACE: Duration = Duration::from_millis(100);
/// Pages that are read of one list.
const PAGES_MAX: usize = 100;

/// A client at a region.
#[derive(Clone)]
pub struct Client {
    pub fleet: Arc<Fleet>,
    pub region: String,
    pub deadline: Duration,
}

/// A write that a client asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Says which write it is; differs for each.
    pub value: String,
    /// Empty: none.
    pub request_id: String,
    /// Of a project.
    pub policy: Option<Policy>,
    /// Fields with references, and the names to put there; other fields stay as they are.
    pub references: Wanted,
    /// All of them; `None`: as they are.
    pub finalizers: Option<Vec<String>>,
}

impl Client {
    /// Creates a resource, and gives the value that the answer says.
    ///
    /// # Errors
    /// What the fleet answers; [`Reason::Unavailable`] if nobody does.
    pub async fn create(&self, kind: Kind, name: &str, wish: &Wish) -> Result<String, Status> {
        let asked = self.asked(kind, name, wish);
        let mut request = self.request(kind, "Create");
        let (parent, id) = split(name);
        if !parent.is_empty() {
            set(&mut request, "parent", Value::String(parent));
        }
        set(&mut request, &format!("{}_id", kind.field()), Value::String(id));
        self.fill(&mut request, kind, name, wish);
        let answer = self.call(kind, "Create", request).await.map(|answer| text(&answer, "value"));
        self.fleet.judge.wrote(&asked, &answer);
        answer
    }

    /// Updates the value of a resource and what else is wished for, and gives the value that the answer says.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn update(&self, kind: Kind, name: &str, wish: &Wish) -> Result<String, Status> {
        let asked = Asked { once: false, ..self.asked(kind, name, wish) };
        let mut request = self.request(kind, "Update");
        self.fill(&mut request, kind, name, wish);
        let mut paths = vec![Value::String("value".to_owned())];
        if wish.policy.is_some() {
            paths.push(Value::String("multi_region_policy".to_owned()));
        }
        let set_too = wish.references.iter().map(|(field, _)| Value::String((*field).to_owned()));
        paths.extend(set_too);
        if wish.finalizers.is_some() {
            paths.push(Value::String("metadata.finalizers".to_owned()));
        }
        let mut mask = empty(&request, "update_mask");
        set(&mut mask, "paths", Value::List(paths));
        set(&mut request, "update_mask", Value::Message(mask));
        let answer = self.call(kind, "Update", request).await.map(|answer| text(&answer, "value"));
        self.fleet.judge.wrote(&asked, &answer);
        answer
    }

    /// Deletes a resource.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn delete(&self, kind: Kind, name: &str, wish: &Wish) -> Result<(), Status> {
        let asked = self.asked(kind, name, wish);
        self.fleet.judge.deleting(&asked);
        let mut request = self.request(kind, "Delete");
        set(&mut request, "name", Value::String(name.to_owned()));
        set(&mut request, "request_id", Value::String(wish.request_id.clone()));
        let answer = self.call(kind, "Delete", request).await.map(drop);
        self.fleet.judge.deleted(&asked, &answer);
        answer
    }

    /// The value of a resource; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<String>, Status> {
        let asked = self.asked(kind, name, &Wish::default());
        let mut request = self.request(kind, "Get");
        set(&mut request, "name", Value::String(name.to_owned()));
        let answer = match self.call(kind, "Get", request).await {
            Ok(answer) => Ok(Some(text(&answer, "value"))),
            Err(status) if status.reason == Reason::ResourceNotFound => Ok(None),
            Err(status) => Err(status),
        };
        self.fleet.judge.read(&asked, &answer);
        answer
    }

    /// All resources of a kind below `parent` (empty: below the root), page by page.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn list(&self, kind: Kind, parent: &str, page_size: i32) -> Result<Listed, Status> {
        let asked =
            self.asked(kind, parent.split("/-").next().unwrap_or_default(), &Wish::default());
        let mut answer = self.list_pages(kind, parent, page_size).await;
        if let (Ok(listed), Some(Fault::ListsSilent)) = (&mut answer, self.fleet.network.fault()) {
            listed.unreachable.clear();
        }
        self.fleet.judge.listed(&asked, &answer);
        answer
    }

    async fn list_pages(&self, kind: Kind, parent: &str, page_size: i32) -> Result<Listed, Status> {
        let mut listed = Listed::default();
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let mut request = self.request(kind, "List");
            if !parent.is_empty() {
                set(&mut request, "parent", Value::String(parent.to_owned()));
            }
            set(&mut request, "page_size", Value::I32(page_size));
            set(&mut request, "page_token", Value::String(token));
            let page = self.call(kind, "List", request).await?;
            add_page(&mut listed, kind, &page);
            token = text(&page, "next_page_token");
            if token.is_empty() {
                return Ok(listed);
            }
        }
        Err(Status::new(Reason::Internal, "the list does not end"))
    }

    fn asked(&self, kind: Kind, name: &str, wish: &Wish) -> Asked {
        Asked {
            kind,
            name: name.to_owned(),
            since: self.fleet.world.now(),
            value: wish.value.clone(),
            once: !wish.request_id.is_empty(),
        }
    }

    fn request(&self, kind: Kind, verb: &str) -> DynamicMessage {
        let registry = registry();
        let method = registry.methods.get(&kind.method(verb));
        DynamicMessage::new(method.expect("standard methods exist").descriptor.input())
    }

    fn fill(&self, request: &mut DynamicMessage, kind: Kind, name: &str, wish: &Wish) {
        let mut resource = kind.resource(&registry(), name, &wish.value);
        if let Some(policy) = &wish.policy {
            let mut message = empty(&resource, "multi_region_policy");
            let enabled = policy.enabled.iter().cloned().map(Value::String).collect();
            set(&mut message, "enabled_regions", Value::List(enabled));
            set(&mut message, "default_control_region", Value::String(policy.control.clone()));
            set(&mut resource, "multi_region_policy", Value::Message(message));
        }
        for (field, names) in &wish.references {
            let field = fields(kind).iter().find(|known| known.name == *field);
            field.expect("the field is one of the kind").write(&mut resource, names);
        }
        if let Some(finalizers) = &wish.finalizers {
            let mut metadata = empty(&resource, "metadata");
            let finalizers = finalizers.iter().cloned().map(Value::String).collect();
            set(&mut metadata, "finalizers", Value::List(finalizers));
            set(&mut resource, "metadata", Value::Message(metadata));
        }
        self.fleet.judge.wants(wish);
        set(request, kind.field(), Value::Message(resource));
        if request.descriptor().get_field_by_name("request_id").is_some() {
            set(request, "request_id", Value::String(wish.request_id.clone()));
        }
    }

    async fn call(
        &self,
        kind: Kind,
        verb: &str,
        request: DynamicMessage,
    ) -> Result<DynamicMessage, Status> {
        let path = kind.method(verb);
        let registry = registry();
        let method = registry.methods.get(&path).expect("standard methods exist").clone();
        let output = method.descriptor.output();
        let answer = self.send(method, request).await;
        let told = answer
            .as_ref()
            .map_or_else(|s| format!("{}: {}", s.reason.name(), s.message), |_| "ok".into());
        self.fleet.world.note(format!(
            "client at {}: {verb} {}: {told}",
            self.region,
            kind.message()
        ));
        let bytes = answer?;
        DynamicMessage::decode(output, bytes.as_ref())
            .map_err(|error| Status::new(Reason::Internal, format!("the answer: {error}")))
    }

    /// Runs a request in the process that is at the region now.
    async fn send(
        &self,
        method: Arc<bowline_schema::model::Method>,
        request: DynamicMessage,
    ) -> Result<Bytes, Status> {
        let world = &self.fleet.world;
        let nobody = || Status::new(Reason::Unavailable, "no process is there");
        let running = {
            let running = self.fleet.running();
            running.get(&self.region).map(|running| (running.process, running.engine.clone()))
        };
        let Some((process, engine)) = running else { return Err(nobody()) };
        let (sender, receiver) = oneshot::channel();
        let context = Context {
            deadline: Some(self.deadline),
            client: "client".into(),
            ..Context::default()
        };
        let work = async move {
            let _ = sender.send(engine.call(&method, request, context).await);
        };
        world.spawn(process, "client's call", Box::pin(work));
        let timer = Box::pin(world.sleep(self.deadline + GRACE));
        match select(receiver, timer).await {
            Either::Left((Ok(Ok(Reply::Unary(bytes))), _)) => Ok(bytes),
            Either::Left((Ok(Ok(Reply::Stream(_))), _)) => {
                Err(Status::new(Reason::Internal, "a stream came"))
            }
            Either::Left((Ok(Err(status)), _)) => Err(status),
            Either::Left((Err(_), _)) => Err(nobody()),
            Either::Right(_) => Err(Status::new(Reason::Unavailable, "no answer in time")),
        }
    }
}

fn add_page(listed: &mut Listed, kind: Kind, page: &DynamicMessage) {
    let items = page.get_field_by_name(&kind.collection());
    for item in items.as_ref().and_then(|items| items.as_list()).unwrap_or_default() {
        let Some(item) = item.as_message() else { continue };
        let name = text(item, "name");
        if listed.items.insert(name.clone(), text(item, "value")).is_some() {
            listed.twice.get_or_insert(name);
        }
    }
    let missing = page.get_field_by_name("unreachable");
    for region in missing.as_ref().and_then(|m| m.as_list()).unwrap_or_default() {
        // As AIP-217 has it, a region is named by its resource.
        let region = region.as_str().unwrap_or_default();
        listed.unreachable.insert(region.rsplit('/').next().unwrap_or_default().to_owned());
    }
}

/// The parent and the id of a name.
fn split(name: &str) -> (String, String) {
    let parts: Vec<&str> = name.split('/').collect();
    let parent = parts[..parts.len().saturating_sub(2)].join("/");
    (parent, parts.last().copied().unwrap_or_default().to_owned())
}

fn set(message: &mut DynamicMessage, field: &str, value: Value) {
    message.set_field_by_name(field, value);
}

fn empty(message: &DynamicMessage, field: &str) -> DynamicMessage {
    let value = message.get_field_by_name(field).expect("the schema is part of the program");
    value.as_message().expect("the field is a message").clone()
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
