//! Declared indexes: which values a resource has in them, and which of their ranges hold all that a filter matches.
//!
//! An index never decides: it leads to rows that may match, and the filter judges each. What it must never do is miss one.
//! A value is encoded as a sort key of one field ([`crate::order`]), so that an index is in the order of the list.
//! What a filter asks of an index is in `filter`; how rows are then read is not here.

mod bounds;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use bowline_schema::model::ResourceType;
use prost_reflect::{Kind, Value};

use crate::document::Document;
use crate::name::split_domain;
use crate::order::SortKey;
use crate::order::key::{ABSENT, PRESENT};
use crate::path::{Leaf, Path, Shape};
use crate::value::{WellKnown, key_text, unwrapped, unwrapped_kind, well_known};

pub use bounds::{Bounds, ByteRange};

/// Longest value of an entry.
pub const VALUE_BYTES_MAX: usize = 512;
/// Most indexes of a type; those declared beyond are not kept.
pub const INDEXES_MAX: usize = 24;
/// Longest name of an index.
const NAME_BYTES_MAX: usize = 400;
/// A resource with more values, or more bytes of values, is in every range of the index instead.
const VALUES_MAX: usize = 256;
const VALUES_BYTES_MAX: usize = 32 * 1024;
/// How much of the key of a map, and of the value under it, counts.
pub(crate) const MAP_PART_BYTES_MAX: usize = 230;
/// Raised when values are encoded in another way, so that indexes of old and new binaries are not mixed.
const ENCODING: u32 = 1;

/// A resource name without its domain, for names that have one.
pub(crate) const RELATIVE_NAME: u8 = 2;
/// The resource has too many values.
pub(crate) const TOO_MANY: u8 = 0xfe;

/// An index over one path of a type.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredIndex {
    pub(crate) path: Path,
    name: Arc<str>,
    pub(crate) sort: Sort,
}

/// What sort of values an index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// At most one per resource.
    One,
    /// At most one resource name, which is entered without its domain too.
    Name,
    /// Any number: items of lists, or a field of them.
    Many,
    /// Keys of a map, each with its value if that is a scalar.
    Map,
}

impl DeclaredIndex {
    /// The indexes that a type declares, as far as they can be kept: on scalars, times, and lists and maps of those.
    pub fn of_type(ty: &ResourceType) -> Vec<Self> {
        let indexes = ty.index.iter().filter_map(|path| Self::on(path, ty));
        indexes.take(INDEXES_MAX).collect()
    }

    fn on(path: &str, ty: &ResourceType) -> Option<Self> {
        let path = Path::parse(path, ty).ok()?;
        let (sort, kind) = match path.shape() {
            Shape::List(kind) => (Sort::Many, kind),
            Shape::One(kind) if path.passes_list() => (Sort::Many, kind),
            Shape::One(kind) if is_name(&path, ty) => (Sort::Name, kind),
            Shape::One(kind) => (Sort::One, kind),
            Shape::Map { .. } if path.passes_list() => return None,
            Shape::Map { key, .. } => (Sort::Map, key),
        };
        let values = values_sort(&path, sort, kind)?;
        let name = short(format!("{}#{path}:{values}{ENCODING}", ty.kind)).into();
        Some(Self { path, name, sort })
    }

    /// The name of the index, the same in all versions of the type in which it means the same.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that is indexed, in proto names.
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    /// Whether a resource is in each value range of the index once at most, so that rows need not be told apart.
    pub fn is_single(&self) -> bool {
        self.sort == Sort::One
    }

    /// Whether the order of the index is that of a list ordered by `path`.
    pub fn orders(&self, path: &Path) -> bool {
        matches!(self.sort, Sort::One | Sort::Name) && self.path == *path
    }

    /// The range that has every resource once, in list order.
    pub fn ordered_bounds(&self) -> Bounds {
        Bounds::of(ByteRange { from: vec![ABSENT], to: Some(vec![PRESENT + 1]) })
    }

    /// The values that a resource has in the index, each once; never none.
    pub fn values(&self, document: &Document) -> BTreeSet<Vec<u8>> {
        let mut values = BTreeSet::new();
        self.path.walk(document, &mut |leaf| {
            self.add_leaf(leaf, &mut values);
            false
        });
        let n_bytes: usize = values.iter().map(|value| value.len() + self.name.len()).sum();
        if values.len() > VALUES_MAX || n_bytes > VALUES_BYTES_MAX {
            return BTreeSet::from([vec![TOO_MANY]]);
        }
        if values.is_empty() {
            values.insert(vec![ABSENT]);
        }
        values
    }

    fn add_leaf(&self, leaf: Leaf<'_>, values: &mut BTreeSet<Vec<u8>>) {
        match leaf {
            Leaf::Present(Value::List(items)) => {
                values.extend(items.iter().take(VALUES_MAX + 1).map(value_key));
            }
            Leaf::Present(Value::Map(entries)) => {
                let entries = entries.iter().take(VALUES_MAX + 1);
                values.extend(entries.map(|(key, value)| map_key(&key_text(key), Some(value))));
            }
            Leaf::Present(value) => {
                values.insert(value_key(value));
                if let (Sort::Name, Some(name)) = (self.sort, value.as_str())
                    && let (Some(_), relative) = split_domain(name)
                {
                    values.insert(text_key(RELATIVE_NAME, relative));
                }
            }
            Leaf::Default => match self.path.default_value() {
                Some(value) => {
                    values.insert(value_key(&value));
                }
                None => {
                    values.insert(vec![ABSENT]);
                }
            },
            Leaf::Absent => {
                values.insert(vec![ABSENT]);
            }
        }
    }
}

/// Whether the path holds the resource's own name or a reference, as filters see it.
fn is_name(path: &Path, ty: &ResourceType) -> bool {
    let path = path.fields_only();
    path == ty.name_field.name() || ty.references.iter().any(|r| r.path == path)
}

/// A value as the index has it.
pub(crate) fn value_key(value: &Value) -> Vec<u8> {
    let mut key = SortKey::default();
    key.push_value(value);
    key.into_bytes()
}

/// A text as the index has it, under another mark.
pub(crate) fn text_key(mark: u8, text: &str) -> Vec<u8> {
    let mut key = SortKey::default();
    key.push_mark(mark);
    key.push_text(text.as_bytes(), crate::order::key::TEXT_BYTES_MAX);
    key.into_bytes()
}

/// A key of a map, and the value under it if it is one that can be compared.
pub(crate) fn map_key(text: &str, value: Option<&Value>) -> Vec<u8> {
    let mut key = SortKey::default();
    key.push_mark(PRESENT);
    key.push_text(text.as_bytes(), MAP_PART_BYTES_MAX);
    match value.map(unwrapped).as_deref() {
        None => {}
        Some(Value::String(text)) => push_part(&mut key, text.as_bytes()),
        Some(Value::Bytes(bytes)) => push_part(&mut key, bytes),
        Some(value) => key.push_value(value),
    }
    key.into_bytes()
}

fn push_part(key: &mut SortKey, text: &[u8]) {
    key.push_mark(PRESENT);
    key.push_text(text, MAP_PART_BYTES_MAX);
}

/// What the values are, in the name of the index: another sort is another index.
fn values_sort(path: &Path, sort: Sort, kind: &Kind) -> Option<String> {
    let values = value_sort(kind)?;
    Some(match (sort, path.shape()) {
        (Sort::One, _) => values.to_owned(),
        (Sort::Name, _) => "name".to_owned(),
        (Sort::Many, _) => format!("list-{values}"),
        (Sort::Map, Shape::Map { value, .. }) => {
            format!("map-{values}-{}", value_sort(value).unwrap_or("message"))
        }
        (Sort::Map, _) => return None,
    })
}

fn value_sort(kind: &Kind) -> Option<&'static str> {
    Some(match unwrapped_kind(kind) {
        Kind::String => "text",
        Kind::Bytes => "bytes",
        Kind::Bool => "bool",
        Kind::Float | Kind::Double => "float",
        Kind::Message(message) => match well_known(&message)? {
            WellKnown::Timestamp | WellKnown::Duration => "time",
            WellKnown::Wrapper => return None,
        },
        _ => "number",
    })
}

/// A long name cut, with a hash of the whole.
fn short(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let hash = xxhash_rust::xxh3::xxh3_128(name.as_bytes());
    let mut end = NAME_BYTES_MAX - 33;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{hash:032x}", &name[..end])
}
