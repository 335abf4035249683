//! Reading bound request fields out of a dynamic message: typed, with defaults, and nothing else.

use bowline_base::{Reason, Status};
use bowline_schema::model::{Binding, RequestFields};
use prost_reflect::{DynamicMessage, FieldDescriptor, Value};

/// A request with the fields that its binding found.
pub(crate) struct Request<'a> {
    pub(crate) message: DynamicMessage,
    pub(crate) fields: &'a RequestFields,
    /// Of an update that an action makes: what it does to the stored resource, after the mask.
    pub(crate) edit: Option<&'a Edit<'a>>,
}

/// A change that is made in code. It may run several times, since a write that lost a race starts over.
pub(crate) type Edit<'a> = dyn Fn(&mut DynamicMessage) -> Result<(), Status> + Send + Sync + 'a;

impl<'a> Request<'a> {
    pub(crate) fn new(binding: &'a Binding, message: DynamicMessage) -> Self {
        Self { message, fields: &binding.request, edit: None }
    }

    /// The same request, with `edit` on top.
    pub(crate) fn with_edit(self, edit: &'a Edit<'a>) -> Self {
        Self { edit: Some(edit), ..self }
    }

    /// The text of a string field; empty if the binding or the request has none.
    pub(crate) fn text(&self, field: &Option<FieldDescriptor>) -> String {
        self.value(field).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    pub(crate) fn flag(&self, field: &Option<FieldDescriptor>) -> bool {
        self.value(field).and_then(|v| v.as_bool()).unwrap_or(false)
    }

    pub(crate) fn texts(&self, field: &Option<FieldDescriptor>) -> Vec<String> {
        let Some(value) = self.value(field) else { return Vec::new() };
        let Some(list) = value.as_list() else { return Vec::new() };
        list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }

    /// A whole number; 0 if absent. Wrapped numbers (`google.protobuf.Int32Value`) are unwrapped.
    pub(crate) fn number(&self, field: &Option<FieldDescriptor>) -> i64 {
        match self.value(field) {
            Some(Value::I32(n)) => i64::from(n),
            Some(Value::I64(n)) => n,
            Some(Value::U32(n)) => i64::from(n),
            Some(Value::U64(n)) => i64::try_from(n).unwrap_or(i64::MAX),
            Some(Value::EnumNumber(n)) => i64::from(n),
            Some(Value::Message(wrapped)) => {
                let inner = wrapped.get_field_by_name("value");
                inner.and_then(|v| v.as_i32().map(i64::from).or(v.as_i64())).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The name of an enum value (`NAME`, `STATELESS`), without regard to a prefix; `None` if unset or 0.
    pub(crate) fn enum_name(&self, field: &Option<FieldDescriptor>) -> Option<String> {
        let descriptor = field.as_ref()?;
        let number = i32::try_from(self.number(field)).ok()?;
        if number == 0 {
            return None;
        }
        let kind = descriptor.kind();
        let value = kind.as_enum()?.get_value(number)?;
        Some(value.name().to_owned())
    }

    /// A message field if it is present.
    pub(crate) fn submessage(&self, field: &Option<FieldDescriptor>) -> Option<DynamicMessage> {
        let descriptor = field.as_ref()?;
        if !self.message.has_field(descriptor) {
            return None;
        }
        match self.message.get_field(descriptor).into_owned() {
            Value::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Paths of a `google.protobuf.FieldMask` field; `None` if it is absent or empty.
    pub(crate) fn mask(&self, field: &Option<FieldDescriptor>) -> Option<Vec<String>> {
        let paths = mask_paths(&self.submessage(field)?);
        (!paths.is_empty()).then_some(paths)
    }

    /// The resource of a create or update: in its field, or the request itself.
    pub(crate) fn resource(&self) -> Result<DynamicMessage, Status> {
        self.with_resource(DynamicMessage::clone)
    }

    /// Looks at the resource where it is, without copying it.
    pub(crate) fn with_resource<T>(
        &self,
        look: impl FnOnce(&DynamicMessage) -> T,
    ) -> Result<T, Status> {
        let missing = || {
            let name = field_name(&self.fields.resource, "resource");
            Status::bad_field(Reason::InvalidField, name, "is required")
        };
        if self.fields.request_is_resource {
            return Ok(look(&self.message));
        }
        let field = self.fields.resource.as_ref().ok_or_else(missing)?;
        if !self.message.has_field(field) {
            return Err(missing());
        }
        match &*self.message.get_field(field) {
            Value::Message(resource) => Ok(look(resource)),
            _ => Err(missing()),
        }
    }

    fn value(&self, field: &Option<FieldDescriptor>) -> Option<Value> {
        field.as_ref().map(|f| self.message.get_field(f).into_owned())
    }
}

/// Paths of a `google.protobuf.FieldMask`.
pub(crate) fn mask_paths(mask: &DynamicMessage) -> Vec<String> {
    let Some(value) = mask.get_field_by_name("paths") else { return Vec::new() };
    let Some(list) = value.as_list() else { return Vec::new() };
    list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// The wire name of a bound field, for error messages.
pub(crate) fn field_name(field: &Option<FieldDescriptor>, otherwise: &str) -> String {
    field.as_ref().map_or_else(|| otherwise.to_owned(), |f| f.name().to_owned())
}
