//! The standard service of a type whose protos have none, or only its watches if they have one without, as `.proto` text.
//!
//! The text is compiled with the user's files, so that its methods are bound by the same code as any others, and clients can be generated
//! from it. Field numbers are those of EdgeLQ's published SDK; our additions have numbers from 50 on. Methods whose machinery does not exist
//! yet are absent.

use std::collections::BTreeSet;
use std::fmt::Write;

use prost_reflect::DescriptorPool;

use crate::http::HttpRule;
use crate::model::Verb;
use crate::print::quoted;
use crate::routes::{self, RouteFields};
use crate::scan::TypeDraft;
use crate::skeleton::glob_matches;
use crate::words;

/// A service to be compiled.
#[derive(Debug)]
pub(crate) struct Synthesised {
    /// The name of the file in the pool.
    pub(crate) file: String,
    pub(crate) text: String,
    /// Names that were taken, so that another was chosen: `(wanted, chosen)`.
    pub(crate) renamed: Vec<(String, String)>,
}

/// What a synthesised service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Every standard method: `SecretService`.
    Everything,
    /// What protos in Google's style leave out: `SecretWatchService`.
    Watches,
}

impl Offer {
    fn has(self, verb: Verb) -> bool {
        self == Self::Everything || matches!(verb, Verb::Watch | Verb::WatchOne)
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Everything => "Service",
            Self::Watches => "WatchService",
        }
    }
}

/// Writes the service of a type; `None` if its manifest leaves out every method.
///
/// Names that are in the pool or among `taken` are avoided; those that are chosen are added to `taken`.
pub(crate) fn service(
    ty: &TypeDraft,
    offer: Offer,
    prefix: &str,
    pool: &DescriptorPool,
    taken: &mut BTreeSet<String>,
) -> Option<Synthesised> {
    let mut names = Names { ty, pool, taken, renamed: Vec::new() };
    let nouns = Nouns::of(ty);
    let methods: Vec<(Verb, String)> = nouns
        .methods()
        .into_iter()
        .filter(|(verb, _)| offer.has(*verb))
        .filter(|(_, name)| !ty.spec.without_methods.iter().any(|glob| glob_matches(glob, name)))
        .collect();
    if methods.is_empty() {
        return None;
    }
    let service = names.service(&format!("{}{}", nouns.one, offer.suffix()));
    let mut writer = Writer {
        nouns,
        change: None,
        ty,
        prefix,
        names,
        messages: String::new(),
        rpcs: String::new(),
    };
    for (verb, name) in &methods {
        writer.method(*verb, name);
    }
    let text = writer.file(&service);
    let file = writer.names.file(offer);
    Some(Synthesised { file, text, renamed: writer.names.renamed })
}

/// What the type is called in names of methods, messages and fields.
struct Nouns {
    /// `Device`
    one: String,
    /// `Devices`
    many: String,
    /// `device`
    field: String,
    /// `devices`
    fields: String,
    /// Full name with a dot in front.
    message: String,
}

impl Nouns {
    fn of(ty: &TypeDraft) -> Nouns {
        let identifier = |text: &str| -> String {
            let camel = words::upper_camel(text);
            let fine: String = camel.chars().filter(char::is_ascii_alphanumeric).collect();
            let starts_well = fine.starts_with(|c: char| c.is_ascii_alphabetic());
            if starts_well { fine } else { ty.message.name().to_owned() }
        };
        let one = identifier(&ty.singular);
        let many = identifier(&ty.plural);
        Nouns {
            field: words::snake(&one),
            fields: words::snake(&many),
            message: format!(".{}", ty.message.full_name()),
            one,
            many,
        }
    }

    fn methods(&self) -> Vec<(Verb, String)> {
        let Nouns { one, many, .. } = self;
        // Where one and many are the same word, the watch of all needs another name than the watch of one.
        let watched = if one == many { format!("{one}Collection") } else { many.clone() };
        vec![
            (Verb::Get, format!("Get{one}")),
            (Verb::BatchGet, format!("BatchGet{many}")),
            (Verb::List, format!("List{many}")),
            (Verb::WatchOne, format!("Watch{one}")),
            (Verb::Watch, format!("Watch{watched}")),
            (Verb::Create, format!("Create{one}")),
            (Verb::Update, format!("Update{one}")),
            (Verb::Delete, format!("Delete{one}")),
        ]
    }
}

/// Names in the type's package that nobody else has.
struct Names<'a> {
    ty: &'a TypeDraft,
    pool: &'a DescriptorPool,
    /// Full names and files of services that are made at the same time.
    taken: &'a mut BTreeSet<String>,
    renamed: Vec<(String, String)>,
}

impl Names<'_> {
    fn full_name(&self, name: &str) -> String {
        let package = self.ty.message.package_name();
        if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") }
    }

    fn is_taken(&self, name: &str) -> bool {
        let full = self.full_name(name);
        self.taken.contains(&full)
            || self.pool.get_message_by_name(&full).is_some()
            || self.pool.get_enum_by_name(&full).is_some()
            || self.pool.get_service_by_name(&full).is_some()
            || self.pool.get_extension_by_name(&full).is_some()
    }

    fn service(&mut self, wanted: &str) -> String {
        let chosen = self.free(wanted);
        if chosen != wanted {
            self.renamed.push((wanted.to_owned(), chosen.clone()));
        }
        chosen
    }

    /// The name, or `Standard` in front as often as it takes.
    fn free(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.is_taken(&name) {
            name.insert_str(0, "Standard");
        }
        self.taken.insert(self.full_name(&name));
        name
    }

    fn file(&mut self, offer: Offer) -> String {
        let folder = self.ty.message.package_name().replace('.', "/");
        let prefix = if folder.is_empty() { folder } else { format!("{folder}/") };
        let mut name =
            format!("{}_{}", words::snake(&self.ty.singular), words::snake(offer.suffix()));
        name.retain(|c| c.is_ascii_alphanumeric() || c == '_');
        let path = |name: &str| format!("{prefix}{name}.proto");
        while self.taken.contains(&path(&name))
            || self.pool.get_file_by_name(&path(&name)).is_some()
        {
            name.insert_str(0, "standard_");
        }
        self.taken.insert(path(&name));
        path(&name)
    }
}

struct Writer<'a> {
    nouns: Nouns,
    /// The message of a change, once it is written; both watches share it.
    change: Option<String>,
    ty: &'a TypeDraft,
    prefix: &'a str,
    names: Names<'a>,
    messages: String,
    rpcs: String,
}

impl Writer<'_> {
    fn file(&self, service: &str) -> String {
        let package = self.ty.message.package_name();
        let package =
            if package.is_empty() { String::new() } else { format!("package {package};\n\n") };
        let file = self.ty.message.parent_file();
        let mut imports = vec![
            file.name(),
            "google/api/annotations.proto",
            "google/api/field_behavior.proto",
            "google/api/resource.proto",
            "google/protobuf/empty.proto",
            "google/protobuf/field_mask.proto",
            "google/protobuf/timestamp.proto",
            "goten/types/view.proto",
            "goten/types/watch_type.proto",
        ];
        imports.sort_unstable();
        imports.dedup();
        let imports: String =
            imports.iter().map(|name| format!("import {};\n", quoted(name))).collect();
        let Writer { nouns, rpcs, messages, .. } = self;
        format!(
            "// The standard service of {}, made by Bowline.\nsyntax = \"proto3\";\n\n{package}{imports}\n\
             // Standard methods of {}.\nservice {service} {{\n{rpcs}}}\n{messages}",
            self.ty.kind, nouns.many
        )
    }

    fn method(&mut self, verb: Verb, name: &str) {
        let comment = self.comment(verb);
        let request = self.names.free(&format!("{name}Request"));
        let response = self.names.free(&format!("{name}Response"));
        let one = self.nouns.message.clone();
        let (output, stream) = match verb {
            Verb::Get | Verb::Create | Verb::Update => (one, ""),
            Verb::Delete => ("google.protobuf.Empty".to_owned(), ""),
            Verb::List | Verb::BatchGet => (response.clone(), ""),
            Verb::Watch | Verb::WatchOne => (response.clone(), "stream "),
        };
        let http = self.http(verb);
        _ = writeln!(
            self.rpcs,
            "  // {comment}\n  rpc {name}({request}) returns ({stream}{output}) {{\n{http}  }}\n"
        );
        let body = self.request(verb);
        self.message(&request, &format!("Request of `{name}`."), &body);
        if let Some(body) = self.response(verb) {
            self.message(&response, &format!("Response of `{name}`."), &body);
        }
    }

    fn message(&mut self, name: &str, comment: &str, body: &str) {
        _ = writeln!(self.messages, "\n// {comment}\nmessage {name} {{\n{body}}}");
    }

    fn comment(&self, verb: Verb) -> String {
        let Nouns { one, many, .. } = &self.nouns;
        match verb {
            Verb::Get => format!("Gets one {one}."),
            Verb::BatchGet => format!(
                "Gets several {many} by name; those that do not exist are listed as missing."
            ),
            Verb::List => format!("Lists {many}, page by page."),
            Verb::WatchOne => format!("Streams the changes of one {one}."),
            Verb::Watch => format!("Streams the changes of {many}."),
            Verb::Create => format!("Creates one {one}."),
            Verb::Update => format!("Updates one {one}."),
            Verb::Delete => format!("Deletes one {one}."),
        }
    }

    fn has_parent(&self) -> bool {
        self.ty.patterns.iter().any(|pattern| pattern.parent().is_some())
    }

    fn http(&self, verb: Verb) -> String {
        let fields = RouteFields {
            name: "name".to_owned(),
            parent: self.has_parent().then(|| "parent".to_owned()),
            resource: Some(self.nouns.field.clone()),
            resource_name: self.ty.name_field.name().to_owned(),
            with_put: true,
        };
        let rules = routes::defaults(verb, self.ty, &fields, self.prefix);
        let Some((first, others)) = rules.split_first() else { return String::new() };
        let mut text = String::from("    option (google.api.http) = {\n");
        _ = writeln!(text, "      {}", rule_text(first));
        for rule in others {
            _ = writeln!(text, "      additional_bindings {{ {} }}", rule_text(rule));
        }
        text.push_str("    };\n");
        text
    }

    fn request(&mut self, verb: Verb) -> String {
        let kind = &self.ty.kind;
        let named = format!(
            "  string name = 1 [\n    (google.api.field_behavior) = REQUIRED,\n    (google.api.resource_reference).type = \"{kind}\"\n  ];\n"
        );
        let parent = if self.has_parent() {
            format!(
                "  string parent = 1 [(google.api.resource_reference).child_type = \"{kind}\"];\n"
            )
        } else {
            String::new()
        };
        match verb {
            Verb::Get => format!("{named}{}", reading(3, 4)),
            Verb::BatchGet => format!(
                "  reserved 1;\n\n  repeated string names = 2 [(google.api.resource_reference).type = \"{kind}\"];\n{}",
                reading(3, 4)
            ),
            Verb::List => format!(
                "{parent}{LIST}{}  // Count all that match.\n  bool include_paging_info = 8;\n",
                reading(6, 7)
            ),
            Verb::WatchOne => format!("{named}{}", reading(2, 4)),
            Verb::Watch => format!("{parent}{LIST}{}{WATCH}", reading(6, 8)),
            Verb::Create => self.create(&parent),
            Verb::Update => self.update(),
            Verb::Delete => format!("{named}{DELETE}"),
        }
    }

    fn create(&self, parent: &str) -> String {
        let Nouns { field, message, .. } = &self.nouns;
        format!(
            "{CREATE_MASK}{parent}  {message} {field} = 2 [(google.api.field_behavior) = REQUIRED];\n  \
             ResponseMask response_mask = 3;\n\n  \
             // The last part of the name; made by the server if this and the name are empty.\n  string {field}_id = 50;\n{}",
            asked(51)
        )
    }

    fn update(&self) -> String {
        let Nouns { field, message, .. } = &self.nouns;
        format!(
            "{UPDATE_MASK}\n  // Refuses the update unless the stored resource has these values.\n  message CAS {{\n    \
             {message} conditional_state = 1;\n    google.protobuf.FieldMask field_mask = 2;\n  }}\n\n  \
             {message} {field} = 2 [(google.api.field_behavior) = REQUIRED];\n{UPDATE}{}",
            asked(51)
        )
    }

    /// The name of the change message, which is written when it is first asked for.
    fn change(&mut self) -> String {
        if let Some(change) = &self.change {
            return change.clone();
        }
        let change = self.names.free(&format!("{}Change", self.nouns.one));
        let body = change_body(&self.nouns.message, &self.nouns.field);
        self.message(&change, "What happened to a resource.", &body);
        self.change = Some(change.clone());
        change
    }

    fn response(&mut self, verb: Verb) -> Option<String> {
        let Nouns { fields, message, field, .. } = &self.nouns;
        match verb {
            Verb::List => Some(format!("  repeated {message} {fields} = 1;\n{LISTED}")),
            Verb::BatchGet => Some(format!(
                "  repeated {message} {fields} = 1;\n  repeated string missing = 2;\n"
            )),
            Verb::WatchOne => Some(format!("  {} change = 1;\n", self.change())),
            Verb::Watch => {
                let field = field.clone();
                let change = self.change();
                Some(format!("{WATCHED_TOKENS}  repeated {change} {field}_changes = 2;\n{WATCHED}"))
            }
            _ => None,
        }
    }
}

fn rule_text(rule: &HttpRule) -> String {
    let body =
        if rule.body.is_empty() { String::new() } else { format!(" body: \"{}\"", rule.body) };
    format!(
        "{}: \"{}\"{body}",
        rule.method.to_lowercase(),
        rule.template.text.replace('\\', "\\\\").replace('"', "\\\"")
    )
}

/// What every read can ask for.
fn reading(mask: u32, view: u32) -> String {
    format!("  google.protobuf.FieldMask field_mask = {mask};\n  goten.types.View view = {view};\n")
}

/// What every write can ask for.
fn asked(from: u32) -> String {
    format!(
        "  // Check everything, write nothing (AIP-163).\n  bool validate_only = {from};\n  \
         // The same id and content give the same answer once more (AIP-155).\n  string request_id = {};\n",
        from + 1
    )
}

const LIST: &str = "  int32 page_size = 2;
  string page_token = 3;
  string order_by = 4;
  string filter = 5;
";

const WATCH: &str = "  goten.types.WatchType type = 9;
  string resume_token = 10;
  int32 max_chunk_size = 11;
  google.protobuf.Timestamp starting_time = 12;
";

const DELETE: &str = "  bool allow_missing = 2;

  // Refuses the deletion unless the stored resource has this etag.
  string etag = 50;
  // Check everything, write nothing (AIP-163).
  bool validate_only = 52;
  // The same id and content give the same answer once more (AIP-155).
  string request_id = 53;
";

const CREATE_MASK: &str = "  // What the response leaves out.
  message ResponseMask {
    oneof masking {
      bool skip_entire_response_body = 1;
      google.protobuf.FieldMask body_mask = 2;
    }
  }

";

const UPDATE_MASK: &str = "  // What the response leaves out.
  message ResponseMask {
    oneof masking {
      bool skip_entire_response_body = 1;
      bool updated_fields_only = 2;
      google.protobuf.FieldMask body_mask = 3;
    }
  }
";

const UPDATE: &str = "  google.protobuf.FieldMask update_mask = 3;
  CAS cas = 4;
  // Create the resource if it does not exist.
  bool allow_missing = 5;
  ResponseMask response_mask = 6;

  // Refuses the update unless the stored resource has this etag.
  string etag = 50;
";

const LISTED: &str = "  string prev_page_token = 3;
  string next_page_token = 4;
  int32 current_offset = 5;
  int32 total_results_count = 6;

  // Parts of the parent that could not be asked (AIP-217).
  repeated string unreachable = 50;
";

const WATCHED_TOKENS: &str = "  // Tokens of a live page that moved.
  message PageTokenChange {
    string prev_page_token = 1;
    string next_page_token = 2;
  }

";

const WATCHED: &str = "  PageTokenChange page_token_change = 3;
  // All changes up to here make a consistent state.
  bool is_current = 4;
  string resume_token = 5;
  // How many resources the client should hold; negative if this is no check.
  int64 snapshot_size = 6;
  // Forget changes since the last consistent state.
  bool is_soft_reset = 7;
  // Forget everything; a new snapshot follows.
  bool is_hard_reset = 8;
";

fn change_body(message: &str, field: &str) -> String {
    format!(
        "  message Added {{\n    {message} {field} = 1;\n    int32 view_index = 2;\n  }}\n\n  \
         message Modified {{\n    string name = 1;\n    {message} {field} = 2;\n    google.protobuf.FieldMask field_mask = 3;\n    \
         int32 previous_view_index = 4;\n    int32 view_index = 5;\n  }}\n\n  \
         message Removed {{\n    string name = 1;\n    int32 view_index = 2;\n  }}\n\n  \
         message Current {{\n    {message} {field} = 1;\n  }}\n\n  \
         oneof change_type {{\n    Added added = 1;\n    Modified modified = 2;\n    Removed removed = 3;\n    Current current = 4;\n  }}\n"
    )
}
