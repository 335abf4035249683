//! Recognising standard methods: which verb on which type, and which request field is what, all by name and type.
//!
//! Google-style and EdgeLQ-style protos are both taken as they are. What looks standard and cannot be bound says why; everything else
//! is an action.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use crate::model::{RequestFields, Response, Verb};
use crate::options;
use crate::scan::TypeDraft;
use crate::walk::Walker;
use crate::words;

mod request;
mod response;

/// What became of a method.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Bound to the type with this index among the candidates.
    Bound { verb: Verb, ty: usize, request: Box<RequestFields>, response: Box<Response> },
    /// An action; with the reason if its name looks standard.
    Action { unbound: Option<String> },
}

const VERBS: [(&str, Verb); 7] = [
    ("BatchGet", Verb::BatchGet),
    ("Get", Verb::Get),
    ("List", Verb::List),
    ("Create", Verb::Create),
    ("Update", Verb::Update),
    ("Delete", Verb::Delete),
    ("Watch", Verb::Watch),
];

/// Binds a method to one of the candidate types, those of its own package first.
pub(crate) fn bind(
    method: &MethodDescriptor,
    candidates: &[&TypeDraft],
    walker: &mut Walker,
) -> Outcome {
    let Some((verb, noun)) = split_name(method.name()) else {
        return Outcome::Action { unbound: None };
    };
    let package = method.parent_service().package_name();
    let mut order: Vec<(Likeness, bool, usize)> = Vec::new();
    for (at, ty) in candidates.iter().enumerate() {
        if let Some((likeness, _)) = likeness(verb, noun, ty, method) {
            order.push((likeness, ty.message.package_name() != package, at));
        }
    }
    order.sort();
    let mut reason = None;
    for (_, _, at) in order {
        let ty = candidates[at];
        let Some((_, verb)) = likeness(verb, noun, ty, method) else { continue };
        let mut binder = Binder { method, ty, walker: &mut *walker };
        match binder.bind(verb) {
            Ok((request, response)) => {
                return Outcome::Bound {
                    verb,
                    ty: at,
                    request: Box::new(request),
                    response: Box::new(response),
                };
            }
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    // A name with a standard verb and a noun that is no type is an ordinary action, unless it deals in a resource.
    let touched = || {
        candidates.iter().find(|ty| {
            response::items_field(&method.output(), ty).is_some() || method.output() == ty.message
        })
    };
    let unbound = reason.or_else(|| {
        touched().map(|ty| {
            format!(
                "the name \"{noun}\" is not that of the type `{}`, whose resources it answers with",
                ty.singular
            )
        })
    });
    Outcome::Action { unbound }
}

fn split_name(name: &str) -> Option<(Verb, &str)> {
    VERBS.iter().find_map(|(text, verb)| {
        let noun = name.strip_prefix(text)?;
        noun.starts_with(|c: char| c.is_ascii_uppercase()).then_some((*verb, noun))
    })
}

/// How well a noun names a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// By the type's own name, singular or plural.
    Name,
    /// By what names call it: the type `LogBucket` is a `{bucket}` among `buckets`.
    Pattern,
}

/// Whether the noun names the type in the number that the verb asks for; a watch tells one from many by it.
fn likeness(
    verb: Verb,
    noun: &str,
    ty: &TypeDraft,
    method: &MethodDescriptor,
) -> Option<(Likeness, Verb)> {
    let one = || {
        let by_name = words::same(noun, &ty.singular) || words::same(noun, ty.message.name());
        let by_pattern = || {
            let called = ty.patterns.iter().filter_map(|pattern| pattern.id_variable());
            called.into_iter().any(|variable| words::same(noun, variable))
        };
        by_name.then_some(Likeness::Name).or_else(|| by_pattern().then_some(Likeness::Pattern))
    };
    let many = || is_plural(noun, ty, method);
    match verb {
        Verb::Get | Verb::Create | Verb::Update | Verb::Delete => {
            one().map(|likeness| (likeness, verb))
        }
        Verb::List | Verb::BatchGet => many().map(|likeness| (likeness, verb)),
        Verb::Watch | Verb::WatchOne if !many_only(noun, ty, method) => {
            let one = one().map(|likeness| (likeness, Verb::WatchOne));
            one.or_else(|| many().map(|likeness| (likeness, Verb::Watch)))
        }
        Verb::Watch | Verb::WatchOne => many().map(|likeness| (likeness, Verb::Watch)),
    }
}

fn is_plural(noun: &str, ty: &TypeDraft, method: &MethodDescriptor) -> Option<Likeness> {
    let guessed = [
        ty.plural.clone(),
        words::plural(&ty.singular),
        words::plural(ty.message.name()),
        format!("{}s", ty.singular),
        format!("{}Collection", ty.singular),
    ];
    let items = response::items_field(&method.output(), ty);
    let by_name = guessed.iter().any(|plural| words::same(noun, plural))
        || items.is_some() && words::same(noun, &ty.singular);
    let by_pattern = || {
        ty.patterns.iter().any(|pattern| words::same(noun, pattern.collection()))
            || items.is_some_and(|items| words::same(noun, items.name()))
    };
    by_name.then_some(Likeness::Name).or_else(|| by_pattern().then_some(Likeness::Pattern))
}

/// Singular and plural are the same word (`Settings`): the request decides, which for a collection has a parent or a page.
fn many_only(noun: &str, ty: &TypeDraft, method: &MethodDescriptor) -> bool {
    words::same(noun, &ty.plural) && method.input().get_field_by_name("page_size").is_some()
}

/// Binds one method to one type.
struct Binder<'a> {
    method: &'a MethodDescriptor,
    ty: &'a TypeDraft,
    walker: &'a mut Walker,
}

type Bound = Result<(RequestFields, Response), String>;

impl Binder<'_> {
    fn bind(&mut self, verb: Verb) -> Bound {
        let watch = matches!(verb, Verb::Watch | Verb::WatchOne);
        if self.method.is_client_streaming() || self.method.is_server_streaming() != watch {
            let wanted = if watch { "a server stream" } else { "no stream" };
            return Err(format!("it must be {wanted}"));
        }
        let request = self.request(verb)?;
        let response = self.response(verb)?;
        Ok((request, response))
    }

    fn input(&self) -> MessageDescriptor {
        self.method.input()
    }

    /// A string that holds the name of one resource of the type.
    fn name_of_resource(&mut self) -> Result<FieldDescriptor, String> {
        let input = self.input();
        let own_name = words::snake(&self.ty.singular);
        let by_name = [self.ty.name_field.name(), "name", own_name.as_str()]
            .into_iter()
            .find_map(|name| string_field(&input, name));
        by_name
            .or_else(|| self.referring(|reference, ty| reference.0 == ty.kind))
            .or_else(|| only_string(&input))
            .ok_or_else(|| {
                format!("`{}` has no field for the name: `string name`", input.full_name())
            })
    }

    /// The first string field whose reference, as `(type, child_type)`, is accepted.
    fn referring(
        &mut self,
        accept: impl Fn((&str, &str), &TypeDraft) -> bool,
    ) -> Option<FieldDescriptor> {
        let fields: Vec<FieldDescriptor> = self.input().fields().collect();
        fields.into_iter().filter(is_string).find(|field| {
            let options = self.walker.options_of(field);
            let reference = options.reference.as_ref();
            reference.is_some_and(|reference| {
                accept((&reference.r#type, &reference.child_type), self.ty)
            })
        })
    }

    /// A string that holds the name of a parent; `None` if the type can do without.
    fn parent(&mut self, taken: Option<&FieldDescriptor>) -> Option<FieldDescriptor> {
        let input = self.input();
        let free = |field: &FieldDescriptor| Some(field) != taken;
        string_field(&input, "parent")
            .or_else(|| self.referring(|reference, ty| reference.1 == ty.kind))
            .or_else(|| self.parent_by_pattern(&input))
            .or_else(|| {
                self.referring(|reference, ty| {
                    !reference.0.is_empty() && reference.0 != "*" && reference.0 != ty.kind
                })
            })
            .filter(free)
    }

    /// A field called after the last variable of a parent's pattern, such as `project`, or plain `name`.
    fn parent_by_pattern(&self, input: &MessageDescriptor) -> Option<FieldDescriptor> {
        let parents: Vec<_> =
            self.ty.patterns.iter().filter_map(|pattern| pattern.parent()).collect();
        let variables: Vec<&str> =
            parents.iter().filter_map(|parent| parent.id_variable()).collect();
        // A bare id, `project_id`, is no name.
        let named = variables
            .iter()
            .filter(|variable| !variable.ends_with("_id"))
            .find_map(|variable| string_field(input, variable));
        named.or_else(|| string_field(input, "name").filter(|_| !parents.is_empty()))
    }
}

/// Whether a field is a single string.
fn is_string(field: &FieldDescriptor) -> bool {
    field.kind() == Kind::String && !field.is_list() && !field.is_map()
}

fn string_field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).filter(is_string)
}

/// The only field of a message, if it is a string.
fn only_string(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let mut fields = message.fields();
    let first = fields.next().filter(is_string)?;
    fields.next().is_none().then_some(first)
}

/// A single message of this full name.
fn is_message(field: &FieldDescriptor, full_name: &str) -> bool {
    let same = matches!(field.kind(), Kind::Message(message) if message.full_name() == full_name);
    same && !field.is_list() && !field.is_map()
}

/// What `google.longrunning.operation_info` says an operation carries: response and metadata, if the pool has them.
fn operation_types(
    method: &MethodDescriptor,
) -> (Option<MessageDescriptor>, Option<MessageDescriptor>) {
    let Some(info) = options::of_method(method).operation_info else { return (None, None) };
    let package = method.parent_service().package_name().to_owned();
    let pool = method.parent_pool();
    let find = |name: &str| {
        pool.get_message_by_name(&format!("{package}.{name}"))
            .or_else(|| pool.get_message_by_name(name))
    };
    (find(&info.response_type), find(&info.metadata_type))
}
