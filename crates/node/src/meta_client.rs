//! A client of the meta service with Rust types, over [`Peers`]. Who calls it, and what for, is the business of `environment`.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::{Code, Reason, Status};
use bowline_wire::meta::{self, MetaResource, StandardVerb};
use bowline_wire::standard::{Create, Delete, Get, List, Listed, Update};
use prost::Message;

use crate::id::DeploymentId;
use crate::peers::{Call, Peers};

/// Resources of one page of a list.
const PAGE_SIZE: i32 = 500;
/// Most resources that one list collects; a fleet that has more of one kind cannot be held in memory by every deployment.
const LISTED_MAX: usize = 100_000;

/// Calls the meta deployment of one region, which routes each call to where it belongs. Cheap to clone.
#[derive(Clone)]
pub struct MetaClient {
    peers: Arc<dyn Peers>,
    from: DeploymentId,
    to: DeploymentId,
    deadline: Duration,
}

impl MetaClient {
    /// A client of the meta deployment in the region of `from`; no call takes longer than `deadline`.
    pub fn new(peers: Arc<dyn Peers>, from: DeploymentId, deadline: Duration) -> Self {
        let to = from.of(meta::SERVICE);
        Self { peers, from, to, deadline }
    }

    /// The same client for the meta deployment of another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        Self { to: DeploymentId::new(meta::SERVICE, region), ..self.clone() }
    }

    /// The resource of that name; `None` if there is none.
    ///
    /// # Errors
    /// What the meta service answers otherwise.
    pub async fn get<R: MetaResource>(&self, name: &str) -> Result<Option<R>, Status> {
        let request = Get { name: name.to_owned(), ..Get::default() };
        match self.call(&R::path(StandardVerb::Get), &request).await {
            Ok(resource) => Ok(Some(resource)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// All resources below `parent` (`services/-` for all services; empty for types without parents), by name.
    ///
    /// # Errors
    /// `UNAVAILABLE` if some region could not be asked; what the meta service answers otherwise.
    pub async fn list<R: MetaResource>(&self, parent: &str) -> Result<Vec<R>, Status> {
        let mut found: Vec<R> = Vec::new();
        let mut request =
            List { parent: parent.to_owned(), page_size: PAGE_SIZE, ..List::default() };
        loop {
            let page: Listed<R> = self.call(&R::path(StandardVerb::List), &request).await?;
            if !page.unreachable.is_empty() {
                return Err(incomplete(&page.unreachable));
            }
            found.extend(page.resources);
            if found.len() > LISTED_MAX {
                let message = format!("more than {LISTED_MAX} {} in one list", R::PLURAL);
                return Err(Status::new(Reason::LimitExceeded, message));
            }
            if page.next_page_token.is_empty() {
                found.sort_by(|a, b| a.name().cmp(b.name()));
                return Ok(found);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Creates a resource under the name that it says; gives it as it is stored.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` if the name is taken; what the meta service answers otherwise.
    pub async fn create<R: MetaResource>(&self, resource: R) -> Result<R, Status> {
        let request = Create { parent: String::new(), resource: Some(resource) };
        self.call(&R::path(StandardVerb::Create), &request).await
    }

    /// Writes the fields of `mask` (empty: all that callers may set); gives the resource as it is stored.
    ///
    /// Refused if the stored resource is not the one that `resource` was read as, unless it has no resource version.
    ///
    /// # Errors
    /// `CONFLICT` if the resource was written meanwhile; what the meta service answers otherwise.
    pub async fn update<R: MetaResource>(&self, resource: R, mask: &[&str]) -> Result<R, Status> {
        let paths: Vec<String> = mask.iter().map(|path| (*path).to_owned()).collect();
        let update_mask = (!paths.is_empty()).then_some(prost_types::FieldMask { paths });
        let etag = resource.metadata().map(|meta| meta.resource_version.clone());
        let request = Update {
            resource: Some(resource),
            update_mask,
            etag: etag.unwrap_or_default(),
            ..Update::default()
        };
        self.call(&R::path(StandardVerb::Update), &request).await
    }

    /// Deletes a resource; one that does not exist is fine.
    ///
    /// # Errors
    /// What the meta service answers.
    pub async fn delete<R: MetaResource>(&self, name: &str) -> Result<(), Status> {
        let request = Delete { name: name.to_owned(), allow_missing: true, ..Delete::default() };
        self.call::<()>(&R::path(StandardVerb::Delete), &request).await
    }

    async fn call<A: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let call = Call::unary(path, request.encode_to_vec()).within(Some(self.deadline));
        let answer = self.peers.call(&self.from, &self.to, call).await?.unary()?;
        A::decode(answer).map_err(|error| {
            tracing::error!(to = %self.to, path, %error, "an answer does not decode");
            Status::new(Reason::Internal, format!("an answer of {} does not decode", self.to))
        })
    }
}

fn incomplete(unreachable: &[String]) -> Status {
    let regions = unreachable.join(", ");
    Status::new(Reason::Unavailable, format!("{regions} could not be asked"))
        .with_metadata("region", unreachable.first().map_or("", String::as_str))
        .with_metadata("service", meta::SERVICE)
}

#[cfg(test)]
mod tests;
