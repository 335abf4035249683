//! The request side of a binding: which field is which, and which must be there.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Binder, is_message, string_field};
use crate::model::{RequestFields, Verb, WatchFields};
use crate::words;

const FIELD_MASK: &str = "google.protobuf.FieldMask";

impl Binder<'_> {
    /// The fields that the verb needs, and all others that have a meaning.
    ///
    /// # Errors
    /// The reason, in words for the author of the protos.
    pub(super) fn request(&mut self, verb: Verb) -> Result<RequestFields, String> {
        let mut fields = self.common();
        match verb {
            Verb::Get | Verb::Delete | Verb::WatchOne => {
                fields.name = Some(self.name_of_resource()?);
                self.only_identity(fields.name.as_ref())?;
            }
            Verb::List | Verb::Watch => fields.parent = self.parent(None),
            Verb::BatchGet => {
                fields.names = Some(self.names()?);
                fields.parent = string_field(&self.input(), "parent");
            }
            Verb::Create => self.create(&mut fields)?,
            Verb::Update => self.resource(&mut fields)?,
        }
        Ok(fields)
    }

    /// Fields whose name says it all, if their type is the one that the meaning asks for.
    fn common(&self) -> RequestFields {
        let input = self.input();
        let text = |name: &str| string_field(&input, name);
        let flag = |name: &str| of_kind(&input, name, |kind| *kind == Kind::Bool);
        let number = |name: &str| of_kind(&input, name, is_integer);
        let choice = |name: &str| of_kind(&input, name, |kind| matches!(kind, Kind::Enum(_)));
        let message = |name: &str| of_kind(&input, name, |kind| matches!(kind, Kind::Message(_)));
        let mask = |name: &str| {
            input.get_field_by_name(name).filter(|field| is_message(field, FIELD_MASK))
        };
        RequestFields {
            page_size: number("page_size").or_else(|| number("max_results")),
            page_token: text("page_token"),
            filter: text("filter"),
            order_by: text("order_by"),
            field_mask: mask("field_mask").or_else(|| mask("read_mask")),
            view: choice("view"),
            etag: text("etag"),
            cas: message("cas")
                .filter(|field| has_fields(field, &["conditional_state", "field_mask"])),
            allow_missing: flag("allow_missing"),
            validate_only: flag("validate_only"),
            request_id: text("request_id"),
            force: flag("force"),
            show_deleted: flag("show_deleted"),
            response_mask: message("response_mask")
                .filter(|field| has_fields(field, &["body_mask"])),
            include_paging_info: flag("include_paging_info"),
            watch: WatchFields {
                kind: choice("type"),
                resume_token: text("resume_token"),
                max_chunk_size: number("max_chunk_size"),
                starting_time: input
                    .get_field_by_name("starting_time")
                    .filter(|field| is_message(field, "google.protobuf.Timestamp")),
            },
            ..RequestFields::default()
        }
    }

    fn create(&mut self, fields: &mut RequestFields) -> Result<(), String> {
        self.resource(fields)?;
        if fields.request_is_resource {
            return Ok(());
        }
        fields.parent = self.parent(None);
        let input = self.input();
        let own = format!("{}_id", words::snake(&self.ty.singular));
        let ids = input.fields().filter(|field| {
            let reserved = matches!(field.name(), "request_id" | "project_id" | "parent_id");
            field.name().ends_with("_id") && !reserved
        });
        let only = Some(ids.collect::<Vec<_>>()).filter(|ids| ids.len() == 1);
        fields.resource_id = string_field(&input, &own)
            .or_else(|| only.and_then(|ids| string_field(&input, ids[0].name())))
            .or_else(|| string_field(&input, "id"));
        Ok(())
    }

    /// The resource in the request, or the request as resource.
    fn resource(&mut self, fields: &mut RequestFields) -> Result<(), String> {
        let input = self.input();
        if input == self.ty.message {
            fields.request_is_resource = true;
            // The request's fields are the resource's: none of them steers the method.
            let resource = RequestFields { request_is_resource: true, ..RequestFields::default() };
            *fields = resource;
            return Ok(());
        }
        let full_name = self.ty.message.full_name();
        let by_name = input
            .get_field_by_name(&words::snake(&self.ty.singular))
            .filter(|field| is_message(field, full_name));
        let by_type = || {
            let mut found = input.fields().filter(|field| is_message(field, full_name));
            found.next().filter(|_| found.next().is_none())
        };
        fields.resource = by_name.or_else(by_type);
        if fields.resource.is_none() {
            return Err(format!("`{}` has no field of type `{full_name}`", input.full_name()));
        }
        let masks: Vec<FieldDescriptor> = input
            .fields()
            .filter(|field| {
                is_message(field, FIELD_MASK)
                    && field.name() != "field_mask"
                    && field.name() != "read_mask"
            })
            .collect();
        let named = masks.iter().find(|field| field.name() == "update_mask");
        fields.update_mask = named.or_else(|| masks.first().filter(|_| masks.len() == 1)).cloned();
        Ok(())
    }

    fn names(&mut self) -> Result<FieldDescriptor, String> {
        let input = self.input();
        let is_names = |field: &FieldDescriptor| field.is_list() && field.kind() == Kind::String;
        let plural = words::snake(&self.ty.plural);
        let by_name =
            ["names", plural.as_str()].into_iter().find_map(|name| input.get_field_by_name(name));
        let referring = |binder: &mut Self| {
            let fields: Vec<FieldDescriptor> = binder.input().fields().filter(is_names).collect();
            fields.into_iter().find(|field| {
                let options = binder.walker.options_of(field);
                options
                    .reference
                    .as_ref()
                    .is_some_and(|reference| reference.r#type == binder.ty.kind)
            })
        };
        by_name.filter(is_names).or_else(|| referring(self)).ok_or_else(|| {
            format!("`{}` has no field for the names: `repeated string names`", input.full_name())
        })
    }

    /// A required string beside the name means that the name alone does not say which resource is meant.
    fn only_identity(&mut self, name: Option<&FieldDescriptor>) -> Result<(), String> {
        const REQUIRED: i32 = crate::options::behavior::REQUIRED;
        let input = self.input();
        if name.is_some_and(|field| field.name() == "name") {
            return Ok(());
        }
        let fields: Vec<FieldDescriptor> =
            input.fields().filter(|field| Some(field) != name).collect();
        for field in fields.into_iter().filter(super::is_string) {
            if self.walker.options_of(&field).behavior.contains(&REQUIRED) {
                return Err(format!(
                    "`{}` identifies the resource by several fields",
                    input.full_name()
                ));
            }
        }
        Ok(())
    }
}

fn of_kind(
    message: &MessageDescriptor,
    name: &str,
    fits: impl Fn(&Kind) -> bool,
) -> Option<FieldDescriptor> {
    let field = message.get_field_by_name(name)?;
    (fits(&field.kind()) && !field.is_list() && !field.is_map()).then_some(field)
}

pub(super) fn is_integer(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Int32
            | Kind::Int64
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Sint32
            | Kind::Sint64
            | Kind::Fixed32
            | Kind::Fixed64
            | Kind::Sfixed32
            | Kind::Sfixed64
    )
}

fn has_fields(field: &FieldDescriptor, names: &[&str]) -> bool {
    let Kind::Message(message) = field.kind() else { return false };
    names.iter().all(|name| message.get_field_by_name(name).is_some())
}
