//! HTTP rules of methods: from `google.api.http`, otherwise the AIP defaults.

use prost_reflect::{Kind, MessageDescriptor, MethodDescriptor};

use crate::http::{HttpRule, Template};
use crate::model::{RequestFields, Verb};
use crate::options::{self, HttpRuleOption};
use crate::pattern::Pattern;
use crate::scan::TypeDraft;
use crate::words;

/// Most rules that are read of one method.
const RULES_MAX: usize = 200;

/// The rules that a method is annotated with; what is wrong with the others. `None` without annotation.
pub(crate) fn annotated(method: &MethodDescriptor) -> Option<(Vec<HttpRule>, Vec<String>)> {
    let option = options::of_method(method).http?;
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    // The first rule may have more of them; those may not nest again.
    let all = std::iter::once(&option).chain(&option.additional_bindings);
    for option in all.take(RULES_MAX) {
        match rule(option, method) {
            Ok(rule) => rules.push(rule),
            Err(problem) => problems.push(problem),
        }
    }
    Some((rules, problems))
}

fn rule(option: &HttpRuleOption, method: &MethodDescriptor) -> Result<HttpRule, String> {
    let verbs = [
        ("GET", &option.get),
        ("PUT", &option.put),
        ("POST", &option.post),
        ("DELETE", &option.delete),
        ("PATCH", &option.patch),
    ];
    let plain = verbs.into_iter().find_map(|(verb, path)| Some((verb.to_owned(), path.clone()?)));
    let custom = option.custom.as_ref().map(|custom| (custom.kind.clone(), custom.path.clone()));
    let (verb, path) = plain.or(custom).ok_or("the HTTP rule has no path")?;
    let template = Template::parse(&path).map_err(|error| error.to_string())?;
    let input = method.input();
    for variable in &template.variables {
        if !has_path(&input, &variable.field_path) {
            let message = format!(
                "`{}` has no field `{}`, which the path \"{path}\" binds",
                input.full_name(),
                variable.field_path
            );
            return Err(message);
        }
    }
    if !matches!(option.body.as_str(), "" | "*") && input.get_field_by_name(&option.body).is_none()
    {
        return Err(format!(
            "`{}` has no field `{}`, which should be the body",
            input.full_name(),
            option.body
        ));
    }
    Ok(HttpRule {
        method: verb,
        template,
        body: option.body.clone(),
        response_body: option.response_body.clone(),
    })
}

fn has_path(message: &MessageDescriptor, path: &str) -> bool {
    let mut at = Some(message.clone());
    for part in path.split('.') {
        let Some(field) = at.as_ref().and_then(|message| message.get_field_by_name(part)) else {
            return false;
        };
        at = if let Kind::Message(message) = field.kind() { Some(message) } else { None };
    }
    true
}

/// The names that the defaults put into paths and bodies.
pub(crate) struct RouteFields {
    /// Field that holds the name: `name`.
    pub(crate) name: String,
    /// Field that holds the parent; `None` if the request has none.
    pub(crate) parent: Option<String>,
    /// Field that holds the resource; `None` if the request is the resource.
    pub(crate) resource: Option<String>,
    /// Field of the resource that holds the name.
    pub(crate) resource_name: String,
    /// An update is reached by `PUT` too, as EdgeLQ has it.
    pub(crate) with_put: bool,
}

impl RouteFields {
    /// As a binding found them.
    pub(crate) fn of(request: &RequestFields, ty: &TypeDraft) -> RouteFields {
        let name = |field: &Option<prost_reflect::FieldDescriptor>| {
            field.as_ref().map(|field| field.name().to_owned())
        };
        RouteFields {
            name: name(&request.name).unwrap_or_else(|| "name".to_owned()),
            parent: name(&request.parent),
            resource: name(&request.resource),
            resource_name: ty.name_field.name().to_owned(),
            with_put: false,
        }
    }
}

/// The AIP defaults of a standard method, one per pattern, under `prefix` (`/v1`).
///
/// A watch is reached by `GET` and by `POST`.
pub(crate) fn defaults(
    verb: Verb,
    ty: &TypeDraft,
    fields: &RouteFields,
    prefix: &str,
) -> Vec<HttpRule> {
    let body = fields.resource.as_deref().unwrap_or("*");
    let resource_path = match &fields.resource {
        Some(resource) => format!("{resource}.{}", fields.resource_name),
        None => fields.resource_name.clone(),
    };
    let mut found: Vec<(&str, String, &str)> = Vec::new();
    for pattern in &ty.patterns {
        let named = |field: &str| format!("{prefix}/{{{field}={}}}", pattern.template());
        let collection = || collection(pattern, ty, fields.parent.as_deref(), prefix);
        match verb {
            Verb::Get => found.push(("GET", named(&fields.name), "")),
            Verb::Delete => found.push(("DELETE", named(&fields.name), "")),
            // One resource per parent: the path of the collection is that of the resource.
            Verb::List if pattern.is_singleton() => {
                found.push(("GET", format!("{}:list", collection()), ""))
            }
            Verb::List => found.push(("GET", collection(), "")),
            Verb::Create => found.push(("POST", collection(), body)),
            Verb::BatchGet => found.push((
                "GET",
                format!("{prefix}/{}:batchGet", own_collection(pattern, ty)),
                "",
            )),
            Verb::Update => {
                found.push(("PATCH", named(&resource_path), body));
                if fields.with_put {
                    found.push(("PUT", named(&resource_path), body));
                }
            }
            Verb::WatchOne => {
                found.push(("GET", format!("{}:watch", named(&fields.name)), ""));
                found.push(("POST", format!("{}:watch", named(&fields.name)), "*"));
            }
            Verb::Watch => {
                let verb = if pattern.is_singleton() { "watchAll" } else { "watch" };
                found.push(("GET", format!("{}:{verb}", collection()), ""));
                found.push(("POST", format!("{}:{verb}", collection()), "*"));
            }
        }
    }
    let mut rules: Vec<HttpRule> = Vec::new();
    // A pattern may have characters that a template cannot have; such a path is left out.
    let parsed = found.into_iter().filter_map(|(method, path, body)| {
        let template = Template::parse(&path).ok()?;
        Some(HttpRule {
            method: method.to_owned(),
            template,
            body: body.to_owned(),
            response_body: String::new(),
        })
    });
    for rule in parsed {
        let same = |other: &HttpRule| {
            other.method == rule.method && other.template.shape() == rule.template.shape()
        };
        if rules.len() < RULES_MAX && !rules.iter().any(same) {
            rules.push(rule);
        }
    }
    rules
}

fn own_collection(pattern: &Pattern, ty: &TypeDraft) -> String {
    let collection = pattern.collection();
    if collection.is_empty() { words::lower_camel(&ty.plural) } else { collection.to_owned() }
}

/// `/v1/{parent=projects/*}/devices`; without a parent `/v1/devices`.
fn collection(
    pattern: &Pattern,
    ty: &TypeDraft,
    parent_field: Option<&str>,
    prefix: &str,
) -> String {
    let own = own_collection(pattern, ty);
    match (pattern.parent(), parent_field) {
        (Some(parent), Some(field)) => format!("{prefix}/{{{field}={}}}/{own}", parent.template()),
        (Some(parent), None) => format!("{prefix}/{}/{own}", wild(&parent)),
        (None, _) => format!("{prefix}/{own}"),
    }
}

/// A parent that the request cannot say: only the literal parts, so that the path does not bind it.
fn wild(parent: &Pattern) -> String {
    parent.template()
}

/// The default of a method that is not standard: `POST` with the whole request as body.
///
/// `RebootDevice` with a name is `/v1/{name=...}:reboot`, with a parent `/v1/{parent=...}/devices:reboot`, else `/v1:rebootDevice`.
pub(crate) fn action(
    method: &MethodDescriptor,
    candidates: &[&TypeDraft],
    prefix: &str,
) -> Vec<HttpRule> {
    if method.is_client_streaming() {
        return Vec::new();
    }
    let name = method.name();
    let ty = candidates.iter().filter_map(|ty| {
        let rest = [&ty.plural, &ty.singular]
            .into_iter()
            .find_map(|noun| name.strip_suffix(noun.as_str()))?;
        (!rest.is_empty()).then_some((rest, *ty))
    });
    let ty = ty.max_by_key(|(rest, _)| std::cmp::Reverse(rest.len()));
    let input = method.input();
    let has = |field: &str| {
        input.get_field_by_name(field).is_some_and(|field| field.kind() == Kind::String)
    };
    let paths: Vec<String> = match ty {
        Some((rest, ty)) if has("name") => {
            let path = |pattern: &Pattern| {
                format!("{prefix}/{{name={}}}:{}", pattern.template(), words::lower_camel(rest))
            };
            ty.patterns.iter().map(path).collect()
        }
        Some((rest, ty)) if has("parent") => {
            let path = |pattern: &Pattern| {
                format!(
                    "{}:{}",
                    collection(pattern, ty, Some("parent"), prefix),
                    words::lower_camel(rest)
                )
            };
            ty.patterns.iter().map(path).collect()
        }
        _ => vec![format!("{prefix}:{}", words::lower_camel(name))],
    };
    let rule = |path: String| {
        let template = Template::parse(&path).ok()?;
        let body = "*".to_owned();
        Some(HttpRule { method: "POST".to_owned(), template, body, response_body: String::new() })
    };
    paths.into_iter().take(RULES_MAX).filter_map(rule).collect()
}
