//! Versions of the data in a deployment's database: `v1.4`.

use std::cmp::Ordering;

use super::UpgradeError;

/// Most characters after the `v`.
const LENGTH_MAX: usize = 64;

/// A version of data: `v`, then digits and dots. Compared number by number; of two that begin alike, the shorter is older.
#[derive(Clone, Debug)]
pub struct DataVersion(String);

impl DataVersion {
    /// # Errors
    /// The text in the request's `field` is no version.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, UpgradeError> {
        let fine = |rest: &str| {
            (1..=LENGTH_MAX).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        match text.strip_prefix('v') {
            Some(rest) if fine(rest) => Ok(Self(rest.to_owned())),
            _ => {
                let problem =
                    format!("expected `v` and at most {LENGTH_MAX} digits and dots, as in v1.4");
                Err(UpgradeError::Field { field, problem })
            }
        }
    }

    /// Numbers without leading zeros, so that longer is larger; an empty one is 0.
    fn numbers(&self) -> impl Iterator<Item = (usize, &str)> {
        self.0.split('.').map(|number| {
            let number = number.trim_start_matches('0');
            (number.len(), number)
        })
    }
}

impl PartialEq for DataVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for DataVersion {}

impl PartialOrd for DataVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DataVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(other.numbers())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> DataVersion {
        DataVersion::parse("f", text).unwrap()
    }

    #[test]
    fn numbers_are_compared_one_by_one() {
        let sorted = ["v.5", "v1", "v1.", "v1.0.1", "v1.9", "v1.10", "v2", "v99999999999999999999"];
        for pair in sorted.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("v01.2"), version("v1.02"));
        assert_eq!(version("v."), version("v0.0"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let long = format!("v{}", "1".repeat(65));
        for wrong in ["", "v", "1", "v1a", "V1", "v1-2", long.as_str()] {
            assert!(DataVersion::parse("f", wrong).is_err(), "{wrong}");
        }
        assert!(DataVersion::parse("f", &long[..65]).is_ok());
    }
}
