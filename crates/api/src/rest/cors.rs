//! Which other origins a browser may call from: none, unless the settings list them.

use axum::body::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response};

/// Headers that a page may send.
const REQUEST_HEADERS: &str = "accept, authorization, bowline-consistency-token, bowline-explain, cache-control, content-type, last-event-id, x-request-id, x-request-timeout";

/// Headers of answers that a page may read.
const ANSWER_HEADERS: &str = "bowline-consistency-token, bowline-explain, bowline-unreachable";

/// Seconds that a browser may remember the answer to a preflight.
const MAX_AGE: &str = "600";

/// The origins that are let in; `*` lets in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Cors {
    allowed_origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(allowed_origins: Vec<String>) -> Self {
        Self { allowed_origins }
    }

    /// The origin of a request, if it has one that is let in.
    pub(super) fn admitted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(text);
        self.allowed_origins.iter().any(listed).then(|| origin.clone())
    }

    /// Marks a response as readable for `origin`.
    pub(super) fn mark(&self, response: &mut Response<Body>, origin: Option<HeaderValue>) {
        if self.allowed_origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        // Also without an origin: a cache must not give this answer to another page.
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let readable = HeaderValue::from_static(ANSWER_HEADERS);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, readable);
        }
    }
}

/// Whether a request asks, before the real one, what it may do.
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds to the answer of an admitted preflight what the page may do.
pub(super) fn permit(response: &mut Response<Body>, allow: &HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
}
