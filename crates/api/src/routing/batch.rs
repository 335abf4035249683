//! Batch gets over several regions: names go to their owners, grouped, and the answer is in the order of the request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_node::Place;
use bowline_node::place::Places;
use bowline_schema::model::Response;
use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::call::not_owned;
use super::forward::Outgoing;
use super::hop::{Hop, SentAs};
use super::plan::{Owned, Plan, plan};
use crate::engine::request::Request;
use crate::engine::{Engine, Route};
use crate::handler::Reply;
use crate::wire;

/// Names by the region that is asked for them, each group in the order of the request.
type Groups = BTreeMap<Arc<str>, Vec<String>>;

impl Engine {
    /// Reads every name from its owner.
    ///
    /// # Errors
    /// What any of the owners answers; `UNAVAILABLE` naming a region that cannot be reached.
    pub(crate) async fn batch_get_routed(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        places: &Places,
        request: Request<'_>,
    ) -> Result<Reply, Status> {
        // Refuses what is malformed, and duplicates are gone.
        let names = self.names_of(route, &request)?;
        let answer = match self.batch_get_once(out, route, places, &request, &names).await {
            Err(status) if status.reason == Reason::NotOwned => {
                let of = names.iter().filter_map(|name| places.of(name));
                of.for_each(|place| out.routing.owners.doubt(&out.method.service, &place));
                self.batch_get_once(out, route, places, &request, &names).await
            }
            answer => answer,
        };
        answer.map(Reply::Unary)
    }

    async fn batch_get_once(
        self: &Arc<Self>,
        out: &Outgoing,
        route: &Arc<Route>,
        places: &Places,
        request: &Request<'_>,
        names: &[String],
    ) -> Result<Bytes, Status> {
        let groups = self.groups(out, places, names).await?;
        let asking = groups.iter().map(|(region, group)| async move {
            let message = with_names(request, group)?;
            let answer = if *region == out.routing.region {
                match self.call_here(route, message, out.context.clone()).await? {
                    Reply::Unary(answer) => Ok(answer),
                    Reply::Stream(_) => Err(not_understood()),
                }
            } else {
                let encoded = message.encode_to_vec().into();
                self.send(out, region, encoded, SentAs::Forwarded).await
            };
            read_answer(route, group, &answer?)
        });
        let mut found: HashMap<&str, Option<Bytes>> = HashMap::new();
        for group in try_join_all(asking).await? {
            found.extend(group);
        }
        write_answer(route, names, &found)
    }

    async fn groups(
        &self,
        out: &Outgoing,
        places: &Places,
        names: &[String],
    ) -> Result<Groups, Status> {
        let (routing, service) = (&out.routing, out.method.service.as_str());
        let hop = Hop::of(&out.context);
        // Most names of a batch are at few places, and each place is asked about once.
        let mut known: HashMap<Place, Arc<str>> = HashMap::new();
        let mut groups = Groups::new();
        for name in names {
            let region = match places.of(name) {
                None => routing.region.clone(),
                Some(place) => match known.get(&place) {
                    Some(region) => region.clone(),
                    None => {
                        let owned = owned(routing.owners.owner(service, &place).await)?;
                        let is_deployed = |region: &str| routing.is_deployed(service, region);
                        let region = match plan(&routing.region, hop, &owned, is_deployed) {
                            Plan::Forward(region) => region,
                            Plan::NotOwned { region, epoch } => {
                                return Err(not_owned(&place, &region, epoch));
                            }
                            Plan::Local | Plan::Merge(_) => routing.region.clone(),
                        };
                        known.insert(place, region.clone());
                        region
                    }
                },
            };
            groups.entry(region).or_default().push(name.clone());
        }
        Ok(groups)
    }
}

/// A name below a holder that is not there is missing like any other.
fn owned(owner: Result<bowline_node::Owner, Status>) -> Result<Owned, Status> {
    match owner {
        Ok(owner) => Ok(Owned::By { region: owner.region, epoch: owner.epoch }),
        Err(status) if status.reason == Reason::ResourceNotFound => Ok(Owned::Anywhere),
        Err(status) => Err(status),
    }
}

fn with_names(request: &Request<'_>, names: &[String]) -> Result<DynamicMessage, Status> {
    let field = request.fields.names.as_ref().ok_or_else(not_understood)?;
    let mut message = request.message.clone();
    message.set_field(field, Value::List(names.iter().cloned().map(Value::String).collect()));
    Ok(message)
}

/// What an answer has for each of the names that it was asked for: items come in their order, those that are missing apart.
fn read_answer<'n>(
    route: &Route,
    names: &'n [String],
    answer: &Bytes,
) -> Result<Vec<(&'n str, Option<Bytes>)>, Status> {
    let Response::BatchGet { items, missing } = &route.binding.response else {
        return Err(not_understood());
    };
    let (mut bodies, mut absent) = (Vec::new(), Vec::new());
    for field in wire::fields(answer) {
        let (tag, value) = field.ok_or_else(not_understood)?;
        match value {
            wire::Field::Bytes(body) if tag == items.number() => bodies.push(body),
            wire::Field::Bytes(name) if missing.as_ref().is_some_and(|f| f.number() == tag) => {
                absent.push(name);
            }
            _ => {}
        }
    }
    let mut bodies = bodies.into_iter();
    let is_absent = |name: &str| absent.iter().any(|other| other == name.as_bytes());
    names
        .iter()
        .map(|name| match is_absent(name) {
            true => Ok((name.as_str(), None)),
            false => Ok((name.as_str(), Some(bodies.next().ok_or_else(not_understood)?))),
        })
        .collect()
}

fn write_answer(
    route: &Route,
    names: &[String],
    found: &HashMap<&str, Option<Bytes>>,
) -> Result<Bytes, Status> {
    let Response::BatchGet { items, missing } = &route.binding.response else {
        return Err(not_understood());
    };
    let mut buffer = BytesMut::new();
    for name in names {
        match (found.get(name.as_str()), missing) {
            (Some(Some(body)), _) => wire::put_bytes(&mut buffer, items.number(), body),
            (_, Some(field)) => wire::put_bytes(&mut buffer, field.number(), name.as_bytes()),
            (_, None) => return Err(not_understood()),
        }
    }
    Ok(buffer.freeze())
}

fn not_understood() -> Status {
    tracing::error!("an answer to a part of a batch get does not fit its names");
    Status::new(Reason::Internal, "a batch get over several regions could not be put together")
}
