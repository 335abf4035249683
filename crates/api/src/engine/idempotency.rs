//! Request ids (AIP-155): the same id with the same content gives the same answer once more.
//!
//! The answer is kept in an internal table, written in the same commit as the write itself, so that there is never one
//! without the other. Entries are swept after their lifetime (`sweep`).

use bowline_base::{Reason, Status};
use bowline_resource::value::fingerprint;
use bowline_store::incarnation::{Turn, TurnError};
use bowline_store::{Batch, CommitError, Condition, Key, Row, Table, Write, layout};
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::request::{Request, field_name};
use super::{Engine, Route, errors};

/// The table of answers.
pub(crate) fn table() -> Table {
    layout::common("~request")
}

/// What is kept beside an answer: a fingerprint of the request's content, and the second it was written in.
const ASIDE_BYTES: usize = 16;

/// A request that brought an id.
pub(crate) struct Idempotent {
    key: Key,
    content: u64,
}

/// How a conditional write ended.
pub(crate) enum Outcome {
    Committed,
    /// The state of the resource is not the one that the write was made for.
    Lost,
    /// The same request was answered before, or at the same moment by another call.
    Answered(Bytes),
}

impl Engine {
    /// Reads the request's id, if it has one.
    pub(crate) fn idempotent(
        &self,
        route: &Route,
        path: &str,
        request: &Request<'_>,
    ) -> Result<Option<Idempotent>, Status> {
        let id = request.text(&request.fields.request_id);
        if id.is_empty() {
            return Ok(None);
        }
        let max = self.limits.request_id_bytes_max;
        if id.len() > max {
            let field = field_name(&request.fields.request_id, "request_id");
            return Err(errors::limit(&field, id.len(), max, "bytes"));
        }
        let table = table();
        let name = format!("{}/{path}/{id}", route.resource.table.namespace);
        let content = fingerprint(&request.message);
        Ok(Some(Idempotent { key: Key { table, name: name.into() }, content }))
    }

    /// The answer that the same request got before.
    ///
    /// # Errors
    /// `REQUEST_ID_REUSED` if the id came with another content.
    pub(crate) async fn answer_before(
        &self,
        route: &Route,
        idempotent: Option<&Idempotent>,
    ) -> Result<Option<Bytes>, Status> {
        let Some(idempotent) = idempotent else { return Ok(None) };
        let found = route.deployment.backend.get(&idempotent.key).await;
        let (row, _) = found.map_err(|error| errors::store(&error))?;
        let Some(row) = row else { return Ok(None) };
        if stored_content(&row.aside) == Some(idempotent.content) {
            return Ok(Some(row.body));
        }
        let message = "this request_id was used before, with another content";
        Err(Status::new(Reason::RequestIdReused, message))
    }

    /// The outcome of a request, or if it failed the answer that the same request got meanwhile by another call: what stood
    /// in its way was then itself.
    pub(crate) async fn or_answered(
        &self,
        route: &Route,
        idempotent: Option<&Idempotent>,
        outcome: Result<Bytes, Status>,
    ) -> Result<Bytes, Status> {
        let Err(status) = outcome else { return outcome };
        match self.answer_before(route, idempotent).await {
            Ok(Some(answer)) => Ok(answer),
            _ => Err(status),
        }
    }

    /// Commits `writes` under `conditions` for the save that `turn` is, and `answer` beside them if the request has an id.
    pub(crate) async fn commit(
        &self,
        route: &Route,
        turn: Turn,
        conditions: Vec<Condition>,
        writes: Vec<Write>,
        idempotent: Option<&Idempotent>,
        answer: &Bytes,
    ) -> Result<Outcome, Status> {
        let mut batch = Batch { conditions, writes };
        if let Some(idempotent) = idempotent {
            let now = self.seams.clock.now().as_second();
            let row = Row { aside: aside(idempotent, now), ..Row::new(1, answer.clone()) };
            batch.conditions.push(Condition::RowAbsent { key: idempotent.key.clone() });
            batch.writes.push(Write::put(idempotent.key.clone(), row));
        }
        if batch.writes.is_empty() {
            return Ok(Outcome::Committed);
        }
        match turn.commit(batch).await {
            Ok(position) => {
                route.deployment.note_commit(position);
                Ok(Outcome::Committed)
            }
            // Ids are made anew with every attempt, and this process registers anew if it was taken for dead. Whatever
            // stood in the way: it may have been this very request, carried out by another call at the same moment.
            Err(
                TurnError::Lost
                | TurnError::Commit(
                    CommitError::IdTaken { .. } | CommitError::ConditionFailed { .. },
                ),
            ) => {
                let answer = self.answer_before(route, idempotent).await?;
                Ok(answer.map_or(Outcome::Lost, Outcome::Answered))
            }
            Err(TurnError::Commit(error)) => Err(errors::commit(&error)),
        }
    }
}

fn aside(idempotent: &Idempotent, now: i64) -> Bytes {
    let mut aside = BytesMut::with_capacity(ASIDE_BYTES);
    aside.put_u64(idempotent.content);
    aside.put_i64(now);
    aside.freeze()
}

fn stored_content(aside: &[u8]) -> Option<u64> {
    (aside.len() == ASIDE_BYTES).then(|| (&aside[..8]).get_u64())
}

/// When an answer was written, in seconds since 1970.
pub(crate) fn written_at(aside: &[u8]) -> Option<i64> {
    (aside.len() == ASIDE_BYTES).then(|| (&aside[8..]).get_i64())
}
