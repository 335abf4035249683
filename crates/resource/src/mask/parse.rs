//! From paths to a mask.

use std::collections::BTreeMap;

use bowline_schema::model::ResourceType;
use prost_reflect::{Kind, MessageDescriptor};

use crate::metadata;
use crate::path::{
    METADATA, PathError, PathProblem, Segment, Shape, find_field, is_beside, kind_name, map_key,
    parse_segments,
};

use super::{MASK_PATHS_MAX, Mask, MaskError, Tree};

/// Every part of what is at this place of the path.
const STAR: &str = "*";

impl Mask {
    /// The mask of these paths of a resource of `ty`; `*` is everything, also as the key of a map or for the items of
    /// a list. No paths, or only empty ones, give the empty mask.
    ///
    /// # Errors
    /// [`MaskError`] for the first path that does not exist.
    pub fn parse<S: AsRef<str>>(paths: &[S], ty: &ResourceType) -> Result<Self, MaskError> {
        Self::of_paths(paths, &ty.message, |first| is_beside(ty, first))
    }

    /// The mask that the text form of `google.protobuf.FieldMask` says: paths with commas between them.
    ///
    /// # Errors
    /// As [`Mask::parse`].
    pub fn parse_text(text: &str, ty: &ResourceType) -> Result<Self, MaskError> {
        Self::parse(&split_commas(text), ty)
    }

    /// The mask of these paths of any message; see [`Mask::parse`].
    ///
    /// # Errors
    /// As [`Mask::parse`].
    pub fn parse_for<S: AsRef<str>>(
        paths: &[S],
        message: &MessageDescriptor,
    ) -> Result<Self, MaskError> {
        Self::of_paths(paths, message, |_| false)
    }

    fn of_paths<S: AsRef<str>>(
        paths: &[S],
        message: &MessageDescriptor,
        is_beside: impl Fn(&Segment) -> bool,
    ) -> Result<Self, MaskError> {
        if paths.len() > MASK_PATHS_MAX {
            return Err(MaskError::TooManyPaths { paths: paths.len() });
        }
        let mut mask = Self::empty(message);
        for path in paths.iter().map(|path| path.as_ref().trim()).filter(|path| !path.is_empty()) {
            mask.insert(path, &is_beside)
                .map_err(|source| MaskError::BadPath { path: path.to_owned(), source })?;
        }
        Ok(mask)
    }

    fn insert(
        &mut self,
        path: &str,
        is_beside: impl Fn(&Segment) -> bool,
    ) -> Result<(), PathError> {
        let segments = parse_segments(path)?;
        let added = match segments.split_first() {
            Some((first, [])) if is_star(first) => {
                *self = Self::everything(&self.message);
                return Ok(());
            }
            Some((first, rest)) if is_beside(first) => {
                let tree = tree_of(rest, &Shape::message(metadata::descriptor()), METADATA)?;
                self.beside.join(&tree);
                return Ok(());
            }
            _ => tree_of(&segments, &Shape::message(&self.message), "the resource")?,
        };
        self.resource.join(&added);
        Ok(())
    }
}

fn is_star(segment: &Segment) -> bool {
    segment.text == STAR && !segment.quoted
}

/// The tree of one path. Depth is the number of segments, which is bounded.
fn tree_of(segments: &[Segment], shape: &Shape, before: &str) -> Result<Tree, PathError> {
    let Some((first, rest)) = segments.split_first() else { return Ok(Tree::All) };
    match shape {
        Shape::Map { value, .. } if is_star(first) => {
            let each = tree_of(rest, &Shape::One(value.clone()), &first.text)?;
            let each = Some(Box::new(each));
            Ok(Tree::Map { keys: BTreeMap::new(), each }.shortened())
        }
        Shape::Map { key, value } => {
            let key = map_key(key, first)?;
            let tree = tree_of(rest, &Shape::One(value.clone()), &first.text)?;
            Ok(Tree::Map { keys: BTreeMap::from([(key, tree)]), each: None })
        }
        Shape::List(kind) => {
            let rest = if is_star(first) { rest } else { segments };
            let items = tree_of(rest, &Shape::One(kind.clone()), before)?;
            Ok(Tree::Items(Box::new(items)).shortened())
        }
        // `spec.*` is every field of it, which is `spec`.
        Shape::One(Kind::Message(_)) if is_star(first) && rest.is_empty() => Ok(Tree::All),
        Shape::One(Kind::Message(message)) => {
            let field = find_field(message, first)?;
            let tree = tree_of(rest, &Shape::of(&field), &first.text)?;
            Ok(Tree::Message(BTreeMap::from([(field.number(), tree)])))
        }
        Shape::One(kind) => {
            let problem = PathProblem::NoFields { field: before.to_owned(), kind: kind_name(kind) };
            Err(PathError { offset: first.offset, problem })
        }
    }
}

impl Tree {
    /// All of every item is all.
    fn shortened(self) -> Self {
        match &self {
            Self::Items(items) if **items == Self::All => Self::All,
            Self::Map { each: Some(each), .. } if **each == Self::All => Self::All,
            _ => self,
        }
    }
}

/// Splits at commas that are not escaped or quoted.
fn split_commas(text: &str) -> Vec<&str> {
    let mut paths = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if !quoted => escaped = true,
            '`' => quoted = !quoted,
            ',' if !quoted => {
                paths.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    paths.push(&text[start..]);
    paths
}
