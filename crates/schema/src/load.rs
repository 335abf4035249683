//! From sources to a registry: the one way in.
//!
//! Each unit is read, compiled and scanned by itself (`unit`), types get their links across units (`link`), and what is left without an
//! error is put together. A service with an error is left out, and the others do not notice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Place, code, sorted};
use crate::finish;
use crate::link::{Index, Linker};
use crate::marking;
use crate::model::{Method, Registry, ResourceType, Service, ServiceVersion};
use crate::place;
use crate::skeleton::NamingIndex;
use crate::source::{self, Source};
use crate::unit::Compiled;
use crate::upgrade;

/// What loading gives.
#[derive(Debug)]
pub struct Loaded {
    /// The services without errors.
    pub registry: Registry,
    /// All problems, by place. Services with errors are not in the registry.
    pub diagnostics: Vec<Diagnostic>,
    /// Names of the services that each source gave, in the order of the sources; only those of the registry.
    pub homes: Vec<Vec<String>>,
}

impl Loaded {
    /// Whether anything was left out.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Loads all sources. Never fails as a whole and never panics: what is wrong is in the diagnostics.
///
/// Cost: compiling is most of it, about a millisecond per proto file in a release build.
pub fn load(sources: &[Source]) -> Loaded {
    let mut problems = Vec::new();
    let mut units = Vec::new();
    // For each unit, which source it is of.
    let mut origins = Vec::new();
    for (origin, source) in sources.iter().enumerate() {
        units.extend(source::units(source, &mut problems));
        origins.resize(units.len(), origin);
    }
    let mut naming = NamingIndex::default();
    for manifest in units.iter().filter_map(|unit| unit.manifest.as_ref()) {
        naming.add(manifest);
    }
    let mut compiled: Vec<Compiled> =
        units.into_iter().map(|unit| Compiled::new(unit, &naming, &mut problems)).collect();
    drop_duplicates(&mut compiled, &mut problems);
    drop_cycles(&mut compiled, &mut problems);
    let registry = loop {
        let index = index(&compiled);
        let mut found = Vec::new();
        let services = assemble(&mut compiled, &index, &mut found);
        // Linking may find more services with errors; what is left is linked again, without them.
        let broken: BTreeSet<String> = services
            .iter()
            .filter(|(_, fine)| !fine)
            .map(|(service, _)| service.name.clone())
            .collect();
        if broken.is_empty() {
            problems.extend(found);
            break registry(services.into_iter().map(|(service, _)| service).collect());
        }
        problems.extend(found.into_iter().filter(Diagnostic::is_error));
        for unit in &mut compiled {
            unit.drafts.retain(|draft| !broken.contains(&draft.service));
        }
    };
    check_routes(&registry, &compiled, &mut problems);
    let homes = homes(sources.len(), &origins, &compiled);
    Loaded { registry, diagnostics: sorted(problems), homes }
}

/// Units stay in their order from source to registry.
fn homes(sources: usize, origins: &[usize], compiled: &[Compiled]) -> Vec<Vec<String>> {
    let mut homes: Vec<Vec<String>> = vec![Vec::new(); sources];
    for (origin, unit) in origins.iter().zip(compiled) {
        for draft in &unit.drafts {
            if !homes[*origin].contains(&draft.service) {
                homes[*origin].push(draft.service.clone());
            }
        }
    }
    homes
}

/// Of services with one name, the first stays. A version that could not be compiled takes its service with it.
fn drop_duplicates(compiled: &mut [Compiled], problems: &mut Vec<Diagnostic>) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for unit in compiled {
        let broken: BTreeSet<String> = unit
            .drafts
            .iter()
            .filter(|draft| draft.broken)
            .map(|draft| draft.service.clone())
            .collect();
        let own: BTreeSet<String> = unit.drafts.iter().map(|draft| draft.service.clone()).collect();
        for name in own.intersection(&names) {
            let message =
                format!("the service \"{name}\" is defined by two inputs; this one is left out");
            let help = "load each service from one place only";
            let place = Place::file(&unit.label);
            let problem = if unit.strict() {
                Diagnostic::error(code::DUPLICATE_SERVICE, &place, message)
            } else {
                Diagnostic::warning(code::DUPLICATE_SERVICE, &place, message)
            };
            problems.push(problem.help(help));
        }
        unit.drafts
            .retain(|draft| !broken.contains(&draft.service) && !names.contains(&draft.service));
        names.extend(own);
    }
}

/// Services that import each other in a circle are left out.
fn drop_cycles(compiled: &mut [Compiled], problems: &mut Vec<Diagnostic>) {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for draft in compiled.iter().flat_map(|unit| &unit.drafts) {
        imports.entry(draft.service.clone()).or_default().extend(draft.imports.keys().cloned());
        places.entry(draft.service.clone()).or_insert_with(|| draft.place.clone());
    }
    let reaches_itself = |start: &String| {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut waiting: Vec<&String> = imports[start].iter().collect();
        while let Some(name) = waiting.pop() {
            if seen.insert(name) {
                waiting.extend(imports.get(name).into_iter().flatten());
            }
        }
        seen.contains(start)
    };
    let circular: BTreeSet<String> =
        imports.keys().filter(|name| reaches_itself(name)).cloned().collect();
    for name in &circular {
        let others: Vec<&str> =
            circular.iter().filter(|other| *other != name).map(String::as_str).collect();
        let message = match others.is_empty() {
            true => format!("the service \"{name}\" imports itself"),
            false => format!(
                "the service \"{name}\" is imported by what it imports (among {})",
                others.join(", ")
            ),
        };
        problems.push(
            Diagnostic::error(code::SERVICE_CYCLE, &places[name], message)
                .help("services are layered: let the lower one do without the import, or put the types into one service"),
        );
    }
    for unit in compiled {
        unit.drafts.retain(|draft| !circular.contains(&draft.service));
    }
}

fn index(compiled: &[Compiled]) -> Index {
    let mut index = Index::default();
    for unit in compiled {
        unit.drafts.iter().for_each(|draft| index.add(draft));
        unit.defined.iter().for_each(|shape| index.define(shape.clone()));
    }
    index
}

/// Puts all services together; each with whether it is without errors.
fn assemble(
    compiled: &mut [Compiled],
    index: &Index,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(Service, bool)> {
    let known: BTreeMap<String, BTreeSet<String>> = compiled
        .iter()
        .flat_map(|unit| &unit.drafts)
        .fold(BTreeMap::new(), |mut known: BTreeMap<_, BTreeSet<_>>, draft| {
            known.entry(draft.service.clone()).or_default().insert(draft.version.clone());
            known
        });
    let mut services: Vec<(Service, bool)> = Vec::new();
    for unit in compiled {
        let (versions, broken) = assemble_unit(unit, index, &known, problems);
        // A service is of one unit, with all its versions.
        let mut of_unit: Vec<(String, Vec<Arc<ServiceVersion>>)> = Vec::new();
        for version in versions {
            match of_unit.iter_mut().find(|(name, _)| *name == version.service) {
                Some((_, versions)) => versions.push(Arc::new(version)),
                None => of_unit.push((version.service.clone(), vec![Arc::new(version)])),
            }
        }
        for (name, versions) in of_unit {
            let (service, upgrades_fine) = new_service(unit, name, versions, problems);
            let fine = upgrades_fine && !broken.contains(&service.name);
            services.push((service, fine));
        }
    }
    services
}

/// A service, and whether what is said about its upgrades is without errors.
fn new_service(
    unit: &Compiled,
    name: String,
    versions: Vec<Arc<ServiceVersion>>,
    problems: &mut Vec<Diagnostic>,
) -> (Service, bool) {
    let manifest = unit.manifest.as_ref();
    let mut found = Vec::new();
    let upgrades = upgrade::build::build(&versions, &unit.upgrades, unit.demand(), &mut found);
    let fine =
        !found.iter().any(Diagnostic::is_error) && !unit.upgrades.iter().any(|file| file.broken);
    problems.extend(found);
    let service = Service {
        name,
        versions,
        uses: manifest.map(|manifest| manifest.uses.clone()).unwrap_or_default(),
        mixins: manifest.map(|manifest| manifest.mixins.clone()).unwrap_or_default(),
        upgrades,
    };
    (service, fine)
}

fn assemble_unit(
    unit: &mut Compiled,
    index: &Index,
    known: &BTreeMap<String, BTreeSet<String>>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<ServiceVersion>, BTreeSet<String>) {
    let mut broken = BTreeSet::new();
    let mut types: Vec<Vec<Arc<ResourceType>>> = Vec::new();
    let mut imports = Vec::new();
    for at in 0..unit.drafts.len() {
        let mut found = Vec::new();
        types.push(link_version(unit, at, index, &mut found));
        imports.push(check_imports(unit, at, known, &mut found));
        if found.iter().any(Diagnostic::is_error) {
            broken.insert(unit.drafts[at].service.clone());
        }
        problems.extend(found);
    }
    let mut methods = unit.methods(&types, problems);
    let mut versions = Vec::new();
    let sources = Arc::new(unit.sources());
    for (at, draft) in unit.drafts.iter().enumerate() {
        let mut files: Vec<String> = draft.files.iter().cloned().collect();
        files.extend(unit.synthesised_for(draft));
        files.sort();
        versions.push(ServiceVersion {
            service: draft.service.clone(),
            version: draft.version.clone(),
            package: draft.package.clone(),
            imports: std::mem::take(&mut imports[at]),
            pool: unit.pool.clone(),
            files,
            sources: Arc::clone(&sources),
            types: std::mem::take(&mut types[at]),
            methods: std::mem::take(&mut methods[at]),
        });
    }
    (versions, broken)
}

fn link_version(
    unit: &mut Compiled,
    at: usize,
    index: &Index,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Arc<ResourceType>> {
    let strict = unit.strict();
    let draft = &unit.drafts[at];
    let linker = Linker { index, draft, set: &unit.set, strict };
    let mut types = Vec::new();
    for ty in &draft.types {
        let walked = unit.walker.walk(&ty.message);
        let links = linker.link(ty, &walked, problems);
        types.push(finish::resource_type(draft, ty, walked, links, problems));
    }
    marking::check(&draft.types, &mut types, strict, problems);
    if strict {
        check_patterns(draft, problems);
    }
    types.into_iter().map(Arc::new).collect()
}

/// Two types of a version must not share names.
fn check_patterns(draft: &crate::scan::VersionDraft, problems: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for ty in &draft.types {
        for pattern in &ty.patterns {
            let other = seen.insert(pattern.shape(), &ty.kind);
            if let Some(other) = other.filter(|other| *other != ty.kind && !pattern.is_wildcard()) {
                let message = format!(
                    "the types \"{other}\" and \"{}\" share the pattern \"{}\"",
                    ty.kind, pattern.text
                );
                let help =
                    "give one of them another collection, so that a name says which type it is of";
                problems
                    .push(Diagnostic::warning(code::SHARED_PATTERN, &ty.place, message).help(help));
            }
        }
    }
}

/// The imported versions: as declared, or the newest that is loaded. One that is not loaded is a warning; its types are external.
fn check_imports(
    unit: &Compiled,
    at: usize,
    known: &BTreeMap<String, BTreeSet<String>>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    let draft = &unit.drafts[at];
    let mut imports = BTreeMap::new();
    for (service, wanted) in &draft.imports {
        let loaded = known.get(service);
        let newest = || {
            let newest =
                loaded?.iter().max_by_key(|version| crate::skeleton::version_age(version))?;
            Some(newest.clone())
        };
        let version = wanted.clone().or_else(newest).unwrap_or_default();
        let message = match loaded {
            None => format!("the imported service \"{service}\" is not loaded"),
            Some(versions) if !versions.contains(&version) => {
                format!("the service \"{service}\" has no version \"{version}\"")
            }
            Some(_) => String::new(),
        };
        if !message.is_empty() {
            let help = "load it too; until then references to its types are kept and shown, but never enforced";
            problems
                .push(Diagnostic::warning(code::UNKNOWN_IMPORT, &draft.place, message).help(help));
        }
        imports.insert(service.clone(), version);
    }
    imports
}

fn registry(services: Vec<Service>) -> Registry {
    let mut registry = Registry::default();
    for service in services {
        for version in &service.versions {
            for ty in &version.types {
                registry.types.entry(ty.kind.clone()).or_default().push(Arc::clone(ty));
            }
            for method in &version.methods {
                registry.methods.insert(method.path.clone(), Arc::clone(method));
            }
        }
        registry.services.push(Arc::new(service));
    }
    registry
}

/// Two methods must not be reached by one path; the first one wins. Told once for each pair of gRPC services.
fn check_routes(registry: &Registry, compiled: &[Compiled], problems: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<(&str, String), &Arc<Method>> = HashMap::new();
    let mut clashes: BTreeMap<(&str, &str), Vec<Clash<'_>>> = BTreeMap::new();
    let versions = registry.services.iter().flat_map(|service| &service.versions);
    for method in versions.flat_map(|version| &version.methods) {
        for rule in &method.http {
            let first = *seen.entry((&rule.method, rule.template.shape())).or_insert(method);
            if first.path != method.path {
                let message = format!(
                    "{} {} leads to `{}` and to `{}`",
                    rule.method, rule.template.text, first.path, method.path
                );
                clashes
                    .entry((grpc_service(first), grpc_service(method)))
                    .or_default()
                    .push((method, message));
            }
        }
    }
    for clash in clashes.into_values() {
        let Some((method, message)) = clash.first() else { continue };
        let more = match clash.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more paths likewise"),
        };
        let home =
            |unit: &&Compiled| unit.drafts.iter().any(|draft| draft.service == method.service);
        let place = compiled
            .iter()
            .find(home)
            .map(|unit| place::of_method(&method.descriptor, &unit.set))
            .unwrap_or_default();
        let help = "change the paths in `google.api.http`, or give one service an `http_prefix`";
        let message = format!("{message}{more}");
        problems.push(Diagnostic::warning(code::SHARED_PATH, &place, message).help(help));
    }
}

/// The second method of a path, and what there is to say.
type Clash<'a> = (&'a Arc<Method>, String);

/// The gRPC service in a method's path.
fn grpc_service(method: &Method) -> &str {
    method.path.rsplit_once('/').map_or("", |(service, _)| service)
}

#[cfg(test)]
mod tests;
