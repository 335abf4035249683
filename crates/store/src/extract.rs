//! What is taken out of a row at write time, so that conditions and indexes need not know documents: named fields and
//! index entries. Encoded once by the writer, kept with the row, opaque to backends except for looking things up.
//!
//! Encoding: for each item a tag (1 field, 2 entry), then name and value, each with its length before it (LEB128).

use bytes::{BufMut, Bytes, BytesMut};

use crate::contract::{EXTRACT_BYTES_MAX, INDEX_NAME_BYTES_MAX, VALUE_BYTES_MAX};

/// A value of a field or an index entry. Compares by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(Bytes);

impl Value {
    pub fn text(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// A number; compares as such.
    pub fn number(number: u64) -> Self {
        Self::numbers(&[number])
    }

    /// A tuple of numbers; tuples of one length compare by the first that differs.
    pub fn numbers(numbers: &[u64]) -> Self {
        let mut bytes = BytesMut::with_capacity(8 * numbers.len());
        numbers.iter().for_each(|number| bytes.put_u64(*number));
        Self(bytes.freeze())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number that [`Value::number`] made this of.
    pub fn as_number(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.0.as_ref().try_into().ok()?))
    }

    /// The smallest value above this one.
    pub fn successor(&self) -> Self {
        let mut bytes = BytesMut::with_capacity(self.0.len() + 1);
        bytes.put_slice(&self.0);
        bytes.put_u8(0);
        Self(bytes.freeze())
    }

    /// The smallest value above all that start with this one; `None` if there is none.
    pub fn after_prefix(&self) -> Option<Self> {
        let keep = self.0.iter().rposition(|byte| *byte != u8::MAX)?;
        let mut bytes = BytesMut::from(&self.0[..=keep]);
        bytes[keep] += 1;
        Some(Self(bytes.freeze()))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// An entry that a row has in an index of its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<'e> {
    /// The index, by name.
    pub index: &'e str,
    pub value: Value,
}

/// Fields and index entries of a row; cheap to clone, and nothing at all for rows that have none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Extract(Bytes);

const FIELD: u8 = 1;
const ENTRY: u8 = 2;

impl Extract {
    pub fn builder() -> ExtractBuilder {
        ExtractBuilder::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Checks what a database or a backup gave. `None` if it is damaged.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let extract = Self(bytes);
        if extract.0.len() > EXTRACT_BYTES_MAX {
            return None;
        }
        let mut rest = &extract.0[..];
        while !rest.is_empty() {
            rest = item(rest)?.rest;
        }
        Some(extract)
    }

    /// The value of a field. Cost: linear in the size of the extract.
    pub fn field(&self, name: &str) -> Option<Value> {
        let found = self.items().find(|item| item.tag == FIELD && item.name == name)?;
        Some(Value(self.0.slice_ref(found.value)))
    }

    /// All fields, by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Value)> {
        let fields = self.items().filter(|item| item.tag == FIELD);
        fields.map(|item| (item.name, Value(self.0.slice_ref(item.value))))
    }

    /// All entries, by index and value, each once.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let entries = self.items().filter(|item| item.tag == ENTRY);
        entries.map(|item| Entry { index: item.name, value: Value(self.0.slice_ref(item.value)) })
    }

    fn items(&self) -> Items<'_> {
        Items(&self.0)
    }
}

impl std::fmt::Debug for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = self.fields().map(|(name, value)| (name.to_owned(), value));
        let entries = self.entries().map(|entry| (format!("[{}]", entry.index), entry.value));
        f.debug_map().entries(fields.chain(entries)).finish()
    }
}

/// Collects an [`Extract`].
#[derive(Clone, Debug, Default)]
pub struct ExtractBuilder {
    fields: std::collections::BTreeMap<String, Value>,
    entries: std::collections::BTreeSet<(String, Value)>,
}

impl ExtractBuilder {
    /// Sets a field; the last value counts.
    #[must_use]
    pub fn field(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// Adds an entry to the index `name` of the row's namespace.
    #[must_use]
    pub fn entry(mut self, index: &str, value: Value) -> Self {
        self.entries.insert((index.to_owned(), value));
        self
    }

    /// Two extracts are equal iff they have the same fields and entries.
    pub fn build(self) -> Extract {
        let mut bytes = BytesMut::new();
        let fields = self.fields.iter().map(|(name, value)| (FIELD, name, value));
        let entries = self.entries.iter().map(|(index, value)| (ENTRY, index, value));
        for (tag, name, value) in fields.chain(entries) {
            bytes.put_u8(tag);
            put_part(&mut bytes, name.as_bytes());
            put_part(&mut bytes, value.as_bytes());
        }
        Extract(bytes.freeze())
    }
}

/// Why an extract cannot be kept.
pub(crate) fn check(extract: &Extract) -> Result<(), &'static str> {
    if extract.0.len() > EXTRACT_BYTES_MAX {
        return Err("a row has too many index entries");
    }
    for item in extract.items() {
        if item.value.len() > VALUE_BYTES_MAX {
            return Err("a value of an index entry or a field is too long");
        }
        if item.name.len() > INDEX_NAME_BYTES_MAX {
            return Err("a name of an index or a field is too long");
        }
    }
    Ok(())
}

struct Items<'e>(&'e [u8]);

struct Item<'e> {
    tag: u8,
    name: &'e str,
    value: &'e [u8],
    rest: &'e [u8],
}

impl<'e> Iterator for Items<'e> {
    type Item = Item<'e>;

    fn next(&mut self) -> Option<Item<'e>> {
        let next = item(self.0)?;
        self.0 = next.rest;
        Some(next)
    }
}

fn item(bytes: &[u8]) -> Option<Item<'_>> {
    let (&tag, rest) = bytes.split_first()?;
    let (name, rest) = part(rest)?;
    let (value, rest) = part(rest)?;
    let name = std::str::from_utf8(name).ok()?;
    (tag == FIELD || tag == ENTRY).then_some(Item { tag, name, value, rest })
}

fn put_part(bytes: &mut BytesMut, part: &[u8]) {
    let mut len = part.len();
    while len >= 0x80 {
        bytes.put_u8(0x80 | (len & 0x7f) as u8);
        len >>= 7;
    }
    bytes.put_u8(len as u8);
    bytes.put_slice(part);
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut len, mut shift, mut at) = (0_usize, 0, 0);
    loop {
        let byte = *bytes.get(at)?;
        len |= usize::from(byte & 0x7f) << shift;
        at += 1;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        // Longer than any extract may be.
        if shift > 28 {
            return None;
        }
    }
    let rest = &bytes[at..];
    (len <= rest.len()).then(|| rest.split_at(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_tuples_compare_as_numbers() {
        assert!(Value::number(255) < Value::number(256));
        assert!(Value::numbers(&[1, 9, 9]) < Value::numbers(&[2, 0, 0]));
        assert!(Value::numbers(&[1, 2, 9]) < Value::numbers(&[1, 3, 0]));
        assert_eq!(Value::number(7).as_number(), Some(7));
    }

    proptest::proptest! {
        #[test]
        fn what_was_put_in_comes_out(
            fields in proptest::collection::btree_map(".{0,4}", proptest::collection::vec(0_u8.., 0..200), 0..4),
            entries in proptest::collection::btree_set((".{0,4}", proptest::collection::vec(0_u8.., 0..4)), 0..4),
        ) {
            let mut builder = Extract::builder();
            for (name, value) in &fields {
                builder = builder.field(name, value.clone().into());
            }
            for (index, value) in &entries {
                builder = builder.entry(index, value.clone().into());
            }
            let extract = Extract::decode(builder.build().as_bytes().clone()).unwrap();
            for (name, value) in &fields {
                proptest::prop_assert_eq!(extract.field(name), Some(value.clone().into()));
            }
            let found: Vec<_> = extract.entries().map(|e| (e.index.to_owned(), e.value)).collect();
            let expected: Vec<_> = entries.into_iter().map(|(i, v)| (i, v.into())).collect();
            proptest::prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8..4, 0..40)) {
            if let Some(extract) = Extract::decode(bytes.into()) {
                proptest::prop_assert!(check(&extract).is_ok());
                drop(format!("{extract:?}"));
            }
        }
    }
}
