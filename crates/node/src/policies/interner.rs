//! One copy of equal policies: a million projects have a handful of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::policy::Policy;

/// Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub(super) struct Interner {
    policies: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    policies: HashMap<Policy, Weak<Policy>>,
    /// When so many are known, those that nobody uses are dropped.
    sweep_at: usize,
}

impl Interner {
    pub(super) fn intern(&self, policy: Policy) -> Arc<Policy> {
        let mut known = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.policies.get(&policy).and_then(Weak::upgrade) {
            return found;
        }
        if known.policies.len() >= known.sweep_at {
            known.policies.retain(|_, policy| policy.strong_count() > 0);
            known.sweep_at = (2 * known.policies.len()).max(64);
        }
        let made = Arc::new(policy.clone());
        known.policies.insert(policy, Arc::downgrade(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_policies_are_one_and_unused_ones_go() {
        let interner = Interner::default();
        let a = interner.intern(Policy::new("north", ["north"]));
        let b = interner.intern(Policy::new("north", ["north"]));
        assert!(Arc::ptr_eq(&a, &b));
        for number in 0..10_000 {
            let _ = interner.intern(Policy::new(&format!("r{number}"), ["north"]));
        }
        assert!(interner.policies.lock().unwrap().policies.len() <= 64);
        assert!(Arc::ptr_eq(&a, &interner.intern(Policy::new("north", ["north"]))));
    }
}
