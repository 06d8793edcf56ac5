//! GCRA, the generic cell rate algorithm: what a limit has left, as one number.
//!
//! Pure: the time comes from the caller, on any clock that only goes forward. Redis runs the same over all nodes: see
//! `cluster.lua`.

use std::time::Duration;

use crate::model::policy::RateLimit;

/// Requests which may be owed beyond an empty budget: those of one bulk request.
pub const MOST_OWED: u32 = 1_000;

/// The state of one limit. The default is a whole budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gcra {
    /// When all that was taken will have come back: the "theoretical arrival time".
    whole_at: Duration,
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests which a whole budget holds.
    pub burst: u32,
    pub remaining: u32,
    /// Until the budget is whole again.
    pub whole_in: Duration,
}

impl Gcra {
    /// The state whose budget is whole at that time.
    pub fn whole_at(whole_at: Duration) -> Self {
        Self { whole_at }
    }

    /// Has all come back that was taken?
    pub fn is_whole(&self, now: Duration) -> bool {
        self.whole_at <= now
    }

    /// How long until there is room for a request; `None` if there is.
    pub fn wait(&self, limit: RateLimit, now: Duration) -> Option<Duration> {
        let with_it = self.taken(limit, now) + interval(limit);
        with_it.checked_sub(span(limit)).filter(|wait| !wait.is_zero())
    }

    /// Takes so many requests, if need be from what is yet to come.
    pub fn charge(&mut self, limit: RateLimit, now: Duration, requests: u32) {
        self.whole_at = now + (self.taken(limit, now) + interval(limit) * requests).min(most(limit));
    }

    pub fn standing(&self, limit: RateLimit, now: Duration) -> Standing {
        let whole_in = self.taken(limit, now);
        let room = span(limit).saturating_sub(whole_in).as_nanos() / interval(limit).as_nanos();
        Standing { burst: limit.burst.get(), remaining: u32::try_from(room).unwrap_or(u32::MAX), whole_in }
    }

    /// What was taken and has not come back, in time. Under a limit which is now another one it is never more than that
    /// one can owe.
    fn taken(&self, limit: RateLimit, now: Duration) -> Duration {
        self.whole_at.saturating_sub(now).min(most(limit))
    }
}

/// Time in which one request comes back.
pub fn interval(limit: RateLimit) -> Duration {
    (Duration::from_secs(1) / limit.requests_per_second.get()).max(Duration::from_nanos(1))
}

/// Time in which an empty budget becomes whole.
fn span(limit: RateLimit) -> Duration {
    interval(limit) * limit.burst.get()
}

/// The same from the deepest debt.
pub fn most(limit: RateLimit) -> Duration {
    span(limit) + interval(limit) * MOST_OWED
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn limit(requests_per_second: u32, burst: u32) -> RateLimit {
        RateLimit::new(requests_per_second, burst).expect("both are above zero")
    }

    /// What becomes of requests at these milliseconds: let in with so many left, or told to wait so many milliseconds.
    fn seen(limit: RateLimit, at: &[u64]) -> Vec<Result<u32, u64>> {
        let mut gcra = Gcra::default();
        let one = |at: &u64| {
            if let Some(wait) = gcra.wait(limit, ms(*at)) {
                return Err(u64::try_from(wait.as_millis()).expect("small"));
            }
            gcra.charge(limit, ms(*at), 1);
            Ok(gcra.standing(limit, ms(*at)).remaining)
        };
        at.iter().map(one).collect()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_does() {
        let ten_a_second = limit(10, 3);
        assert_eq!(seen(ten_a_second, &[0, 0, 0, 0]), [Ok(2), Ok(1), Ok(0), Err(100)]);
        assert_eq!(seen(ten_a_second, &[0, 0, 0, 40, 100, 100]), [Ok(2), Ok(1), Ok(0), Err(60), Ok(0), Err(100)]);
        assert_eq!(seen(ten_a_second, &[0, 0, 0, 10_000]), [Ok(2), Ok(1), Ok(0), Ok(2)], "idle time earns no more");
        assert_eq!(seen(limit(1, 1), &[5, 6, 1_005]), [Ok(0), Err(999), Ok(0)]);
    }

    #[test]
    fn who_is_refused_has_spent_nothing() {
        assert_eq!(seen(limit(10, 1), &[0, 10, 20, 100]), [Ok(0), Err(90), Err(80), Ok(0)]);
    }

    #[test]
    fn what_is_owed_is_worked_off_first() {
        let mut gcra = Gcra::default();
        let ten_a_second = limit(10, 5);
        gcra.charge(ten_a_second, ms(0), 25);
        assert_eq!(gcra.wait(ten_a_second, ms(0)), Some(ms(2_100)));
        assert_eq!(gcra.standing(ten_a_second, ms(0)), Standing { burst: 5, remaining: 0, whole_in: ms(2_500) });
        assert_eq!(gcra.wait(ten_a_second, ms(2_100)), None);
    }

    #[test]
    fn a_higher_limit_holds_at_once_and_nobody_waits_for_the_debt_of_the_old_one() {
        let mut gcra = Gcra::default();
        gcra.charge(limit(1, 1), ms(0), 1_000_000);
        assert_eq!(gcra.wait(limit(100, 100), ms(0)), Some(ms(10_010)));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_the_burst_and_the_rate(
            (rate, burst) in (1u32..2_000, 1u32..100),
            gaps in prop::collection::vec(0u64..40, 1..300),
        ) {
            let limit = limit(rate, burst);
            let at: Vec<u64> = gaps.iter().scan(0, |now, gap| { *now += gap; Some(*now) }).collect();
            let let_in: Vec<u64> = at.iter().zip(seen(limit, &at)).filter(|(_, o)| o.is_ok()).map(|(at, _)| *at).collect();
            for (first, begin) in let_in.iter().enumerate() {
                for (last, end) in let_in.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + ((end - begin) * u64::from(rate)).div_ceil(1_000) + 1;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }
    }
}
