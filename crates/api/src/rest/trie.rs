//! All path templates in one tree: literals before `*` before `**`, with backtracking.
//!
//! A template's `**` stands only at its end, so every step down the tree takes exactly one segment: a look-up
//! visits each node at most once, whatever the path is.

use std::collections::BTreeMap;
use std::sync::Arc;

use bowline_schema::http::{HttpRule, Segment};
use bowline_schema::model::Method;

use super::path::{PathSegment, RequestPath};

/// A method reached by one of its HTTP rules.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) method: Arc<Method>,
    pub(super) rule: HttpRule,
}

#[derive(Debug, Default)]
pub(super) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<String, Node>,
    one: Option<Box<Node>>,
    /// Templates that end here.
    ends: Vec<Route>,
    /// Templates that end here with `**`.
    rest: Vec<Route>,
}

/// How far a path that matches nothing came, for the hint in the error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Furthest {
    /// Segments that fit.
    pub(super) depth: usize,
    /// Literals that could have come next.
    pub(super) next: Vec<String>,
    /// Anything could have come next.
    pub(super) any: bool,
}

impl Trie {
    /// Adds a route. Among routes of the same template, verb and HTTP method the first one wins.
    pub(super) fn insert(&mut self, route: Route) {
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &route.rule.template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::One => node = node.one.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        if rest { node.rest.push(route) } else { node.ends.push(route) }
    }

    /// The first route, in order of precedence, that fits the path and that `accept` takes.
    pub(super) fn find(
        &self,
        path: &RequestPath<'_>,
        accept: &mut dyn FnMut(&Route) -> bool,
    ) -> Option<&Route> {
        find(&self.root, &path.segments, path.verb, accept)
    }

    /// How far the path goes along any template.
    pub(super) fn furthest(&self, path: &RequestPath<'_>) -> Furthest {
        let mut best = Furthest::default();
        walk(&self.root, &path.segments, 0, &mut best);
        best
    }
}

fn find<'t>(
    node: &'t Node,
    segments: &[PathSegment<'_>],
    verb: Option<&str>,
    accept: &mut dyn FnMut(&Route) -> bool,
) -> Option<&'t Route> {
    if let Some((first, others)) = segments.split_first() {
        let literal = node.literals.get(first.text.as_ref());
        if let Some(found) = literal.and_then(|next| find(next, others, verb, accept)) {
            return Some(found);
        }
        // An empty segment is no id: `projects//devices` matches nothing.
        let one = node.one.as_deref().filter(|_| !first.text.is_empty());
        if let Some(found) = one.and_then(|next| find(next, others, verb, accept)) {
            return Some(found);
        }
    }
    let ends = if segments.is_empty() { node.ends.as_slice() } else { &[] };
    let fits = |route: &&Route| route.rule.template.verb.as_deref() == verb;
    ends.iter().chain(&node.rest).filter(fits).find(|route| accept(route))
}

fn walk(node: &Node, segments: &[PathSegment<'_>], depth: usize, best: &mut Furthest) {
    if depth > best.depth {
        *best = Furthest { depth, ..Furthest::default() };
    }
    if depth == best.depth {
        best.next.extend(node.literals.keys().cloned());
        best.any |= node.one.is_some();
    }
    let Some((first, others)) = segments.split_first() else { return };
    if let Some(next) = node.literals.get(first.text.as_ref()) {
        walk(next, others, depth + 1, best);
    }
    if let Some(next) = node.one.as_deref().filter(|_| !first.text.is_empty()) {
        walk(next, others, depth + 1, best);
    }
}

#[cfg(test)]
mod tests {
    use bowline_schema::http::Template;
    use proptest::prelude::*;

    use super::*;
    use crate::rest::fixture::registry;

    fn trie(templates: &[&str]) -> Trie {
        let method = registry().services[0].versions[0].methods[0].clone();
        let mut trie = Trie::default();
        for text in templates {
            let template = Template::parse(text).unwrap();
            let (body, response_body) = (String::new(), String::new());
            let rule = HttpRule { method: "GET".to_owned(), template, body, response_body };
            trie.insert(Route { method: method.clone(), rule });
        }
        trie
    }

    fn found<'t>(trie: &'t Trie, path: &str) -> Option<&'t str> {
        let plain = RequestPath::parse(path).unwrap();
        let readings = plain.with_verb().into_iter().chain([plain]);
        let mut found = readings.filter_map(|reading| trie.find(&reading, &mut |_| true));
        found.next().map(|route| route.rule.template.text.as_str())
    }

    #[test]
    fn a_literal_wins_over_one_segment_and_that_over_the_rest() {
        let trie = trie(&["/v1/**", "/v1/{name=*}", "/v1/special", "/v1/*/b"]);
        assert_eq!(found(&trie, "/v1/special"), Some("/v1/special"));
        assert_eq!(found(&trie, "/v1/other"), Some("/v1/{name=*}"));
        assert_eq!(found(&trie, "/v1/other/b"), Some("/v1/*/b"));
        assert_eq!(found(&trie, "/v1/other/c"), Some("/v1/**"));
        assert_eq!(found(&trie, "/v1"), Some("/v1/**"));
    }

    #[test]
    fn a_literal_that_leads_nowhere_is_left_again() {
        let trie = trie(&["/v1/a/x", "/v1/*/y", "/v1/**"]);
        assert_eq!(found(&trie, "/v1/a/y"), Some("/v1/*/y"));
        assert_eq!(found(&trie, "/v1/a/z"), Some("/v1/**"));
    }

    #[test]
    fn the_first_of_equal_templates_wins() {
        let trie = trie(&["/v1/{name=a/*}", "/v1/a/{id}"]);
        assert_eq!(found(&trie, "/v1/a/b"), Some("/v1/{name=a/*}"));
    }

    const PARTS: [&str; 4] = ["a", "b", "*", "**"];

    fn template() -> impl Strategy<Value = String> {
        let parts = prop::collection::vec(prop::sample::select(&PARTS[..3]), 1..4);
        (parts, any::<bool>(), prop::sample::select(vec!["", ":go", ":run"])).prop_map(
            |(parts, rest, verb)| {
                let rest = if rest { "/**" } else { "" };
                format!("/{}{rest}{verb}", parts.join("/"))
            },
        )
    }

    /// Smaller wins: per segment a literal, then `*`, then `**` or the end.
    fn rank(template: &Template) -> Vec<u8> {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 0,
            Segment::One => 1,
            Segment::Rest => 3,
        };
        template.segments.iter().map(rank).chain([2]).collect()
    }

    proptest! {
        /// The tree finds what trying all templates one by one finds.
        #[test]
        fn the_tree_equals_a_search_through_all_templates(
            templates in prop::collection::vec(template(), 1..12),
            path in "(/(a|b|c|go|a:go|b:run|:go|)){1,5}",
        ) {
            let texts: Vec<_> = templates.iter().map(String::as_str).collect();
            let trie = trie(&texts);
            let plain = RequestPath::parse(&path).unwrap();
            for reading in plain.with_verb().into_iter().chain([plain]) {
                let parts: Vec<_> = reading.segments.iter().map(|s| s.text.as_ref()).collect();
                let mut fitting: Vec<_> = texts
                    .iter()
                    .map(|text| Template::parse(text).unwrap())
                    .filter(|template| template.matches(&parts, reading.verb).is_some())
                    .collect();
                fitting.sort_by_key(rank);
                let found = trie.find(&reading, &mut |_| true);
                prop_assert_eq!(
                    found.map(|route| &route.rule.template.text),
                    fitting.first().map(|template| &template.text),
                    "{} among {:?}", path, texts
                );
            }
        }
    }
}
