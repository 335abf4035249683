//! One package: loaded, served in memory, and every type sent through its round. A panic is a failure like others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bowline_api::engine::{Engine, Parts};
use bowline_api::limits::Limits;
use bowline_api::rest::Router;
use bowline_base::{Seams, chain};
use bowline_schema::load::{self, Loaded};
use bowline_schema::model::{Registry, ResourceType, Role};
use bowline_schema::{Diagnostic, Source};
use bowline_store::{Backend, Memory};
use futures::FutureExt;
use serde::Serialize;

use crate::round::{self, Outcome, Step, TypeReport, World};
use crate::{bare, openapi};

/// How a package went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PackageReport {
    pub package: String,
    /// Why it could not be loaded; empty if it was.
    pub load_errors: Vec<String>,
    pub warnings: usize,
    pub methods: Methods,
    /// What is wrong with the OpenAPI documents.
    pub openapi_errors: Vec<String>,
    /// Methods that look standard and are not bound, each with the reason.
    pub unbound: Vec<String>,
    pub types: Vec<TypeReport>,
    /// Time of loading and of the rounds, in milliseconds.
    pub load_ms: u128,
    pub rounds_ms: u128,
}

/// Methods of a package by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Methods {
    /// Standard methods of the protos that the engine serves.
    pub bound: usize,
    /// Methods of the protos that look standard, bound or not.
    pub standard_looking: usize,
    /// Methods that do not look standard: served by registered handlers.
    pub actions: usize,
    /// Made by Bowline; in none of the counts above.
    pub synthesised: usize,
}

impl PackageReport {
    pub fn loaded(&self) -> bool {
        self.load_errors.is_empty()
    }
}

/// Loads a source and runs the round of every type. `declared` are kinds that must be among them.
pub fn run(name: &str, source: Source, declared: &BTreeSet<String>) -> PackageReport {
    let seams = Seams::real();
    let started = seams.clock.monotonic();
    let mut report = PackageReport { package: name.to_owned(), ..PackageReport::default() };
    let Loaded { registry, diagnostics, .. } = load::load(&[source]);
    report.load_ms = (seams.clock.monotonic() - started).as_millis();
    report.load_errors = diagnostics.iter().filter(|d| d.is_error()).map(line).collect();
    report.warnings = diagnostics.len() - report.load_errors.len();
    if registry.types.is_empty() && report.loaded() {
        report.load_errors.push("no resource type was found".to_owned());
    }
    (report.methods, report.unbound) = methods(&registry);
    for kind in declared.iter().filter(|kind| !registry.types.contains_key(*kind)) {
        let why = why_left_out(kind, &diagnostics);
        report.types.push(TypeReport::failed(kind, "", Step::Load, why));
    }
    let started = seams.clock.monotonic();
    let registry = Arc::new(registry);
    report.openapi_errors = openapi::problems(&registry);
    match rounds(&registry, &seams, &|_| true) {
        Ok(types) => report.types.extend(types),
        Err(error) => report.load_errors.push(error),
    }
    second_rounds(&registry, &seams, &mut report.types);
    report.rounds_ms = (seams.clock.monotonic() - started).as_millis();
    report
}

/// What the loader says about a type that it left out.
fn why_left_out(kind: &str, diagnostics: &[Diagnostic]) -> String {
    let singular = kind.rsplit('/').next().unwrap_or(kind);
    let names_it =
        |d: &&Diagnostic| d.message.contains(kind) || d.message.contains(&format!(".{singular}`"));
    match diagnostics.iter().find(names_it) {
        Some(diagnostic) => format!("not in the registry: {}", line(diagnostic)),
        None => "not in the registry, and no diagnostic says why".to_owned(),
    }
}

fn line(diagnostic: &Diagnostic) -> String {
    let Diagnostic { file, line, column, code, message, .. } = diagnostic;
    let file = file.rsplit('/').next().unwrap_or(file);
    format!("{code} {file}:{line}:{column}: {message}")
}

fn methods(registry: &Registry) -> (Methods, Vec<String>) {
    let mut methods = Methods::default();
    let mut unbound = Vec::new();
    let versions = registry.services.iter().flat_map(|service| &service.versions);
    for method in versions.flat_map(|version| &version.methods) {
        match &method.role {
            _ if method.synthesised => methods.synthesised += 1,
            Role::Standard(_) => {
                methods.bound += 1;
                methods.standard_looking += 1;
            }
            Role::Action { unbound: Some(why) } => {
                methods.standard_looking += 1;
                unbound.push(format!("{}: {why}", method.path));
            }
            Role::Action { unbound: None } => methods.actions += 1,
        }
    }
    (methods, unbound)
}

/// Types whose own service left something out go round once more, over the service that Bowline makes.
fn second_rounds(registry: &Registry, seams: &Seams, types: &mut [TypeReport]) {
    let served = |ty: &TypeReport| !ty.steps.contains_key(&Step::Load);
    let lacking: BTreeSet<(String, String)> = types
        .iter()
        .filter(|ty| served(ty) && !ty.is_whole())
        .map(|ty| (ty.kind.clone(), ty.version.clone()))
        .collect();
    if lacking.is_empty() {
        return;
    }
    let is_lacking = |ty: &ResourceType| lacking.contains(&(ty.kind.clone(), ty.version.clone()));
    let source = bare::without_services(registry).map_err(|error| error.to_string());
    let second = source.and_then(|source| {
        let Loaded { registry, .. } = load::load(&[source]);
        rounds(&Arc::new(registry), seams, &is_lacking)
    });
    for ty in types.iter_mut().filter(|ty| lacking.contains(&(ty.kind.clone(), ty.version.clone())))
    {
        ty.synthesised = Some(match &second {
            Err(error) => BTreeMap::from([(Step::Load, Outcome::Failed(error.clone()))]),
            Ok(second) => second_of(ty, second),
        });
    }
}

/// The steps of the type's second round, with what must have run.
fn second_of(ty: &TypeReport, second: &[TypeReport]) -> BTreeMap<Step, Outcome> {
    let told =
        |step: Step, why: &str| (step, Outcome::Failed(format!("synthesised service: {why}")));
    let Some(found) = second.iter().find(|s| s.kind == ty.kind && s.version == ty.version) else {
        return BTreeMap::from([told(Step::Load, "the type is not in the registry")]);
    };
    let steps = found.steps.iter().map(|(step, outcome)| match outcome {
        Outcome::Failed(why) => told(*step, why),
        Outcome::Passed | Outcome::NotApplicable(_) => (*step, outcome.clone()),
    });
    let mut steps: BTreeMap<Step, Outcome> = steps.collect();
    if found.failures().next().is_none() && !found.is_whole() {
        steps.extend([told(Step::Bind, "not every step from create to delete was run")]);
    }
    steps
}

/// The rounds of all `wanted` types, in a node of their own in memory.
fn rounds(
    registry: &Arc<Registry>,
    seams: &Seams,
    wanted: &dyn Fn(&ResourceType) -> bool,
) -> Result<Vec<TypeReport>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {}", chain(&error)))?;
    runtime.block_on(async {
        let world =
            world(registry, seams).map_err(|error| format!("assemble: {}", chain(&error)))?;
        let mut reports = Vec::new();
        for ty in registry.all_types().filter(|ty| wanted(ty)) {
            let round = AssertUnwindSafe(round::run(&world, ty)).catch_unwind().await;
            reports.push(round.unwrap_or_else(|panic| {
                TypeReport::failed(&ty.kind, &ty.version, Step::Round, panicked(panic.as_ref()))
            }));
        }
        world.engine.close().await;
        Ok(reports)
    })
}

fn world(
    registry: &Arc<Registry>,
    seams: &Seams,
) -> Result<World, bowline_api::engine::StartError> {
    let mut backends: BTreeMap<String, Arc<dyn Backend>> = BTreeMap::new();
    for service in &registry.services {
        backends.insert(service.name.clone(), Arc::new(Memory::new()));
    }
    let engine = Engine::start(Parts {
        registry: registry.clone(),
        limits: Limits::default(),
        seams: seams.clone(),
        backends: backends.clone().into_iter().collect(),
        actions: HashMap::new(),
        hooks: HashMap::new(),
        routing: None,
        callers: None,
    })?;
    let rest = Router::for_engine(&engine);
    Ok(World { engine, rest, backends, seams: seams.clone() })
}

/// What a panic said.
pub fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
