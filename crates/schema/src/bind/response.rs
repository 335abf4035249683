//! The response side of a binding: what the method answers with.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::request::is_integer;
use super::{Binder, operation_types, string_field};
use crate::model::{Response, Verb, WatchResponse};
use crate::scan::TypeDraft;

const OPERATION: &str = "google.longrunning.Operation";
const EMPTY: &str = "google.protobuf.Empty";

impl Binder<'_> {
    /// What the method answers with.
    ///
    /// # Errors
    /// The reason, in words for the author of the protos.
    pub(super) fn response(&self, verb: Verb) -> Result<Response, String> {
        match verb {
            Verb::Get => self.resource_only(),
            Verb::Create | Verb::Update => self.written(),
            Verb::Delete => Ok(self.deleted()),
            Verb::List => self.list(),
            Verb::BatchGet => self.batch_get(),
            Verb::Watch | Verb::WatchOne => self.watch(verb),
        }
    }

    fn output(&self) -> MessageDescriptor {
        self.method.output()
    }

    fn resource_only(&self) -> Result<Response, String> {
        let output = self.output();
        if output == self.ty.message {
            return Ok(Response::Resource);
        }
        Err(format!(
            "it answers with `{}`, not with `{}`",
            output.full_name(),
            self.ty.message.full_name()
        ))
    }

    fn written(&self) -> Result<Response, String> {
        match self.output().full_name() {
            OPERATION => Ok(self.operation()),
            EMPTY => Ok(Response::Empty),
            _ => self.resource_only(),
        }
    }

    fn operation(&self) -> Response {
        let (response, metadata) = operation_types(self.method);
        let has_resource = response.is_some_and(|message| message == self.ty.message);
        Response::Operation { metadata, has_resource }
    }

    fn deleted(&self) -> Response {
        let output = self.output();
        match output.full_name() {
            OPERATION => self.operation(),
            _ if output == self.ty.message => Response::Resource,
            _ => Response::Empty,
        }
    }

    fn list(&self) -> Result<Response, String> {
        let output = self.output();
        let items = self.items()?;
        let number = |name: &str| {
            output
                .get_field_by_name(name)
                .filter(|field| is_integer(&field.kind()) && !field.is_list())
        };
        let total = ["total_results_count", "total_size", "total_count", "total"]
            .into_iter()
            .find_map(number);
        let unreachable = output
            .get_field_by_name("unreachable")
            .filter(|field| field.is_list() && field.kind() == Kind::String);
        Ok(Response::List {
            items,
            next_page_token: string_field(&output, "next_page_token"),
            prev_page_token: string_field(&output, "prev_page_token"),
            total,
            current_offset: number("current_offset"),
            unreachable,
        })
    }

    fn batch_get(&self) -> Result<Response, String> {
        let strings = |field: &FieldDescriptor| field.is_list() && field.kind() == Kind::String;
        let missing = self.output().get_field_by_name("missing").filter(strings);
        Ok(Response::BatchGet { items: self.items()?, missing })
    }

    fn items(&self) -> Result<FieldDescriptor, String> {
        let output = self.output();
        items_field(&output, self.ty).ok_or_else(|| {
            format!(
                "`{}` has no repeated field of type `{}`",
                output.full_name(),
                self.ty.message.full_name()
            )
        })
    }

    fn watch(&self, verb: Verb) -> Result<Response, String> {
        let output = self.output();
        let changes = output
            .fields()
            .find(|field| field.is_list() == (verb == Verb::Watch) && is_change(field, self.ty))
            .ok_or_else(|| {
                let what = if verb == Verb::Watch { "repeated " } else { "" };
                let ty = &self.ty.singular;
                format!("`{}` has no {what}field of a change message with `added`, `modified`, `removed`, `current` for `{ty}`", output.full_name())
            })?;
        let flag =
            |name: &str| output.get_field_by_name(name).filter(|field| field.kind() == Kind::Bool);
        let message = |name: &str| {
            output
                .get_field_by_name(name)
                .filter(|field| matches!(field.kind(), Kind::Message(_)) && !field.is_list())
        };
        Ok(Response::Watch(WatchResponse {
            changes,
            page_token_change: message("page_token_change"),
            is_current: flag("is_current"),
            resume_token: string_field(&output, "resume_token"),
            snapshot_size: output
                .get_field_by_name("snapshot_size")
                .filter(|field| is_integer(&field.kind()) && !field.is_list()),
            is_soft_reset: flag("is_soft_reset"),
            is_hard_reset: flag("is_hard_reset"),
        }))
    }
}

/// The repeated field that holds resources of the type.
pub(super) fn items_field(message: &MessageDescriptor, ty: &TypeDraft) -> Option<FieldDescriptor> {
    let is_items = |field: &FieldDescriptor| {
        let same = matches!(field.kind(), Kind::Message(item) if item == ty.message);
        same && field.is_list()
    };
    message.fields().find(is_items)
}

/// Whether a field holds changes of the type: messages whose `added` and `modified` hold the resource.
fn is_change(field: &FieldDescriptor, ty: &TypeDraft) -> bool {
    let Kind::Message(change) = field.kind() else { return false };
    let holds_resource = |name: &str| {
        let Some(Kind::Message(part)) = change.get_field_by_name(name).map(|field| field.kind())
        else {
            return false;
        };
        part.fields()
            .any(|field| matches!(field.kind(), Kind::Message(message) if message == ty.message))
    };
    let removed = change.get_field_by_name("removed").is_some();
    removed && holds_resource("added") && holds_resource("modified") && holds_resource("current")
}
