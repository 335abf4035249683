//! Proto text from descriptors, for schemas that were loaded without text.
//!
//! Comments come along where the descriptors have source info. Options that no loaded file defines have no text form and are left out.

use std::collections::HashMap;
use std::fmt::Write;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::text_format::FormatOptions;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Syntax, Value,
};
use prost_types::FieldDescriptorProto;

/// The text of a file. Types are written with their full names, so that the text means the same wherever it lies.
pub(crate) fn proto(file: &FileDescriptor) -> String {
    let mut printer = Printer { text: String::new(), depth: 0, comments: comments(file) };
    printer.file(file);
    printer.text
}

/// Leading comments by path.
fn comments(file: &FileDescriptor) -> HashMap<Vec<i32>, String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let locations = info.into_iter().flat_map(|info| &info.location);
    let commented = locations
        .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)));
    commented.collect()
}

struct Printer {
    text: String,
    depth: usize,
    comments: HashMap<Vec<i32>, String>,
}

impl Printer {
    fn line(&mut self, line: &str) {
        let indent = "  ".repeat(self.depth);
        _ = writeln!(self.text, "{indent}{line}");
    }

    fn open(&mut self, line: &str) {
        self.line(&format!("{line} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.line("}");
    }

    fn comment(&mut self, path: &[i32]) {
        if let Some(comment) = self.comments.get(path).cloned() {
            for line in comment.trim_end().lines() {
                self.line(format!("//{}", line.trim_end()).trim_end());
            }
        }
    }

    fn file(&mut self, file: &FileDescriptor) {
        let proto = file.file_descriptor_proto();
        let syntax = if file.syntax() == Syntax::Proto2 { "proto2" } else { "proto3" };
        self.line(&format!("syntax = \"{syntax}\";"));
        if !proto.package().is_empty() {
            self.line(&format!("\npackage {};", proto.package()));
        }
        self.text.push('\n');
        for (at, import) in proto.dependency.iter().enumerate() {
            let public =
                proto.public_dependency.iter().any(|index| usize::try_from(*index) == Ok(at));
            self.line(&format!(
                "import {}{};",
                if public { "public " } else { "" },
                quoted(import)
            ));
        }
        self.options(&file.options());
        file.extensions().for_each(|extension| self.extension(&extension));
        file.services().for_each(|service| self.service(&service));
        file.messages().for_each(|message| self.message(&message));
        file.enums().for_each(|values| self.values(&values));
    }

    fn options(&mut self, options: &DynamicMessage) {
        for (name, value) in option_values(options) {
            self.line(&format!("option {name} = {value};"));
        }
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.text.push('\n');
        self.comment(service.path());
        self.open(&format!("service {}", service.name()));
        self.options(&service.options());
        for method in service.methods() {
            self.comment(method.path());
            let stream = |streaming: bool| if streaming { "stream " } else { "" };
            self.open(&format!(
                "rpc {}({}.{}) returns ({}.{})",
                method.name(),
                stream(method.is_client_streaming()),
                method.input().full_name(),
                stream(method.is_server_streaming()),
                method.output().full_name()
            ));
            self.options(&method.options());
            self.close();
        }
        self.close();
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.text.push('\n');
        self.comment(message.path());
        self.open(&format!("message {}", message.name()));
        self.message_body(message);
        self.close();
    }

    fn message_body(&mut self, message: &MessageDescriptor) {
        self.options(&message.options());
        let groups: Vec<MessageDescriptor> = message
            .fields()
            .filter(FieldDescriptor::is_group)
            .filter_map(|field| of_message(&field.kind()))
            .collect();
        for child in message.child_messages() {
            if !child.is_map_entry() && !groups.contains(&child) {
                self.message(&child);
            }
        }
        message.child_enums().for_each(|values| self.values(&values));
        message.child_extensions().for_each(|extension| self.extension(&extension));
        self.reserved(message);
        for field in message.fields().filter(|field| real_oneof(field).is_none()) {
            self.field(&field);
        }
        for oneof in message
            .oneofs()
            .filter(|oneof| oneof.fields().any(|field| real_oneof(&field).is_some()))
        {
            self.comment(oneof.path());
            self.open(&format!("oneof {}", oneof.name()));
            self.options(&oneof.options());
            oneof.fields().for_each(|field| self.field(&field));
            self.close();
        }
    }

    fn reserved(&mut self, message: &MessageDescriptor) {
        for range in message.reserved_ranges() {
            self.line(&format!("reserved {};", range_text(range.start, range.end)));
        }
        for name in message.reserved_names() {
            self.line(&format!("reserved \"{name}\";"));
        }
        for range in message.extension_ranges() {
            self.line(&format!("extensions {};", range_text(range.start, range.end)));
        }
    }

    fn field(&mut self, field: &FieldDescriptor) {
        self.comment(field.path());
        let proto = field.field_descriptor_proto();
        let label = label(
            proto,
            field.parent_file().syntax(),
            real_oneof(field).is_some() || field.is_map(),
        );
        let line = format!("{label}{} {} = {}", type_of(field), field.name(), field.number());
        if let (true, Some(group)) = (field.is_group(), of_message(&field.kind())) {
            self.open(&format!("{label}group {} = {}", group.name(), field.number()));
            self.message_body(&group);
            self.close();
            return;
        }
        let mut options = option_values(&field.options());
        options.extend(extras(proto));
        let options: Vec<String> =
            options.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let options =
            if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) };
        self.line(&format!("{line}{options};"));
    }

    fn extension(&mut self, extension: &ExtensionDescriptor) {
        self.open(&format!("\nextend .{}", extension.containing_message().full_name()));
        let proto = extension.field_descriptor_proto();
        let label = label(proto, extension.parent_file().syntax(), false);
        let options: Vec<String> =
            extras(proto).into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let options =
            if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) };
        let line = format!(
            "{label}{} {} = {}{options};",
            kind_text(&extension.kind()),
            extension.name(),
            extension.number()
        );
        self.line(&line);
        self.close();
    }

    fn values(&mut self, values: &EnumDescriptor) {
        self.text.push('\n');
        self.comment(values.path());
        self.open(&format!("enum {}", values.name()));
        self.options(&values.options());
        for range in values.reserved_ranges() {
            self.line(&format!("reserved {} to {};", range.start(), range.end()));
        }
        for name in values.reserved_names() {
            self.line(&format!("reserved \"{name}\";"));
        }
        for value in values.values() {
            self.comment(value.path());
            let options: Vec<String> = option_values(&value.options())
                .into_iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            let options = if options.is_empty() {
                String::new()
            } else {
                format!(" [{}]", options.join(", "))
            };
            self.line(&format!("{} = {}{options};", value.name(), value.number()));
        }
        self.close();
    }
}

/// Ends are exclusive; the largest number is written `max`.
fn range_text(start: u32, end: u32) -> String {
    const AFTER_LAST: u32 = 1 << 29;
    match end.saturating_sub(1) {
        last if last == start => start.to_string(),
        last if last + 1 >= AFTER_LAST => format!("{start} to max"),
        last => format!("{start} to {last}"),
    }
}

/// The oneof that the text has; proto3's `optional` makes one that it has not.
fn real_oneof(field: &FieldDescriptor) -> Option<prost_reflect::OneofDescriptor> {
    let optional = field.field_descriptor_proto().proto3_optional();
    field.containing_oneof().filter(|_| !optional)
}

fn label(proto: &FieldDescriptorProto, syntax: Syntax, bare: bool) -> &'static str {
    match proto.label() {
        _ if bare => "",
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if syntax == Syntax::Proto2 || proto.proto3_optional() => "optional ",
        Label::Optional => "",
    }
}

fn of_message(kind: &Kind) -> Option<MessageDescriptor> {
    if let Kind::Message(message) = kind { Some(message.clone()) } else { None }
}

fn type_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) =
                (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            format!("map<{}, {}>", kind_text(&key), kind_text(&value))
        }
        kind => kind_text(&kind),
    }
}

fn kind_text(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!(".{}", message.full_name()),
        Kind::Enum(values) => format!(".{}", values.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// What is written among a field's options and is none.
fn extras(proto: &FieldDescriptorProto) -> Vec<(String, String)> {
    let mut extras = Vec::new();
    if let Some(value) = &proto.default_value {
        let text = match proto.r#type() {
            // Bytes have their default escaped already.
            Type::Bytes => format!("\"{value}\""),
            Type::String => quoted(value),
            _ => value.clone(),
        };
        extras.push(("default".to_owned(), text));
    }
    let camel = crate::words::lower_camel(proto.name());
    if proto.json_name.as_ref().is_some_and(|name| *name != camel) && proto.extendee.is_none() {
        extras.push(("json_name".to_owned(), quoted(proto.json_name())));
    }
    extras
}

/// Standard options by their name, custom ones by their full name in parentheses; repeated ones once per value.
fn option_values(options: &DynamicMessage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (field, value) in options.fields() {
        push_values(&mut found, field.name().to_owned(), &field.kind(), value);
    }
    for (extension, value) in options.extensions() {
        push_values(&mut found, format!("(.{})", extension.full_name()), &extension.kind(), value);
    }
    found
}

fn push_values(found: &mut Vec<(String, String)>, name: String, kind: &Kind, value: &Value) {
    match value {
        Value::List(values) => {
            found.extend(values.iter().map(|value| (name.clone(), value_text(kind, value))));
        }
        value => found.push((name, value_text(kind, value))),
    }
}

fn value_text(kind: &Kind, value: &Value) -> String {
    match (value, kind) {
        (Value::Bool(value), _) => value.to_string(),
        (Value::I32(value), _) => value.to_string(),
        (Value::I64(value), _) => value.to_string(),
        (Value::U32(value), _) => value.to_string(),
        (Value::U64(value), _) => value.to_string(),
        (Value::F32(value), _) => value.to_string(),
        (Value::F64(value), _) => value.to_string(),
        (Value::String(value), _) => quoted(value),
        (Value::Bytes(value), _) => quoted(&String::from_utf8_lossy(value)),
        (Value::EnumNumber(number), Kind::Enum(values)) => values
            .get_value(*number)
            .map_or_else(|| number.to_string(), |value| value.name().to_owned()),
        (Value::Message(message), _) => {
            let format = FormatOptions::new().skip_unknown_fields(true);
            format!("{{ {} }}", message.to_text_format_with_options(&format))
        }
        // Maps and lists do not occur as single values of options.
        _ => String::new(),
    }
}

/// A string literal.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    _ = write!(quoted, "\\{byte:03o}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
