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
