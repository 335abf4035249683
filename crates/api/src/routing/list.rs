//! Lists over several regions: each reads its part of the wanted page at the same time, and the parts are merged.
//!
//! A region that cannot be asked is named in the answer instead of failing it; its absence is kept in the page tokens, so
//! that all pages of one walk are of the same regions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bowline_base::{Reason, Status};
use bowline_node::peers::headers::UNREACHABLE;
use bytes::Bytes;
use futures::future::join_all;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::forward::{Outgoing, is_away};
use super::hop::SentAs;
use super::merge::{Part, count, merge};
use super::token::PageOf;
use crate::engine::explain::{Explain, Explained};
use crate::engine::list::{Answer, respond};
use crate::engine::page::{Page, PageQuery};
use crate::engine::request::Request;
use crate::engine::select::Selection;
use crate::engine::{Engine, Route};
use crate::handler::Context;

/// What one list asks of every region.
struct Asked<'a> {
    out: &'a Outgoing,
    route: &'a Route,
    selection: Selection,
    query: PageQuery,
    /// Whether rows are counted too.
    counts: bool,
    /// The encoded request for peers.
    message: Bytes,
}

impl Engine {
    /// One page of a list that `regions` have parts of.
    ///
    /// # Errors
    /// `UNAVAILABLE` if no region can be asked; what any of them answers besides.
    pub(crate) async fn list_merged(
        &self,
        out: &Outgoing,
        route: &Route,
        request: Request<'_>,
        regions: BTreeSet<Arc<str>>,
    ) -> Result<Bytes, Status> {
        let selection = Selection::of_collection(&route.resource.ty, &request, &self.limits)?;
        let query = self.page_query(route, &request, self.limits.page_size_max)?;
        let known = PageOf::decode(&request.text(&request.fields.page_token)).missing;
        let counts = request.flag(&request.fields.include_paging_info);
        let (mut missing, asked): (BTreeSet<_>, BTreeSet<_>) =
            regions.into_iter().partition(|region| known.contains(region));
        let message = part_request(&request, query.size);
        let asking = Asked { out, route, selection, query, counts, message };
        let (parts, failed) = self.parts(&asking, &asked).await?;
        if parts.is_empty() {
            return Err(nobody(&failed, &missing));
        }
        missing.extend(failed.into_keys());
        Ok(self.put_together(&asking, &parts, missing))
    }

    /// The parts of the regions that answered, and why the others did not.
    async fn parts(
        &self,
        asking: &Asked<'_>,
        regions: &BTreeSet<Arc<str>>,
    ) -> Result<(BTreeMap<Arc<str>, Part>, BTreeMap<Arc<str>, Status>), Status> {
        let each = regions.iter().map(|region| async move {
            let part = self.part_of(asking, region).await;
            (region.clone(), part)
        });
        let (mut parts, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for (region, part) in join_all(each).await {
            match part {
                Ok(part) => drop(parts.insert(region, part)),
                Err(status) if is_away(&status) => {
                    tracing::warn!(%region, %status, "a list goes without a region");
                    failed.insert(region, status);
                }
                Err(status) => return Err(status),
            }
        }
        Ok((parts, failed))
    }

    async fn part_of(&self, asking: &Asked<'_>, region: &Arc<str>) -> Result<Part, Status> {
        let Asked { out, route, selection, query, counts, message } = asking;
        if *region == out.routing.region {
            self.await_position(&route.deployment, &out.context).await?;
            let explain = &out.context.explain;
            return self.read_part(route, selection, query, *counts, explain).await;
        }
        let answer = self.send(out, region, message.clone(), SentAs::Part).await?;
        Part::decode(answer, query.size)
    }

    /// The part of a page that is in this deployment.
    pub(crate) async fn read_part(
        &self,
        route: &Route,
        selection: &Selection,
        query: &PageQuery,
        counts: bool,
        explain: &Explain,
    ) -> Result<Part, Status> {
        let mut page = self.read_page(route, selection, query).await?;
        let mut part = Part::default();
        if counts {
            part.count = self.count(route, selection, query, &mut page).await?;
        }
        part.explained = explain.is_wanted().then(|| std::mem::take(&mut page.explained));
        let n_before = page.rows.len();
        (part.rows, part.has_more) = (page.rows, page.has_more);
        part.shorten(self.limits.page_bytes_max, query.is_backward());
        if query.is_backward() {
            let n_let_go = n_before - part.rows.len();
            part.count.before += i64::try_from(n_let_go).unwrap_or(0);
        }
        Ok(part)
    }

    fn put_together(
        &self,
        asking: &Asked<'_>,
        parts: &BTreeMap<Arc<str>, Part>,
        missing: BTreeSet<Arc<str>>,
    ) -> Bytes {
        let Asked { out, route, query, counts, .. } = asking;
        let merged = merge(query, parts.values(), self.limits.page_bytes_max);
        let counted = counts.then(|| count(query, parts.values(), &merged.rows));
        let page = Page::merged(merged.rows, merged.has_more);
        let explained =
            parts.iter().filter_map(|(region, part)| Some((&**region, part.explained.as_ref()?)));
        let mut explained = Explained::of_regions(explained);
        explained.rows_returned = page.rows.len();
        out.context.explain.tell(&explained);
        let (previous, next) = query.tokens(&page);
        let token = |token| PageOf { token, missing: missing.clone() }.encode();
        if !missing.is_empty() {
            out.context.answer_headers.set(UNREACHABLE, with_commas(&missing));
        }
        let tokens = (token(previous), token(next));
        let unreachable: Vec<_> = missing.into_iter().collect();
        respond(route, &Answer { rows: &page.rows, tokens, count: counted, unreachable })
    }

    /// Answers another deployment with this one's part of a page.
    pub(crate) async fn list_part(
        &self,
        route: &Route,
        request: &Request<'_>,
        context: &Context,
    ) -> Result<Bytes, Status> {
        let selection = Selection::of_collection(&route.resource.ty, request, &self.limits)?;
        let query = self.page_query(route, request, self.limits.page_size_max)?;
        let counts = request.flag(&request.fields.include_paging_info);
        Ok(self.read_part(route, &selection, &query, counts, &context.explain).await?.encode())
    }
}

/// The request with the size that was decided here, and the token of one store.
pub(crate) fn part_request(request: &Request<'_>, size: usize) -> Bytes {
    let mut message: DynamicMessage = request.message.clone();
    let fields = request.fields;
    if let Some(field) = &fields.page_token {
        let token = PageOf::decode(&request.text(&fields.page_token)).token;
        message.set_field(field, Value::String(token));
    }
    // Sizes that wrap are left as they are: all deployments of a service have the same limits.
    if let (Some(field), Ok(size)) = (&fields.page_size, i32::try_from(size))
        && matches!(field.kind(), prost_reflect::Kind::Int32)
    {
        message.set_field(field, Value::I32(size));
    }
    message.encode_to_vec().into()
}

pub(crate) fn with_commas(regions: &BTreeSet<Arc<str>>) -> String {
    let regions: Vec<&str> = regions.iter().map(|region| &**region).collect();
    regions.join(",")
}

/// Not one region could be asked.
pub(crate) fn nobody(failed: &BTreeMap<Arc<str>, Status>, missing: &BTreeSet<Arc<str>>) -> Status {
    let regions: BTreeSet<_> = failed.keys().chain(missing).cloned().collect();
    let regions = with_commas(&regions);
    let why =
        failed.values().next().map_or_else(String::new, |status| format!(": {}", status.message));
    Status::new(
        Reason::Unavailable,
        format!("no region of this list can be reached ({regions}){why}"),
    )
    .with_metadata("region", regions)
}
