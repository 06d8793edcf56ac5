//! Successful reads are written one by one up to a rate, and counted beyond it: whoever asks a thousand times a second
//! tells nothing new, and would fill the disk. What changes something, or fails, is always written.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::{
    access::quota::gcra::Gcra,
    model::{RealmId, policy::RateLimit},
};

/// So many seconds of the rate may come at once.
const BURST: u32 = 10;
/// Realms which are counted, before those are forgotten who have all of their budget.
const REALMS: usize = 10_000;

/// What each realm may still have written of its reads on this node.
pub(super) struct Reads {
    limit: Option<RateLimit>,
    since: Instant,
    realms: Mutex<HashMap<RealmId, Gcra>>,
}

impl Reads {
    /// At most `per_second`; all of them if that is 0.
    pub fn new(per_second: u32) -> Self {
        let rate = NonZeroU32::new(per_second);
        let limit = rate.map(|rate| RateLimit {
            requests_per_second: rate,
            burst: rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST - 1)),
        });
        Self { limit, since: Instant::now(), realms: Mutex::default() }
    }

    /// Is there room for one more?
    pub fn take(&self, realm: RealmId) -> bool {
        let Some(limit) = self.limit else { return true };
        let now = self.since.elapsed();
        let mut realms = self.realms.lock().unwrap_or_else(PoisonError::into_inner);
        if realms.len() >= REALMS {
            realms.retain(|_, budget| !budget.is_whole(now));
        }
        let budget = realms.entry(realm).or_default();
        let is_free = budget.wait(limit, now).is_none();
        if is_free {
            budget.charge(limit, now, 1);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_realm_has_a_budget_of_its_own() {
        let [one, other] = [1, 2].map(|n| RealmId(Uuid::from_u128(n)));
        let reads = Reads::new(1);
        let written = (0..100).filter(|_| reads.take(one)).count();
        assert!((10..20).contains(&written), "{written}");
        assert!(reads.take(other));
        let all = Reads::new(0);
        assert!((0..10_000).all(|_| all.take(one)));
    }
}
