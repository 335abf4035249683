//! What a request is about: the place of the name in it, or the places that its parent leaves open. Pure.
//!
//! What does not parse is about nothing: it is answered where it arrives, by the refusal that says what is wrong.

use bowline_node::place::Places;
use bowline_resource::document::name_of;
use bowline_resource::name;
use bowline_schema::model::{ResourceType, Verb};

use super::plan::Target;
use crate::engine::Route;
use crate::engine::request::Request;

/// What a standard request is about.
pub(crate) fn target(route: &Route, places: &Places, request: &Request<'_>) -> Target {
    let ty = &route.resource.ty;
    let fields = request.fields;
    if places.is_everywhere() {
        return Target::Nothing;
    }
    match route.binding.verb {
        Verb::Get | Verb::Delete | Verb::WatchOne => at(places, &request.text(&fields.name)),
        Verb::Update => {
            let name = request.with_resource(|resource| name_of(ty, resource).to_owned());
            name.map_or(Target::Nothing, |name| at(places, &name))
        }
        Verb::Create => created(ty, places, request),
        Verb::BatchGet => Target::Many,
        Verb::List | Verb::Watch => {
            // A parent that is a field of the resource, and not in its name, says nothing about places.
            let scope = places.scope(&request.text(&fields.parent)).or_else(|| places.scope(""));
            scope.map_or(Target::Nothing, Target::Scope)
        }
    }
}

/// The place of one resource.
pub(crate) fn at(places: &Places, name: &str) -> Target {
    places.of(name).map_or(Target::Nothing, Target::One)
}

/// The place of a resource that is to be made, whether or not its id is known yet.
fn created(ty: &ResourceType, places: &Places, request: &Request<'_>) -> Target {
    let parent = request.text(&request.fields.parent);
    let id = request.text(&request.fields.resource_id);
    let given = request.with_resource(|resource| name_of(ty, resource).to_owned());
    let place = match given.unwrap_or_default() {
        _ if !id.is_empty() => {
            let built = name::build(ty, &parent, &id);
            built.map_or_else(|_| places.of_new(ty, &parent), |name| places.of(&name))
        }
        given if !given.is_empty() => places.of(&given),
        _ => places.of_new(ty, &parent),
    };
    place.map_or(Target::Nothing, Target::One)
}
