//! Linking drafts to each other: parents by pattern, references by kind, across all services of a load.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, code};
use crate::imports::FileSet;
use crate::model::{Behaviour, Mode, Parent, ParentRule, Reference, Target};
use crate::options::GotenReference;
use crate::place;
use crate::scan::{TypeDraft, VersionDraft};
use crate::walk::{ReferenceField, Walked, holds_strings};

/// What is known about the kinds of all services that are being loaded.
#[derive(Debug, Default)]
pub(crate) struct Index {
    kinds: BTreeSet<String>,
    services: BTreeSet<String>,
    /// `(service, version, kind)` by the shape of a pattern.
    by_shape: BTreeMap<String, Vec<(String, String, String)>>,
    /// Shapes of patterns of types that are declared and not served.
    defined: BTreeSet<String>,
}

impl Index {
    pub(crate) fn add(&mut self, draft: &VersionDraft) {
        self.services.insert(draft.service.clone());
        for ty in &draft.types {
            self.kinds.insert(ty.kind.clone());
            for pattern in &ty.patterns {
                let entry = (draft.service.clone(), draft.version.clone(), ty.kind.clone());
                self.by_shape.entry(pattern.shape()).or_default().push(entry);
            }
        }
    }

    /// Adds a pattern of a type that no service here has.
    pub(crate) fn define(&mut self, shape: String) {
        self.defined.insert(shape);
    }

    /// The kind that has this pattern: of the same version, the same service, an imported service, or any.
    fn kind_of(&self, shape: &str, draft: &VersionDraft, own: &str) -> Option<&str> {
        let entries = self.by_shape.get(shape)?;
        let rank = |(service, version, kind): &(String, String, String)| {
            let near = match () {
                () if *service == draft.service && *version == draft.version => 0,
                () if *service == draft.service => 1,
                () if draft.imports.contains_key(service) => 2,
                () => 3,
            };
            (near, service.clone(), version.clone(), kind.clone())
        };
        let others = entries.iter().filter(|(_, _, kind)| kind != own);
        others.min_by_key(|entry| rank(entry)).map(|(_, _, kind)| kind.as_str())
    }
}

/// A type's links.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) parents: Vec<Parent>,
    pub(crate) references: Vec<Reference>,
    pub(crate) parent_rule: ParentRule,
}

/// Links one type.
pub(crate) struct Linker<'a> {
    pub(crate) index: &'a Index,
    pub(crate) draft: &'a VersionDraft,
    pub(crate) set: &'a FileSet,
    /// Manifests say what is imported; bare protos do not.
    pub(crate) strict: bool,
}

impl Linker<'_> {
    pub(crate) fn link(
        &self,
        ty: &TypeDraft,
        walked: &Walked,
        problems: &mut Vec<Diagnostic>,
    ) -> Links {
        let mut references: Vec<Reference> = Vec::new();
        for field in &walked.references {
            if field.path == ty.name_field.name() {
                continue;
            }
            references.extend(self.reference(field, problems));
        }
        Links { parents: self.parents(ty, problems), references, parent_rule: parent_rule(ty) }
    }

    fn parents(&self, ty: &TypeDraft, problems: &mut Vec<Diagnostic>) -> Vec<Parent> {
        let mut parents: Vec<Parent> = Vec::new();
        for pattern in &ty.patterns {
            let parent = match pattern.parent() {
                None => Parent { kind: None, pattern: String::new() },
                Some(above) => {
                    let plain = above.without_region(&self.draft.region_collection);
                    let shapes = [Some(above.shape()), plain.as_ref().map(|plain| plain.shape())];
                    let shapes: Vec<String> = shapes.into_iter().flatten().collect();
                    let kind = shapes
                        .iter()
                        .find_map(|shape| self.index.kind_of(shape, self.draft, &ty.kind));
                    let region = format!("{}/*", self.draft.region_collection);
                    let known = kind.is_some()
                        || shapes.contains(&region)
                        || shapes.iter().any(|shape| self.index.defined.contains(shape));
                    if self.strict && !known {
                        problems.push(unknown_parent(ty, &above.text));
                    }
                    Parent { kind: kind.map(str::to_owned), pattern: above.text }
                }
            };
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        parents
    }

    fn reference(
        &self,
        found: &ReferenceField,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Reference> {
        let place = place::of_field(&found.field, self.set);
        let target = self.target(found)?;
        if !holds_strings(&found.field) {
            let message = format!("the reference `{}` is not a string", found.path);
            let problem = Diagnostic::error(code::BAD_REFERENCE, &place, message);
            let problem = problem.help(
                "a reference holds a resource name: make it a string, a list or a map of strings",
            );
            problems.push(self.graded(problem));
            return None;
        }
        let kind = match &target {
            Target::Kind(kind) | Target::ParentOf(kind) => Some(kind.as_str()),
            Target::Any => None,
        };
        let service = kind.and_then(|kind| kind.split_once('/')).map(|(service, _)| service);
        let local =
            service == Some(self.draft.service.as_str()) && matches!(target, Target::Kind(_));
        let external = !kind.is_none_or(|kind| self.index.kinds.contains(kind));
        let (behaviour, mode) = self.behaviour(found, local);
        if mode == Mode::Sync
            && !local
            && found.options.bowline.as_ref().is_some_and(|option| option.mode == 1)
        {
            let message = format!("the reference `{}` to another service is `SYNC`", found.path);
            let problem = Diagnostic::error(code::SYNC_ACROSS_SERVICES, &place, message);
            let problem = problem.help(
                "another service has its own database: write `mode: ASYNC`, or leave the mode out",
            );
            problems.push(self.graded(problem));
        }
        if let Some(service) = service.filter(|_| self.strict && !external && !local) {
            let known = service == self.draft.service || self.draft.imports.contains_key(service);
            if !known {
                let message = format!(
                    "the reference `{}` is to \"{service}\", which the version does not import",
                    found.path
                );
                let help = format!(
                    "add `{service}` and its version to `imports` of version {}",
                    self.draft.version
                );
                problems.push(Diagnostic::error(code::NOT_IMPORTED, &place, message).help(help));
            }
        }
        Some(Reference {
            path: found.path.clone(),
            target,
            on_target_delete: behaviour,
            mode,
            external,
        })
    }

    fn graded(&self, problem: Diagnostic) -> Diagnostic {
        let severity = if self.strict { problem.severity } else { crate::Severity::Warning };
        Diagnostic { severity, ..problem }
    }

    /// What the field refers to; `None` if its options only say how.
    fn target(&self, found: &ReferenceField) -> Option<Target> {
        if let Some(reference) = &found.options.reference {
            return match (reference.r#type.as_str(), reference.child_type.as_str()) {
                ("*", _) => Some(Target::Any),
                ("", "") => None,
                ("", "*") => Some(Target::Any),
                ("", child) => Some(Target::ParentOf(self.full_kind(child))),
                (kind, _) => Some(Target::Kind(self.full_kind(kind))),
            };
        }
        let goten = found.options.goten_type.as_ref()?;
        let of = |reference: &Option<GotenReference>| {
            let reference = reference.as_ref()?;
            (!reference.resource.is_empty()).then(|| self.full_kind(&reference.resource))
        };
        of(&goten.reference)
            .map(Target::Kind)
            .or_else(|| of(&goten.parent_reference).map(Target::ParentOf))
    }

    /// A type of the same service may be written without its domain.
    fn full_kind(&self, text: &str) -> String {
        if text.contains('/') { text.to_owned() } else { format!("{}/{text}", self.draft.service) }
    }

    fn behaviour(&self, found: &ReferenceField, local: bool) -> (Behaviour, Mode) {
        let default = if local { Mode::Sync } else { Mode::Async };
        if let Some(option) = &found.options.bowline {
            let behaviour = bowline_behaviour(option.on_target_delete).unwrap_or(Behaviour::Block);
            let mode = match option.mode {
                1 => Mode::Sync,
                2 => Mode::Async,
                _ => default,
            };
            return (behaviour, mode);
        }
        let goten = found.options.goten_type.as_ref().and_then(|goten| goten.reference.as_ref());
        match goten.map_or(0, |goten| goten.target_delete_behavior) {
            // A synchronous effect on another service is impossible there too, and taken for an asynchronous one.
            number @ 2..=5 => {
                let behaviour = if number % 2 == 0 { Behaviour::Unset } else { Behaviour::Cascade };
                (behaviour, if number >= 4 { Mode::Async } else { default })
            }
            6 => (Behaviour::AllowDangling, default),
            _ => (Behaviour::Block, default),
        }
    }
}

fn bowline_behaviour(number: i32) -> Option<Behaviour> {
    match number {
        1 => Some(Behaviour::Block),
        2 => Some(Behaviour::Cascade),
        3 => Some(Behaviour::Unset),
        4 => Some(Behaviour::AllowDangling),
        _ => None,
    }
}

fn parent_rule(ty: &TypeDraft) -> ParentRule {
    let default = ParentRule { on_delete: Behaviour::Cascade, mode: Mode::Async };
    if let Some(option) = &ty.options.bowline {
        let behaviour =
            bowline_behaviour(option.on_parent_delete).filter(|b| *b != Behaviour::Unset);
        let mode = if option.parent_mode == 1 { Mode::Sync } else { Mode::Async };
        return ParentRule { on_delete: behaviour.unwrap_or(Behaviour::Cascade), mode };
    }
    match ty.options.goten.as_ref().map_or(0, |goten| goten.on_parent_deleted) {
        1 => ParentRule { on_delete: Behaviour::Block, mode: Mode::Sync },
        3 => ParentRule { on_delete: Behaviour::Cascade, mode: Mode::Sync },
        6 => ParentRule { on_delete: Behaviour::AllowDangling, ..default },
        _ => default,
    }
}

fn unknown_parent(ty: &TypeDraft, pattern: &str) -> Diagnostic {
    let message =
        format!("no loaded type has the pattern \"{pattern}\" of a parent of \"{}\"", ty.kind);
    Diagnostic::warning(code::UNKNOWN_PARENT, &ty.place, message).help(
        "load the service of the parent too; until then its names are only checked for their form",
    )
}
