//! Tokens for calls that leave: one per pair of caller and callee, made anew when half its life is over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bowline_base::{Reason, Seams, Status};

use super::key::KeyPair;
use super::token::{Claims, LIFE};
use crate::id::DeploymentId;
use crate::peers::{Call, headers};

/// Most tokens that are kept for one caller; beyond that all are made anew.
const KEPT_MAX: usize = 4_096;

/// Signs for the deployments of this process.
pub struct Signers {
    seams: Seams,
    signers: BTreeMap<DeploymentId, Signer>,
}

struct Signer {
    key: KeyPair,
    generation: AtomicU64,
    made: Mutex<BTreeMap<DeploymentId, Made>>,
}

#[derive(Clone)]
struct Made {
    token: Arc<str>,
    at: i64,
    generation: u64,
}

impl Signers {
    /// `keys`: of every deployment on whose behalf this process calls. Their generation is 0 until it is set.
    pub fn new(seams: Seams, keys: impl IntoIterator<Item = (DeploymentId, KeyPair)>) -> Self {
        let signer =
            |key| Signer { key, generation: AtomicU64::new(0), made: Mutex::new(BTreeMap::new()) };
        Self { seams, signers: keys.into_iter().map(|(id, key)| (id, signer(key))).collect() }
    }

    /// Says in which generation `me` is registered; tokens say it from now on.
    pub fn set_generation(&self, me: &DeploymentId, generation: u64) {
        if let Some(signer) = self.signers.get(me) {
            signer.generation.store(generation, Ordering::Release);
        }
    }

    /// A token by which `from` proves to `to` that it calls. Signing takes some 20 microseconds, once per pair and 30 s.
    ///
    /// # Errors
    /// `INTERNAL` if `from` is none of this process.
    pub fn token(&self, from: &DeploymentId, to: &DeploymentId) -> Result<Arc<str>, Status> {
        let no_key = || Status::new(Reason::Internal, format!("no key to sign for {from}"));
        let signer = self.signers.get(from).ok_or_else(no_key)?;
        Ok(signer.token(from, to, self.seams.clock.now().as_second()))
    }

    /// Puts the proof that `from` calls `to` into the call's headers.
    ///
    /// # Errors
    /// As [`Signers::token`].
    pub fn sign(
        &self,
        from: &DeploymentId,
        to: &DeploymentId,
        call: &mut Call,
    ) -> Result<(), Status> {
        let token = self.token(from, to)?;
        call.headers.retain(|(name, _)| name != headers::CALLER);
        call.headers.push((headers::CALLER.to_owned(), token.to_string()));
        Ok(())
    }
}

impl Signer {
    fn token(&self, from: &DeploymentId, to: &DeploymentId, now: i64) -> Arc<str> {
        let generation = self.generation.load(Ordering::Acquire);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = made.get(to)
            && kept.is_fresh(now, generation)
        {
            return kept.token.clone();
        }
        let token: Arc<str> = Claims::new(from, to, now, generation).sign(&self.key).into();
        if made.len() >= KEPT_MAX {
            made.clear();
        }
        made.insert(to.clone(), Made { token: token.clone(), at: now, generation });
        token
    }
}

impl Made {
    fn is_fresh(&self, now: i64, generation: u64) -> bool {
        // Wall time, as the receiver judges by it; also after the clock was set back.
        let half = self.at.saturating_add_unsigned(LIFE.as_secs() / 2);
        (self.at..half).contains(&now) && self.generation == generation
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.signers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_until_half_its_life_is_over_or_the_generation_changes() {
        let (a, b) = (DeploymentId::new("a", "eu"), DeploymentId::new("b", "us"));
        let (key, _) = KeyPair::generate(&Seams::real());
        let signers = Signers::new(Seams::real(), [(a.clone(), key)]);
        let at = |now| signers.signers[&a].token(&a, &b, now);
        let first = at(1_000);
        assert_eq!(at(1_029), first);
        let second = at(1_030);
        assert_ne!(second, first);
        assert_ne!(at(1_029), second, "the clock was set back");
        let third = at(1_040);
        signers.set_generation(&a, 2);
        assert_ne!(at(1_040), third);
    }

    #[test]
    fn tokens_are_not_made_for_strangers_and_secrets_do_not_show() {
        let (a, b) = (DeploymentId::new("a", "eu"), DeploymentId::new("b", "us"));
        let (key, _) = KeyPair::generate(&Seams::real());
        let signers = Signers::new(Seams::real(), [(a.clone(), key)]);
        assert_eq!(signers.token(&b, &a).unwrap_err().reason, Reason::Internal);
        assert_eq!(format!("{signers:?}"), format!("[{a:?}]"));
    }
}
