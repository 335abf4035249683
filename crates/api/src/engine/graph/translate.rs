//! Names of a resource in the API versions of its service. The owner of a resource always translates, for only it knows
//! the rules; the others match what they are told.
//!
//! Versions that no `upgrades/*.yaml` connects are apart: what is in one of them has no name in the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::TargetName;
use bowline_resource::convert::{Conversion, ConvertError, NameRules, Named};
use bowline_schema::model::Service;
use bowline_wire::bowline::mixin::v1 as wire;

use crate::engine::{Engine, shape_key_of};

/// How many regions one conversion may need to know.
const QUESTIONS_MAX: usize = 16;

/// Regions by version, kind and name of what they were asked for; `None`: there is none.
type Regions = BTreeMap<(String, String, String), Option<String>>;

impl Engine {
    /// The names of a resource in all versions of its service, the oldest first; those that it has no name in are listed
    /// with an empty one.
    ///
    /// # Errors
    /// `UNAVAILABLE` if a name depends on the region of a policy holder that nobody here knows at the moment.
    pub(crate) async fn versioned_names(
        &self,
        target: &TargetName,
    ) -> Result<Vec<wire::VersionedName>, Status> {
        let Some(service) = self.registry.service(target.service()) else {
            return Ok(vec![target.into()]);
        };
        let rules = NameRules::of(service);
        let mut regions = Regions::new();
        let mut names = Vec::new();
        for version in &service.versions {
            let version = &*version.version;
            let name = if *version == *target.version {
                Some((target.kind.to_string(), target.name.to_string()))
            } else if is_connected(service, &target.version, version) {
                self.convert(&rules, target, version, &mut regions).await?
            } else {
                None
            };
            let (kind, name) = name.unwrap_or_else(|| {
                let kind = rules.kind(&target.version, version, &target.kind);
                (kind.unwrap_or_else(|| target.kind.to_string()), String::new())
            });
            names.push(wire::VersionedName { version: version.to_owned(), kind, name });
        }
        Ok(names)
    }

    /// These names of one resource, and every version of its service that they do not mention with an empty one: those who
    /// are asked about it refuse to answer unless their own version is mentioned.
    pub(crate) fn in_every_version(
        &self,
        mut names: Vec<wire::VersionedName>,
    ) -> Vec<wire::VersionedName> {
        let Some(first) = names.first().map(TargetName::from) else { return names };
        let service = self.registry.service(first.service());
        let versions = service.into_iter().flat_map(|service| &service.versions);
        for version in versions.map(|version| &version.version) {
            if names.iter().all(|name| name.version != *version) {
                let (version, kind) = (version.clone(), first.kind.to_string());
                names.push(wire::VersionedName { version, kind, name: String::new() });
            }
        }
        names
    }

    /// What a name may be stored as: itself first, then its names in the versions that are connected with its own.
    ///
    /// # Errors
    /// As [`Engine::versioned_names`].
    pub(crate) async fn stored_names(
        &self,
        target: &TargetName,
    ) -> Result<Vec<TargetName>, Status> {
        let mut stored = vec![target.clone()];
        if self.is_alone(target) {
            return Ok(stored);
        }
        let names = self.versioned_names(target).await?;
        let others = names.iter().filter(|name| !name.name.is_empty()).map(TargetName::from);
        stored.extend(others.filter(|other| other != target));
        Ok(stored)
    }

    /// Kinds that what a caller calls `kind` may be stored as.
    pub(crate) fn stored_kinds(&self, kind: &str, version: &str) -> BTreeSet<Arc<str>> {
        let mut kinds = BTreeSet::from([Arc::from(kind)]);
        let service = kind.split_once('/').and_then(|(name, _)| self.registry.service(name));
        if let Some(service) = service {
            let rules = NameRules::of(service);
            let others = service.versions.iter().map(|other| &*other.version);
            let connected = others.filter(|other| is_connected(service, version, other));
            kinds.extend(connected.filter_map(|to| rules.kind(version, to, kind)).map(Arc::from));
        }
        kinds
    }

    /// Whether no other version has anything to do with this one: the ordinary case, which is to cost nothing.
    fn is_alone(&self, target: &TargetName) -> bool {
        let service = self.registry.service(target.service());
        service.is_none_or(|service| {
            let mut others = service.versions.iter().map(|version| &*version.version);
            !others.any(|to| *to != *target.version && is_connected(service, &target.version, to))
        })
    }

    async fn convert(
        &self,
        rules: &NameRules,
        target: &TargetName,
        to: &str,
        regions: &mut Regions,
    ) -> Result<Option<(String, String)>, Status> {
        for _ in 0..QUESTIONS_MAX {
            match converted(rules, target, to, regions) {
                Ok(Conversion::Name(there)) => return Ok(Some((there.kind, there.name))),
                Ok(Conversion::NoName(_)) => return Ok(None),
                Err(ConvertError::Unanswered { kind, version, name }) => {
                    let key = (version, kind, name);
                    // Asked before, and there is none: nobody has regions here.
                    if regions.contains_key(&key) {
                        return Ok(None);
                    }
                    let region = self.control_region(&key).await?;
                    regions.insert(key, region);
                }
                // A kind that is not in that version, or a name that is none: nothing is called so there.
                Err(_) => return Ok(None),
            }
        }
        let message = format!("{target} cannot be named in {to}: too much depends on it");
        Err(Status::new(Reason::Internal, message))
    }

    /// The region that owns what has this name.
    async fn control_region(
        &self,
        (version, kind, name): &(String, String, String),
    ) -> Result<Option<String>, Status> {
        let shape = self.shapes.get(&shape_key_of(kind, version));
        let place = shape.and_then(|shape| shape.places.as_ref()?.of(name));
        let (Some(routing), Some(place)) = (&self.routing, place) else { return Ok(None) };
        let service = kind.split_once('/').map_or(&**kind, |(service, _)| service);
        match routing.owners.owner(service, &place).await {
            Ok(owner) => Ok(Some(owner.region.to_string())),
            Err(status) if status.reason == Reason::ResourceNotFound => Ok(None),
            Err(status) => Err(status),
        }
    }
}

fn converted(
    rules: &NameRules,
    target: &TargetName,
    to: &str,
    regions: &Regions,
) -> Result<Conversion, ConvertError> {
    let known = |of: &Named<'_>| {
        let key = (of.version.to_owned(), of.kind.to_owned(), of.name.to_owned());
        regions.get(&key).cloned().flatten()
    };
    rules.convert(&target.version, to, &target.kind, &target.name, &known)
}

/// Whether files say how each version between the two follows from the one before.
fn is_connected(service: &Service, a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (service.age(a), service.age(b)) else { return false };
    let between = service.upgrades.get(a.min(b)..a.max(b)).unwrap_or_default();
    between.len() == a.abs_diff(b) && between.iter().all(|step| step.declared_in.is_some())
}
