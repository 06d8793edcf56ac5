//! The budget of a realm over all nodes, kept in Redis. Nothing that Redis says can let in more than this node's own
//! count does, and what cannot be right counts as no answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use redis::{
    RedisResult,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::timeout;
use tracing::debug;

use super::{
    Lane,
    gcra::{self, interval, most},
};
use crate::{
    access::invalidate::Bus,
    model::{RealmId, policy::RateLimit},
    telemetry,
};

/// Keeps the budget: one number for each realm and lane, which expires when the budget is whole.
const SCRIPT: &str = include_str!("cluster.lua");

/// How long a request waits for Redis before this node counts alone.
const DEADLINE: Duration = Duration::from_millis(50);
/// How long Redis is left alone after it did not answer.
const REST: Duration = Duration::from_secs(1);

pub(super) struct Cluster {
    bus: Bus,
    connection: ConnectionManager,
    /// Milliseconds on the clock of the caller until which Redis is left alone.
    resting_until: AtomicU64,
}

/// What Redis says of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub granted: u32,
    /// Until there is room for a request.
    pub wait: Duration,
    /// Until the budget is whole.
    pub whole_in: Duration,
}

impl Cluster {
    /// Connects when it is first asked.
    pub fn open(bus: Bus) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(DEADLINE));
        let connection = ConnectionManager::new_lazy_with_config(bus.client(), config)?;
        Ok(Self { bus, connection, resting_until: AtomicU64::new(0) })
    }

    /// Does Redis answer, as far as this node knows?
    pub fn is_there(&self, now: Duration) -> bool {
        self.bus.is_hearing() && milliseconds(now) >= self.resting_until.load(Ordering::Relaxed)
    }

    /// Charges `charged` requests and asks for up to `wanted` more. `None` if Redis does not answer in time, or nonsense.
    pub async fn ask(
        &self,
        (realm, lane): (RealmId, Lane),
        limit: RateLimit,
        (charged, wanted): (u32, u32),
        now: Duration,
    ) -> Option<Answer> {
        let mut script = redis::cmd("EVAL");
        script.arg(SCRIPT).arg(1).arg(key(realm, lane));
        script.arg(microseconds(interval(limit))).arg(limit.burst.get()).arg(gcra::MOST_OWED).arg(charged).arg(wanted);
        let mut connection = self.connection.clone();
        let answer = match timeout(DEADLINE, script.query_async::<(i64, i64, i64)>(&mut connection)).await {
            Ok(Ok(told)) => Answer::of(told, limit, wanted),
            Ok(Err(error)) => {
                debug!(%error, "Redis does not count requests");
                None
            }
            Err(_) => None,
        };
        telemetry::quota_ask(answer.is_some());
        if answer.is_none() {
            debug!("this node counts requests alone for a while");
            self.resting_until.store(milliseconds(now + REST), Ordering::Relaxed);
        }
        answer
    }
}

impl Answer {
    /// `None` for what our script would never answer.
    fn of((granted, wait, whole_in): (i64, i64, i64), limit: RateLimit, wanted: u32) -> Option<Self> {
        let granted = u32::try_from(granted).ok().filter(|granted| *granted <= wanted)?;
        let time = |micros: i64| {
            let time = Duration::from_micros(u64::try_from(micros).ok()?);
            // Rounded up by the script, twice at most.
            (time <= most(limit) + interval(limit) + Duration::from_micros(2)).then_some(time)
        };
        let (wait, whole_in) = (time(wait)?, time(whole_in)?);
        let is_an_answer = wanted == 0 || granted > 0 || !wait.is_zero();
        is_an_answer.then_some(Self { granted, wait, whole_in })
    }
}

fn key(realm: RealmId, lane: Lane) -> String {
    match lane {
        Lane::Normal => format!("realmgate:quota:{realm}"),
        Lane::Reserved => format!("realmgate:quota:{realm}:reserved"),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// With its fraction, as Lua reads it.
fn microseconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_micros(), time.as_nanos() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_script_can_say_is_an_answer() {
        let limit = RateLimit::new(10, 5).expect("both are above zero");
        let answer = |told, wanted| Answer::of(told, limit, wanted);
        let good = Answer { granted: 2, wait: Duration::ZERO, whole_in: Duration::from_millis(300) };
        assert_eq!(answer((2, 0, 300_000), 3), Some(good));
        assert!(answer((0, 100_000, 500_000), 3).is_some(), "nothing is left");
        for (told, why) in [
            ((4, 0, 300_000), "more than was asked for"),
            ((-1, 0, 300_000), "less than nothing"),
            ((0, 0, 300_000), "nothing, and no reason to wait"),
            ((0, -1, 300_000), "a time in the past"),
            ((0, 200_000_000, 300_000), "a wait which no debt explains"),
            ((1, 0, i64::MAX), "a debt which nobody can have"),
        ] {
            assert_eq!(answer(told, 3), None, "{why}");
        }
    }

    #[test]
    fn fractions_of_a_microsecond_count() {
        assert_eq!(microseconds(Duration::from_nanos(333_333_333)), "333333.333");
        assert_eq!(microseconds(Duration::from_nanos(1_000_007)), "1000.007");
    }
}
