//! Tokens over several regions: pages that lack a region, places in several change logs, and what a write has made true.
//!
//! Opaque url-safe text over bytes with a layout, a kind and a checksum, as the tokens of one store, which they contain.
//! The checksum finds damage, not forgery: a forged token reads nothing that its request could not read anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bowline_node::DeploymentId;
use bowline_store::Position;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longest token text that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 64 * 1024;
/// Most regions that a token names.
const REGIONS_MAX: usize = 1_024;
/// Version of the layout; a token of another one is refused.
const LAYOUT: u8 = 1;
const PAGE: u8 = b'P';
const RESUME: u8 = b'R';
const CONSISTENCY: u8 = b'C';
/// Separates our checksums from other uses of the same hash.
const CHECKSUM_SEED: u64 = 0x626f_776c_696e_6532;
const CHECKSUM_LEN: usize = 4;

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token is damaged, or of another kind or release")]
pub(crate) struct Damaged;

/// A page token, with the regions that its list goes without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageOf {
    /// The token of a list in one store; empty for the first page.
    pub(crate) token: String,
    pub(crate) missing: BTreeSet<Arc<str>>,
}

impl PageOf {
    /// The text for clients: the plain token where no region is missing, so that it fits any list of the query.
    pub(crate) fn encode(&self) -> String {
        if self.missing.is_empty() || self.token.is_empty() {
            return self.token.clone();
        }
        let mut bytes = vec![LAYOUT, PAGE];
        put_text(&mut bytes, &self.token);
        self.missing.iter().for_each(|region| put_text(&mut bytes, region));
        seal(bytes)
    }

    /// What is in `text`; anything that is not of this kind is taken for the token of one store, which judges it.
    pub(crate) fn decode(text: &str) -> Self {
        let read = || {
            let content = open(text, PAGE).ok()?;
            let mut texts = take_texts(&content)?.into_iter();
            let token = texts.next()?;
            Some(Self { token, missing: texts.map(Arc::from).collect() })
        };
        read().unwrap_or_else(|| Self { token: text.to_owned(), missing: BTreeSet::new() })
    }
}

/// How far a watch has come in each region's change log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResumeOf(pub(crate) BTreeMap<Arc<str>, String>);

impl ResumeOf {
    /// A watch that has only one region's part.
    pub(crate) fn one(region: &Arc<str>, token: String) -> Self {
        Self(BTreeMap::from([(region.clone(), token)]))
    }

    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![LAYOUT, RESUME];
        for (region, token) in &self.0 {
            put_text(&mut bytes, region);
            put_text(&mut bytes, token);
        }
        seal(bytes)
    }

    /// What is in `text`.
    ///
    /// # Errors
    /// [`Damaged`], also for the token of one store: it does not say of which.
    pub(crate) fn decode(text: &str) -> Result<Self, Damaged> {
        let content = open(text, RESUME)?;
        let texts = take_texts(&content).ok_or(Damaged)?;
        let (pairs, []) = texts.as_chunks::<2>() else { return Err(Damaged) };
        Ok(Self(pairs.iter().map(|[r, t]| (Arc::from(r.as_str()), t.clone())).collect()))
    }
}

/// What a write has made true: its deployment's store at this position, or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consistency {
    pub(crate) deployment: DeploymentId,
    pub(crate) position: Position,
}

impl Consistency {
    pub(crate) fn encode(&self) -> String {
        let DeploymentId { service, region } = &self.deployment;
        let mut bytes =
            Vec::with_capacity(2 + 16 + 4 + service.len() + region.len() + CHECKSUM_LEN);
        bytes.extend([LAYOUT, CONSISTENCY]);
        bytes.extend(self.position.era.to_be_bytes());
        bytes.extend(self.position.sequence.to_be_bytes());
        put_text(&mut bytes, service);
        put_text(&mut bytes, region);
        seal(bytes)
    }

    /// What is in `text`.
    ///
    /// # Errors
    /// [`Damaged`]; no text makes it panic or take memory beyond the text's own length.
    pub(crate) fn decode(text: &str) -> Result<Self, Damaged> {
        let content = open(text, CONSISTENCY)?;
        let (era, rest) = content.split_first_chunk().ok_or(Damaged)?;
        let (sequence, rest) = rest.split_first_chunk().ok_or(Damaged)?;
        let position =
            Position { era: u64::from_be_bytes(*era), sequence: u64::from_be_bytes(*sequence) };
        match take_texts(rest).ok_or(Damaged)?.as_slice() {
            [service, region] => {
                let deployment = DeploymentId::new(service.as_str(), region.as_str());
                Ok(Self { deployment, position })
            }
            _ => Err(Damaged),
        }
    }
}

/// Adds a text of at most 65,535 bytes; tokens and regions are far below, and a longer one would not decode.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn take_texts(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        texts.push(std::str::from_utf8(text).ok()?.to_owned());
        if texts.len() > 2 * REGIONS_MAX {
            return None;
        }
        bytes = rest;
    }
    Some(texts)
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
fn open(text: &str, kind: u8) -> Result<Vec<u8>, Damaged> {
    if text.len() > TOKEN_BYTES_MAX {
        return Err(Damaged);
    }
    let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Damaged)?;
    let at = bytes.len().checked_sub(CHECKSUM_LEN).ok_or(Damaged)?;
    let found = bytes.split_off(at);
    match bytes.as_slice() {
        [LAYOUT, k, content @ ..] if *k == kind && found == checksum(&bytes) => {
            Ok(content.to_vec())
        }
        _ => Err(Damaged),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn consistency() -> Consistency {
        Consistency {
            deployment: DeploymentId::new("s.example.com", "eu"),
            position: Position { era: 1, sequence: 77 },
        }
    }

    #[test]
    fn a_page_that_lacks_nothing_has_the_plain_token() {
        let page = PageOf { token: "plain".to_owned(), missing: BTreeSet::new() };
        assert_eq!(page.encode(), "plain");
        assert_eq!(PageOf::decode("plain"), page);
    }

    #[test]
    fn any_changed_character_is_found() {
        let text = consistency().encode();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            if changed != text {
                assert_eq!(Consistency::decode(&changed), Err(Damaged), "{changed}");
            }
        }
    }

    #[test]
    fn one_kind_is_not_another() {
        assert_eq!(ResumeOf::decode(&consistency().encode()), Err(Damaged));
        let resume = ResumeOf::one(&"eu".into(), "t".to_owned());
        assert_eq!(Consistency::decode(&resume.encode()), Err(Damaged));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", content: Vec<u8>, kind in prop_oneof![Just(PAGE), Just(RESUME), Just(CONSISTENCY)]) {
            let mut bytes = vec![LAYOUT, kind];
            bytes.extend(content);
            for text in [text, seal(bytes)] {
                let _ = PageOf::decode(&text);
                let _ = ResumeOf::decode(&text);
                let _ = Consistency::decode(&text);
            }
        }

        #[test]
        fn tokens_come_back(
            tokens in prop::collection::btree_map("[a-z-]{1,9}", "[a-zA-Z0-9_-]{0,40}", 0..5),
            token in "[a-zA-Z0-9_-]{1,40}",
            era: u64,
            sequence: u64,
        ) {
            let missing = tokens.keys().map(|r| Arc::from(r.as_str())).collect();
            let page = PageOf { token, missing };
            prop_assert_eq!(PageOf::decode(&page.encode()), page);
            let resume = ResumeOf(tokens.into_iter().map(|(r, t)| (r.into(), t)).collect());
            prop_assert_eq!(ResumeOf::decode(&resume.encode()), Ok(resume));
            let consistency = Consistency { position: Position { era, sequence }, ..consistency() };
            prop_assert_eq!(Consistency::decode(&consistency.encode()), Ok(consistency));
        }
    }
}
