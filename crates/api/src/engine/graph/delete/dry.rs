//! Looking without binding: what sources hold of a resource, for refusals that tell all and for deletions that are only
//! checked. No epoch is raised and nobody fences, so the answer is true for a moment only.

use std::sync::Arc;
use std::time::Duration;

use bowline_base::Status;
use bowline_graph::index;
use bowline_graph::plan_delete::{Blocked, Doomed, Plan, plan};
use bowline_node::DeploymentId;
use bowline_wire::bowline::mixin::v1::method::LIST_REFERRERS;
use bowline_wire::bowline::mixin::v1::{Behaviour, ListReferrersRequest, ListReferrersResponse};
use bytes::Bytes;
use futures::future::join_all;

use super::gather::{Gathered, Identified};
use super::{Asking, Wish};
use crate::engine::{Engine, errors};

/// How long a source has to show what it holds.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);
/// Referrers that a source shows at once: those that block come first.
const PAGE: i32 = 1_000;

impl Engine {
    /// Says whether the deletion would be blocked right now, and changes nothing; answers as the deletion would.
    ///
    /// # Errors
    /// As the deletion would.
    pub(crate) async fn check_deletion(self: &Arc<Self>, wish: &Wish<'_>) -> Result<Bytes, Status> {
        let guard = self.guard_of(wish.deployment, wish.shape, wish.name, None).await?;
        let found = wish.deployment.backend.get(&wish.key()).await;
        let (row, position) = found.map_err(|error| errors::store(&error))?;
        let Some(row) = row else {
            return self.absent(wish).await.map(Option::unwrap_or_default);
        };
        wish.check(&row)?;
        if index::is_marked(&row) {
            return self.marked_already(wish, &row).await;
        }
        let mut gathered = Gathered::alone(self.no_facts(wish, position), position);
        gathered
            .doom(self, wish, (wish.shape, Identified::of_row(wish.shape, wish.key(), &row)), guard)
            .await?;
        self.gather(wish, &mut gathered, &Asking::new()).await?;
        match plan(&gathered.facts) {
            Plan::Blocked(blocked) => Err(self.blocked(wish, &gathered, blocked).await),
            Plan::Verdict(_) => Ok(wish.answer(self, &row)),
            Plan::NeedsAttempt(_) => {
                let mut blocked = Blocked::default();
                let unseen = self.look(wish, &gathered, &mut blocked).await;
                if let Some((_, status)) = unseen.into_iter().next() {
                    return Err(status);
                }
                if blocked.counts.is_empty() {
                    return Ok(wish.answer(self, &row));
                }
                // All of them were looked at just now.
                let nobody = Gathered::alone(self.no_facts(wish, position), position);
                Err(self.blocked(wish, &nobody, blocked).await)
            }
        }
    }

    /// Adds what sources hold that were not asked about a doomed resource. Those that could not be seen, and why.
    pub(super) async fn look(
        self: &Arc<Self>,
        wish: &Wish<'_>,
        gathered: &Gathered,
        blocked: &mut Blocked,
    ) -> Vec<(DeploymentId, Status)> {
        let me = self.me(&wish.deployment.service);
        let looks = gathered.facts.doomed.iter().filter(|doomed| doomed.answers.is_none());
        let looks = looks.flat_map(|doomed| {
            let sources = doomed.inbound.iter().flat_map(|(_, inbound)| &inbound.sources);
            sources.map(move |source| (doomed, &source.deployment))
        });
        let deadline = LOOK_DEADLINE.min(self.time_left(wish));
        let look = |(doomed, source)| self.look_at(&me, doomed, source, deadline);
        let mut unseen = Vec::new();
        for (doomed, source, seen) in join_all(looks.map(look)).await {
            match seen {
                Ok(seen) => {
                    let blocks = |r: &&_| is_blocking(r);
                    let all: Vec<_> = seen.referrers.iter().filter(blocks).collect();
                    let more =
                        u32::from(all.len() == PAGE as usize && !seen.next_page_token.is_empty());
                    let count = u32::try_from(all.len()).unwrap_or(u32::MAX).saturating_add(more);
                    blocked.add_foreign(&doomed.name, source, count, all);
                }
                Err(status) => unseen.push((source.clone(), status)),
            }
        }
        unseen
    }

    async fn look_at<'d>(
        self: &Arc<Self>,
        me: &DeploymentId,
        doomed: &'d Doomed,
        source: &'d DeploymentId,
        deadline: Duration,
    ) -> (&'d Doomed, &'d DeploymentId, Result<ListReferrersResponse, Status>) {
        let request = ListReferrersRequest {
            target: Some((&doomed.name).into()),
            page_size: PAGE,
            page_token: String::new(),
        };
        let seen = self.ask(me, source, LIST_REFERRERS, &request, deadline).await;
        (doomed, source, seen)
    }
}

fn is_blocking(referrer: &bowline_wire::bowline::mixin::v1::Referrer) -> bool {
    referrer.behaviour == i32::from(Behaviour::Block)
}
