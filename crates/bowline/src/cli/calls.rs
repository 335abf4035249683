//! Requests of the standard methods, filled by what the binding found, and resources out of their answers.

use bowline_base::Seams;
use bowline_resource::name::{self, ParsedName};
use bowline_schema::model::{ResourceType, Response, Verb};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value};

use super::catalog::{Bound, Catalog, verb_word};
use super::client::Client;
use super::error::Error;

/// A connection with what is known about the server.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) catalog: Catalog,
    pub(crate) seams: Seams,
    /// The API version that the user asked for.
    pub(crate) version: Option<String>,
}

/// Where and under which id a resource is created; what is absent the server decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) parent: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// Flags that mutations share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) allow_missing: bool,
    pub(crate) force: bool,
    pub(crate) etag: Option<String>,
}

/// What a list or watch looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) parent: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) order_by: Option<String>,
    /// Ask the server how it found the resources.
    pub(crate) explain: bool,
}

/// One page of a list.
pub(crate) struct Page {
    pub(crate) items: Vec<DynamicMessage>,
    pub(crate) next_page_token: String,
    /// Regions whose resources are missing because they could not be reached.
    pub(crate) unreachable: Vec<String>,
    /// What the server says of how it found them, if it was asked.
    pub(crate) explained: Option<String>,
}

impl Session {
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.seams.clock.now()
    }

    pub(crate) async fn get(&self, ty: &ResourceType, name: &str) -> Result<DynamicMessage, Error> {
        let bound = self.catalog.method(ty, Verb::Get)?;
        let mut request = message_for(bound);
        put(&mut request, bound.binding.request.name.as_ref(), text(name));
        self.client.unary(&bound.method, request).await
    }

    /// `page_size` 0 leaves it to the server.
    pub(crate) async fn list(
        &self,
        ty: &ResourceType,
        query: &Query,
        page_size: u32,
        page_token: &str,
    ) -> Result<Page, Error> {
        let bound = self.catalog.method(ty, Verb::List)?;
        let fields = &bound.binding.request;
        let mut request = message_for(bound);
        put_query(&mut request, bound, query)?;
        if page_size > 0 {
            let size = i32::try_from(page_size).unwrap_or(i32::MAX);
            put_number(&mut request, fields.page_size.as_ref(), size);
        }
        if !page_token.is_empty() {
            put_flag(
                &mut request,
                bound,
                fields.page_token.as_ref(),
                text(page_token),
                "--page-token",
            )?;
        }
        if !query.explain {
            return page_of(bound, &self.client.unary(&bound.method, request).await?);
        }
        let (reply, explained) = self.client.unary_explained(&bound.method, request).await?;
        Ok(Page { explained, ..page_of(bound, &reply)? })
    }

    /// The new resource, or `None` if the method does not answer with it.
    pub(crate) async fn create(
        &self,
        ty: &ResourceType,
        place: &Place,
        mut body: DynamicMessage,
        options: &Options,
    ) -> Result<Option<DynamicMessage>, Error> {
        let bound = self.catalog.method(ty, Verb::Create)?;
        let fields = &bound.binding.request;
        if let Some(name) = &place.name {
            body.set_field(&ty.name_field, text(name));
        }
        let mut request = message_with(bound, body);
        if let Some(parent) = &place.parent {
            let is_put = put(&mut request, fields.parent.as_ref(), text(parent));
            if !is_put && place.name.is_none() {
                return Err(not_taken(bound, "--parent"));
            }
        }
        if let Some(id) = &place.id {
            let is_put = put(&mut request, fields.resource_id.as_ref(), text(id));
            if !is_put && place.name.is_none() {
                return Err(not_taken(bound, "--id"));
            }
        }
        self.mutate(bound, request, options).await
    }

    /// Writes the fields of `mask` (paths as a field mask has them) from `body`, which holds the name.
    pub(crate) async fn update(
        &self,
        ty: &ResourceType,
        mut body: DynamicMessage,
        mask: &[String],
        options: &Options,
    ) -> Result<Option<DynamicMessage>, Error> {
        let bound = self.catalog.method(ty, Verb::Update)?;
        let fields = &bound.binding.request;
        if let (Some(etag), None, Some(field)) = (&options.etag, &fields.etag, &ty.standard.etag) {
            body.set_field(field, text(etag));
        }
        let is_etag_in_body = fields.etag.is_none() && ty.standard.etag.is_some();
        let mut request = message_with(bound, body);
        put_mask(&mut request, fields.update_mask.as_ref(), mask);
        if options.allow_missing {
            put_flag(
                &mut request,
                bound,
                fields.allow_missing.as_ref(),
                Value::Bool(true),
                "--allow-missing",
            )?;
        }
        let options =
            Options { etag: options.etag.clone().filter(|_| !is_etag_in_body), ..options.clone() };
        self.mutate(bound, request, &options).await
    }

    /// Whether an update of `ty` writes only chosen fields; without that it replaces the resource.
    pub(crate) fn updates_by_mask(&self, ty: &ResourceType) -> Result<bool, Error> {
        Ok(self.catalog.method(ty, Verb::Update)?.binding.request.update_mask.is_some())
    }

    pub(crate) async fn delete(
        &self,
        ty: &ResourceType,
        name: &str,
        options: &Options,
    ) -> Result<(), Error> {
        let bound = self.catalog.method(ty, Verb::Delete)?;
        let fields = &bound.binding.request;
        let mut request = message_for(bound);
        put(&mut request, fields.name.as_ref(), text(name));
        if options.force {
            put_flag(&mut request, bound, fields.force.as_ref(), Value::Bool(true), "--force")?;
        }
        // A method that does not know the flag says NOT_FOUND, which the caller takes as done.
        if options.allow_missing {
            put(&mut request, fields.allow_missing.as_ref(), Value::Bool(true));
        }
        self.mutate(bound, request, options).await.map(drop)
    }

    async fn mutate(
        &self,
        bound: &Bound,
        mut request: DynamicMessage,
        options: &Options,
    ) -> Result<Option<DynamicMessage>, Error> {
        let fields = &bound.binding.request;
        if options.dry_run {
            put_flag(
                &mut request,
                bound,
                fields.validate_only.as_ref(),
                Value::Bool(true),
                "--dry-run",
            )?;
        }
        if let Some(etag) = &options.etag {
            put_flag(&mut request, bound, fields.etag.as_ref(), text(etag), "--etag")?;
        }
        let reply = self.client.unary(&bound.method, request).await?;
        resource_of(bound, reply)
    }
}

/// An empty request of the method.
pub(crate) fn message_for(bound: &Bound) -> DynamicMessage {
    DynamicMessage::new(bound.method.descriptor.input())
}

/// A request with `body` as its resource.
fn message_with(bound: &Bound, body: DynamicMessage) -> DynamicMessage {
    if bound.binding.request.request_is_resource {
        return body;
    }
    let mut request = message_for(bound);
    put(&mut request, bound.binding.request.resource.as_ref(), Value::Message(body));
    request
}

/// Sets parent, filter and order, as far as the method takes them.
pub(crate) fn put_query(
    request: &mut DynamicMessage,
    bound: &Bound,
    query: &Query,
) -> Result<(), Error> {
    let fields = &bound.binding.request;
    let flags = [
        (&query.parent, &fields.parent, "--parent"),
        (&query.filter, &fields.filter, "--filter"),
        (&query.order_by, &fields.order_by, "--order-by"),
    ];
    for (value, field, flag) in flags {
        if let Some(value) = value {
            put_flag(request, bound, field.as_ref(), text(value), flag)?;
        }
    }
    Ok(())
}

pub(crate) fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// Sets `field` if the request has it and `value` is of its type; says whether it did.
pub(crate) fn put(
    request: &mut DynamicMessage,
    field: Option<&FieldDescriptor>,
    value: Value,
) -> bool {
    field.is_some_and(|field| request.try_set_field(field, value).is_ok())
}

/// Sets what a flag asks for, which must not be ignored silently.
fn put_flag(
    request: &mut DynamicMessage,
    bound: &Bound,
    field: Option<&FieldDescriptor>,
    value: Value,
    flag: &'static str,
) -> Result<(), Error> {
    if put(request, field, value) { Ok(()) } else { Err(not_taken(bound, flag)) }
}

fn not_taken(bound: &Bound, flag: &'static str) -> Error {
    let binding = &bound.binding;
    Error::FlagNotTaken { kind: binding.resource.kind.clone(), verb: verb_word(binding.verb), flag }
}

/// Sets a number of whatever width the field has.
pub(crate) fn put_number(
    request: &mut DynamicMessage,
    field: Option<&FieldDescriptor>,
    number: i32,
) -> bool {
    let Some(field) = field else { return false };
    let unsigned = number.unsigned_abs();
    let value = match field.kind() {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(number)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(unsigned),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(unsigned)),
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Int32Value" => {
            let mut wrapper = DynamicMessage::new(inner);
            wrapper.set_field_by_name("value", Value::I32(number));
            Value::Message(wrapper)
        }
        _ => return false,
    };
    put(request, Some(field), value)
}

fn put_mask(request: &mut DynamicMessage, field: Option<&FieldDescriptor>, paths: &[String]) {
    let Some(field) = field else { return };
    let Kind::Message(inner) = field.kind() else { return };
    let mut mask = DynamicMessage::new(inner);
    let paths = paths.iter().map(|path| Value::String(path.clone())).collect();
    if mask.try_set_field_by_name("paths", Value::List(paths)).is_ok() {
        put(request, Some(field), Value::Message(mask));
    }
}

fn page_of(bound: &Bound, reply: &DynamicMessage) -> Result<Page, Error> {
    let Response::List { items, next_page_token, unreachable, .. } = &bound.binding.response else {
        return Err(Error::Answer { problem: format!("{} does not list", bound.method.path) });
    };
    let list = reply.get_field(items);
    let messages = list.as_list().unwrap_or_default().iter().filter_map(Value::as_message).cloned();
    let texts = |field: &Option<FieldDescriptor>| {
        let value = field.as_ref().map(|field| reply.get_field(field).into_owned());
        let items = value.as_ref().and_then(Value::as_list).unwrap_or_default().to_vec();
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let token = next_page_token.as_ref().map(|field| reply.get_field(field).into_owned());
    Ok(Page {
        items: messages.collect(),
        next_page_token: token.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        unreachable: texts(unreachable),
        explained: None,
    })
}

/// The resource in the answer of a mutation.
fn resource_of(bound: &Bound, reply: DynamicMessage) -> Result<Option<DynamicMessage>, Error> {
    match &bound.binding.response {
        Response::Resource => Ok(Some(reply)),
        Response::Operation { .. } => resource_of_operation(&bound.binding.resource, &reply),
        _ => Ok(None),
    }
}

/// What a finished `google.longrunning.Operation` holds.
fn resource_of_operation(
    ty: &ResourceType,
    operation: &DynamicMessage,
) -> Result<Option<DynamicMessage>, Error> {
    if operation.has_field_by_name("error") {
        let error = operation.get_field_by_name("error");
        let error = error.as_ref().and_then(|value| value.as_message());
        let field = |name| error.and_then(|error| error.get_field_by_name(name));
        let code = field("code").and_then(|code| code.as_i32()).unwrap_or_default();
        let text =
            field("message").and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
        return Err(tonic::Status::new(tonic::Code::from(code), text).into());
    }
    if !operation.has_field_by_name("response") {
        return Ok(None);
    }
    let Some(response) = operation.get_field_by_name("response") else { return Ok(None) };
    let field = |name| response.as_message().and_then(|any| any.get_field_by_name(name));
    let (Some(url), Some(value)) = (field("type_url"), field("value")) else { return Ok(None) };
    let is_resource =
        url.as_str().and_then(|url| url.rsplit('/').next()) == Some(ty.message.full_name());
    let (true, Some(bytes)) = (is_resource, value.as_bytes()) else { return Ok(None) };
    DynamicMessage::decode(ty.message.clone(), bytes.clone()).map(Some).map_err(|error| {
        Error::Answer { problem: format!("the resource of an operation is damaged: {error}") }
    })
}

/// Parent and id of a name; a singleton has no id.
pub(crate) fn place_of(name: &ParsedName) -> Place {
    let below = name.text.strip_prefix(&name.parent).unwrap_or(&name.text).trim_start_matches('/');
    Place {
        parent: (!name.parent.is_empty()).then(|| name.parent.clone()),
        id: below.split_once('/').map(|(_, id)| id.to_owned()),
        name: Some(name.text.clone()),
    }
}

/// Joins what the flags and the document say about where a resource goes.
pub(crate) fn place_for(
    ty: &ResourceType,
    name: Option<&str>,
    parent: Option<&str>,
    id: Option<&str>,
) -> Result<Place, Error> {
    let usage = |problem: String| Error::Usage { problem };
    let patterns = || ty.patterns.iter().map(|pattern| pattern.text.clone()).collect();
    let of_other = |text: &str| Error::NameOfOtherType {
        name: text.to_owned(),
        kind: ty.kind.clone(),
        patterns: patterns(),
    };
    if let Some(name) = name {
        let place = place_of(&name::parse(ty, name).map_err(|_| of_other(name))?);
        if parent.is_some_and(|parent| place.parent.as_deref() != Some(parent)) {
            return Err(usage(format!("--parent does not fit the name {name}")));
        }
        if id.is_some_and(|id| place.id.as_deref() != Some(id)) {
            return Err(usage(format!("--id does not fit the name {name}")));
        }
        return Ok(place);
    }
    match id {
        Some(id) => {
            let built = name::build(ty, parent.unwrap_or_default(), id);
            let built = built.map_err(|error| usage(bowline_base::chain(&error).to_string()))?;
            Ok(place_of(&name::parse(ty, &built).map_err(|_| of_other(&built))?))
        }
        None => Ok(Place { parent: parent.map(str::to_owned), id: None, name: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{catalog, device_type};
    use super::*;

    fn place(name: Option<&str>, parent: Option<&str>, id: Option<&str>) -> Result<Place, Error> {
        place_for(&device_type(), name, parent, id)
    }

    #[test]
    fn a_name_gives_parent_and_id() {
        let place = place(Some("projects/p/devices/d"), None, None).unwrap();
        assert_eq!((place.parent.as_deref(), place.id.as_deref()), (Some("projects/p"), Some("d")));
    }

    #[test]
    fn parent_and_id_give_a_name() {
        let place = place(None, Some("projects/p"), Some("d")).unwrap();
        assert_eq!(place.name.as_deref(), Some("projects/p/devices/d"));
    }

    #[test]
    fn flags_that_contradict_the_name_are_refused() {
        assert!(place(Some("projects/p/devices/d"), Some("projects/q"), None).is_err());
        assert!(place(Some("projects/p/devices/d"), None, Some("e")).is_err());
        assert!(place(Some("projects/p/secrets/s"), None, None).is_err());
    }

    #[test]
    fn without_an_id_the_server_makes_one() {
        let place = place(None, Some("projects/p"), None).unwrap();
        assert!(place.name.is_none() && place.id.is_none());
    }

    #[test]
    fn a_flag_that_a_method_does_not_take_is_not_ignored() {
        let device = device_type();
        let bound = catalog().method(&device, Verb::Get).unwrap();
        let mut request = message_for(bound);
        let query = Query { filter: Some("x".to_owned()), ..Query::default() };
        let error = put_query(&mut request, bound, &query).unwrap_err();
        assert!(matches!(error, Error::FlagNotTaken { flag: "--filter", .. }), "{error}");
    }
}
