//! Sets of ranges of bytes: ordered, apart from each other. Pure.

/// Values from `from` (inclusive) to `to` (exclusive; `None`: to the end), by bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRange {
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
}

/// Ranges in order, none of which touches another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(Vec<ByteRange>);

impl ByteRange {
    /// Exactly this value.
    pub fn point(value: Vec<u8>) -> Self {
        let mut to = value.clone();
        to.push(0);
        Self { from: value, to: Some(to) }
    }

    /// All values that start so.
    pub fn prefix(prefix: Vec<u8>) -> Self {
        let keep = prefix.iter().rposition(|byte| *byte != u8::MAX);
        let to = keep.map(|keep| {
            let mut to = prefix[..=keep].to_vec();
            to[keep] += 1;
            to
        });
        Self { from: prefix, to }
    }

    /// Whether the range can hold one value only.
    pub fn is_point(&self) -> bool {
        self.to.as_ref().is_some_and(|to| {
            to.len() == self.from.len() + 1 && to.starts_with(&self.from) && to.ends_with(&[0])
        })
    }

    pub fn contains(&self, value: &[u8]) -> bool {
        value >= self.from.as_slice() && self.to.as_deref().is_none_or(|to| value < to)
    }

    fn is_void(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    fn common(&self, other: &Self) -> Option<Self> {
        let to = match (&self.to, &other.to) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            (to, None) | (None, to) => to.clone(),
        };
        let both = Self { from: self.from.clone().max(other.from.clone()), to };
        (!both.is_void()).then_some(both)
    }
}

impl Bounds {
    pub fn of(range: ByteRange) -> Self {
        Self::from_iter([range])
    }

    pub fn ranges(&self) -> &[ByteRange] {
        &self.0
    }

    /// Whether all ranges hold one value each.
    pub fn are_points(&self) -> bool {
        self.0.iter().all(ByteRange::is_point)
    }

    pub fn contains(&self, value: &[u8]) -> bool {
        self.0.iter().any(|range| range.contains(value))
    }

    /// What is in either. Cost: linear in both, apart from sorting.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.0.into_iter().chain(other.0).collect()
    }

    /// What is in both. Cost: linear in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            both.extend(x.common(y));
            // The one that ends first has nothing in common with what comes after in the other.
            let x_first = match (&x.to, &y.to) {
                (Some(x), Some(y)) => x <= y,
                (x, _) => x.is_some(),
            };
            if x_first {
                a.next()
            } else {
                b.next()
            };
        }
        Self(both)
    }
}

impl FromIterator<ByteRange> for Bounds {
    /// In order, with those that overlap made one.
    fn from_iter<I: IntoIterator<Item = ByteRange>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_void()).collect();
        ranges.sort();
        let mut merged: Vec<ByteRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.to.as_ref().is_none_or(|to| range.from < *to) => {
                    last.to = match (last.to.take(), range.to) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        _ => None,
                    };
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}
