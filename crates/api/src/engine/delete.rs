//! Delete.

use std::sync::Arc;

use bowline_base::Status;
use bowline_store::{Condition, Write};
use bytes::Bytes;

use super::idempotency::Outcome;
use super::read::parse_name;
use super::request::{Request, field_name};
use super::save::etag_matches;
use super::select::decode;
use super::{Engine, Route, errors, respond};

impl Engine {
    pub(crate) async fn delete(
        &self,
        route: &Arc<Route>,
        request: Request<'_>,
    ) -> Result<Bytes, Status> {
        let fields = request.fields;
        let ty = &route.resource.ty;
        let field = field_name(&fields.name, "name");
        let name = parse_name(route, &request.text(&fields.name), &field)?;
        let etag = request.text(&fields.etag);
        let idempotent = self.idempotent(route, "delete", &request)?;
        if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
            return Ok(answer);
        }
        let key = route.resource.key(&name);
        for _ in 0..self.limits.write_attempts_max {
            let guard = self.guard(route, &name, None).await?;
            let turn = route.deployment.begin().await?;
            let found = route.deployment.backend.get(&key).await;
            let (row, _) = found.map_err(|error| errors::store(&error))?;
            let Some(row) = row else {
                // It may be gone because this very request was carried out meanwhile, by another call.
                if let Some(answer) = self.answer_before(route, idempotent.as_ref()).await? {
                    return Ok(answer);
                }
                if request.flag(&fields.allow_missing) {
                    return Ok(respond::written(&route.binding.response, ty, None, &self.seams));
                }
                return Err(errors::not_found(ty, &name));
            };
            if !etag.is_empty() && !etag_matches(&decode(ty, &name, &row)?, &etag) {
                return Err(errors::conflict(ty, &name, "has another etag now"));
            }
            let answer = respond::deleted(&route.binding.response, ty, &row.body, &self.seams);
            if request.flag(&fields.validate_only) {
                return Ok(answer);
            }
            let mut conditions = vec![Condition::RowAt { key: key.clone(), version: row.version }];
            let mut writes = vec![Write::Remove { key: key.clone() }];
            conditions.extend(self.ownership_conditions(guard.as_ref()));
            if let Some((condition, write)) =
                self.leave_behind(&route.deployment, &route.resource, &name).await?
            {
                conditions.push(condition);
                writes.push(write);
            }
            match self.commit(route, turn, conditions, writes, idempotent.as_ref(), &answer).await?
            {
                Outcome::Committed => return Ok(answer),
                Outcome::Answered(answer) => return Ok(answer),
                Outcome::Lost => self.refresh(route, guard.as_ref()).await?,
            }
        }
        Err(errors::conflict(ty, &name, "is written by many at once"))
    }
}
