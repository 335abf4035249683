//! From HTTP method, path and host to a route, or to an error that helps.

use std::collections::BTreeSet;

use bowline_base::{Reason, Status};
use bowline_schema::model::{Registry, Role};
use http::{HeaderValue, Method as HttpMethod, StatusCode};

use super::failure::Failure;
use super::path::RequestPath;
use super::suggest::nearest;
use super::trie::{Route, Trie};

/// Most literals that a hint lists.
const HINT_WORDS_MAX: usize = 8;

/// Every route of a registry.
#[derive(Debug)]
pub(super) struct Routes {
    trie: Trie,
    /// Service names: a request for such a host reaches that service first.
    services: BTreeSet<String>,
}

/// A route with the reading of the path that fits it.
pub(super) struct Found<'r, 'p> {
    pub(super) route: &'r Route,
    pub(super) path: RequestPath<'p>,
}

impl Routes {
    /// Takes the rules of all methods, standard methods first: where two templates are the same, they
    /// win over actions, and earlier services over later ones.
    pub(super) fn new(registry: &Registry) -> Self {
        let mut trie = Trie::default();
        let versions = || registry.services.iter().flat_map(|service| &service.versions);
        for standard in [true, false] {
            for method in versions().flat_map(|version| &version.methods) {
                if matches!(method.role, Role::Standard(_)) != standard {
                    continue;
                }
                for rule in &method.http {
                    trie.insert(Route { method: method.clone(), rule: rule.clone() });
                }
            }
        }
        // What every server has belongs to no service. Users' paths win over it.
        for method in registry.methods.values().filter(|method| method.service.is_empty()) {
            for rule in &method.http {
                trie.insert(Route { method: method.clone(), rule: rule.clone() });
            }
        }
        Self { trie, services: registry.services.iter().map(|s| s.name.clone()).collect() }
    }

    /// The route for `method` and `path`. Services on one port may use the same paths; `host`, if it is
    /// the name of a service, picks among them.
    ///
    /// # Errors
    /// 404 with a hint if no template fits, 405 with `Allow` if one does for another HTTP method.
    pub(super) fn find<'p>(
        &self,
        method: &HttpMethod,
        path: &'p str,
        host: Option<&str>,
    ) -> Result<Found<'_, 'p>, Failure> {
        let plain = RequestPath::parse(path)?;
        let readings: Vec<_> = plain.with_verb().into_iter().chain([plain]).collect();
        // A HEAD request is a GET whose body is left out at the end.
        let wanted = if method == HttpMethod::HEAD { "GET" } else { method.as_str() };
        let host = host.filter(|host| self.services.contains(*host));
        for service in [host, None].into_iter().skip(usize::from(host.is_none())) {
            for reading in &readings {
                let mut accept = |route: &Route| {
                    serves(&route.rule.method, wanted)
                        && service.is_none_or(|name| route.method.service == name)
                };
                if let Some(route) = self.trie.find(reading, &mut accept) {
                    return Ok(Found { route, path: reading.clone() });
                }
            }
        }
        Err(self.miss(wanted, path, &readings))
    }

    /// The HTTP methods that are served at `path`; empty if none is.
    pub(super) fn allowed(&self, path: &str) -> Result<BTreeSet<String>, Failure> {
        let plain = RequestPath::parse(path)?;
        let readings: Vec<_> = plain.with_verb().into_iter().chain([plain]).collect();
        Ok(self.allowed_of(&readings))
    }

    fn allowed_of(&self, readings: &[RequestPath<'_>]) -> BTreeSet<String> {
        let mut allowed = BTreeSet::new();
        for reading in readings {
            self.trie.find(reading, &mut |route| {
                allowed.insert(route.rule.method.clone());
                false
            });
        }
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        allowed
    }

    fn miss(&self, method: &str, path: &str, readings: &[RequestPath<'_>]) -> Failure {
        let allowed = self.allowed_of(readings);
        let shown: String = path.chars().take(200).collect();
        if allowed.is_empty() {
            let hint = readings.last().map(|plain| self.hint(plain)).unwrap_or_default();
            let text = format!("no method is served at {method} {shown}{hint}");
            return Failure::from(Status::new(Reason::MethodNotFound, text));
        }
        let list = allow_list(&allowed);
        let text = format!("{method} is not served at {shown}, only {list}");
        let mut failure = Failure::from(Status::new(Reason::MethodNotFound, text));
        failure.http = StatusCode::METHOD_NOT_ALLOWED;
        failure.headers.extend(HeaderValue::from_str(&list).ok().map(|v| (http::header::ALLOW, v)));
        failure
    }

    /// What the path could have meant.
    fn hint(&self, path: &RequestPath<'_>) -> String {
        let furthest = self.trie.furthest(path);
        let Some(wrong) = path.segments.get(furthest.depth) else {
            return "; the path ends too early".to_owned();
        };
        if wrong.text.is_empty() {
            return "; the path has an empty segment".to_owned();
        }
        // A word may be right and only its verb wrong: compare what is before the colon as well.
        let word = wrong.text.split(':').next().unwrap_or_default();
        let shown: String = wrong.text.chars().take(80).collect();
        let place = format!("; segment {} is `{shown}`", furthest.depth + 1);
        match nearest(word, furthest.next.iter().map(String::as_str)) {
            Some(near) if near == word => format!("{place}, and it has no such verb"),
            Some(near) => format!("{place}; did you mean `{near}`?"),
            None if furthest.next.is_empty() => format!("{place}, where nothing is expected"),
            None => {
                let words = furthest.next.iter().take(HINT_WORDS_MAX).map(|w| format!("`{w}`"));
                format!("{place}; expected {}", words.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A rule of the custom kind `*` serves every HTTP method.
fn serves(rule_method: &str, wanted: &str) -> bool {
    rule_method == wanted || rule_method == "*"
}

/// As the header `Allow` lists them.
pub(super) fn allow_list(allowed: &BTreeSet<String>) -> String {
    let with_options = allowed.iter().map(String::as_str).chain(["OPTIONS"]);
    with_options.collect::<Vec<_>>().join(", ")
}
