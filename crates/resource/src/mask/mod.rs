//! Field masks (AIP-157, AIP-161): which parts of a resource a request reads, writes or waits for.
//!
//! [`parse`](Mask::parse) makes a mask from paths, `read` cuts messages down to it and compares through it, [`diff`]
//! makes one from two messages. Writing through a mask is in [`crate::update`].

mod diff;
mod parse;
mod read;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use prost_reflect::{FieldDescriptor, MapKey, MessageDescriptor};

use crate::metadata;
use crate::path::{METADATA, PathError, Shape, write_key};
use crate::value::key_text;

pub use diff::diff;
pub(crate) use read::below_key;

/// Most paths of one mask.
pub const MASK_PATHS_MAX: usize = 1000;

/// A set of paths of one message type.
///
/// A mask without paths is *empty*; for reading that means everything, for writing it is the caller's choice
/// ([`crate::update::Unmasked`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    pub(crate) message: MessageDescriptor,
    pub(crate) resource: Tree,
    /// Paths into metadata that is kept beside the resource.
    pub(crate) beside: Tree,
}

/// Which parts of one value are in a mask.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// All of it.
    All,
    /// These fields of a message, by number; none of it if there are none.
    Message(BTreeMap<u32, Tree>),
    /// These parts of each item of a list.
    Items(Box<Tree>),
    Map {
        keys: BTreeMap<MapKey, Tree>,
        /// These parts of every value that is not in `keys`.
        each: Option<Box<Tree>>,
    },
}

/// Why paths are not a mask of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("mask has {paths} paths, at most {MASK_PATHS_MAX} are allowed")]
    TooManyPaths { paths: usize },
    #[error("\"{path}\" is not a path of the resource")]
    BadPath {
        path: String,
        #[source]
        source: PathError,
    },
}

impl Mask {
    /// A mask of this message without any path.
    pub fn empty(message: &MessageDescriptor) -> Self {
        Self { message: message.clone(), resource: Tree::nothing(), beside: Tree::nothing() }
    }

    /// The mask `*`.
    pub fn everything(message: &MessageDescriptor) -> Self {
        Self { message: message.clone(), resource: Tree::All, beside: Tree::All }
    }

    /// The mask of these fields of the message.
    pub fn of_fields<'a>(
        message: &MessageDescriptor,
        fields: impl IntoIterator<Item = &'a FieldDescriptor>,
    ) -> Self {
        let mut mask = Self::empty(message);
        for field in fields {
            mask.add_field(field);
        }
        mask
    }

    /// Whether it has no paths.
    pub fn is_empty(&self) -> bool {
        self.resource.is_nothing() && self.beside.is_nothing()
    }

    /// Whether it is `*`.
    pub fn is_everything(&self) -> bool {
        self.resource == Tree::All
    }

    /// Adds a whole field of the message.
    pub fn add_field(&mut self, field: &FieldDescriptor) {
        if let Tree::Message(fields) = &mut self.resource {
            fields.insert(field.number(), Tree::All);
        }
    }

    /// Adds every path of `other`, which is a mask of the same message.
    pub fn add(&mut self, other: &Mask) {
        self.resource.join(&other.resource);
        self.beside.join(&other.beside);
    }

    /// The paths in proto names, sorted by field number, each parsing back to the same.
    pub fn paths(&self) -> Vec<String> {
        if self.is_everything() {
            return vec!["*".to_owned()];
        }
        let mut paths = Vec::new();
        list_paths(&self.resource, &Shape::message(&self.message), "", &mut paths);
        let meta = Shape::message(metadata::descriptor());
        list_paths(&self.beside, &meta, METADATA, &mut paths);
        paths
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.paths().join(","))
    }
}

impl Shape {
    pub(super) fn message(message: &MessageDescriptor) -> Self {
        Self::One(prost_reflect::Kind::Message(message.clone()))
    }
}

impl Tree {
    pub(crate) fn nothing() -> Self {
        Self::Message(BTreeMap::new())
    }

    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Message(fields) if fields.is_empty())
    }

    /// Adds what `other` has. Depth is that of the shallower tree.
    fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (_, other) if other.is_nothing() => {}
            (mine, other) if mine.is_nothing() => *mine = other.clone(),
            (Self::Message(mine), Self::Message(other)) => {
                for (number, tree) in other {
                    mine.entry(*number).or_insert_with(Self::nothing).join(tree);
                }
            }
            (Self::Items(mine), Self::Items(other)) => mine.join(other),
            (Self::Map { keys, each }, Self::Map { keys: more, each: more_each }) => {
                join_maps(keys, each, more, more_each.as_deref());
            }
            // Trees of one message agree on what is where, so nothing else can meet.
            _ => {}
        }
    }
}

/// A key of one map that is not in the other also has what the other has for each.
fn join_maps(
    keys: &mut BTreeMap<MapKey, Tree>,
    each: &mut Option<Box<Tree>>,
    more: &BTreeMap<MapKey, Tree>,
    more_each: Option<&Tree>,
) {
    for (key, tree) in keys.iter_mut() {
        if let Some(more_each) = more_each.filter(|_| !more.contains_key(key)) {
            tree.join(more_each);
        }
    }
    for (key, tree) in more {
        let start = || each.as_deref().cloned().unwrap_or_else(Tree::nothing);
        keys.entry(key.clone()).or_insert_with(start).join(tree);
    }
    if let Some(more_each) = more_each {
        each.get_or_insert_with(|| Box::new(Tree::nothing())).join(more_each);
    }
}

fn list_paths(tree: &Tree, shape: &Shape, prefix: &str, out: &mut Vec<String>) {
    let dotted = |name: &str| {
        if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
    };
    match (tree, shape) {
        (Tree::All, _) => out.push(prefix.to_owned()),
        (Tree::Message(fields), Shape::One(kind) | Shape::List(kind)) => {
            let Some(message) = kind.as_message() else { return };
            for (number, below) in fields {
                let Some(field) = message.get_field(*number) else { continue };
                list_paths(below, &Shape::of(&field), &dotted(field.name()), out);
            }
        }
        (Tree::Items(below), Shape::List(kind)) => {
            list_paths(below, &Shape::One(kind.clone()), &dotted("*"), out);
        }
        (Tree::Map { keys, each }, Shape::Map { value, .. }) => {
            let value = Shape::One(value.clone());
            for (key, below) in keys {
                list_paths(below, &value, &dotted(&Key(&key_text(key)).to_string()), out);
            }
            if let Some(each) = each {
                list_paths(each, &value, &dotted("*"), out);
            }
        }
        _ => {}
    }
}

/// A map key as it stands in a path.
struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, self.0)
    }
}
