//! Which references a document holds: field by field, and the parent in its name.
//!
//! What a type's references can lead to is worked out once ([`References::of_type`]). Left out is what nothing follows
//! from: `ALLOW_DANGLING`, kinds that no loaded service has, those of services that are not imported, and types without
//! constraints.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bowline_resource::document::Document;
use bowline_resource::name;
use bowline_resource::reference::{clear, visit};
use bowline_schema::model::{self, Mode, Registry, ResourceType, Target};
use bowline_wire::bowline::mixin::v1 as wire;

use crate::aside::Held;

/// The path of the reference to the parent, which stands in the name and not in a field.
pub const PARENT: &str = "";

/// A resource as somebody refers to it: kind and name of one API version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetName {
    /// `iam.example.com/Project`.
    pub kind: Arc<str>,
    pub version: Arc<str>,
    /// `projects/p`, without a domain.
    pub name: Arc<str>,
}

impl TargetName {
    pub fn new(
        kind: impl Into<Arc<str>>,
        version: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Self {
        Self { kind: kind.into(), version: version.into(), name: name.into() }
    }

    /// The service that the kind is of.
    pub fn service(&self) -> &str {
        self.kind.split_once('/').map_or(&*self.kind, |(service, _)| service)
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind, self.name, self.version)
    }
}

impl From<&TargetName> for wire::VersionedName {
    fn from(target: &TargetName) -> Self {
        let TargetName { kind, version, name } = target;
        Self { version: version.to_string(), kind: kind.to_string(), name: name.to_string() }
    }
}

impl From<&wire::VersionedName> for TargetName {
    fn from(name: &wire::VersionedName) -> Self {
        Self::new(&*name.kind, &*name.version, &*name.name)
    }
}

/// What the deletion of a target does to the one that refers to it; the stricter, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Behaviour {
    Block = 1,
    Cascade = 2,
    Unset = 3,
}

impl Behaviour {
    pub fn of_number(number: u32) -> Option<Self> {
        [Self::Block, Self::Cascade, Self::Unset].into_iter().find(|b| *b as u32 == number)
    }

    fn of_schema(behaviour: model::Behaviour) -> Option<Self> {
        match behaviour {
            model::Behaviour::Block => Some(Self::Block),
            model::Behaviour::Cascade => Some(Self::Cascade),
            model::Behaviour::Unset => Some(Self::Unset),
            model::Behaviour::AllowDangling => None,
        }
    }
}

impl From<Behaviour> for wire::Behaviour {
    fn from(behaviour: Behaviour) -> Self {
        match behaviour {
            Behaviour::Block => Self::Block,
            Behaviour::Cascade => Self::Cascade,
            Behaviour::Unset => Self::Unset,
        }
    }
}

/// A reference that a document holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// From the resource, without indexes or keys; [`PARENT`] for the parent in the name.
    pub path: String,
    pub target: TargetName,
    pub behaviour: Behaviour,
    /// Its consequence is part of the deleting commit, where the target is in the same deployment.
    pub is_sync: bool,
}

/// What the references of one type in one API version can lead to.
#[derive(Clone, Debug, Default)]
pub struct References {
    fields: Vec<Field>,
    /// `None` if nothing follows from the parent.
    parent: Option<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    path: String,
    behaviour: Behaviour,
    is_sync: bool,
    /// Types that a value can be a name of, the likeliest first.
    targets: Vec<Arc<ResourceType>>,
}

impl References {
    /// Cost: the types of all services for references that may lead to any; once per type.
    pub fn of_type(registry: &Registry, ty: &ResourceType) -> Self {
        if ty.opt_outs.constraints {
            return Self::default();
        }
        let followed = ty.references.iter().filter(|reference| !reference.external);
        let fields = followed.filter_map(|reference| {
            let field = Field {
                path: reference.path.clone(),
                behaviour: Behaviour::of_schema(reference.on_target_delete)?,
                is_sync: reference.mode == Mode::Sync,
                targets: targets(registry, ty, &reference.target),
            };
            (!field.targets.is_empty()).then_some(field)
        });
        Self { fields: fields.collect(), parent: parent(registry, ty) }
    }

    /// Whether no document of the type can hold any.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.parent.is_none()
    }

    /// Kinds that they can lead to.
    pub fn kinds(&self) -> BTreeSet<&str> {
        let fields = self.fields.iter().chain(&self.parent);
        fields.flat_map(|field| &field.targets).map(|ty| ty.kind.as_str()).collect()
    }

    /// The references that a document holds: sorted, none twice. Values that are no names of a target are left out;
    /// their syntax is checked elsewhere.
    ///
    /// Cost: a walk to each reference field, a name parsed for each value.
    pub fn of_document(&self, document: &Document) -> Vec<Entry> {
        let mut found = BTreeSet::new();
        for field in &self.fields {
            visit(&document.body, &field.path, "", &mut |_, text| {
                found.extend(field.entry(text));
                true
            });
        }
        if let Some(field) = &self.parent
            && let Ok(parsed) = name::parse(&document.ty, document.name())
        {
            let parent = &*parsed.parent;
            let plain = || without_region(parent, &document.ty.region_collection);
            found.extend(field.entry(parent).or_else(|| field.entry(plain()?)));
        }
        found.into_iter().collect()
    }

    /// Takes out of a document what unsets with any of `targets`, as `held` says, and gives what it still refers to.
    ///
    /// Held is what counts, not what the schema says by now: it is what the target's deletion was decided by.
    pub fn unset(
        &self,
        document: &mut Document,
        held: &[Held],
        targets: &[TargetName],
    ) -> Vec<Held> {
        let goes = |held: &&Held| {
            held.behaviour == Behaviour::Unset
                && !held.path.is_empty()
                && targets.contains(&held.target)
        };
        for held in held.iter().filter(goes) {
            let field = self.fields.iter().find(|field| field.path == held.path);
            let is_target = |text: &str| match field.and_then(|field| field.entry(text)) {
                Some(Entry { target, .. }) => {
                    (target.kind, target.name)
                        == (held.target.kind.clone(), held.target.name.clone())
                }
                // The schema leads it nowhere any more; the name alone is left to go by.
                None => name::split_domain(text).1 == &*held.target.name,
            };
            clear(&mut document.body, &held.path, &is_target);
        }
        held.iter().filter(|held| !goes(held)).cloned().collect()
    }
}

impl Field {
    fn entry(&self, text: &str) -> Option<Entry> {
        if text.is_empty() {
            return None;
        }
        let target = self.targets.iter().find_map(|ty| {
            let name = name::parse(ty, text).ok()?.text;
            Some(TargetName::new(&*ty.kind, &*ty.version, name))
        })?;
        let (path, behaviour, is_sync) = (self.path.clone(), self.behaviour, self.is_sync);
        Some(Entry { path, target, behaviour, is_sync })
    }
}

/// The name above a region, which is a place and no resource: the parent of `projects/p/regions/r/devices/d` is `projects/p`.
fn without_region<'n>(parent: &'n str, collection: &str) -> Option<&'n str> {
    let (above, _region) = parent.rsplit_once('/')?;
    above.strip_suffix(collection)?.strip_suffix('/')
}

fn parent(registry: &Registry, ty: &ResourceType) -> Option<Field> {
    let behaviour = Behaviour::of_schema(ty.parent_rule.on_delete)?;
    let kinds = ty.parents.iter().filter_map(|parent| parent.kind.as_deref());
    let targets: Vec<_> = kinds.flat_map(|kind| of_kind(registry, ty, kind)).collect();
    let is_sync = ty.parent_rule.mode == Mode::Sync;
    (!targets.is_empty()).then(|| Field { path: PARENT.to_owned(), behaviour, is_sync, targets })
}

fn targets(registry: &Registry, ty: &ResourceType, target: &Target) -> Vec<Arc<ResourceType>> {
    match target {
        Target::Kind(kind) => of_kind(registry, ty, kind),
        Target::ParentOf(child) => {
            let children = of_kind(registry, ty, child);
            let parents = children.iter().flat_map(|child| &child.parents);
            let kinds: BTreeSet<_> = parents.filter_map(|parent| parent.kind.as_deref()).collect();
            kinds.into_iter().flat_map(|kind| of_kind(registry, ty, kind)).collect()
        }
        Target::Any => {
            let own = |other: &&Arc<ResourceType>| other.service == ty.service;
            let (own, others): (Vec<_>, Vec<_>) = registry.all_types().partition(own);
            let all = own.into_iter().chain(others);
            all.filter(|other| is_followed(registry, ty, other)).cloned().collect()
        }
    }
}

/// The types of a kind that `ty` may refer to: that of the version which its own imports first. None if it imports none.
fn of_kind(registry: &Registry, ty: &ResourceType, kind: &str) -> Vec<Arc<ResourceType>> {
    let types = registry.types.get(kind).map_or(&[][..], Vec::as_slice);
    // A service of bare protos says nothing of imports: what it refers to elsewhere is none of its concern.
    let Some(imported) = imported_version(registry, ty, kind) else { return Vec::new() };
    let (first, rest): (Vec<_>, Vec<_>) = types.iter().partition(|other| other.version == imported);
    let all = first.into_iter().chain(rest.into_iter().rev());
    all.filter(|other| !other.opt_outs.constraints).cloned().collect()
}

/// Of those that any name may lead to: only what the version imports, or is itself.
fn is_followed(registry: &Registry, ty: &ResourceType, other: &ResourceType) -> bool {
    !other.opt_outs.constraints
        && imported_version(registry, ty, &other.kind) == Some(other.version.as_str())
}

fn imported_version<'r>(
    registry: &'r Registry,
    ty: &'r ResourceType,
    kind: &str,
) -> Option<&'r str> {
    let service = kind.split_once('/').map(|(service, _)| service)?;
    if service == ty.service {
        return Some(&ty.version);
    }
    let own = registry.service(&ty.service)?;
    let version = own.versions.iter().find(|version| version.version == ty.version)?;
    version.imports.get(service).map(String::as_str)
}

#[cfg(test)]
mod tests;
