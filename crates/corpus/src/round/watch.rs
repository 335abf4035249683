//! Looking at changes: over the type's watch methods where it has them, otherwise in the change log that feeds watches.
//!
//! Protos that bring a service of their own seldom have a watch method that any server could serve; for these the log of
//! the store, which is a public interface too, must show every change with the resource in it.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Seams;
use bowline_schema::model::{ResourceType, Response, Verb};
use bowline_store::{Backend, Change, Changes, Position};
use futures::StreamExt;
use prost_reflect::{DynamicMessage, EnumDescriptor, Value};

use super::calls::{self, Bound, Calls, Failure, Messages};

/// How long an event may take to come. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Changes read from the log at once.
const LOG_PAGE: usize = 64;

/// What a watcher saw of one resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Present(DynamicMessage),
    Removed(String),
}

/// Watches one collection, from before the first change.
pub enum Watcher {
    Stream(Stream),
    Log { backend: Arc<dyn Backend>, ty: Arc<ResourceType>, after: Position },
}

pub struct Stream {
    bound: Bound,
    messages: Messages,
    seams: Seams,
}

impl Watcher {
    /// Starts a watch of everything below `parent`, and waits until it is current.
    pub async fn open(
        calls: &Calls,
        ty: &Arc<ResourceType>,
        parent: &str,
        backend: &Arc<dyn Backend>,
        seams: &Seams,
    ) -> Result<Self, Failure> {
        let Some(bound) = calls.get(Verb::Watch) else {
            let after = *backend.head().borrow();
            return Ok(Self::Log { backend: backend.clone(), ty: ty.clone(), after });
        };
        let mut request = bound.request();
        calls::set_text(&mut request, &bound.fields().parent, parent);
        set_stateless(&mut request, &bound);
        let messages = calls.stream(&bound, request).await?;
        let mut stream = Stream { bound, messages, seams: seams.clone() };
        stream.until_current().await?;
        Ok(Self::Stream(stream))
    }

    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }

    /// Waits for the next change that `wanted` knows; others are passed over.
    pub async fn next(
        &mut self,
        what: &str,
        wanted: &dyn Fn(&Seen) -> bool,
    ) -> Result<(), Failure> {
        match self {
            Self::Stream(stream) => stream.next(what, wanted).await,
            Self::Log { backend, ty, after } => in_log(backend, ty, after, what, wanted).await,
        }
    }
}

impl Stream {
    /// Opens a watch of one resource.
    pub async fn of_one(
        calls: &Calls,
        bound: Bound,
        name: &str,
        seams: &Seams,
    ) -> Result<Self, Failure> {
        let mut request = bound.request();
        calls::set_text(&mut request, &bound.fields().name, name);
        let messages = calls.stream(&bound, request).await?;
        Ok(Self { bound, messages, seams: seams.clone() })
    }

    pub async fn next(
        &mut self,
        what: &str,
        wanted: &dyn Fn(&Seen) -> bool,
    ) -> Result<(), Failure> {
        loop {
            let message = self.message(what).await?;
            if self.changes(&message)?.iter().any(wanted) {
                return Ok(());
            }
        }
    }

    async fn until_current(&mut self) -> Result<(), Failure> {
        loop {
            let message = self.message("the end of the snapshot").await?;
            let Response::Watch(shape) = &self.bound.binding.response else { return Ok(()) };
            let Some(is_current) = &shape.is_current else { return Ok(()) };
            if message.get_field(is_current).as_bool() == Some(true) {
                return self.check_size(&message);
            }
        }
    }

    /// Clients take a size that is not negative for a size check, so it must never be in an ordinary message.
    fn check_size(&self, message: &DynamicMessage) -> Result<(), Failure> {
        let Response::Watch(shape) = &self.bound.binding.response else { return Ok(()) };
        let Some(size) = &shape.snapshot_size else { return Ok(()) };
        let value = message.get_field(size).into_owned();
        let size = value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or(-1);
        if size < 0 {
            return Ok(());
        }
        Err(Failure::Wrong(format!("watch: snapshot_size is {size} in an ordinary message")))
    }

    async fn message(&mut self, what: &str) -> Result<DynamicMessage, Failure> {
        let verb = self.bound.binding.verb;
        let late = self.seams.clock.sleep(PATIENCE);
        let next = tokio::select! {
            next = self.messages.next() => next,
            () = late => return Err(Failure::Wrong(format!("watch: {what} did not come in {PATIENCE:?}"))),
        };
        let bytes = match next {
            Some(Ok(bytes)) => bytes,
            Some(Err(status)) => return Err(Failure::Refused { verb, status }),
            None => return Err(Failure::Wrong(format!("watch: the stream ended before {what}"))),
        };
        DynamicMessage::decode(self.bound.method.descriptor.output(), bytes)
            .map_err(|error| Failure::Wrong(format!("watch: a message does not decode: {error}")))
    }

    fn changes(&self, message: &DynamicMessage) -> Result<Vec<Seen>, Failure> {
        let Response::Watch(shape) = &self.bound.binding.response else {
            return Err(Failure::Wrong(
                "watch: the method's response is not one of a watch".to_owned(),
            ));
        };
        let value = message.get_field(&shape.changes).into_owned();
        let changes = match value {
            Value::List(items) => items,
            Value::Message(one) => vec![Value::Message(one)],
            _ => Vec::new(),
        };
        Ok(changes.iter().filter_map(Value::as_message).filter_map(|c| self.seen(c)).collect())
    }

    fn seen(&self, change: &DynamicMessage) -> Option<Seen> {
        for case in ["added", "modified", "current"] {
            if change.has_field_by_name(case) {
                let value = change.get_field_by_name(case)?.into_owned();
                let resource = &self.bound.binding.resource.message;
                let inner = value.as_message()?;
                let field =
                    inner.fields().find(|(field, _)| field.kind().as_message() == Some(resource));
                return Some(Seen::Present(field?.1.as_message()?.clone()));
            }
        }
        let removed = change.get_field_by_name("removed")?.into_owned();
        Some(Seen::Removed(calls::text(removed.as_message()?, "name")?))
    }
}

/// Picks the value `STATELESS` of the watch type.
fn set_stateless(request: &mut DynamicMessage, bound: &Bound) {
    let Some(field) = &bound.fields().watch.kind else { return };
    let kind = field.kind();
    if let Some(number) = kind.as_enum().and_then(stateless) {
        request.set_field(field, Value::EnumNumber(number));
    }
}

fn stateless(descriptor: &EnumDescriptor) -> Option<i32> {
    descriptor
        .values()
        .find(|value| value.name().ends_with("STATELESS"))
        .map(|value| value.number())
}

/// Looks for the change in the log, where it must be already: a write answers after its commit.
async fn in_log(
    backend: &Arc<dyn Backend>,
    ty: &Arc<ResourceType>,
    after: &mut Position,
    what: &str,
    wanted: &dyn Fn(&Seen) -> bool,
) -> Result<(), Failure> {
    loop {
        let changes = backend.changes(*after, LOG_PAGE).await;
        let changes = changes.map_err(|error| Failure::Wrong(format!("change log: {error}")))?;
        let Changes::Page { changes, next, at_head } = changes else {
            return Err(Failure::Wrong(
                "change log: it does not reach back to the last change".to_owned(),
            ));
        };
        for change in changes.iter().filter(|change| *change.key.table.kind == *ty.kind) {
            if seen_in_log(ty, change)?.is_some_and(|seen| wanted(&seen)) {
                *after = change.position;
                return Ok(());
            }
        }
        *after = next;
        if at_head {
            return Err(Failure::Wrong(format!("change log: {what} is not in it")));
        }
    }
}

fn seen_in_log(ty: &ResourceType, change: &Change) -> Result<Option<Seen>, Failure> {
    let Some(row) = &change.after else {
        return Ok(change.before.as_ref().map(|_| Seen::Removed(change.key.name.to_string())));
    };
    let resource = DynamicMessage::decode(ty.message.clone(), row.body.as_ref())
        .map_err(|error| Failure::Wrong(format!("change log: a row does not decode: {error}")))?;
    Ok(Some(Seen::Present(resource)))
}
