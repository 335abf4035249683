//! A change of a policy: asks every deployment that the policy governs to follow, and binds the commit to their answers.
//!
//! It begins with the rows of the holder's own deployment, so that whoever comes later finds what was begun. Then all others
//! are asked. The policy itself commits on the condition that these rows are still as this change left them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_base::{Detail, PreconditionViolation, Reason, Status};
use bowline_node::ownership::{self, Claim};
use bowline_node::place::Places;
use bowline_node::policy::{Policy, PolicyField};
use bowline_node::{Call, DeploymentId, Holder, Part, Place};
use bowline_store::Condition;
use bowline_wire::bowline::mixin::v1::method::RELEASE_OWNERSHIP;
use bowline_wire::bowline::mixin::v1::{ReleaseOwnershipRequest, ReleaseOwnershipResponse};
use bowline_wire::meta::kind::SERVICE as META_SERVICE;
use prost::Message as _;
use prost_reflect::DynamicMessage;

use super::moves::{self, Move};
use super::release::Over;
use super::rows_of;
use crate::engine::{Engine, Route};
use crate::routing::Routing;

/// How often a change starts over because somebody was at a higher epoch.
const ATTEMPTS_MAX: usize = 8;
/// Most violations that a refusal lists.
const VIOLATIONS_MAX: usize = 50;

/// A change that everybody has followed, but that is not committed yet.
#[derive(Debug, Default)]
pub(crate) struct PolicyChange {
    holder: Option<Holder>,
    moves: Vec<Move>,
}

/// Why asking did not end well.
enum Refusal {
    /// Somebody is at this epoch already.
    TooLate(u64),
    Status(Status),
}

impl PolicyChange {
    /// What the policy's commit requires.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Condition> {
        self.moves.iter().map(|step| {
            let place = Place { holder: self.holder.clone(), part: step.part.clone() };
            ownership::unchanged(&place, Some(&step.settled()))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }
}

/// The policy in a resource of a holder type, where there are other deployments.
pub(crate) fn policy_field(route: &Route) -> Option<&PolicyField> {
    route.resource.policy.as_ref().filter(|_| route.resource.places.is_some())
}

impl Engine {
    /// The policy that a resource is about to be saved with; one that says none gets that of its service.
    ///
    /// # Errors
    /// `REGION_NOT_ALLOWED` for one that cannot be followed.
    pub(crate) fn settle_policy(
        &self,
        route: &Route,
        before: Option<&DynamicMessage>,
        resource: &mut DynamicMessage,
    ) -> Result<Option<Policy>, Status> {
        let (Some(field), Some(routing)) = (policy_field(route), &self.routing) else {
            return Ok(None);
        };
        let ty = &route.resource.ty;
        let had = before.and_then(|before| field.read(before));
        if field.read(resource).is_none() && had.is_none() && ty.kind != META_SERVICE {
            let picture = routing.picture.borrow();
            if let Some(service) = picture.services.get(ty.service.as_str()) {
                field.write(resource, &service.policy);
            }
        }
        let policy = field.read(resource).unwrap_or_default();
        check(&policy, had.as_ref(), routing, &field.path())?;
        Ok(Some(policy))
    }

    /// Makes everybody follow a policy that is about to be committed. Nothing is asked if nothing moves.
    ///
    /// # Errors
    /// `REGION_NOT_ALLOWED` with what is in the way; `UNAVAILABLE` naming a region that could not be asked. What was begun
    /// is given back as far as others can be reached; the next save of the holder settles the rest.
    pub(crate) async fn change_policy(
        &self,
        route: &Route,
        name: &str,
        old: Option<&Policy>,
        new: Option<&Policy>,
    ) -> Result<PolicyChange, Status> {
        let (Some(new), Some(routing)) = (new, &self.routing) else {
            return Ok(PolicyChange::default());
        };
        let holder = Holder { kind: route.resource.ty.kind.as_str().into(), name: name.into() };
        let mut beyond = None;
        for _ in 0..ATTEMPTS_MAX {
            let mut moves = self.planned(route, routing, &holder, old, new).await?;
            if moves.is_empty() {
                return Ok(PolicyChange::default());
            }
            check_all_are_known(routing, name)?;
            moves.iter_mut().for_each(|step| step.epoch = step.epoch.max(beyond.unwrap_or(0) + 1));
            let change = PolicyChange { holder: Some(holder.clone()), moves };
            match self.ask_all(route, routing, &change).await {
                Ok(()) => return Ok(change),
                Err(Refusal::TooLate(epoch)) => beyond = beyond.max(Some(epoch)),
                Err(Refusal::Status(status)) => {
                    self.give_back(route, &change).await;
                    return Err(status);
                }
            }
        }
        let message = format!("the policy of \"{name}\" is changed by many at once; retry");
        Err(Status::new(Reason::Conflict, message))
    }

    async fn planned(
        &self,
        route: &Route,
        routing: &Routing,
        holder: &Holder,
        old: Option<&Policy>,
        new: &Policy,
    ) -> Result<Vec<Move>, Status> {
        let rows = rows_of(&route.deployment)?;
        let known = &routing.picture.borrow().regions.clone();
        let regions = moves::regions(old, new, known);
        for part in regions.into_iter().map(Part::Region).chain([Part::Control]) {
            // Another process of this deployment may have begun something.
            let place = Place { holder: Some(holder.clone()), part };
            let read = rows.refresh(&place).await;
            read.map_err(|error| crate::engine::errors::store(&error))?;
        }
        let claim =
            |part: &Part| rows.claim(&Place { holder: Some(holder.clone()), part: part.clone() });
        Ok(moves::plan(old, new, known, claim))
    }

    /// Gives the parts back to those who had them, at a later epoch. What fails stays as it is.
    pub(crate) async fn give_back(&self, route: &Route, change: &PolicyChange) {
        let Some(routing) = &self.routing else { return };
        for step in &change.moves {
            let back = PolicyChange { holder: change.holder.clone(), moves: vec![step.back()] };
            let Err(refusal) = self.ask_all(route, routing, &back).await else { continue };
            let why = match refusal {
                Refusal::TooLate(epoch) => format!("somebody is at epoch {epoch}"),
                Refusal::Status(status) => status.to_string(),
            };
            let holder = change.holder.as_ref().map_or("", |holder| &*holder.name);
            tracing::warn!(
                holder,
                why,
                "an abandoned change of policy is not given back everywhere; saving the holder settles it"
            );
        }
    }

    /// In this order, so that at no moment two think that they own a part, and that the next save of the holder finds
    /// whatever was left half-way: here nobody owns it; all others give it up; whoever gets it is told; so is the row here.
    async fn ask_all(
        &self,
        route: &Route,
        routing: &Routing,
        change: &PolicyChange,
    ) -> Result<(), Refusal> {
        let Some(holder) = &change.holder else { return Ok(()) };
        let nobody = |step: &Move| Claim { owner: Arc::default(), epoch: step.epoch };
        self.write_here(route, routing, change, Over::Begun, nobody).await?;
        for is_last in [false, true] {
            for step in &change.moves {
                self.ask_others(route, routing, holder, step, is_last).await?;
            }
        }
        self.write_here(route, routing, change, Over::Own, Move::settled).await
    }

    /// Writes the rows of the holder's own deployment. Of changes that go on at the same time, the one that begins later has
    /// its way: the other finds a row that is not its own, before it commits or gives anything back.
    async fn write_here(
        &self,
        route: &Route,
        routing: &Routing,
        change: &PolicyChange,
        over: Over,
        claim: impl Fn(&Move) -> Claim + Send,
    ) -> Result<(), Refusal> {
        let me = routing.me(&route.deployment.service);
        for step in &change.moves {
            let place = Place { holder: change.holder.clone(), part: step.part.clone() };
            let answer = self.release(&route.deployment, &place, &claim(step), over).await;
            judge(vec![(me.clone(), answer.map_err(Refusal::Status)?)])?;
        }
        Ok(())
    }

    /// Asks other deployments at once: those that come last, or all that come before.
    async fn ask_others(
        &self,
        route: &Route,
        routing: &Routing,
        holder: &Holder,
        step: &Move,
        is_last: bool,
    ) -> Result<(), Refusal> {
        let me = routing.me(&route.deployment.service);
        let asked = self.governed(routing, holder).into_iter().filter(|(to, is_own)| {
            (*is_own || *to != me) && step.comes_last(&to.region) == is_last
        });
        let asking = asked.map(|(to, is_own)| {
            let (holder, me) = ((!is_own).then_some(holder), &me);
            async move {
                let answer = ask(routing, me, &to, holder, step).await?;
                Ok::<_, Status>((to, answer))
            }
        });
        let answers = futures::future::join_all(asking).await;
        let answers: Result<Vec<_>, Status> = answers.into_iter().collect();
        judge(answers.map_err(Refusal::Status)?)
    }

    /// The deployments whose resources a holder's policy governs; those with `true` as the policy of their own service.
    fn governed(&self, routing: &Routing, holder: &Holder) -> BTreeSet<(DeploymentId, bool)> {
        let keeper = holder.kind.split_once('/').map_or("", |(service, _)| service);
        let picture = routing.picture.borrow();
        let imports = |service: &str| {
            picture.services.get(service).is_some_and(|info| info.imports.contains(keeper))
        };
        let below = services_below(self, &holder.kind);
        let below =
            |service: &str| service == keeper || imports(service) || below.contains(service);
        let ids = picture.deployments.keys();
        let mut asked: BTreeSet<_> =
            ids.clone().filter(|id| below(&id.service)).map(|id| (id.clone(), false)).collect();
        if let Some(service) = governed_service(holder) {
            asked.extend(ids.filter(|id| &*id.service == service).map(|id| (id.clone(), true)));
        }
        asked
    }
}

/// Whoever follows a policy has read it here, and only those that this deployment knows may read it. A process that has
/// just begun may know fewer than the one before it did, and would not ask those.
fn check_all_are_known(routing: &Routing, name: &str) -> Result<(), Status> {
    if routing.picture.borrow().is_whole {
        return Ok(());
    }
    let message = format!(
        "the policy of \"{name}\" cannot move anything yet: not all meta deployments have told which deployments there are"
    );
    Err(Status::new(Reason::Unavailable, message))
}

/// A service's own policy is in its resource of the meta service.
fn governed_service(holder: &Holder) -> Option<&str> {
    if &*holder.kind != META_SERVICE {
        return None;
    }
    holder.name.strip_prefix("services/")
}

/// Services that are served here with types below holders of this kind.
fn services_below(engine: &Engine, kind: &str) -> BTreeSet<String> {
    let is_below = |places: &Places| places.holder_kinds().iter().any(|found| **found == *kind);
    let shapes = engine.deployments.iter().flat_map(|deployment| deployment.shapes.values());
    let below = shapes.filter(|shape| shape.places.as_ref().is_some_and(is_below));
    below.map(|shape| shape.ty.service.clone()).collect()
}

fn check(
    policy: &Policy,
    had: Option<&Policy>,
    routing: &Routing,
    field: &str,
) -> Result<(), Status> {
    let refuse = |why: String| {
        let violation = PreconditionViolation {
            kind: "POLICY".to_owned(),
            subject: field.to_owned(),
            description: why.clone(),
        };
        Status::new(Reason::RegionNotAllowed, format!("{field}: {why}"))
            .with(Detail::Precondition(vec![violation]))
    };
    policy.check().map_err(|error| refuse(error.to_string()))?;
    let picture = routing.picture.borrow();
    let is_known = |region: &Arc<str>| {
        picture.regions.contains(region) || had.is_some_and(|had| had.is_enabled(region))
    };
    match policy.enabled_regions.iter().find(|region| !is_known(region)) {
        Some(region) if !picture.regions.is_empty() => {
            let known: Vec<_> = picture.regions.iter().map(|region| &**region).collect();
            Err(refuse(format!("there is no region \"{region}\", only {}", known.join(", "))))
        }
        _ => Ok(()),
    }
}

async fn ask(
    routing: &Routing,
    me: &DeploymentId,
    to: &DeploymentId,
    holder: Option<&Holder>,
    step: &Move,
) -> Result<ReleaseOwnershipResponse, Status> {
    let request = ReleaseOwnershipRequest {
        holder_kind: holder.map(|holder| holder.kind.to_string()).unwrap_or_default(),
        holder_name: holder.map(|holder| holder.name.to_string()).unwrap_or_default(),
        part_region: match &step.part {
            Part::Control => String::new(),
            Part::Region(region) => region.to_string(),
        },
        epoch: i64::try_from(step.epoch).unwrap_or(i64::MAX),
        owner_region: step.to.to_string(),
    };
    let call = Call::unary(RELEASE_OWNERSHIP, request.encode_to_vec());
    let answer = routing.peers.call(me, to, call).await?.unary()?;
    ReleaseOwnershipResponse::decode(answer).map_err(|error| {
        tracing::warn!(%to, %error, "answer of ReleaseOwnership does not decode");
        Status::new(Reason::Internal, format!("{to} answered something else"))
    })
}

/// Whether all have followed.
fn judge(answers: Vec<(DeploymentId, ReleaseOwnershipResponse)>) -> Result<(), Refusal> {
    let refused: Vec<_> = answers.into_iter().filter(|(_, answer)| !answer.released).collect();
    let late = refused.iter().filter(|(_, answer)| answer.obstacle_count == 0);
    if let Some(epoch) = late.map(|(_, answer)| answer.epoch).max() {
        return Err(Refusal::TooLate(u64::try_from(epoch).unwrap_or_default()));
    }
    if refused.is_empty() { Ok(()) } else { Err(Refusal::Status(in_the_way(&refused))) }
}

fn in_the_way(refused: &[(DeploymentId, ReleaseOwnershipResponse)]) -> Status {
    let count: i64 = refused.iter().map(|(_, answer)| answer.obstacle_count).sum();
    let violations = refused.iter().flat_map(|(from, answer)| {
        answer.obstacles.iter().map(move |obstacle| PreconditionViolation {
            kind: "RESOURCE_OWNED".to_owned(),
            subject: format!("//{}/{}", domain(&obstacle.kind), obstacle.name),
            description: format!("{} is owned by {from}", obstacle.kind),
        })
    });
    let violations: Vec<_> = violations.take(VIOLATIONS_MAX).collect();
    let many = refused.iter().any(|(_, answer)| answer.obstacle_count >= 1_000);
    let (at_least, noun) = (
        if many { "at least " } else { "" },
        if count == 1 { "resource is" } else { "resources are" },
    );
    let first = violations.first().map(|v| format!(", first {}", v.subject)).unwrap_or_default();
    let message =
        format!("{at_least}{count} {noun} owned where the policy no longer allows it{first}");
    Status::new(Reason::RegionNotAllowed, message)
        .with(Detail::Precondition(violations))
        .with_metadata("count", count.to_string())
}

fn domain(kind: &str) -> &str {
    kind.split_once('/').map_or(kind, |(domain, _)| domain)
}
