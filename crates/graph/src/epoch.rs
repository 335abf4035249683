//! Epochs of targets: what a grant is worth, and what a fence shuts out.

use std::fmt;

use bowline_store::Value;
use bowline_wire::bowline::{graph, mixin};

/// An epoch of a target; compares by ownership, then era, then number.
///
/// Whatever an owner grants or asks is above all that an earlier owner, or the same one before a restore, has granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch {
    /// Ownership epoch of the target's place.
    pub ownership: u64,
    /// Era of the owner's database.
    pub era: u64,
    pub number: u64,
}

impl Epoch {
    /// The next one of the same owner.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    /// The first epoch above this one that an owner at `ownership` may grant whose database is in `era` and has reached
    /// `sequence`.
    #[must_use]
    pub fn raised(self, ownership: u64, era: u64, sequence: u64) -> Self {
        let number = if (self.ownership, self.era) == (ownership, era) { self.number } else { 0 };
        let fresh = Self { ownership, era, number: number.max(sequence) + 1 };
        fresh.max(self.next())
    }

    /// As a field of a row; compares as epochs do.
    pub fn value(self) -> Value {
        Value::numbers(&[self.ownership, self.era, self.number])
    }

    /// What [`Epoch::value`] wrote.
    pub fn of_value(value: &Value) -> Option<Self> {
        let bytes: &[u8; 24] = value.as_bytes().try_into().ok()?;
        let number = |at: usize| {
            bytes[at..at + 8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Some(Self { ownership: number(0), era: number(8), number: number(16) })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.ownership, self.era, self.number)
    }
}

macro_rules! as_message {
    ($message:ty) => {
        impl From<Epoch> for $message {
            fn from(epoch: Epoch) -> Self {
                let Epoch { ownership, era, number } = epoch;
                Self { ownership, era, number }
            }
        }

        impl From<$message> for Epoch {
            fn from(message: $message) -> Self {
                let (ownership, era) = (message.ownership, message.era);
                Self { ownership, era, number: message.number }
            }
        }
    };
}

as_message!(graph::v1::Epoch);
as_message!(mixin::v1::Epoch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_as_epochs_and_come_back() {
        let epochs = [
            Epoch { ownership: 1, era: 9, number: 9 },
            Epoch { ownership: 2, era: 0, number: 255 },
            Epoch { ownership: 2, era: 0, number: 256 },
            Epoch { ownership: 2, era: 1, number: 0 },
        ];
        assert!(epochs.is_sorted());
        assert!(epochs.map(Epoch::value).is_sorted());
        assert!(epochs.iter().all(|epoch| Epoch::of_value(&epoch.value()) == Some(*epoch)));
    }

    #[test]
    fn a_raised_epoch_is_above_what_was_and_of_the_present_owner() {
        let epoch = Epoch { ownership: 1, era: 2, number: 7 };
        assert_eq!(epoch.raised(1, 2, 3), Epoch { number: 8, ..epoch });
        assert_eq!(epoch.raised(1, 2, 30), Epoch { number: 31, ..epoch });
        assert_eq!(epoch.raised(1, 3, 1), Epoch { ownership: 1, era: 3, number: 2 });
        assert_eq!(epoch.raised(2, 0, 1), Epoch { ownership: 2, era: 0, number: 2 });
        // A fence that came from elsewhere may be above all that this owner has.
        assert_eq!(epoch.raised(0, 9, 9), epoch.next());
    }
}
