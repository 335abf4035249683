//! What the port answers beside the API: an index, health, and the OpenAPI documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bowline_schema::model::{Method, Registry};
use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::json_write::{WriteOptions, to_text};
use super::respond::json_response;
use crate::openapi;

/// Says which methods have something that answers them.
pub type Served = Arc<dyn Fn(&Method) -> bool + Send + Sync>;

/// The fixed pages of a node.
pub(super) struct Site {
    registry: Arc<Registry>,
    served: Served,
    /// OpenAPI documents by path, made when first asked for.
    documents: Mutex<BTreeMap<String, Bytes>>,
}

impl Site {
    pub(super) fn new(registry: Arc<Registry>, served: Served) -> Self {
        Self { registry, served, documents: Mutex::default() }
    }

    /// The page at `path`; `None` if there is none.
    pub(super) fn page(&self, path: &str) -> Option<Response<Body>> {
        let text = match path {
            "/" => pretty(&self.index()),
            "/healthz" => pretty(&json!({"status": "SERVING"})),
            "/openapi.json" => match self.only_version() {
                Some((service, version)) => self.document(service, version)?,
                None => pretty(&json!({"documents": self.document_links()})),
            },
            _ => {
                let inner = path.strip_prefix("/openapi/")?.strip_suffix(".json")?;
                let (service, version) = inner.split_once('/')?;
                self.document(service, version)?
            }
        };
        Some(json_response(text))
    }

    fn index(&self) -> Value {
        let services = self.registry.services.iter().map(|service| {
            let versions = service.versions.iter().map(|version| {
                json!({
                    "version": version.version,
                    "package": version.package,
                    "resources": version.types.iter().map(|t| &t.kind).collect::<Vec<_>>(),
                    "openapi": document_path(&service.name, &version.version),
                })
            });
            json!({"name": service.name, "versions": versions.collect::<Vec<_>>()})
        });
        json!({
            "server": format!("bowline {}", env!("CARGO_PKG_VERSION")),
            "services": services.collect::<Vec<_>>(),
            "links": {"openapi": "/openapi.json", "health": "/healthz"},
        })
    }

    fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        let services = self.registry.services.iter();
        services.flat_map(|s| s.versions.iter().map(|v| (s.name.as_str(), v.version.as_str())))
    }

    fn only_version(&self) -> Option<(&str, &str)> {
        let mut versions = self.versions();
        let first = versions.next()?;
        versions.next().is_none().then_some(first)
    }

    fn document_links(&self) -> Vec<Value> {
        let link = |(service, version): (&str, &str)| json!({"service": service, "version": version, "url": document_path(service, version)});
        self.versions().map(link).collect()
    }

    fn document(&self, service: &str, version: &str) -> Option<Bytes> {
        let path = document_path(service, version);
        let lock = || self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&path).cloned() {
            return Some(known);
        }
        let served = |method: &Method| (self.served)(method);
        let text = pretty(&openapi::document(&self.registry, service, version, &served)?);
        lock().insert(path, text.clone());
        Some(text)
    }
}

fn document_path(service: &str, version: &str) -> String {
    format!("/openapi/{service}/{version}.json")
}

fn pretty(value: &Value) -> Bytes {
    to_text(value, WriteOptions { pretty: true, enum_numbers: false }).into()
}
