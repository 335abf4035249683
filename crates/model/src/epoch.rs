//! Epochs: what grants and fences are compared by.

use std::fmt;

/// A place in the order of all that owners of a target ever granted or asked.
///
/// The design has three parts (ownership epoch, era, number). A restore raises the era as a change of owner raises
/// the ownership epoch, and nothing asks for the difference here, so the model has one part for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// Raised when the target gets another owner; compared first.
    pub ownership: u8,
    /// From the owner's own sequence, or one more than the row had.
    pub number: u8,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ownership {
            0 => write!(f, "{}", self.number),
            ownership => write!(f, "{ownership}.{}", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_owner_is_above_whatever_the_former_one_granted() {
        let former = Epoch { ownership: 0, number: 200 };
        assert!(Epoch { ownership: 1, number: 1 } > former);
    }
}
