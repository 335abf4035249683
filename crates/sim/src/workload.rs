//! What clients do in a random run: few names, many writers, any region.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_base::{Reason, Status};

use crate::fleet::Fleet;
use crate::fleet::client::{Client, Wish};
use crate::judge::{Policy, Wanted};
use crate::plan::{Plan, Usage, Verb};
use crate::references::fields;
use crate::services::Kind;

/// How many names a field that is a list is given at most.
const LIST_MAX: usize = 3;
/// How often a name is looked for that is not taken, for a create.
const LOOKS: usize = 3;
/// Who has something to do before a resource may be gone.
const FINALIZERS: [&str; 2] = ["sim.test/drain", "sim.test/audit"];
/// How often one write is asked for, the first time included.
const ATTEMPTS_MAX: usize = 3;

/// All that clients of a run share.
pub(crate) struct Workload {
    pub(crate) fleet: Arc<Fleet>,
    usage: Usage,
    writes: AtomicU64,
}

impl Workload {
    pub(crate) fn new(fleet: Arc<Fleet>, plan: &Plan) -> Arc<Self> {
        Arc::new(Self { fleet, usage: plan.usage.clone(), writes: AtomicU64::new(0) })
    }

    /// The names of all projects.
    pub(crate) fn projects(&self) -> impl Iterator<Item = String> + use<> {
        (0..self.usage.projects).map(|n| format!("projects/p{n}"))
    }

    /// The types that are written, but for projects.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.usage.kinds.iter().map(|(kind, _)| *kind)
    }

    /// Makes the projects, each with a policy of its own.
    pub(crate) async fn prepare(&self) {
        for project in self.projects() {
            let wish = Wish { policy: Some(self.policy()), ..self.wish() };
            let made = self.client().create(Kind::Project, &project, &wish).await;
            if let Err(status) = made {
                let why = format!("{}: {}", status.reason.name(), status.message);
                self.fleet.world.fail(format!("a project cannot be made in a quiet world: {why}"));
            }
        }
        for _ in 0..self.usage.first_max {
            let kind = self.usage.kind(&self.fleet.world);
            self.write(kind, &self.free_name(kind), Verb::Create).await;
        }
    }

    /// One client's life.
    pub(crate) async fn run(self: Arc<Self>) {
        for _ in 0..self.usage.requests {
            let think = self.fleet.world.between(Duration::ZERO, self.usage.think_max);
            self.fleet.world.sleep(think).await;
            self.one_request().await;
        }
    }

    async fn one_request(&self) {
        let world = &self.fleet.world;
        let client = self.client();
        if world.chance(self.usage.policy_changes) {
            let wish = Wish { policy: Some(self.policy()), ..self.wish() };
            // Refused or unanswered: both are fine, the judge has looked at it.
            let _ = client.update(Kind::Project, &self.project(), &wish).await;
            return;
        }
        if world.chance(self.usage.project_deletions) {
            self.delete_or_make_project().await;
            return;
        }
        if world.chance(self.usage.finalizers / 4.0) {
            self.let_one_go().await;
            return;
        }
        let kind = self.usage.kind(world);
        match self.usage.verb(world) {
            Verb::Create => self.write(kind, &self.free_name(kind), Verb::Create).await,
            Verb::Get => drop(client.get(kind, &self.target(kind)).await),
            Verb::List => {
                let page_size = 1 + i32::from(world.chance(0.5)) * 50;
                drop(client.list(kind, &kind.parent(&self.project()), page_size).await);
            }
            verb => self.write(kind, &self.target(kind), verb).await,
        }
    }

    async fn delete_or_make_project(&self) {
        let (client, project) = (self.client(), self.project());
        if self.fleet.world.chance(0.4) {
            let _ = client.delete(Kind::Project, &project, &self.wish()).await;
        } else {
            let wish = Wish { policy: Some(self.policy()), ..self.wish() };
            let _ = client.create(Kind::Project, &project, &wish).await;
        }
    }

    /// Does what one of those that hold resources has to do, and takes its name away.
    async fn let_one_go(&self) {
        let held = self.fleet.judge.held_by_finalizers();
        if held.is_empty() {
            return;
        }
        let (kind, name, mut finalizers) =
            held[self.fleet.world.random(|r| r.usize(0..held.len()))].clone();
        finalizers.swap_remove(self.fleet.world.random(|r| r.usize(0..finalizers.len())));
        let wish = Wish { finalizers: Some(finalizers), ..self.wish() };
        // Whoever was faster, or the answer was lost: it is tried again some time.
        let _ = self.client().update(kind, &name, &wish).await;
    }

    /// All that hold resources that are being deleted do what they have to do.
    pub(crate) async fn let_all_go(&self) {
        for (kind, name, _) in self.fleet.judge.held_by_finalizers() {
            let wish = Wish { finalizers: Some(Vec::new()), ..self.wish() };
            let _ = self.client().update(kind, &name, &wish).await;
        }
    }

    /// Each of those that can hold a resource, or not; `None`: they stay as they are.
    fn finalizers(&self, kind: Kind) -> Option<Vec<String>> {
        let world = &self.fleet.world;
        let is_set = kind.is_kept() && world.chance(self.usage.finalizers);
        is_set.then(|| {
            let chosen = FINALIZERS.into_iter().filter(|_| world.chance(0.5));
            chosen.map(str::to_owned).collect()
        })
    }

    /// Fields to set, most of them to what is there, some to nothing, some to what may not be there.
    fn references(&self, kind: Kind) -> Wanted {
        let world = &self.fleet.world;
        let mut wanted = Wanted::new();
        for field in fields(kind).iter().filter(|field| self.usage.uses(kind, field)) {
            if !world.chance(self.usage.references) {
                continue;
            }
            let longest = if field.is_list() { LIST_MAX } else { 1 };
            let count = world.random(|r| r.usize(0..=longest));
            let names = (0..count).map(|_| self.referred(kind, field.target)).collect();
            wanted.push((field.name, names));
        }
        wanted
    }

    /// The name of something that is there, in the version of the type that refers to it or stored in another one; sometimes
    /// any. Within a service rather the former: what is stored here in another version is not found by saves here.
    fn referred(&self, by: Kind, kind: Kind) -> String {
        let translated = if by.service() == kind.service() { 0.15 } else { 0.5 };
        let other = kind.counterpart("").map(|(other, _)| other);
        let stored = other.filter(|other| {
            let is_chosen = self.usage.writes(*other) && self.fleet.world.chance(translated);
            is_chosen || !self.usage.writes(kind)
        });
        let name = stored.and_then(|other| other.counterpart(&self.target(other)));
        name.map_or_else(|| self.target(kind), |(_, name)| name)
    }

    /// The name of something that is there; sometimes any.
    fn target(&self, kind: Kind) -> String {
        let there: Vec<String> = self.fleet.judge.present(kind).into_keys().collect();
        if there.is_empty() || self.fleet.world.chance(0.1) {
            return self.name(kind);
        }
        there[self.fleet.world.random(|r| r.usize(0..there.len()))].clone()
    }

    /// Asks for a write, and again with the same id while nothing is heard.
    async fn write(&self, kind: Kind, name: &str, verb: Verb) {
        let (references, finalizers) = (self.references(kind), self.finalizers(kind));
        let wish = Wish { references, finalizers, ..self.wish() };
        for _ in 0..ATTEMPTS_MAX {
            let client = self.client();
            let answer = match verb {
                Verb::Create => client.create(kind, name, &wish).await.map(drop),
                Verb::Update => client.update(kind, name, &wish).await.map(drop),
                _ => client.delete(kind, name, &wish).await,
            };
            let goes_on = !wish.request_id.is_empty()
                && verb != Verb::Update
                && answer.is_err_and(|status| says_nothing(&status))
                && self.fleet.world.chance(self.usage.retries);
            if !goes_on {
                return;
            }
        }
    }

    /// A client at any region, with more or less patience.
    pub(crate) fn client(&self) -> Client {
        let regions = self.fleet.regions();
        let region = regions[self.fleet.world.random(|r| r.usize(0..regions.len()))].clone();
        let deadline = Duration::from_millis(self.fleet.world.random(|r| r.u64(500..8_000)));
        Client { fleet: self.fleet.clone(), region, deadline }
    }

    /// A value that no other write has; sometimes an id.
    pub(crate) fn wish(&self) -> Wish {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let has_id = self.fleet.world.chance(self.usage.request_ids);
        let request_id = if has_id { format!("request-{number}") } else { String::new() };
        Wish { value: format!("write-{number}"), request_id, ..Wish::default() }
    }

    fn policy(&self) -> Policy {
        let regions = self.fleet.regions();
        self.fleet.world.random(|r| {
            let mut enabled: BTreeSet<String> =
                regions.iter().filter(|_| r.bool()).cloned().collect();
            let control = regions[r.usize(0..regions.len())].clone();
            enabled.insert(control.clone());
            Policy { enabled, control }
        })
    }

    fn project(&self) -> String {
        format!("projects/p{}", self.fleet.world.random(|r| r.u64(0..self.usage.projects.max(1))))
    }

    /// A name that mostly no resource has now.
    fn free_name(&self, kind: Kind) -> String {
        let there = self.fleet.judge.present(kind);
        let mut name = self.name(kind);
        for _ in 1..LOOKS {
            if !there.contains_key(&name) {
                break;
            }
            name = self.name(kind);
        }
        name
    }

    /// A name that a resource may have; mostly one in a region in which its project allows it.
    fn name(&self, kind: Kind) -> String {
        let world = &self.fleet.world;
        let id = world.random(|r| r.u64(0..self.usage.names.max(1)));
        let project = self.project();
        let allowed = self.fleet.judge.policy(&project).map(|policy| policy.enabled);
        let allowed: Vec<String> = allowed.into_iter().flatten().collect();
        let regions = match allowed.is_empty() || world.chance(0.1) {
            true => self.fleet.regions(),
            false => &allowed,
        };
        let region = &regions[world.random(|r| r.usize(0..regions.len()))];
        kind.name(&project, region, &format!("n{id}"))
    }
}

fn says_nothing(status: &Status) -> bool {
    matches!(status.reason, Reason::Unavailable | Reason::DeadlineExceeded)
}
