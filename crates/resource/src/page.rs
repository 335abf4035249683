//! Opaque tokens that clients carry: where a page ended, and how far a watch has come.
//!
//! A token is url-safe text over bytes with a version, a kind, a checksum and the hash of the query it was made for.
//! The checksum finds damage, not forgery: a forged token reads nothing that its query could not read anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// Longest token text that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Version of the layout; a token of another one is refused, so a client starts its listing anew.
const LAYOUT: u8 = 1;
const PAGE: u8 = b'p';
const RESUME: u8 = b'r';
/// Separates our checksums from other uses of the same hash.
const CHECKSUM_SEED: u64 = 0x626f_776c_696e_6531;
const CHECKSUM_LEN: usize = 4;

/// Which way a page goes from its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Rows after the position, in the query's order.
    Next,
    /// Rows before the position; the page itself is still in the query's order.
    Previous,
}

/// Where a page of a list begins. Stable under concurrent writes: a position, not a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// [`query_hash`] of what the list was asked with.
    pub query: u64,
    pub direction: Direction,
    /// How many rows were before the page when the token was made; shown, never used to find rows.
    pub offset: u64,
    /// The sort key of the row next to the page, which is not on it: see [`crate::order::SortKey`].
    pub position: Vec<u8>,
}

/// How far a watch has come in the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeToken {
    /// [`query_hash`] of what the watch was asked with.
    pub query: u64,
    pub era: u64,
    pub sequence: u64,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("token is damaged or was not made here")]
    Damaged,
    #[error("token is of another kind or of another release")]
    OtherKind,
    #[error("token was made for a request with another parent, filter, order or view")]
    OtherQuery,
}

impl PageToken {
    /// The text for clients.
    pub fn encode(&self) -> String {
        let mut bytes = vec![LAYOUT, PAGE, u8::from(self.direction == Direction::Previous)];
        bytes.extend(self.query.to_be_bytes());
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(&self.position);
        seal(bytes)
    }

    /// The token in `text`, which must have been made for `query`.
    ///
    /// # Errors
    /// Any [`TokenError`]; no text makes it panic or take memory beyond the text's own length.
    pub fn decode(text: &str, query: u64) -> Result<Self, TokenError> {
        let bytes = open(text, PAGE)?;
        let (direction, rest) = bytes.split_first().ok_or(TokenError::Damaged)?;
        let (found, rest) = take_u64(rest)?;
        let (offset, position) = take_u64(rest)?;
        let direction = match direction {
            0 => Direction::Next,
            1 => Direction::Previous,
            _ => return Err(TokenError::Damaged),
        };
        check_query(found, query)?;
        Ok(Self { query, direction, offset, position: position.to_vec() })
    }
}

impl ResumeToken {
    /// The text for clients.
    pub fn encode(&self) -> String {
        let mut bytes = vec![LAYOUT, RESUME];
        for part in [self.query, self.era, self.sequence] {
            bytes.extend(part.to_be_bytes());
        }
        seal(bytes)
    }

    /// The token in `text`, which must have been made for `query`.
    ///
    /// # Errors
    /// Any [`TokenError`]; no text makes it panic.
    pub fn decode(text: &str, query: u64) -> Result<Self, TokenError> {
        let bytes = open(text, RESUME)?;
        let (found, rest) = take_u64(&bytes)?;
        let (era, rest) = take_u64(rest)?;
        let (sequence, rest) = take_u64(rest)?;
        if !rest.is_empty() {
            return Err(TokenError::Damaged);
        }
        check_query(found, query)?;
        Ok(Self { query, era, sequence })
    }
}

/// A hash of what a query consists of (method, parent, filter, order, mask), so that tokens fit only their query.
///
/// Parts are told apart: `["ab", ""]` and `["a", "b"]` differ. The same on every machine and release.
pub fn query_hash(parts: &[&str]) -> u64 {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.digest()
}

fn check_query(found: u64, expected: u64) -> Result<(), TokenError> {
    if found == expected { Ok(()) } else { Err(TokenError::OtherQuery) }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let [a, b, c, d, ..] = xxh3_64_with_seed(bytes, CHECKSUM_SEED).to_be_bytes();
    [a, b, c, d]
}

fn seal(mut bytes: Vec<u8>) -> String {
    bytes.extend(checksum(&bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The content of a sealed text of this kind, without layout, kind and checksum.
fn open(text: &str, kind: u8) -> Result<Vec<u8>, TokenError> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Damaged);
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Damaged)?;
    let at = bytes.len().checked_sub(CHECKSUM_LEN).ok_or(TokenError::Damaged)?;
    let found = bytes.split_off(at);
    if found != checksum(&bytes) {
        return Err(TokenError::Damaged);
    }
    match bytes.as_slice() {
        [LAYOUT, k, content @ ..] if *k == kind => Ok(content.to_vec()),
        _ => Err(TokenError::OtherKind),
    }
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), TokenError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(TokenError::Damaged)?;
    Ok((u64::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page() -> PageToken {
        PageToken {
            query: 7,
            direction: Direction::Next,
            offset: 100,
            position: b"projects/p".to_vec(),
        }
    }

    #[test]
    fn a_token_of_another_query_is_refused() {
        assert_eq!(PageToken::decode(&page().encode(), 8), Err(TokenError::OtherQuery));
    }

    #[test]
    fn a_resume_token_is_no_page_token() {
        let token = ResumeToken { query: 7, era: 1, sequence: 2 };
        assert_eq!(PageToken::decode(&token.encode(), 7), Err(TokenError::OtherKind));
    }

    #[test]
    fn any_changed_character_is_found() {
        let text = page().encode();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(PageToken::decode(&changed, 7).is_err(), "{changed}");
        }
    }

    #[test]
    fn the_query_hash_tells_parts_apart() {
        assert_ne!(query_hash(&["ab", ""]), query_hash(&["a", "b"]));
        assert_ne!(query_hash(&["a"]), query_hash(&["a", ""]));
    }

    #[test]
    fn the_query_hash_never_changes_between_releases() {
        // Tokens outlive a rolling update, so this number must stay.
        assert_eq!(query_hash(&["list", "projects/p"]), 12_869_243_455_532_353_148);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", query: u64) {
            let _ = PageToken::decode(&text, query);
            let _ = ResumeToken::decode(&text, query);
        }

        #[test]
        fn a_page_token_comes_back(query: u64, offset: u64, back: bool, position: Vec<u8>) {
            let direction = if back { Direction::Previous } else { Direction::Next };
            let token = PageToken { query, direction, offset, position };
            prop_assert_eq!(PageToken::decode(&token.encode(), query), Ok(token));
        }

        #[test]
        fn a_resume_token_comes_back(query: u64, era: u64, sequence: u64) {
            let token = ResumeToken { query, era, sequence };
            prop_assert_eq!(ResumeToken::decode(&token.encode(), query), Ok(token));
        }

        #[test]
        fn sealed_rubbish_does_not_panic(content: Vec<u8>, kind in prop_oneof![Just(PAGE), Just(RESUME)]) {
            let mut bytes = vec![LAYOUT, kind];
            bytes.extend(content);
            let text = seal(bytes);
            let _ = PageToken::decode(&text, 0);
            let _ = ResumeToken::decode(&text, 0);
        }
    }
}
