//! How many requests a realm may send: over all nodes where Redis joins them, else over this one.
//!
//! Each node counts what it lets in, so no realm gets more than its limit from a node, whatever Redis says. Where there
//! is Redis, a request also needs a place out of a lease: a few requests which this node has taken from the common
//! budget in advance. It is as large as what the node lets in within [`LEASE_FOR`] and renewed when half of it is used,
//! so a busy realm asks Redis some ten times a second, and no request waits for it. Who finds the lease used up asks for
//! all who wait, and no longer than Redis' deadline: without an answer the own count decides.
//!
//! Not here: which requests count, and what is told to whom is refused (`http::layer::quota`).

mod cluster;
pub mod gcra;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use redis::RedisResult;

use super::invalidate::Bus;
use crate::{
    model::{
        RealmId,
        policy::{Policy, RateLimit},
    },
    telemetry,
};
use cluster::{Answer, Cluster};
use gcra::Gcra;
pub use gcra::Standing;

/// What a lease should last for.
const LEASE_FOR: Duration = Duration::from_millis(100);
/// After this a lease is worth nothing: what was not used then is not saved up.
const LEASE_LIFE: Duration = Duration::from_secs(1);
/// No lease is more than this part of a whole budget, so that every node finds something.
const LEASES: u32 = 4;

/// The budgets of all realms. Cheap to clone.
#[derive(Clone)]
pub struct Quotas {
    shared: Arc<Shared>,
}

struct Shared {
    /// For realms whose policy says nothing.
    default: Option<RateLimit>,
    cluster: Option<Cluster>,
    budgets: RwLock<HashMap<(RealmId, Lane), Arc<Budget>>>,
    /// Zero of this node's clock.
    began: Instant,
}

/// Which budget of a realm a request draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    Normal,
    /// For requests which take somebody's access away, once the normal budget is spent.
    Reserved,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub limit: RateLimit,
    /// Until there is room for the request.
    pub wait: Duration,
    pub standing: Standing,
}

/// The budget of one realm in one lane.
#[derive(Default)]
struct Budget {
    tally: Mutex<Tally>,
    /// One asks Redis for all who wait.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Tally {
    /// What this node lets in: the bound whatever Redis says.
    own: Gcra,
    /// What all nodes together have taken, as Redis said last.
    all: Gcra,
    lease: Lease,
    /// Redis said that nothing is left until then.
    spent_until: Duration,
}

/// Requests taken from the common budget in advance.
#[derive(Debug, Clone, Copy, Default)]
struct Lease {
    left: u32,
    /// What was given last, when, and what was used since.
    given: u32,
    at: Duration,
    used: u32,
}

impl Quotas {
    pub fn new(default: Option<RateLimit>, bus: Option<Bus>) -> RedisResult<Self> {
        let cluster = bus.map(Cluster::open).transpose()?;
        Ok(Self { shared: Arc::new(Shared { default, cluster, budgets: RwLock::default(), began: Instant::now() }) })
    }

    /// The limit of a realm with that policy, if it has one.
    pub fn limit_of(&self, policy: &Policy) -> Option<RateLimit> {
        policy.rate_limit.or(self.shared.default)
    }

    /// Takes one request out of the lane's budget, if that is known without asking Redis. It nearly always is.
    pub fn take_at_once(&self, realm: RealmId, lane: Lane, limit: RateLimit) -> Option<Result<Standing, Spent>> {
        let (limit, now) = (lane.part_of(limit), self.now());
        let budget = self.budget((realm, lane), now);
        if self.cluster(now).is_none() {
            return Some(budget.tally().take(limit, now));
        }
        let (outcome, is_low) = {
            let mut tally = budget.tally();
            (tally.take_leased(limit, now), tally.is_low(now))
        };
        if outcome.is_some() && is_low {
            self.renew((realm, lane), limit, budget);
        }
        outcome
    }

    /// Takes one request out of the lane's budget.
    pub async fn take(&self, realm: RealmId, lane: Lane, limit: RateLimit) -> Result<Standing, Spent> {
        if let Some(outcome) = self.take_at_once(realm, lane, limit) {
            return outcome;
        }
        let limit = lane.part_of(limit);
        let budget = self.budget((realm, lane), self.now());
        let _turn = budget.turn.lock().await;
        // Who had the turn before may have brought enough, or found out that Redis is away.
        if let Some(outcome) = budget.tally().take_leased(limit, self.now()) {
            return outcome;
        }
        let Some(cluster) = self.cluster(self.now()) else { return budget.tally().take(limit, self.now()) };
        let wanted = budget.tally().lease.next(limit, self.now());
        let answer = cluster.ask((realm, lane), limit, (0, wanted), self.now()).await;
        let (mut tally, now) = (budget.tally(), self.now());
        if let Some(answer) = answer {
            tally.hear(answer, now);
        }
        tally.take_leased(limit, now).unwrap_or_else(|| tally.take(limit, now))
    }

    /// Charges further requests to the lane's budget, if need be to what is yet to come: they are let in already.
    pub async fn charge(&self, realm: RealmId, lane: Lane, limit: RateLimit, requests: u32) -> Standing {
        let limit = lane.part_of(limit);
        let budget = self.budget((realm, lane), self.now());
        budget.tally().own.charge(limit, self.now(), requests);
        if let Some(cluster) = self.cluster(self.now()) {
            let _turn = budget.turn.lock().await;
            if let Some(answer) = cluster.ask((realm, lane), limit, (requests, 0), self.now()).await {
                budget.tally().hear(answer, self.now());
            }
        }
        budget.tally().standing(limit, self.now())
    }

    /// Asks for the next lease beside the requests which use up the one before, unless somebody does so already.
    fn renew(&self, of: (RealmId, Lane), limit: RateLimit, budget: Arc<Budget>) {
        let Ok(turn) = budget.turn.clone().try_lock_owned() else { return };
        let quotas = self.clone();
        tokio::spawn(async move {
            let _turn = turn;
            let Some(cluster) = quotas.cluster(quotas.now()) else { return };
            let wanted = budget.tally().lease.next(limit, quotas.now());
            if let Some(answer) = cluster.ask(of, limit, (0, wanted), quotas.now()).await {
                budget.tally().hear(answer, quotas.now());
            }
        });
    }

    /// The budget, a whole one if nothing is known of it. Before there is no room for it, those are forgotten which say
    /// no more than a whole one does.
    fn budget(&self, of: (RealmId, Lane), now: Duration) -> Arc<Budget> {
        let budgets = &self.shared.budgets;
        if let Some(budget) = budgets.read().unwrap_or_else(PoisonError::into_inner).get(&of) {
            return budget.clone();
        }
        let mut budgets = budgets.write().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() == budgets.capacity() {
            budgets.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.tally().is_whole(now));
            let known = budgets.len();
            budgets.reserve(known.max(1));
        }
        budgets.entry(of).or_default().clone()
    }

    /// The other nodes, if Redis joins them at the moment.
    fn cluster(&self, now: Duration) -> Option<&Cluster> {
        self.shared.cluster.as_ref().filter(|cluster| cluster.is_there(now))
    }

    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }
}

impl From<Lane> for telemetry::Lane {
    fn from(lane: Lane) -> Self {
        match lane {
            Lane::Normal => Self::Normal,
            Lane::Reserved => Self::Reserved,
        }
    }
}

impl Lane {
    /// The reserve is a fifth of the limit, on top of it.
    fn part_of(self, limit: RateLimit) -> RateLimit {
        match self {
            Lane::Normal => limit,
            Lane::Reserved => limit.fifth(),
        }
    }
}

impl Budget {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// By this node's own count.
    fn take(&mut self, limit: RateLimit, now: Duration) -> Result<Standing, Spent> {
        if let Some(wait) = self.own.wait(limit, now) {
            return Err(Spent { limit, wait, standing: self.own.standing(limit, now) });
        }
        self.own.charge(limit, now, 1);
        Ok(self.own.standing(limit, now))
    }

    /// By this node's own count and out of the lease. `None` if Redis has to be asked.
    fn take_leased(&mut self, limit: RateLimit, now: Duration) -> Option<Result<Standing, Spent>> {
        let has_lease = self.lease.left(now) > 0;
        let unleased = self.spent_until.checked_sub(now).filter(|wait| !has_lease && !wait.is_zero());
        if let Some(wait) = self.own.wait(limit, now).max(unleased) {
            let wait = wait.max(self.all.wait(limit, now).filter(|_| !has_lease).unwrap_or_default());
            return Some(Err(Spent { limit, wait, standing: Standing { remaining: 0, ..self.standing(limit, now) } }));
        }
        if !has_lease {
            return None;
        }
        self.lease.left -= 1;
        self.lease.used = self.lease.used.saturating_add(1);
        self.own.charge(limit, now, 1);
        Some(Ok(self.standing(limit, now)))
    }

    /// Is nothing owed, leased, or refused any more?
    fn is_whole(&self, now: Duration) -> bool {
        self.own.is_whole(now) && self.all.is_whole(now) && self.lease.left(now) == 0 && self.spent_until <= now
    }

    /// Is half of the lease used, and may there be another one?
    fn is_low(&self, now: Duration) -> bool {
        self.lease.left(now) < self.lease.given / 2 && self.spent_until <= now
    }

    fn hear(&mut self, answer: Answer, now: Duration) {
        self.all = Gcra::whole_at(now + answer.whole_in);
        if answer.granted > 0 {
            let left = self.lease.left(now).saturating_add(answer.granted);
            self.lease = Lease { left, given: answer.granted, at: now, used: 0 };
        } else {
            // Not for ever: the limit may be raised meanwhile.
            self.spent_until = now + answer.wait.min(LEASE_LIFE);
        }
    }

    /// The worse of what this node and all of them have left.
    fn standing(&self, limit: RateLimit, now: Duration) -> Standing {
        let (own, all) = (self.own.standing(limit, now), self.all.standing(limit, now));
        let remaining = own.remaining.min(all.remaining.saturating_add(self.lease.left(now)));
        Standing { burst: own.burst, remaining, whole_in: own.whole_in.max(all.whole_in) }
    }
}

impl Lease {
    fn left(&self, now: Duration) -> u32 {
        if now.saturating_sub(self.at) < LEASE_LIFE { self.left } else { 0 }
    }

    /// How much to ask for next: what was used since the last one for each [`LEASE_FOR`], grown no faster than twofold.
    fn next(&self, limit: RateLimit, now: Duration) -> u32 {
        let used = u128::from(self.used);
        let took = now.saturating_sub(self.at).as_micros().max(1);
        let wanted = u32::try_from(used * LEASE_FOR.as_micros() / took).unwrap_or(u32::MAX);
        let most = (limit.burst.get() / LEASES).min(self.given.saturating_mul(2));
        wanted.min(most).max(1)
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateLimit { requests_per_second, burst } = self.limit;
        write!(
            f,
            "this realm may send {requests_per_second} requests per second, and {burst} at once: send the request again \
             after {} s, or ask the operator for a higher `rate_limit`",
            self.retry_after()
        )
    }
}

impl Spent {
    /// Whole seconds, rounded up.
    pub fn retry_after(&self) -> u64 {
        seconds(self.wait).max(1)
    }
}

/// Rounded up, as headers have them.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn limit(requests_per_second: u32, burst: u32) -> RateLimit {
        RateLimit::new(requests_per_second, burst).expect("both are above zero")
    }

    #[test]
    fn a_lease_follows_what_is_used() {
        let limit = limit(1_000, 400);
        let lease = |given, used| Lease { given, used, at: ms(0), left: 0 };
        let next = |given, used, took| lease(given, used).next(limit, ms(took));
        assert_eq!(Lease::default().next(limit, ms(0)), 1, "the first");
        assert_eq!(next(1, 1, 1), 2, "grows twofold");
        assert_eq!(next(32, 16, 1), 64);
        assert_eq!(next(64, 64, 1), 100, "a quarter of the burst at most");
        assert_eq!(next(64, 32, 50), 64, "stays");
        assert_eq!(next(64, 64, 400), 16, "shrinks");
        assert_eq!(next(64, 4, 2_000), 1, "what was not used is not asked for again");
        assert_eq!(lease(8, 8).next(self::limit(1, 2), ms(1)), 1);
    }

    #[test]
    fn a_lease_is_renewed_when_half_of_it_is_used_and_what_is_left_of_it_stays() {
        let limit = limit(1_000, 400);
        let mut tally = Tally::default();
        let grant = |granted, wait| Answer { granted, wait, whole_in: ms(1) };
        tally.hear(grant(4, ms(0)), ms(0));
        let low = [(); 3].map(|()| {
            assert!(tally.take_leased(limit, ms(0)).is_some_and(|taken| taken.is_ok()));
            tally.is_low(ms(0))
        });
        assert_eq!(low, [false, false, true]);
        tally.hear(grant(8, ms(0)), ms(0));
        assert_eq!((tally.lease.left, tally.is_low(ms(0))), (9, false));
        tally.hear(grant(0, ms(50)), ms(0));
        assert!(tally.take_leased(limit, ms(0)).is_some_and(|taken| taken.is_ok()), "what was given is good");
    }

    #[test]
    fn a_lease_is_spent_within_its_life_and_within_the_own_count() {
        let limit = limit(10, 3);
        let mut tally = Tally::default();
        let answer = Answer { granted: 3, wait: Duration::ZERO, whole_in: ms(300) };
        assert!(tally.take_leased(limit, ms(0)).is_none(), "Redis has to be asked first");
        tally.hear(answer, ms(0));
        let taken = tally.take_leased(limit, ms(0)).expect("there is a lease").expect("there is room");
        assert_eq!((taken.burst, taken.remaining), (3, 2));
        assert!(tally.take_leased(limit, ms(999)).is_some());
        assert!(tally.take_leased(limit, ms(1_000)).is_none(), "what is left of it is not saved up");
    }

    #[test]
    fn whatever_redis_grants_the_own_count_is_the_bound() {
        let limit = limit(10, 3);
        let mut tally = Tally::default();
        let mut let_in = 0;
        for _ in 0..10 {
            tally.hear(Answer { granted: 10, wait: Duration::ZERO, whole_in: Duration::ZERO }, ms(0));
            let_in += u32::from(tally.take_leased(limit, ms(0)).expect("there is a lease").is_ok());
        }
        assert_eq!(let_in, 3);
    }

    #[test]
    fn what_redis_refuses_is_refused_until_then_without_asking_again() {
        let limit = limit(10, 3);
        let mut tally = Tally::default();
        tally.hear(Answer { granted: 0, wait: ms(70), whole_in: ms(270) }, ms(0));
        let spent = tally.take_leased(limit, ms(20)).expect("it is known").expect_err("nothing is left");
        assert_eq!((spent.wait, spent.standing.remaining, spent.retry_after()), (ms(50), 0, 1));
        assert!(tally.take_leased(limit, ms(70)).is_none());
        tally.hear(Answer { granted: 0, wait: ms(5_000), whole_in: ms(5_200) }, ms(70));
        let spent = tally.take_leased(limit, ms(70)).expect("it is known").expect_err("far in debt");
        assert_eq!(spent.wait, ms(5_000), "the client is told the whole of it");
        assert!(
            tally.take_leased(limit, ms(1_070)).is_none(),
            "yet Redis is asked again: the limit may be another one"
        );
    }

    #[test]
    fn the_refusal_says_what_to_do() {
        let mut tally = Tally::default();
        tally.own.charge(limit(10, 3), ms(0), 50);
        let spent = tally.take(limit(10, 3), ms(0)).expect_err("far in debt");
        insta::assert_snapshot!(spent, @"this realm may send 10 requests per second, and 3 at once: send the request again after 5 s, or ask the operator for a higher `rate_limit`");
    }
}
