//! Near misses: the known word that a wrong one probably meant.

/// Words longer than this are not compared, so that a hostile key costs nothing.
const WORD_BYTES_MAX: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be meant. The first wins among equals.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let distance_max = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= distance_max)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("device", ["secrets", "devices"]), Some("devices"));
        assert_eq!(nearest("dispalyName", ["displayName"]), Some("displayName"));
        assert_eq!(nearest("banana", ["devices", "secrets"]), None);
    }
}
