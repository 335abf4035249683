//! What clients do in a random run: few names, many writers, any region.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_base::{Reason, Status};

use crate::fleet::Fleet;
use crate::fleet::client::{Client, Wish};
use crate::judge::{Policy, Wanted};
use crate::plan::Plan;
use crate::references::fields;
use crate::services::Kind;

/// Projects, and names of a kind below one: few, so that writers meet.
pub(crate) const PROJECTS: u64 = 3;
const NAMES: u64 = 3;
/// How many resources there are at most when trouble begins.
const FIRST_MAX: usize = 40;
/// How many names a field that is a list is given at most.
const LIST_MAX: usize = 3;
/// How often one write is asked for, the first time included.
const ATTEMPTS_MAX: usize = 3;

/// All that clients of a run share.
pub(crate) struct Workload {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) plan: Plan,
    writes: AtomicU64,
}

impl Workload {
    pub(crate) fn new(fleet: Arc<Fleet>, plan: Plan) -> Arc<Self> {
        Arc::new(Self { fleet, plan, writes: AtomicU64::new(0) })
    }

    /// Makes the projects, each with a policy of its own.
    pub(crate) async fn prepare(&self) {
        for n in 0..PROJECTS {
            let wish = Wish { policy: Some(self.policy()), ..self.wish() };
            let made = self.client().create(Kind::Project, &format!("projects/p{n}"), &wish).await;
            if let Err(status) = made {
                let why = format!("{}: {}", status.reason.name(), status.message);
                self.fleet.world.fail(format!("a project cannot be made in a quiet world: {why}"));
            }
        }
        for _ in 0..self.fleet.world.random(|r| r.usize(0..=FIRST_MAX)) {
            let kind = self.kind();
            self.write(kind, &self.name(kind), Verb::Create).await;
        }
    }

    /// Those more often that refer to more.
    fn kind(&self) -> Kind {
        let kinds = [Kind::Sensor, Kind::Plan, Kind::Sensor, Kind::Model, Kind::Job, Kind::Job];
        kinds[self.fleet.world.random(|r| r.usize(0..kinds.len()))]
    }

    /// One client's life.
    pub(crate) async fn run(self: Arc<Self>) {
        for _ in 0..self.plan.requests {
            let think = self.fleet.world.between(Duration::ZERO, self.plan.think_max);
            self.fleet.world.sleep(think).await;
            self.one_request().await;
        }
    }

    async fn one_request(&self) {
        let world = &self.fleet.world;
        let client = self.client();
        if world.chance(self.plan.policy_changes) {
            let wish = Wish { policy: Some(self.policy()), ..self.wish() };
            // Refused or unanswered: both are fine, the judge has looked at it.
            let _ = client.update(Kind::Project, &self.project(), &wish).await;
            return;
        }
        if world.chance(self.plan.project_deletions) {
            self.delete_or_make_project().await;
            return;
        }
        let kind = self.kind();
        match world.random(|r| r.u32(0..100)) {
            0..35 => self.write(kind, &self.name(kind), Verb::Create).await,
            35..60 => self.write(kind, &self.target(kind), Verb::Update).await,
            60..82 => self.write(kind, &self.target(kind), Verb::Delete).await,
            82..95 => drop(client.get(kind, &self.target(kind)).await),
            _ => drop(
                client.list(kind, &self.parent(kind), 1 + i32::from(world.chance(0.5)) * 50).await,
            ),
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

    /// Fields to set, most of them to what is there, some to nothing, some to what may not be there.
    fn references(&self, kind: Kind) -> Wanted {
        let world = &self.fleet.world;
        let mut wanted = Wanted::new();
        for field in fields(kind) {
            if !world.chance(self.plan.references / 2.0) {
                continue;
            }
            let longest = if field.is_list() { LIST_MAX } else { 1 };
            let count = world.random(|r| r.usize(0..=longest));
            let names = (0..count).map(|_| self.target(field.target)).collect();
            wanted.push((field.name, names));
        }
        wanted
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
        let wish = Wish { references: self.references(kind), ..self.wish() };
        for _ in 0..ATTEMPTS_MAX {
            let client = self.client();
            let answer = match verb {
                Verb::Create => client.create(kind, name, &wish).await.map(drop),
                Verb::Update => client.update(kind, name, &wish).await.map(drop),
                Verb::Delete => client.delete(kind, name, &wish).await,
            };
            let goes_on = !wish.request_id.is_empty()
                && verb != Verb::Update
                && answer.is_err_and(|status| says_nothing(&status))
                && self.fleet.world.chance(self.plan.retries);
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

    /// A value that no other write has; an id in half of the cases.
    pub(crate) fn wish(&self) -> Wish {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let request_id =
            if self.fleet.world.chance(0.5) { format!("request-{number}") } else { String::new() };
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
        format!("projects/p{}", self.fleet.world.random(|r| r.u64(0..PROJECTS)))
    }

    /// A name that a resource may have; mostly one in a region in which its project allows it.
    fn name(&self, kind: Kind) -> String {
        let world = &self.fleet.world;
        let id = world.random(|r| r.u64(0..NAMES));
        let project = self.project();
        let allowed = self.fleet.judge.policy(&project).map(|policy| policy.enabled);
        let allowed: Vec<String> = allowed.into_iter().flatten().collect();
        let regions = match allowed.is_empty() || world.chance(0.1) {
            true => self.fleet.regions(),
            false => &allowed,
        };
        let region = &regions[world.random(|r| r.usize(0..regions.len()))];
        match kind {
            Kind::Project => project,
            Kind::Sensor => format!("{project}/regions/{region}/sensors/s{id}"),
            Kind::Job => format!("{project}/regions/{region}/jobs/j{id}"),
            Kind::Plan => format!("{project}/plans/x{id}"),
            Kind::Model => format!("models/m{id}"),
        }
    }

    fn parent(&self, kind: Kind) -> String {
        match kind {
            Kind::Project | Kind::Model => String::new(),
            Kind::Sensor | Kind::Job => format!("{}/regions/-", self.project()),
            Kind::Plan => self.project(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Delete,
}

fn says_nothing(status: &Status) -> bool {
    matches!(status.reason, Reason::Unavailable | Reason::DeadlineExceeded)
}
