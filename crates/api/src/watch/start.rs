//! Where a watch begins: at a resume token, at a time, or with a snapshot.

use bowline_base::{Reason, Status};
use bowline_resource::page::ResumeToken;
use bowline_store::{Changes, Position};

use super::hub::Hub;
use crate::engine::errors;

/// The beginning of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A snapshot, then changes.
    Snapshot,
    /// Only changes after this position.
    After(Position),
    /// The wished point cannot be honoured: tell the client to drop all it has, then a snapshot.
    Reset,
}

/// Reads a resume token; empty text is no token.
///
/// # Errors
/// `INVALID_RESUME_TOKEN` if it is damaged or of another query.
pub(super) fn from_token(hub: &Hub, token: &str, query_hash: u64) -> Result<Start, Status> {
    if token.is_empty() {
        return Ok(Start::Snapshot);
    }
    let token = ResumeToken::decode(token, query_hash).map_err(|error| {
        Status::bad_field(Reason::InvalidResumeToken, "resume_token", error.to_string())
    })?;
    let position = Position { era: token.era, sequence: token.sequence };
    let head = *hub.backend().head().borrow();
    // A token from another era, or from beyond the end, was made by a database that this one is not.
    let is_ours = position.era == head.era && position <= head;
    Ok(if is_ours { Start::After(position) } else { Start::Reset })
}

/// Finds a position whose later changes include everything since `time`; a few earlier ones may come too.
pub(super) async fn from_time(hub: &Hub, time: jiff::Timestamp) -> Result<Start, Status> {
    if let Some(position) = hub.position_at(time) {
        return Ok(Start::After(position));
    }
    // Before this process began nothing is known about times; the whole log will do if it is whole.
    let head = *hub.backend().head().borrow();
    let beginning = Position { era: head.era, sequence: 0 };
    let page = hub.backend().changes(beginning, 1).await.map_err(|e| errors::store(&e))?;
    Ok(match page {
        Changes::Page { .. } => Start::After(beginning),
        Changes::TooOld { .. } => Start::Reset,
    })
}
