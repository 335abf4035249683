//! A registry as text for people: `bowline schema show`.

mod upgrade;

use std::fmt::Write;

use crate::model::{
    Behaviour, Method, Mode, Reference, Registry, ResourceType, Role, Service, ServiceVersion,
    SyncType, Target,
};

pub use upgrade::upgrade;

/// Services, versions, types with patterns, parents and references, methods with what they are bound to or why not, and how versions
/// follow from each other.
///
/// The text ends with a line break, is the same for the same registry, and its lines can be searched: one fact each.
pub fn show(registry: &Registry) -> String {
    let mut text = String::new();
    for service in &registry.services {
        show_service(&mut text, service);
    }
    text
}

fn show_service(text: &mut String, service: &Service) {
    _ = writeln!(text, "service {}", service.name);
    for (word, list) in [("uses", &service.uses), ("mixins", &service.mixins)] {
        if !list.is_empty() {
            _ = writeln!(text, "  {word} {}", list.join(", "));
        }
    }
    for version in &service.versions {
        show_version(text, version);
    }
    for found in &service.upgrades {
        for line in upgrade(found).lines() {
            _ = writeln!(text, "  {line}");
        }
    }
}

fn show_version(text: &mut String, version: &ServiceVersion) {
    _ = writeln!(text, "  version {} (package {})", version.version, version.package);
    for (service, imported) in &version.imports {
        _ = writeln!(text, "    imports {service} {imported}");
    }
    for ty in &version.types {
        show_type(text, ty);
    }
    let mut service = "";
    for method in &version.methods {
        let (_, rest) = method.path.split_at(1);
        let (of, name) = rest.split_once('/').unwrap_or((rest, ""));
        if of != service {
            let made = if method.synthesised { " (made by Bowline)" } else { "" };
            _ = writeln!(text, "    methods of {of}{made}");
            service = of;
        }
        show_method(text, name, method);
    }
}

fn show_type(text: &mut String, ty: &ResourceType) {
    _ = writeln!(text, "    type {} (message {})", ty.singular, ty.message.full_name());
    for pattern in &ty.patterns {
        _ = writeln!(text, "      pattern {}", pattern.text);
    }
    for parent in &ty.parents {
        let kind = match (&parent.kind, parent.pattern.as_str()) {
            (Some(kind), _) => kind.as_str(),
            (None, "") => "none (root)",
            (None, _) => "unknown",
        };
        let rule = format!("{} {}", behaviour(ty.parent_rule.on_delete), mode(ty.parent_rule.mode));
        let rule = if parent.pattern.is_empty() {
            String::new()
        } else {
            format!(" ({}) {rule}", parent.pattern)
        };
        _ = writeln!(text, "      parent {kind}{rule}");
    }
    for reference in &ty.references {
        show_reference(text, reference);
    }
    show_traits(text, ty);
}

fn show_traits(text: &mut String, ty: &ResourceType) {
    let mut traits = Vec::new();
    if ty.regional {
        traits.push("regional".to_owned());
    }
    if ty.policy_holder {
        traits.push("policy holder".to_owned());
    }
    if ty.async_deletion {
        traits.push("deleted asynchronously".to_owned());
    }
    traits.extend(match ty.sync_type {
        SyncType::Default => None,
        SyncType::Never => Some("sync NEVER".to_owned()),
        SyncType::AlwaysInScope => Some("sync ALWAYS_IN_SCOPE".to_owned()),
        SyncType::AlwaysGlobally => Some("sync ALWAYS_GLOBALLY".to_owned()),
    });
    let outs = [
        (ty.opt_outs.constraints, "no constraints"),
        (ty.opt_outs.metadata, "no metadata"),
        (ty.opt_outs.multi_region, "one region"),
    ];
    traits.extend(outs.into_iter().filter(|(out, _)| *out).map(|(_, word)| word.to_owned()));
    if !traits.is_empty() {
        _ = writeln!(text, "      is {}", traits.join(", "));
    }
    for (word, list) in [("searchable", &ty.searchable), ("index", &ty.index)] {
        if !list.is_empty() {
            _ = writeln!(text, "      {word} {}", list.join(", "));
        }
    }
    if let Some(pattern) = &ty.id_pattern {
        _ = writeln!(text, "      id {pattern}");
    }
}

fn show_reference(text: &mut String, reference: &Reference) {
    let target = match &reference.target {
        Target::Kind(kind) => kind.clone(),
        Target::ParentOf(kind) => format!("a parent of {kind}"),
        Target::Any => "any resource".to_owned(),
    };
    let external = if reference.external { " external" } else { "" };
    let (behaviour, mode) = (behaviour(reference.on_target_delete), mode(reference.mode));
    _ = writeln!(
        text,
        "      reference {} -> {target} {behaviour} {mode}{external}",
        reference.path
    );
}

fn show_method(text: &mut String, name: &str, method: &Method) {
    let http = method.http.first().map(|rule| format!(" {} {}", rule.method, rule.template.text));
    let http = http.unwrap_or_default();
    let what = match &method.role {
        Role::Standard(binding) => format!("{:?} {}", binding.verb, binding.resource.singular),
        Role::Action { unbound: None } => "action".to_owned(),
        Role::Action { unbound: Some(reason) } => format!("action (not bound: {reason})"),
    };
    _ = writeln!(text, "      {name}: {what}{http}");
}

fn behaviour(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Block => "BLOCK",
        Behaviour::Cascade => "CASCADE",
        Behaviour::Unset => "UNSET",
        Behaviour::AllowDangling => "ALLOW_DANGLING",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Sync => "SYNC",
        Mode::Async => "ASYNC",
    }
}
