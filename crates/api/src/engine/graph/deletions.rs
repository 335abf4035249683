//! `WatchImportedServiceDeletions`: what was deleted here, for those who may refer to it. First all that is not finished,
//! then what follows in the change log; from a token, only what follows.
//!
//! What is told twice does no harm, and a deletion may have finished when it is told. How the stream goes is the business of
//! `telling`.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bowline_base::{Reason, Status};
use bowline_graph::deletion;
use bowline_resource::page::{ResumeToken, query_hash};
use bowline_store::{Change, NamedRow, Position, Row, Snapshot, Table};
use bowline_wire::bowline::mixin::v1 as wire;
use bytes::Bytes;
use prost::Message;

use super::telling::{Beginning, Mark, Tale, Telling};
use crate::engine::{Deployment, Engine};
use crate::handler::{Context, Reply};

impl Engine {
    /// The stream; see the module's header.
    ///
    /// # Errors
    /// `CALLER_REFUSED` unless the caller's service is this one or imports it.
    pub(in crate::engine) fn watch_deletions(
        &self,
        request: &wire::WatchDeletionsRequest,
        context: &Context,
    ) -> Result<Reply, Status> {
        let (deployment, caller) = self.asked(context)?;
        let me = self.me(&deployment.service);
        if !self.is_party_to(caller, &me.service) {
            let message = format!("{caller} does not import {}", me.service);
            return Err(Status::new(Reason::CallerRefused, message));
        }
        let query = query_hash(&["deletions", &me.service, &me.region]);
        // One that is damaged is as good as none.
        let beginning = match ResumeToken::decode(&request.resume_token, query) {
            Ok(ResumeToken { era, sequence, .. }) => Beginning::After(Position { era, sequence }),
            Err(_) => Beginning::Rows,
        };
        let telling = Telling::new(deployment, self.seams.clone(), Deletions, query, beginning);
        Ok(Reply::Stream(telling.stream()))
    }
}

/// Deletions that have committed.
struct Deletions;

#[async_trait]
impl Tale for Deletions {
    type Item = wire::Deletion;

    const TOGETHER_MAX: usize = 256;

    fn tables(&self, deployment: &Deployment) -> VecDeque<Table> {
        deployment.kinds().iter().map(|kind| deletion::table(kind)).collect()
    }

    async fn of_rows(
        &self,
        _: &Table,
        rows: Vec<NamedRow>,
        _: &mut dyn Snapshot,
    ) -> Result<Vec<wire::Deletion>, Status> {
        Ok(rows.iter().filter_map(|(_, row)| read(row)).collect())
    }

    async fn of_changes(
        &self,
        _: &Deployment,
        changes: &[Arc<Change>],
    ) -> Result<Vec<wire::Deletion>, Status> {
        Ok(changes.iter().filter_map(|change| told(change)).collect())
    }

    fn message(&self, deletions: Vec<wire::Deletion>, mark: Mark) -> Bytes {
        // Who hears all that is unfinished once more takes nothing back, so a reset is no news.
        let Mark { resume_token, is_current, is_reset: _ } = mark;
        let message = wire::WatchDeletionsResponse { deletions, resume_token, is_current };
        message.encode_to_vec().into()
    }
}

/// The deletion that a change of the log brought.
fn told(change: &Change) -> Option<wire::Deletion> {
    let is_deletion = &*change.key.table.namespace == deletion::NAMESPACE;
    change.after.as_ref().filter(|_| is_deletion).and_then(read)
}

/// What a row of a deletion says; `None` if it is damaged, which is logged.
pub(super) fn read(row: &Row) -> Option<wire::Deletion> {
    deletion::of_row(row)
        .inspect_err(
            |error| tracing::error!(error = %bowline_base::chain(error), "stored deletion"),
        )
        .ok()
}
