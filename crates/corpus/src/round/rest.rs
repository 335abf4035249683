//! The same resource over REST: read as JSON, and created from JSON, where the methods have a path for its name.

use std::sync::Arc;

use axum::body::Body;
use bowline_schema::http::HttpRule;
use bowline_schema::model::Verb;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use prost_reflect::DynamicMessage;

use super::calls::{Bound, Failure};
use super::check;
use super::targets;
use super::writes::Round;

impl Round<'_> {
    /// What REST shows is what the handler answers; `None` if no path takes the name.
    pub(super) async fn rest_get(&self, expected: &DynamicMessage) -> Option<Result<(), Failure>> {
        let bound = self.calls.get(Verb::Get)?;
        let field = bound.fields().name.as_ref()?.name().to_owned();
        let name = check::name_of(self.ty, expected);
        let (path, _) = self.path_of(&bound, "GET", &field, &name)?;
        let shown = self.rest("GET", &path, Body::empty()).await;
        Some(shown.and_then(|json| self.equals(&json, expected)))
    }

    /// A resource that is made from JSON is the one that JSON describes; `None` if no path takes the parent.
    pub(super) async fn rest_create(&self) -> Option<Result<(), Failure>> {
        let bound = self.calls.get(Verb::Create)?;
        let fields = bound.fields();
        let (parent, resource) = (fields.parent.as_ref()?, fields.resource.as_ref()?);
        let name = self.name("delta");
        if self.is_singleton() || fields.resource_id.is_none() {
            return None;
        }
        let (mut path, rule) = self.path_of(&bound, "POST", parent.name(), &name.parent)?;
        let sent = self.filled(3);
        let whole = rule.body == "*";
        if !whole && rule.body != resource.name() {
            return None;
        }
        let body = if whole {
            let mut request = bound.request();
            super::calls::set_resource(&bound, &mut request, sent.clone());
            super::calls::set_text(&mut request, &fields.resource_id, &name.id);
            request
        } else {
            let id = fields.resource_id.as_ref()?;
            path.push_str(&format!("?{}={}", id.name(), name.id));
            sent.clone()
        };
        Some(self.post(&path, &body, &sent, &name.text).await)
    }

    async fn post(
        &self,
        path: &str,
        body: &DynamicMessage,
        sent: &DynamicMessage,
        name: &str,
    ) -> Result<(), Failure> {
        targets::plant(self.world, self.ty, name, sent).await?;
        let json =
            serde_json::to_vec(body).map_err(|error| wrong("the resource as JSON", &error))?;
        self.rest("POST", path, Body::from(json)).await?;
        if let Some(got) = self.read(name).await {
            check::kept(&self.plan, sent, &got?)?;
        }
        match self.calls.get(Verb::Delete) {
            Some(bound) => self.delete_call(&bound, name, None).await.map(drop),
            None => Ok(()),
        }
    }

    fn equals(&self, json: &[u8], expected: &DynamicMessage) -> Result<(), Failure> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let got = DynamicMessage::deserialize(self.ty.message.clone(), &mut reader);
        let got = got.map_err(|error| wrong("the JSON does not fit the type", &error))?;
        check::same(&self.plan, expected, &got)
            .map_err(|error| Failure::Wrong(format!("over REST: {error}")))
    }

    /// The path of the first rule that takes this value of this field and no other.
    ///
    /// Types with the same pattern have the same default paths, and only one of them can answer; such rules are passed over.
    fn path_of<'b>(
        &self,
        bound: &'b Bound,
        verb: &str,
        field: &str,
        value: &str,
    ) -> Option<(String, &'b HttpRule)> {
        let value_of = |variable: &str| (variable == field).then(|| value.to_owned());
        let rules = bound.method.http.iter().filter(|rule| rule.method == verb);
        rules
            .filter(|rule| !self.is_shared(bound, rule))
            .find_map(|rule| Some((rule.template.render(&value_of)?, rule)))
    }

    /// Another method of the same service has the same path.
    fn is_shared(&self, bound: &Bound, rule: &HttpRule) -> bool {
        let same = |other: &HttpRule| {
            let (a, b) = (&other.template, &rule.template);
            other.method == rule.method && a.segments == b.segments && a.verb == b.verb
        };
        self.plan.registry.methods.values().any(|method| {
            let other = method.path != bound.method.path && method.service == bound.method.service;
            other && method.http.iter().any(same)
        })
    }

    async fn rest(&self, method: &str, path: &str, body: Body) -> Result<Vec<u8>, Failure> {
        let request = Request::builder().method(method).uri(path);
        // Services of one node may have the same paths; the host tells them apart.
        let request = request.header("host", &self.ty.service);
        let request = request.header("content-type", "application/json").body(body);
        let request = request.map_err(|error| wrong(path, &error))?;
        let response = self.rest.call(request, Arc::from("corpus")).await;
        let status = response.status();
        let bytes = response.into_body().collect().await;
        let bytes = bytes.map_err(|error| wrong("the body", &error))?.to_bytes();
        if status == StatusCode::OK {
            return Ok(bytes.to_vec());
        }
        let text = String::from_utf8_lossy(&bytes);
        let text: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        Err(Failure::Wrong(format!("{method} \"{path}\" answered {status}: {text}")))
    }
}

fn wrong(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Wrong(format!("over REST: {what}: {error}"))
}
