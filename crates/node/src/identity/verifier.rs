//! Judges the tokens of calls that arrive; a token that was judged before is known by its bytes until it ends.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bowline_base::{Reason, Seams, Status};

use super::source::KeySource;
use super::token::{Claims, Unproved, Unverified};
use crate::callers::{Callers, Identified};
use crate::id::DeploymentId;

/// Most tokens that are remembered; some 500 bytes each.
const REMEMBERED_MAX: usize = 4_096;

/// Whether a deployment (the first) of that generation is listened to by one that is served here (the second), as the
/// environment knows it; `CALLER_REFUSED` if not.
pub type Admits = dyn Fn(&DeploymentId, u64, &DeploymentId) -> Result<(), Status> + Send + Sync;

/// Knows who calls the deployments that are served here.
pub struct Verifier {
    seams: Seams,
    served: BTreeSet<DeploymentId>,
    keys: Arc<dyn KeySource>,
    admits: Box<Admits>,
    remembered: Mutex<HashMap<Box<str>, Remembered>>,
}

#[derive(Clone)]
struct Remembered {
    identified: Identified,
    generation: u64,
    /// The last second since 1970 at which it counts.
    ends: i64,
}

impl Verifier {
    /// `served`: the deployments to whom calls may be addressed. `admits` is asked at every call; it is cheap.
    pub fn new(
        seams: Seams,
        served: impl IntoIterator<Item = DeploymentId>,
        keys: Arc<dyn KeySource>,
        admits: impl Fn(&DeploymentId, u64, &DeploymentId) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        let remembered = Mutex::new(HashMap::new());
        let served = served.into_iter().collect();
        Self { seams, served, keys, admits: Box::new(admits), remembered }
    }

    fn recall(&self, token: &str, now: i64) -> Option<Remembered> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(token).filter(|known| now <= known.ends).cloned()
    }

    fn remember(&self, token: &str, known: Remembered, now: i64) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, known| now <= known.ends);
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(token.into(), known);
        }
    }

    async fn judge(&self, token: &str, now: i64) -> Result<Remembered, Unproved> {
        let unverified = Unverified::parse(token)?;
        let claims = match self.verify(&unverified) {
            Ok(claims) => claims,
            // The key may be a new one, of a new deployment or of one that has changed its own.
            Err(Unproved::UnknownKey | Unproved::Signature) => {
                self.keys.refresh().await;
                self.verify(&unverified)?
            }
            Err(other) => return Err(other),
        };
        let mut to = None;
        claims.judge(now, |aud| {
            to = aud.parse().ok().filter(|id| self.served.contains(id));
            to.is_some()
        })?;
        let to = to.ok_or(Unproved::Audience)?;
        let identified = Identified { from: unverified.signer, to };
        Ok(Remembered { identified, generation: claims.generation, ends: claims.ends() })
    }

    fn verify(&self, unverified: &Unverified<'_>) -> Result<Claims, Unproved> {
        let key = self.keys.key_of(&unverified.signer).ok_or(Unproved::UnknownKey)?;
        unverified.verify(&key)
    }
}

#[async_trait]
impl Callers for Verifier {
    async fn identify(&self, token: &str) -> Result<Identified, Status> {
        let now = self.seams.clock.now().as_second();
        let known = match self.recall(token, now) {
            Some(known) => known,
            None => {
                let judged = self.judge(token, now).await;
                let known = judged
                    .map_err(|why| Status::new(Reason::CallerNotIdentified, why.to_string()))?;
                self.remember(token, known.clone(), now);
                known
            }
        };
        (self.admits)(&known.identified.from, known.generation, &known.identified.to)?;
        Ok(known.identified)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("served", &self.served).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
    use std::time::Duration;

    use bowline_base::Clock;
    use bowline_base::seams::BoxFuture;

    use super::*;
    use crate::identity::{KeyPair, PublicKey, Signers};

    /// A wall clock that is set by hand.
    #[derive(Default)]
    struct Wall(AtomicI64);

    impl Clock for Wall {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::from_second(1_800_000_000 + self.0.load(Ordering::SeqCst)).unwrap()
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        fn sleep(&self, _: Duration) -> BoxFuture<()> {
            Box::pin(futures::future::pending())
        }
    }

    /// Keys that become known when they are looked for.
    #[derive(Default)]
    struct Found {
        written: Mutex<Vec<(DeploymentId, PublicKey)>>,
        known: Mutex<Vec<(DeploymentId, PublicKey)>>,
        refreshes: AtomicUsize,
    }

    #[async_trait]
    impl KeySource for Found {
        fn key_of(&self, id: &DeploymentId) -> Option<PublicKey> {
            let known = self.known.lock().unwrap();
            known.iter().find(|(known, _)| known == id).map(|(_, key)| *key)
        }

        async fn refresh(&self) {
            self.refreshes.fetch_add(1, Ordering::SeqCst);
            (*self.known.lock().unwrap()).clone_from(&self.written.lock().unwrap());
        }
    }

    struct World {
        wall: Arc<Wall>,
        seams: Seams,
        keys: Arc<Found>,
        verifier: Verifier,
    }

    impl World {
        fn new() -> Self {
            let wall = Arc::new(Wall::default());
            let seams = Seams { clock: wall.clone(), ..Seams::real() };
            let keys = Arc::new(Found::default());
            let served = [b(), DeploymentId::new("c", "us")];
            let verifier = Verifier::new(seams.clone(), served, keys.clone(), |_, _, _| Ok(()));
            Self { wall, seams, keys, verifier }
        }

        /// One that signs as `a` with a new key, whose public file is written.
        fn signers(&self) -> Signers {
            let (key, _) = KeyPair::generate(&Seams::real());
            *self.keys.written.lock().unwrap() = vec![(a(), key.public())];
            Signers::new(self.seams.clone(), [(a(), key)])
        }

        async fn judge(&self, token: &str) -> Result<Identified, String> {
            self.verifier.identify(token).await.map_err(|status| {
                assert_eq!(status.reason, Reason::CallerNotIdentified);
                status.message
            })
        }

        fn refreshes(&self) -> usize {
            self.keys.refreshes.load(Ordering::SeqCst)
        }
    }

    fn a() -> DeploymentId {
        DeploymentId::new("a", "eu")
    }

    fn b() -> DeploymentId {
        DeploymentId::new("b", "us")
    }

    #[tokio::test]
    async fn a_key_that_is_not_known_is_looked_for_and_a_known_token_is_not_judged_again() {
        let world = World::new();
        let signers = world.signers();
        let token = signers.token(&a(), &b()).unwrap();
        for _ in 0..2 {
            assert_eq!(world.judge(&token).await, Ok(Identified { from: a(), to: b() }));
        }
        assert_eq!(world.refreshes(), 1);
        world.keys.known.lock().unwrap().clear();
        assert!(world.judge(&token).await.is_ok(), "its bytes are known");
    }

    #[tokio::test]
    async fn a_deployment_that_changed_its_key_is_known_by_the_new_one() {
        let world = World::new();
        let old = world.signers();
        world.judge(&old.token(&a(), &b()).unwrap()).await.unwrap();
        let new = world.signers();
        assert!(world.judge(&new.token(&a(), &b()).unwrap()).await.is_ok());
        let other = DeploymentId::new("c", "us");
        let refused = world.judge(&old.token(&a(), &other).unwrap()).await;
        assert_eq!(refused.unwrap_err(), "the caller's proof is not signed by it");
    }

    #[tokio::test]
    async fn a_token_that_was_good_ends_nevertheless() {
        let world = World::new();
        let token = world.signers().token(&a(), &b()).unwrap();
        for (now, is_good) in [(0, true), (90, true), (91, false), (-30, true), (1_000, false)] {
            world.wall.0.store(now, Ordering::SeqCst);
            assert_eq!(world.judge(&token).await.is_ok(), is_good, "at {now}");
        }
        let expired = world.judge(&token).await.unwrap_err();
        assert_eq!(expired, "the caller's proof has expired");
    }

    #[tokio::test]
    async fn tokens_for_others_and_of_strangers_are_refused() {
        let world = World::new();
        let signers = world.signers();
        let elsewhere = signers.token(&a(), &DeploymentId::new("b", "asia")).unwrap();
        let refused = world.judge(&elsewhere).await.unwrap_err();
        assert_eq!(refused, "the caller's proof is for another deployment");
        world.keys.written.lock().unwrap().clear();
        world.keys.known.lock().unwrap().clear();
        let refused = world.judge(&signers.token(&a(), &b()).unwrap()).await.unwrap_err();
        assert_eq!(refused, "the caller's proof is signed with a key that is not known here");
        assert_eq!(world.judge("").await.unwrap_err(), "the caller's proof is no token");
    }

    #[tokio::test]
    async fn only_so_many_tokens_are_remembered() {
        let world = World::new();
        let (key, _) = KeyPair::generate(&Seams::real());
        *world.keys.written.lock().unwrap() = vec![(a(), key.public())];
        let now = world.seams.clock.now().as_second();
        for generation in 0..=REMEMBERED_MAX as u64 {
            let token = Claims::new(&a(), &b(), now, generation).sign(&key);
            world.judge(&token).await.unwrap();
        }
        assert_eq!(world.verifier.remembered.lock().unwrap().len(), REMEMBERED_MAX);
        world.wall.0.store(91, Ordering::SeqCst);
        let token = Claims::new(&a(), &b(), now + 91, 0).sign(&key);
        world.judge(&token).await.unwrap();
        assert_eq!(
            world.verifier.remembered.lock().unwrap().len(),
            1,
            "those that ended make room"
        );
    }
}
