//! The generated round of one resource type through the public handler: each step checks what came before it.
//!
//! A type passes if no step fails and at least one ran. A step for which the type has no method is not applicable.

pub mod calls;
mod check;
mod lists;
mod reads;
mod rest;
mod steps;
mod targets;
pub mod watch;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_api::engine::Engine;
use bowline_api::rest::Router;
use bowline_base::Seams;
use bowline_schema::model::{ResourceType, Role};
use bowline_store::Backend;

pub use calls::Failure;
pub use steps::{Outcome, Step, TypeReport};

use calls::Calls;
use steps::Log;

/// What a round needs besides the type.
pub struct World {
    pub engine: Arc<Engine>,
    pub rest: Router,
    /// The store of each service, by name.
    pub backends: BTreeMap<String, Arc<dyn Backend>>,
    pub seams: Seams,
}

/// Runs the round of one type.
pub async fn run(world: &World, ty: &Arc<ResourceType>) -> TypeReport {
    let mut log = Log::default();
    let calls = Calls::of(&world.engine, ty);
    if calls.verbs().next().is_none() {
        log.fail(Step::Bind, unbound(world, ty));
    } else if let Some(round) = writes::Round::new(world, ty, &calls, &mut log) {
        match targets::make_room(world, ty).await {
            Ok(()) => round.run(&mut log).await,
            Err(failure) => log.fail(Step::Round, failure.to_string()),
        }
    }
    log.report(ty)
}

/// Why a type has no method at all, as far as the loader says.
fn unbound(world: &World, ty: &ResourceType) -> String {
    let versions = world.engine.registry().services.iter().flat_map(|service| &service.versions);
    let methods = versions.flat_map(|version| &version.methods);
    let reasons: Vec<String> = methods
        .filter(|method| method.descriptor.name().contains(&ty.singular))
        .filter_map(|method| match &method.role {
            Role::Action { unbound: Some(why) } => {
                Some(format!("{}: {why}", method.descriptor.name()))
            }
            _ => None,
        })
        .collect();
    if reasons.is_empty() {
        return "no method is bound, and none is synthesised".to_owned();
    }
    format!("no method is bound: {}", reasons.join("; "))
}
