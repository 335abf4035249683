//! `bowline watch`: follows a type or one resource, over losses of the connection, until stopped.
//!
//! What the messages mean is in [`super::super::watch_state`]; here are streams, retries and printing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bowline_schema::model::{ResourceType, Response, Verb, WatchResponse};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};
use serde_json::json;
use tonic_types::StatusExt as _;

use super::super::args::{Format, WatchArgs};
use super::super::calls::{Query, Session, message_for, put, put_query, text};
use super::super::catalog::Bound;
use super::super::columns::Columns;
use super::super::error::Error;
use super::super::print::{self, TableWriter};
use super::super::watch_state::{Event, Message, RowChange, State, Step};
use super::super::{documents, json as proto_json, report, say};

/// Pauses between attempts to connect again: doubled each time, up to what deployed clients use.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: WatchArgs, out: &mut dyn Write) -> Result<(), Error> {
    let session = super::open(&args.server).await?;
    let target = Target::resolve(&session, &args)?;
    let printer = EventPrinter::new(out, Arc::clone(&target.ty), args.output.output);
    let mut watch = Watch {
        session: &session,
        target: &target,
        state: State::new(),
        printer,
        left: args.limit,
        until_current: args.until_current,
        pause: RETRY_FIRST,
    };
    watch.run().await
}

/// What is watched: a collection, or one resource.
struct Target {
    ty: Arc<ResourceType>,
    name: Option<String>,
    query: Query,
}

impl Target {
    fn resolve(session: &Session, args: &WatchArgs) -> Result<Self, Error> {
        let version = session.version.as_deref();
        let parent = args.parent.as_deref();
        let query =
            Query { parent: args.parent.clone(), filter: args.filter.clone(), ..Query::default() };
        if let [only] = args.targets.as_slice() {
            match session.catalog.resolve_type(only, version) {
                Ok(ty) => return Ok(Self { ty, name: None, query }),
                Err(Error::UnknownType { .. }) if only.contains('/') => {}
                Err(error) => return Err(error),
            }
        }
        if args.filter.is_some() {
            return Err(Error::Usage {
                problem: "--filter is for a type, not for one name".to_owned(),
            });
        }
        match session.catalog.resolve_targets(&args.targets, parent, version)?.as_slice() {
            [(ty, name)] => Ok(Self {
                ty: Arc::clone(ty),
                name: Some(name.text.clone()),
                query: Query::default(),
            }),
            _ => Err(Error::Usage { problem: "give one type or one name".to_owned() }),
        }
    }

    fn bound<'a>(&self, session: &'a Session) -> Result<&'a Bound, Error> {
        let verb = if self.name.is_some() { Verb::WatchOne } else { Verb::Watch };
        session.catalog.method(&self.ty, verb)
    }
}

struct Watch<'a> {
    session: &'a Session,
    target: &'a Target,
    state: State<DynamicMessage>,
    printer: EventPrinter<'a>,
    /// Changes still to be printed.
    left: Option<u64>,
    until_current: bool,
    pause: Duration,
}

/// Why a stream is over.
enum End {
    /// Everything asked for was printed.
    Done,
    /// Connect again at once.
    Restart,
    /// Connect again after a pause.
    Lost(Error),
}

impl Watch<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        loop {
            match self.stream().await? {
                End::Done => return Ok(()),
                End::Restart => {}
                End::Lost(error) => {
                    self.state.disconnected();
                    self.wait(&error).await;
                }
            }
        }
    }

    async fn wait(&mut self, error: &Error) {
        let reason = match error {
            Error::Server(status) => {
                format!("{}: {}", report::code_name(status.code()), status.message())
            }
            other => bowline_base::chain(other).to_string(),
        };
        let pause = self.jittered();
        say::note(&format!("watch lost ({reason}); trying again in {:.1} s", pause.as_secs_f64()));
        self.session.seams.clock.sleep(pause).await;
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// Between half and all of the pause, so that many clients do not come back at the same moment.
    fn jittered(&self) -> Duration {
        let mut byte = [0u8; 1];
        self.session.seams.random.fill(&mut byte);
        self.pause.mul_f64(0.5 + f64::from(byte[0]) / 510.0)
    }

    /// One stream, from its request to its end.
    async fn stream(&mut self) -> Result<End, Error> {
        let bound = self.target.bound(self.session)?;
        let Response::Watch(shape) = &bound.binding.response else {
            return Err(Error::Answer { problem: format!("{} does not watch", bound.method.path) });
        };
        let request = self.request(bound)?;
        let mut stream = match self.session.client.stream(&bound.method, request).await {
            Ok(stream) => stream,
            Err(error) => return self.failed(error),
        };
        loop {
            let message = match stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    return Ok(End::Lost(tonic::Status::unavailable("the stream ended").into()));
                }
                Err(status) => return self.failed(status.into()),
            };
            match self.state.apply(read(&self.target.ty, shape, &message)?) {
                Step::Wait => {}
                Step::Restart => return Ok(End::Restart),
                Step::Current(events) => {
                    self.pause = RETRY_FIRST;
                    if self.print(events)? || self.until_current {
                        return Ok(End::Done);
                    }
                }
            }
        }
    }

    fn request(&self, bound: &Bound) -> Result<DynamicMessage, Error> {
        let fields = &bound.binding.request;
        let mut request = message_for(bound);
        if let Some(name) = &self.target.name {
            put(&mut request, fields.name.as_ref(), text(name));
            return Ok(request);
        }
        put_query(&mut request, bound, &self.target.query)?;
        if let Some(kind) = &fields.watch.kind
            && let Kind::Enum(kinds) = kind.kind()
            && let Some(stateless) = kinds.get_value_by_name("STATELESS")
        {
            put(&mut request, Some(kind), Value::EnumNumber(stateless.number()));
        }
        if let Some(token) = self.state.token() {
            put(&mut request, fields.watch.resume_token.as_ref(), text(token));
        }
        Ok(request)
    }

    /// Tells failures that end the watch from those that a new attempt may mend.
    fn failed(&mut self, error: Error) -> Result<End, Error> {
        let Error::Server(status) = &error else { return Err(error) };
        let reason = status.get_details_error_info().map(|info| info.reason);
        if reason.as_deref() == Some("INVALID_RESUME_TOKEN") && self.state.token().is_some() {
            self.state.forget_token();
            return Ok(End::Restart);
        }
        match status.code() {
            // The one resource that was watched is gone.
            tonic::Code::NotFound if self.target.name.is_some() => {
                let events = self.state.vanish();
                if events.is_empty() { Err(error) } else { self.print(events).map(|_| End::Done) }
            }
            tonic::Code::InvalidArgument
            | tonic::Code::NotFound
            | tonic::Code::PermissionDenied
            | tonic::Code::Unauthenticated
            | tonic::Code::Unimplemented
            | tonic::Code::FailedPrecondition
            | tonic::Code::OutOfRange
            | tonic::Code::DataLoss => Err(error),
            _ => Ok(End::Lost(error)),
        }
    }

    /// Prints as many events as are still wanted; says whether these were the last.
    fn print(&mut self, events: Vec<Event<DynamicMessage>>) -> Result<bool, Error> {
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let events: Vec<_> = events.into_iter().take(most).collect();
        if let Some(left) = &mut self.left {
            *left -= events.len() as u64;
        }
        self.printer.print(&events, self.session.now())?;
        Ok(self.left == Some(0))
    }
}

/// A message of the stream in the terms of the state machine.
fn read(
    ty: &ResourceType,
    shape: &WatchResponse,
    message: &DynamicMessage,
) -> Result<Message<DynamicMessage>, Error> {
    let value = message.get_field(&shape.changes);
    let changes = match value.as_ref() {
        Value::List(items) => items.iter().filter_map(Value::as_message).collect(),
        Value::Message(change) if message.has_field(&shape.changes) => vec![change],
        _ => Vec::new(),
    };
    let changes =
        changes.into_iter().map(|change| read_change(ty, change)).collect::<Result<Vec<_>, _>>()?;
    let flag = |field: &Option<FieldDescriptor>| {
        field.as_ref().and_then(|field| message.get_field(field).as_bool()).unwrap_or(false)
    };
    let token = shape.resume_token.as_ref().map(|field| message.get_field(field).into_owned());
    Ok(Message {
        changes: changes.into_iter().flatten().collect(),
        // A watch of one resource has no chunks: each message is a state.
        is_current: shape.is_current.is_none() || flag(&shape.is_current),
        resume_token: token
            .as_ref()
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
            .map(str::to_owned),
        snapshot_size: shape
            .snapshot_size
            .as_ref()
            .map_or(-1, |field| number(&message.get_field(field))),
        is_soft_reset: flag(&shape.is_soft_reset),
        is_hard_reset: flag(&shape.is_hard_reset),
    })
}

fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or(-1)
}

/// The oneof of a change: which of its messages is there, and the resource or name in it.
fn read_change(
    ty: &ResourceType,
    change: &DynamicMessage,
) -> Result<Option<RowChange<DynamicMessage>>, Error> {
    let Some((field, value)) = change.fields().next() else { return Ok(None) };
    let Some(inner) = value.as_message() else { return Ok(None) };
    if field.name() == "removed" {
        let name = inner.get_field_by_name("name");
        let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
        return Ok(Some(RowChange::Removed { name: name.to_owned() }));
    }
    let is_resource = |value: &&Value| {
        value.as_message().is_some_and(|m| m.descriptor().full_name() == ty.message.full_name())
    };
    let found =
        inner.fields().map(|(_, value)| value).find(is_resource).and_then(Value::as_message);
    let Some(row) = found else { return Ok(None) };
    let name = print::name_of(ty, row);
    Ok(Some(RowChange::Set { name, digest: digest(row)?, row: row.clone() }))
}

/// Of the JSON, whose order is fixed; encoded maps have any order.
fn digest(row: &DynamicMessage) -> Result<u64, Error> {
    let mut hasher = DefaultHasher::new();
    proto_json::to_value(row)?.to_string().hash(&mut hasher);
    Ok(hasher.finish())
}

/// Prints changes as rows or as one JSON document a line.
struct EventPrinter<'a> {
    out: &'a mut dyn Write,
    ty: Arc<ResourceType>,
    format: Format,
    columns: Columns,
    table: TableWriter,
}

impl<'a> EventPrinter<'a> {
    fn new(out: &'a mut dyn Write, ty: Arc<ResourceType>, format: Format) -> Self {
        let columns = Columns::of(&ty, format == Format::Wide);
        let mut titles = vec!["EVENT".to_owned()];
        titles.extend(columns.titles());
        let table = TableWriter::new(titles).with_first_width(EVENT_WIDTH);
        Self { out, ty, format, columns, table }
    }

    fn print(
        &mut self,
        events: &[Event<DynamicMessage>],
        now: jiff::Timestamp,
    ) -> Result<(), Error> {
        match self.format {
            Format::Table | Format::Wide => {
                let rows: Vec<_> = events.iter().map(|event| self.row(event, now)).collect();
                if !rows.is_empty() {
                    self.table.rows(self.out, rows)?;
                }
            }
            Format::Json => {
                for event in events {
                    writeln!(self.out, "{}", self.document(event)?)?;
                }
            }
            Format::Yaml => {
                for event in events {
                    write!(self.out, "---\n{}", print::yaml(&self.document(event)?)?)?;
                }
            }
            Format::Name => {
                for event in events {
                    let (word, name, _) = parts(event);
                    writeln!(self.out, "{word} {name}")?;
                }
            }
        }
        Ok(self.out.flush()?)
    }

    fn row(&self, event: &Event<DynamicMessage>, now: jiff::Timestamp) -> Vec<String> {
        let (word, name, row) = parts(event);
        let mut cells = vec![word.to_owned()];
        match row {
            Some(row) => cells.extend(self.columns.row(row, now)),
            None => cells.push(name.to_owned()),
        }
        cells
    }

    fn document(&self, event: &Event<DynamicMessage>) -> Result<serde_json::Value, Error> {
        let (word, name, row) = parts(event);
        Ok(match row {
            Some(row) => {
                json!({ "event": word, "name": name, "resource": documents::of_resource(&self.ty, row)? })
            }
            None => json!({ "event": word, "name": name }),
        })
    }
}

/// That of the longest word for an event, which seldom comes first.
const EVENT_WIDTH: u16 = "MODIFIED".len() as u16;

fn parts(event: &Event<DynamicMessage>) -> (&'static str, &str, Option<&DynamicMessage>) {
    match event {
        Event::Added { name, row } => ("ADDED", name, Some(row)),
        Event::Modified { name, row } => ("MODIFIED", name, Some(row)),
        Event::Removed { name } => ("REMOVED", name, None),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::super::testing::{catalog, device_type};
    use super::*;

    fn shape() -> (Bound, WatchResponse) {
        let bound = catalog().method(&device_type(), Verb::Watch).unwrap().clone();
        let Response::Watch(shape) = &bound.binding.response else { panic!("{bound:?}") };
        (bound.clone(), shape.clone())
    }

    fn message(json: serde_json::Value) -> Message<DynamicMessage> {
        let (bound, shape) = shape();
        let message = proto_json::from_value(&bound.method.descriptor.output(), json).unwrap();
        read(&device_type(), &shape, &message).unwrap()
    }

    #[test]
    fn every_kind_of_change_is_read() {
        let device = json!({"name": "projects/p/devices/d"});
        let read = message(json!({
            "deviceChanges": [
                {"added": {"device": device}},
                {"modified": {"name": "projects/p/devices/d", "device": device}},
                {"current": {"device": device}},
                {"removed": {"name": "projects/p/devices/e"}},
            ],
            "isCurrent": true, "resumeToken": "t", "snapshotSize": "-1",
        }));
        let words: Vec<_> = read
            .changes
            .iter()
            .map(|change| match change {
                RowChange::Set { name, .. } => format!("+{name}"),
                RowChange::Removed { name } => format!("-{name}"),
            })
            .collect();
        assert_eq!(
            words,
            [
                "+projects/p/devices/d",
                "+projects/p/devices/d",
                "+projects/p/devices/d",
                "-projects/p/devices/e"
            ]
        );
        assert!(read.is_current && !read.is_hard_reset && !read.is_soft_reset);
        assert_eq!((read.resume_token.as_deref(), read.snapshot_size), (Some("t"), -1));
    }

    #[test]
    fn rows_and_lines_name_the_event() {
        let row = proto_json::from_value(
            &device_type().message,
            json!({"name": "projects/p/devices/d", "displayName": "Door"}),
        )
        .unwrap();
        let name = "projects/p/devices/d".to_owned();
        let events = [Event::Added { name: name.clone(), row }, Event::Removed { name }];
        let printed = |format| {
            let mut out = Vec::new();
            EventPrinter::new(&mut out, device_type(), format)
                .print(&events, jiff::Timestamp::UNIX_EPOCH)
                .unwrap();
            String::from_utf8(out).unwrap()
        };
        expect![[r#"
            EVENT     NAME                  DISPLAY_NAME  PHASE  MODEL  SECRET  AGE
            ADDED     projects/p/devices/d  Door
            REMOVED   projects/p/devices/d
        "#]]
        .assert_eq(&printed(Format::Table));
        expect![[r#"
            {"event":"ADDED","name":"projects/p/devices/d","resource":{"kind":"devices.example.com/Device","apiVersion":"v1","name":"projects/p/devices/d","displayName":"Door"}}
            {"event":"REMOVED","name":"projects/p/devices/d"}
        "#]]
        .assert_eq(&printed(Format::Json));
    }
}
