//! One unit on its way: compiled, scanned, its methods bound, and services synthesised where there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

use crate::bind::{self, Outcome};
use crate::compile::Compiler;
use crate::diagnostic::{Diagnostic, Place, Severity, code};
use crate::http::HttpRule;
use crate::imports::{self, Content, FileSet};
use crate::manifest::Manifest;
use crate::model::{Binding, Method, ResourceType, Role, Verb};
use crate::options;
use crate::pattern::Pattern;
use crate::place;
use crate::routes::{self, RouteFields};
use crate::scan::{Scan, TypeDraft, VersionDraft};
use crate::skeleton::NamingIndex;
use crate::source::Unit;
use crate::synth::{self, Offer, Synthesised};
use crate::upgrade::build::Demand;
use crate::upgrade::file::UpgradeFile;
use crate::walk::Walker;

/// A compiled and scanned unit.
pub(crate) struct Compiled {
    pub(crate) label: String,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) upgrades: Vec<UpgradeFile>,
    pub(crate) set: FileSet,
    pub(crate) pool: DescriptorPool,
    /// Those that compiled; the broken ones are marked.
    pub(crate) drafts: Vec<VersionDraft>,
    pub(crate) walker: Walker,
    /// Shapes of patterns of types that are only declared.
    pub(crate) defined: BTreeSet<String>,
    /// Files of synthesised services, with the file of the type.
    synthesised: BTreeMap<String, String>,
    /// Their texts, and those of shipped files that only they import.
    made: BTreeMap<String, String>,
}

/// A service that is to be compiled for a type.
struct Plan {
    made: Synthesised,
    kind: String,
    /// The file of the type.
    file: String,
    place: Place,
}

/// What became of a method of an own service.
struct BoundMethod {
    method: MethodDescriptor,
    /// The file that the service counts to.
    file: String,
    outcome: Outcome,
    /// What the outcome's index is into: indexes of drafts and of their types.
    candidates: Rc<[(usize, usize)]>,
}

impl Compiled {
    pub(crate) fn new(
        unit: Unit,
        naming: &NamingIndex,
        problems: &mut Vec<Diagnostic>,
    ) -> Compiled {
        let set = imports::resolve(&unit, problems);
        let mut compiler = Compiler::new();
        compiler.add_all(&set, problems);
        let mut compiled = Compiled {
            label: unit.label,
            manifest: unit.manifest,
            upgrades: unit.upgrades,
            set,
            pool: compiler.pool(),
            drafts: Vec::new(),
            walker: Walker::default(),
            defined: BTreeSet::new(),
            synthesised: BTreeMap::new(),
            made: BTreeMap::new(),
        };
        let mut found = Vec::new();
        compiled.scan(&compiler.failed, naming, &mut found);
        if compiled.synthesise(&mut compiler, problems) {
            // Descriptors of the pool before know nothing of what was added: everything is looked up again.
            found.clear();
            compiled.pool = compiler.pool();
            compiled.scan(&compiler.failed, naming, &mut found);
        }
        problems.extend(found);
        compiled.define();
        compiled
    }

    /// Whether an author can be asked to mend things.
    pub(crate) fn strict(&self) -> bool {
        self.manifest.is_some()
    }

    /// How much it has to say about the names of its versions. API skeletons are written by a tool that knows no upgrade files.
    pub(crate) fn demand(&self) -> Demand {
        match &self.manifest {
            None => Demand::Nothing,
            Some(manifest) if manifest.from_skeletons => Demand::Warn,
            Some(_) => Demand::Everything,
        }
    }

    fn scan(
        &mut self,
        failed: &BTreeSet<String>,
        naming: &NamingIndex,
        problems: &mut Vec<Diagnostic>,
    ) {
        let severity = if self.strict() { Severity::Error } else { Severity::Warning };
        let scan = Scan { pool: &self.pool, set: &self.set, failed, naming, severity };
        self.drafts = match &self.manifest {
            Some(manifest) => scan.with_manifest(manifest, problems),
            None => scan.bare(problems),
        };
    }

    /// Remembers what types are declared in this pool, so that parents that are not served count as known.
    fn define(&mut self) {
        let files = self.pool.files();
        let patterns = files.flat_map(|file| {
            let of_files = options::of_file(&file).definitions.into_iter();
            let of_messages =
                file.messages().filter_map(|message| options::of_message(&message).resource);
            of_files.chain(of_messages).flat_map(|resource| resource.pattern).collect::<Vec<_>>()
        });
        self.defined = patterns
            .filter_map(|text| Pattern::parse(&text).ok())
            .map(|pattern| pattern.shape())
            .collect();
    }

    /// Adds a service for each type that no method is bound to, and watches where there are none. Whether there is any;
    /// then everything has to be scanned again.
    fn synthesise(&mut self, compiler: &mut Compiler, problems: &mut Vec<Diagnostic>) -> bool {
        let planned = self.plan_services();
        if planned.is_empty() {
            return false;
        }
        // While anything holds the pool, adding to it would copy it.
        self.drafts.clear();
        self.walker = Walker::default();
        self.pool = DescriptorPool::new();
        for plan in planned {
            self.compile_service(plan, compiler, problems);
        }
        true
    }

    fn plan_services(&mut self) -> Vec<Plan> {
        // Types with a method of their own, and whether one of them is a watch.
        let mut watched: BTreeMap<String, bool> = BTreeMap::new();
        for bound in self.bound() {
            if let Outcome::Bound { ty, verb, .. } = bound.outcome {
                let (draft, ty) = bound.candidates[ty];
                let name = self.drafts[draft].types[ty].message.full_name().to_owned();
                *watched.entry(name).or_default() |= verb == Verb::Watch;
            }
        }
        let mut taken = BTreeSet::new();
        let mut plans = Vec::new();
        for draft in self.drafts.iter().filter(|draft| !draft.broken) {
            for ty in &draft.types {
                let offer = match watched.get(ty.message.full_name()) {
                    None => Offer::Everything,
                    Some(false) => Offer::Watches,
                    Some(true) => continue,
                };
                let prefix = prefix(draft);
                if let Some(made) = synth::service(ty, offer, &prefix, &self.pool, &mut taken) {
                    let file = ty.message.parent_file().name().to_owned();
                    plans.push(Plan { made, kind: ty.kind.clone(), file, place: ty.place.clone() });
                }
            }
        }
        plans
    }

    fn compile_service(
        &mut self,
        plan: Plan,
        compiler: &mut Compiler,
        problems: &mut Vec<Diagnostic>,
    ) {
        let Plan { made, kind, file, place } = plan;
        for (wanted, chosen) in &made.renamed {
            let message = format!(
                "`{wanted}` exists and has no standard methods: they are served by `{chosen}`"
            );
            let help = "declare the standard methods in your own service, or give it another name";
            problems.push(Diagnostic::warning(code::NAME_TAKEN, &place, message).help(help));
        }
        self.made.extend(compiler.add_shipped(&made.text));
        if let Err(found) = compiler.add_text(&made.file, &made.text) {
            let reason = found.first().map(|problem| problem.message.clone()).unwrap_or_default();
            let message = format!("no standard service could be made for \"{kind}\": {reason}");
            problems.push(Diagnostic::warning(code::SYNTHESIS_FAILED, &place, message));
            return;
        }
        self.made.insert(made.file.clone(), made.text);
        self.synthesised.insert(made.file, file);
    }

    /// The texts of all files that have one.
    pub(crate) fn sources(&self) -> BTreeMap<String, String> {
        let read = self.set.files.iter().filter_map(|(name, entry)| match &entry.content {
            Content::Text(text) => Some((name.clone(), text.clone())),
            Content::Encoded(_) => None,
        });
        read.chain(self.made.clone()).collect()
    }

    /// Files of services that were made for types of a version.
    pub(crate) fn synthesised_for(&self, draft: &VersionDraft) -> Vec<String> {
        let own = self.synthesised.iter().filter(|(_, of)| draft.files.contains(*of));
        own.map(|(file, _)| file.clone()).collect()
    }

    /// All methods of the unit's own services, in order.
    fn bound(&mut self) -> Vec<BoundMethod> {
        let mut all = Vec::new();
        for (service, file) in self.own_services() {
            let candidates: Rc<[(usize, usize)]> = self
                .drafts
                .iter()
                .enumerate()
                .filter(|(_, draft)| draft.files.contains(&file))
                .flat_map(|(at, draft)| (0..draft.types.len()).map(move |ty| (at, ty)))
                .collect();
            let types: Vec<&TypeDraft> =
                candidates.iter().map(|(draft, ty)| &self.drafts[*draft].types[*ty]).collect();
            for method in service.methods() {
                let outcome = bind::bind(&method, &types, &mut self.walker);
                let (file, candidates) = (file.clone(), Rc::clone(&candidates));
                all.push(BoundMethod { method, file, outcome, candidates });
            }
        }
        all
    }

    /// Own services with the file that they count to: for a synthesised one, that of the type.
    fn own_services(&self) -> Vec<(ServiceDescriptor, String)> {
        let own = self.set.own.iter().map(|name| (name, name));
        let made = self.synthesised.iter();
        let files =
            own.chain(made).filter_map(|(name, of)| Some((self.pool.get_file_by_name(name)?, of)));
        files
            .flat_map(|(file, of)| {
                let services: Vec<_> =
                    file.services().map(|service| (service, of.clone())).collect();
                services
            })
            .collect()
    }

    /// The methods of each draft, bound to the finished types.
    pub(crate) fn methods(
        &mut self,
        types: &[Vec<Arc<ResourceType>>],
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<Vec<Arc<Method>>> {
        let mut methods: Vec<Vec<Arc<Method>>> = vec![Vec::new(); self.drafts.len()];
        for bound in self.bound() {
            let BoundMethod { method: descriptor, file, outcome, candidates } = bound;
            let owner = match &outcome {
                Outcome::Bound { ty, .. } => Some(candidates[*ty].0),
                Outcome::Action { .. } => {
                    self.drafts.iter().position(|draft| draft.owns.contains(&file))
                }
            };
            let Some(owner) = owner else { continue };
            let method = self.method(descriptor, outcome, &candidates, owner, types, problems);
            methods[owner].push(Arc::new(method));
        }
        for list in &mut methods {
            list.sort_by(|a, b| a.path.cmp(&b.path));
        }
        methods
    }

    fn method(
        &self,
        descriptor: MethodDescriptor,
        outcome: Outcome,
        candidates: &[(usize, usize)],
        owner: usize,
        types: &[Vec<Arc<ResourceType>>],
        problems: &mut Vec<Diagnostic>,
    ) -> Method {
        let draft = &self.drafts[owner];
        let http = self.http(&descriptor, &outcome, candidates, draft, problems);
        let place = || place::of_method(&descriptor, &self.set);
        let role = match outcome {
            Outcome::Bound { verb, ty, request, response } => {
                let (draft, ty) = candidates[ty];
                let resource = Arc::clone(&types[draft][ty]);
                Role::Standard(Arc::new(Binding {
                    verb,
                    resource,
                    request: *request,
                    response: *response,
                }))
            }
            Outcome::Action { unbound } => {
                if let Some(reason) = &unbound {
                    let message = format!(
                        "`{}` looks standard and is not bound: {reason}",
                        descriptor.name()
                    );
                    problems.push(
                        Diagnostic::warning(code::UNBOUND_METHOD, &place(), message).help(
                            "it is served as an action: register a handler, or change its messages",
                        ),
                    );
                }
                Role::Action { unbound }
            }
        };
        Method {
            path: format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name()),
            synthesised: self.synthesised.contains_key(descriptor.parent_file().name()),
            service: draft.service.clone(),
            version: draft.version.clone(),
            descriptor,
            http,
            role,
        }
    }

    fn http(
        &self,
        method: &MethodDescriptor,
        outcome: &Outcome,
        candidates: &[(usize, usize)],
        draft: &VersionDraft,
        problems: &mut Vec<Diagnostic>,
    ) -> Vec<HttpRule> {
        if let Some((rules, wrong)) = routes::annotated(method) {
            for message in wrong {
                let place: Place = place::of_method(method, &self.set);
                problems.push(
                    Diagnostic::warning(code::BAD_HTTP_RULE, &place, message)
                        .help("the rule is left out"),
                );
            }
            return rules;
        }
        let prefix = prefix(draft);
        let type_at = |at: &(usize, usize)| &self.drafts[at.0].types[at.1];
        match outcome {
            Outcome::Bound { verb, ty, request, .. } => {
                let ty = type_at(&candidates[*ty]);
                routes::defaults(*verb, ty, &RouteFields::of(request, ty), &prefix)
            }
            Outcome::Action { .. } => {
                let types: Vec<&TypeDraft> = candidates.iter().map(type_at).collect();
                routes::action(method, &types, &prefix)
            }
        }
    }
}

/// What the paths of a version begin with.
fn prefix(draft: &VersionDraft) -> String {
    format!("{}/{}", draft.http_prefix.trim_end_matches('/'), draft.version)
}
