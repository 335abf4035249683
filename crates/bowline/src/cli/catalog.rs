//! What a server serves: its types and their methods, and finding them by what people type.
//!
//! Made from reflection alone, by the same loader that the server uses, so that methods are bound the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_resource::name::{self, ParsedName};
use bowline_schema::model::{Binding, Method, Registry, ResourceType, Role, Verb};
use bowline_schema::pattern::PatternSegment;
use bowline_schema::{Source, load};

use super::client::Client;
use super::error::Error;
use super::fields::nearest;
use super::reflect;

/// Most alternatives that an error lists.
const CANDIDATES_MAX: usize = 10;

/// A standard method with its binding.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) method: Arc<Method>,
    pub(crate) binding: Arc<Binding>,
}

/// All types of a server, with the standard methods that it serves for them.
#[derive(Debug)]
pub(crate) struct Catalog {
    registry: Registry,
    methods: BTreeMap<(String, String), BTreeMap<Verb, Bound>>,
}

impl Catalog {
    pub(crate) async fn fetch(client: &Client) -> Result<Self, Error> {
        let reflected = reflect::fetch(client).await?;
        let source = Source::DescriptorBytes {
            name: "gRPC reflection".to_owned(),
            bytes: reflected.descriptor_set,
        };
        let loaded = load(&[source]);
        if loaded.registry.services.is_empty() && !reflected.services.is_empty() {
            let diagnostics = bowline_schema::diagnostic::render(&loaded.diagnostics);
            return Err(Error::ServerSchema { diagnostics });
        }
        Ok(Self::new(loaded.registry, Some(&reflected.services)))
    }

    /// `served` are the gRPC services that the server has; `None` means all.
    pub(crate) fn new(registry: Registry, served: Option<&BTreeSet<String>>) -> Self {
        let mut methods: BTreeMap<_, BTreeMap<Verb, Bound>> = BTreeMap::new();
        for version in registry.services.iter().flat_map(|service| &service.versions) {
            for method in &version.methods {
                let Role::Standard(binding) = &method.role else { continue };
                let service = method.descriptor.parent_service();
                if served.is_some_and(|served| !served.contains(service.full_name())) {
                    continue;
                }
                let key = (binding.resource.kind.clone(), binding.resource.version.clone());
                let bound = Bound { method: Arc::clone(method), binding: Arc::clone(binding) };
                // A type may have the same verb in several services; the first one declared is the one.
                methods.entry(key).or_default().entry(binding.verb).or_insert(bound);
            }
        }
        Self { registry, methods }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The method to do `verb` with `ty`.
    pub(crate) fn method(&self, ty: &ResourceType, verb: Verb) -> Result<&Bound, Error> {
        self.find_method(ty, verb)
            .ok_or_else(|| Error::NoMethod { kind: ty.kind.clone(), verb: verb_word(verb) })
    }

    pub(crate) fn find_method(&self, ty: &ResourceType, verb: Verb) -> Option<&Bound> {
        self.methods_of(ty)?.get(&verb)
    }

    pub(crate) fn methods_of(&self, ty: &ResourceType) -> Option<&BTreeMap<Verb, Bound>> {
        self.methods.get(&(ty.kind.clone(), ty.version.clone()))
    }

    /// The type that `text` means: kind, singular, plural or collection, in any case and with any separators.
    pub(crate) fn resolve_type(
        &self,
        text: &str,
        version: Option<&str>,
    ) -> Result<Arc<ResourceType>, Error> {
        let matching = self.kinds(|ty| is_called(ty, text));
        match matching.as_slice() {
            [] => Err(Error::UnknownType { text: text.to_owned(), near: self.near_types(text) }),
            [kind] => self.pick_version(kind, version),
            several => Err(Error::AmbiguousType {
                text: text.to_owned(),
                candidates: shorten(several.to_vec()),
            }),
        }
    }

    /// The type that has a pattern for `name`, which may be a full name (`//devices.example.com/projects/p`).
    pub(crate) fn resolve_name(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<(Arc<ResourceType>, ParsedName), Error> {
        let matching = self.kinds(|ty| is_wanted(ty, version) && name::parse(ty, name).is_ok());
        match matching.as_slice() {
            [] => Err(Error::UnknownName { name: name.to_owned(), near: self.near_patterns(name) }),
            [kind] => {
                let candidates = self.registry.types.get(kind).into_iter().flatten().rev();
                candidates
                    .filter(|ty| is_wanted(ty, version))
                    .find_map(|ty| Some((Arc::clone(ty), name::parse(ty, name).ok()?)))
                    .ok_or_else(|| Error::UnknownName { name: name.to_owned(), near: Vec::new() })
            }
            several => Err(Error::AmbiguousName {
                name: name.to_owned(),
                candidates: shorten(several.to_vec()),
            }),
        }
    }

    /// The name of a resource of `ty` that `text` means: a name, or an id below `parent`.
    pub(crate) fn name_of(
        &self,
        ty: &ResourceType,
        text: &str,
        parent: Option<&str>,
    ) -> Result<ParsedName, Error> {
        if let Ok(parsed) = name::parse(ty, text) {
            return Ok(parsed);
        }
        let built = name::build(ty, parent.unwrap_or_default(), text);
        let parsed = built.ok().and_then(|built| name::parse(ty, &built).ok());
        parsed.ok_or_else(|| Error::NameOfOtherType {
            name: text.to_owned(),
            kind: ty.kind.clone(),
            patterns: ty.patterns.iter().map(|pattern| pattern.text.clone()).collect(),
        })
    }

    /// What a command was pointed at: `NAME...` or `TYPE NAME...`.
    pub(crate) fn resolve_targets(
        &self,
        targets: &[String],
        parent: Option<&str>,
        version: Option<&str>,
    ) -> Result<Vec<(Arc<ResourceType>, ParsedName)>, Error> {
        let [first, rest @ ..] = targets else { return Ok(Vec::new()) };
        let is_type = !rest.is_empty() && !self.kinds(|ty| is_called(ty, first)).is_empty();
        if is_type || (!first.contains('/') && !rest.is_empty()) {
            let ty = self.resolve_type(first, version)?;
            let named = |text: &String| Ok((Arc::clone(&ty), self.name_of(&ty, text, parent)?));
            return rest.iter().map(named).collect();
        }
        if rest.is_empty() && !self.kinds(|ty| is_called(ty, first)).is_empty() {
            let problem = format!("which {first}? Give its name, or use `bowline list {first}`");
            return Err(Error::Usage { problem });
        }
        targets.iter().map(|text| self.resolve_name(text, version)).collect()
    }

    /// Kinds with a version for which `accepts` holds.
    fn kinds(&self, accepts: impl Fn(&ResourceType) -> bool) -> Vec<String> {
        let types = self.registry.types.iter();
        types
            .filter(|(_, versions)| versions.iter().any(|ty| accepts(ty)))
            .map(|(k, _)| k.clone())
            .collect()
    }

    /// The asked-for version of a kind, or the newest that has methods.
    fn pick_version(&self, kind: &str, version: Option<&str>) -> Result<Arc<ResourceType>, Error> {
        let versions = self.registry.types.get(kind).map(Vec::as_slice).unwrap_or_default();
        let picked = match version {
            Some(version) => versions.iter().find(|ty| ty.version == version),
            None => {
                let served = versions.iter().rfind(|ty| self.methods_of(ty).is_some());
                served.or_else(|| versions.last())
            }
        };
        picked.cloned().ok_or_else(|| Error::UnknownVersion {
            kind: kind.to_owned(),
            version: version.unwrap_or_default().to_owned(),
            known: versions.iter().map(|ty| ty.version.clone()).collect(),
        })
    }

    fn near_types(&self, text: &str) -> Vec<String> {
        let words: BTreeSet<_> = self
            .registry
            .all_types()
            .flat_map(|ty| [ty.singular.to_lowercase(), ty.plural.to_lowercase()])
            .collect();
        nearest(text, words.iter().map(String::as_str))
    }

    /// Patterns that begin like `name`.
    fn near_patterns(&self, name: &str) -> Vec<String> {
        let first = name.split('/').next().unwrap_or_default();
        let patterns: BTreeSet<_> = self
            .registry
            .all_types()
            .flat_map(|ty| &ty.patterns)
            .filter(|pattern| pattern.text.split('/').next() == Some(first))
            .map(|pattern| pattern.text.clone())
            .collect();
        patterns.into_iter().take(CANDIDATES_MAX).collect()
    }
}

fn shorten(mut candidates: Vec<String>) -> Vec<String> {
    if candidates.len() > CANDIDATES_MAX {
        candidates.truncate(CANDIDATES_MAX);
        candidates.push("...".to_owned());
    }
    candidates
}

fn is_wanted(ty: &ResourceType, version: Option<&str>) -> bool {
    version.is_none_or(|version| ty.version == version)
}

/// Case and separators do not matter: `service-accounts` is `ServiceAccounts`.
fn is_called(ty: &ResourceType, text: &str) -> bool {
    let (domain, word) = match text.rsplit_once('/') {
        Some((domain, word)) => (Some(domain), word),
        None => (None, text),
    };
    if domain.is_some_and(|domain| !domain.eq_ignore_ascii_case(&ty.service)) {
        return false;
    }
    let word = squash(word);
    squash(&ty.singular) == word
        || squash(&ty.plural) == word
        || ty.kind.rsplit_once('/').is_some_and(|(_, name)| squash(name) == word)
        || ty
            .patterns
            .iter()
            .any(|pattern| collection(&pattern.segments).is_some_and(|c| squash(c) == word))
}

/// The literal before the last variable: `devices` in `projects/{project}/devices/{device}`.
fn collection(segments: &[PatternSegment]) -> Option<&str> {
    segments.iter().rev().find_map(|segment| match segment {
        PatternSegment::Literal(text) => Some(text.as_str()),
        _ => None,
    })
}

fn squash(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

pub(crate) fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "get",
        Verb::BatchGet => "batch-get",
        Verb::List => "list",
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
        Verb::WatchOne => "watch one",
        Verb::Watch => "watch",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::catalog;
    use super::*;

    fn kind(text: &str) -> Result<String, Error> {
        catalog().resolve_type(text, None).map(|ty| format!("{}@{}", ty.kind, ty.version))
    }

    #[test]
    fn a_type_may_be_called_in_many_ways() {
        let ways = [
            "device",
            "Device",
            "devices",
            "DEVICES",
            "devices.example.com/Device",
            "devices.example.com/devices",
        ];
        for way in ways {
            assert_eq!(kind(way).unwrap(), "devices.example.com/Device@v1", "{way}");
        }
        for way in ["service-accounts", "service_account", "serviceAccounts", "ServiceAccount"] {
            assert_eq!(kind(way).unwrap(), "iam.example.com/ServiceAccount@v1", "{way}");
        }
    }

    #[test]
    fn a_word_of_two_services_is_ambiguous_until_the_service_is_said() {
        let error = kind("project").unwrap_err();
        let Error::AmbiguousType { candidates, .. } = error else { panic!("{error}") };
        assert_eq!(candidates, ["devices.example.com/Project", "iam.example.com/Project"]);
        assert_eq!(kind("iam.example.com/Project").unwrap(), "iam.example.com/Project@v1");
    }

    #[test]
    fn an_unknown_type_has_suggestions() {
        let Error::UnknownType { near, .. } = kind("devics").unwrap_err() else { panic!() };
        assert_eq!(near, ["device", "devices"]);
    }

    #[test]
    fn the_newest_version_is_taken_unless_another_is_asked_for() {
        let catalog = catalog();
        assert_eq!(catalog.resolve_type("secret", None).unwrap().version, "v1");
        let old = catalog.resolve_type("secret", Some("v1alpha2")).unwrap();
        assert_eq!(old.version, "v1alpha2");
        let error = catalog.resolve_type("secret", Some("v9")).unwrap_err();
        let Error::UnknownVersion { known, .. } = error else { panic!("{error}") };
        assert_eq!(known, ["v1alpha2", "v1"]);
    }

    #[test]
    fn a_name_finds_its_type() {
        let catalog = catalog();
        let (ty, name) = catalog.resolve_name("projects/p/devices/d", None).unwrap();
        assert_eq!(
            (ty.kind.as_str(), name.parent.as_str()),
            ("devices.example.com/Device", "projects/p")
        );
        assert!(matches!(
            catalog.resolve_name("projects/p", None),
            Err(Error::AmbiguousName { .. })
        ));
        let (ty, _) = catalog.resolve_name("//iam.example.com/projects/p", None).unwrap();
        assert_eq!(ty.kind, "iam.example.com/Project");
        let error = catalog.resolve_name("projects/p/gadgets/g", None).unwrap_err();
        let Error::UnknownName { near, .. } = error else { panic!("{error}") };
        assert!(near.contains(&"projects/{project}/devices/{device}".to_owned()), "{near:?}");
    }

    #[test]
    fn targets_are_names_or_a_type_and_names() {
        let catalog = catalog();
        let names = |targets: &[&str], parent: Option<&str>| {
            let targets: Vec<_> = targets.iter().map(|t| (*t).to_owned()).collect();
            catalog
                .resolve_targets(&targets, parent, None)
                .map(|found| found.into_iter().map(|(_, n)| n.text).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&["projects/p/devices/a", "projects/p/devices/b"], None).unwrap(),
            ["projects/p/devices/a", "projects/p/devices/b"]
        );
        assert_eq!(
            names(&["device", "projects/p/devices/a"], None).unwrap(),
            ["projects/p/devices/a"]
        );
        assert_eq!(names(&["device", "a"], Some("projects/p")).unwrap(), ["projects/p/devices/a"]);
        assert_eq!(names(&["iam.example.com/Project", "p"], None).unwrap(), ["projects/p"]);
        assert!(matches!(names(&["devices"], None), Err(Error::Usage { .. })));
        assert!(matches!(names(&["gadget", "g"], None), Err(Error::UnknownType { .. })));
        assert!(matches!(
            names(&["device", "projects/p/secrets/s"], None),
            Err(Error::NameOfOtherType { .. })
        ));
    }
}
