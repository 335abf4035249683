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

/// Whether a deployment of that generation is listened to, as the environment knows it; `CALLER_REFUSED` if not.
pub type Admits = dyn Fn(&DeploymentId, u64) -> Result<(), Status> + Send + Sync;

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
        admits: impl Fn(&DeploymentId, u64) -> Result<(), Status> + Send + Sync + 'static,
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
        (self.admits)(&known.identified.from, known.generation)?;
        Ok(known.identified)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("served", &self.served).finish_non_exhaustive()
    }
}
