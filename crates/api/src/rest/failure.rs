//! A failed REST request: the canonical status, and what HTTP says beyond it.

use axum::body::Body;
use bowline_base::{Detail, Status};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::json_write::{WriteOptions, to_text};
use crate::wire_errors;

/// What a failed request is answered with.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: Status,
    /// The code of the status, unless HTTP has a better one (405, 413, 415).
    pub(super) http: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let http = http_code(&status);
        Self { status, http, headers: Vec::new() }
    }
}

impl Failure {
    /// The same failure under another HTTP code.
    pub(super) fn with_http(mut self, http: StatusCode) -> Self {
        self.http = http;
        self
    }

    /// The response; an internal error is logged on the way.
    pub(super) fn into_response(self, options: WriteOptions) -> Response<Body> {
        let body = to_text(&wire_errors::to_json(&self.status, self.http.as_u16()), options);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.http;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.headers);
        if let Some(seconds) = retry_after(&self.status) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The HTTP code of a status.
pub(super) fn http_code(status: &Status) -> StatusCode {
    StatusCode::from_u16(status.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whole seconds for `Retry-After`, never too early.
fn retry_after(status: &Status) -> Option<u64> {
    status.details.iter().find_map(|detail| match detail {
        Detail::Retry { after } => Some(after.as_secs() + u64::from(after.subsec_nanos() > 0)),
        _ => None,
    })
}
