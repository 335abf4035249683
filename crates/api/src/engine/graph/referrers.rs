//! `ListReferrers`: what refers to a resource from this deployment, page by page.

use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_graph::index;
use bowline_graph::question::{About, referrers};
use bowline_resource::page::{Direction, PageToken, query_hash};
use bowline_store::{IndexCursor, Value};
use bowline_wire::bowline::mixin::v1::{ListReferrersRequest, ListReferrersResponse};

use super::wire;
use crate::engine::{Engine, errors};
use crate::handler::Context;

/// Resources in a page when the request does not say.
const PAGE_DEFAULT: usize = 100;
/// Most of them.
const PAGE_MAX: usize = 1_000;

/// Where a page begins: after an entry of the index of a namespace, or at its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    namespace: Arc<str>,
    after: Option<IndexCursor>,
}

impl Engine {
    /// Answers `ListReferrers`: by API version of the referrers, then by rule (those that block first), kind and name. A
    /// resource that refers in several fields is listed for each.
    ///
    /// # Errors
    /// `CALLER_NOT_IDENTIFIED` unless a deployment asks, `CALLER_REFUSED` unless it is one of the target's service or of the
    /// one that is asked; `INVALID_PAGE_TOKEN`.
    pub(crate) async fn list_referrers(
        &self,
        request: &ListReferrersRequest,
        context: &Context,
    ) -> Result<ListReferrersResponse, Status> {
        let (deployment, caller) = self.asked(context)?;
        let target = wire::target(request.target.as_ref(), "target")?;
        if ![target.service(), &deployment.service].contains(&&*caller.service) {
            let message = format!("{caller} owns neither {target} nor what refers to it");
            return Err(Status::new(Reason::CallerRefused, message));
        }
        let size = page_size(request.page_size)?;
        let query = query_hash(&["referrers", &target.kind, &target.version, &target.name]);
        let place = place_of(&request.page_token, query)?;
        let snapshot = deployment.backend.snapshot().await;
        let mut snapshot = snapshot.map_err(|error| errors::store(&error))?;
        let mut response = ListReferrersResponse::default();
        let names = [target];
        let mut left = size;
        for namespace in deployment.namespaces() {
            let after = match &place {
                Some(place) if namespace < place.namespace => continue,
                Some(place) if namespace == place.namespace => place.after.as_ref(),
                _ => None,
            };
            let range = index::range(&namespace, &names[0]);
            let hits = snapshot.scan_index(&range, after, left, false).await;
            let hits = hits.map_err(|error| errors::store(&error))?;
            for hit in &hits {
                let rule = index::read(&hit.value).map(|(rule, _)| rule);
                let all = referrers(&hit.key, &hit.row, About::Referrers, &names);
                let by_rule = all.into_iter().filter(|found| is_by(found.behaviour, rule));
                response.referrers.extend(by_rule);
            }
            left -= hits.len();
            if let (0, Some(last)) = (left, hits.last()) {
                let (kind, name) = (last.key.table.kind.clone(), last.key.name.clone());
                let after = Some(IndexCursor { value: last.value.clone(), kind, name });
                response.next_page_token = Place { namespace, after }.token(query);
                break;
            }
        }
        Ok(response)
    }
}

/// Whether a reference with this behaviour has an entry with that rule.
fn is_by(behaviour: i32, rule: Option<index::Rule>) -> bool {
    use bowline_wire::bowline::mixin::v1::Behaviour;
    use index::Rule;
    match rule {
        Some(Rule::Block) => behaviour == i32::from(Behaviour::Block),
        Some(Rule::CascadeSync | Rule::CascadeAsync) => behaviour == i32::from(Behaviour::Cascade),
        Some(Rule::UnsetSync | Rule::UnsetAsync) => behaviour == i32::from(Behaviour::Unset),
        None => false,
    }
}

/// # Errors
/// `INVALID_FIELD` if it is negative.
pub(super) fn page_size(wish: i32) -> Result<usize, Status> {
    match usize::try_from(wish) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(wish) => Ok(wish.min(PAGE_MAX)),
        Err(_) => Err(wire::bad("page_size", "must not be negative")),
    }
}

/// # Errors
/// `INVALID_PAGE_TOKEN` if it was made for another query, or by nobody.
pub(super) fn position_of(token: &str, query: u64) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let token = PageToken::decode(token, query).map_err(|error| bad_token(&error))?;
    Ok(Some(token.position))
}

pub(super) fn token_at(position: Vec<u8>, query: u64) -> String {
    PageToken { query, direction: Direction::Next, offset: 0, position }.encode()
}

pub(super) fn bad_token(why: &dyn std::fmt::Display) -> Status {
    Status::bad_field(Reason::InvalidPageToken, "page_token", why.to_string())
}

fn place_of(token: &str, query: u64) -> Result<Option<Place>, Status> {
    let Some(position) = position_of(token, query)? else { return Ok(None) };
    let place = Place::read(&position);
    place.map(Some).ok_or_else(|| bad_token(&"token is damaged or was not made here"))
}

impl Place {
    fn token(&self, query: u64) -> String {
        let mut bytes = Vec::new();
        let mut put = |part: &[u8]| {
            // Parts of keys and values are all shorter than this can say.
            let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
            bytes.extend(len.to_be_bytes());
            bytes.extend(&part[..usize::from(len)]);
        };
        put(self.namespace.as_bytes());
        if let Some(after) = &self.after {
            put(after.value.as_bytes());
            put(after.kind.as_bytes());
            put(after.name.as_bytes());
        }
        token_at(bytes, query)
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let mut take = || {
            let (len, rest) = bytes.split_first_chunk::<2>()?;
            let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            bytes = rest;
            Some(part)
        };
        let text = |part: &[u8]| std::str::from_utf8(part).ok().map(Arc::<str>::from);
        let namespace = text(take()?)?;
        let after = match take() {
            None => None,
            Some(value) => {
                let value = Value::from(value.to_vec());
                Some(IndexCursor { value, kind: text(take()?)?, name: text(take()?)? })
            }
        };
        Some(Self { namespace, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_nothing_else_does() {
        let after = IndexCursor {
            value: Value::from(vec![0, 255, 7]),
            kind: "d.test/Device".into(),
            name: "devices/d".into(),
        };
        for after in [None, Some(after)] {
            let place = Place { namespace: "v1".into(), after };
            let token = place.token(7);
            assert_eq!(place_of(&token, 7).unwrap(), Some(place));
            let refused = place_of(&token, 8).unwrap_err();
            assert_eq!(refused.reason, Reason::InvalidPageToken);
        }
        assert!(Place::read(&[0, 9, 1]).is_none());
        assert!(Place::read(&[]).is_none());
    }
}
