//! Fences: at a source of references, one row per target, which shuts out every save that was granted an earlier epoch.
//!
//! A fence is written by the answer to an owner's question. It goes when no save can be under way any more that began
//! before it was written (low-water marks of all server processes).

use bowline_store::{Condition, Extract, Key, Position, Row, Table, Value, Write, layout};

use crate::epoch::Epoch;
use crate::reference::TargetName;

const EPOCH: &str = "epoch";
const WRITTEN: &str = "written";

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub epoch: Epoch,
    /// The source's own position at which it was written, at the earliest.
    pub written: Position,
}

pub fn table() -> Table {
    layout::common("~fence")
}

/// Keyed by kind and name in one API version, never by region.
pub fn key(target: &TargetName) -> Key {
    let name = format!("{}|{}|{}", target.kind, target.version, target.name);
    Key { table: table(), name: name.into() }
}

/// What the commit of a save requires that was granted `epoch` for the target.
pub fn condition(target: &TargetName, epoch: Epoch) -> Condition {
    Condition::FieldAtMost { key: key(target), field: EPOCH.into(), value: epoch.value() }
}

impl Fence {
    pub fn of_row(row: &Row) -> Option<Self> {
        let epoch = Epoch::of_value(&row.extract.field(EPOCH)?)?;
        let written = row.extract.field(WRITTEN)?;
        let written: [u8; 16] = written.as_bytes().try_into().ok()?;
        let number = u128::from_be_bytes(written);
        let (era, sequence) = ((number >> 64) as u64, number as u64);
        Some(Self { epoch, written: Position { era, sequence } })
    }

    /// Writes it, over the row that was read (which has a lower epoch, or is not there).
    pub fn put(self, target: &TargetName, read: Option<&Row>) -> (Condition, Write) {
        let key = key(target);
        let (condition, version) = match read {
            None => (Condition::RowAbsent { key: key.clone() }, self.written.sequence + 1),
            Some(row) => {
                (Condition::RowAt { key: key.clone(), version: row.version }, row.version + 1)
            }
        };
        let extract = Extract::builder()
            .field(EPOCH, self.epoch.value())
            .field(WRITTEN, Value::numbers(&[self.written.era, self.written.sequence]));
        let row = Row { extract: extract.build(), ..Row::new(version, "") };
        (condition, Write::put(key, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_read_as_it_was_written() {
        let target = TargetName::new("iam.test/Project", "v1", "projects/p");
        let epoch = Epoch { ownership: 1, era: 2, number: 3 };
        let fence = Fence { epoch, written: Position { era: 4, sequence: 5 } };
        let (condition, write) = fence.put(&target, None);
        assert_eq!(condition, Condition::RowAbsent { key: key(&target) });
        let Write::Put { row, .. } = write else { panic!("{write:?}") };
        assert_eq!(Fence::of_row(&row), Some(fence));
    }
}
