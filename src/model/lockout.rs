//! Guessing passwords: after some failures in a row, sign-ins are refused for a while, which grows (Keycloak's brute
//! force detection).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Without a further failure for so long, the earlier ones are forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(12);

/// How many failures are borne, and what follows.
#[derive(Debug, Clone, Copy)]
pub struct Lockout {
    pub failures: u32,
    /// After that many failures; twice as long after twice as many.
    pub wait: Duration,
    pub wait_max: Duration,
}

/// The failed sign-ins of one operator, or from one address, since the last good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    pub count: u32,
    pub last_at: Timestamp,
    pub locked_until: Option<Timestamp>,
}

impl Failures {
    pub fn is_locked(&self, now: Timestamp) -> bool {
        self.locked_until.is_some_and(|until| until > now)
    }

    /// What one more failure leads to. While locked, trying makes it no longer.
    #[must_use]
    pub fn after(self, now: Timestamp, rule: Lockout) -> Self {
        if self.is_locked(now) {
            return Self { last_at: now, ..self };
        }
        let is_forgotten = now.duration_since(self.last_at) > FORGOTTEN_AFTER;
        let count = if is_forgotten { 1 } else { self.count.saturating_add(1) };
        let times = count / rule.failures.max(1);
        let wait = rule.wait.saturating_mul(times).min(rule.wait_max);
        let locked_until = (times > 0).then(|| now.saturating_add(wait).unwrap_or(Timestamp::MAX));
        Self { count, last_at: now, locked_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Lockout =
        Lockout { failures: 3, wait: Duration::from_secs(60), wait_max: Duration::from_secs(15 * 60) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// For how many seconds is it locked after so many failures, each made as soon as one may?
    fn waits(failures: usize) -> Vec<i64> {
        let (mut now, mut state, mut waits) = (at(0), Failures::default(), Vec::new());
        for _ in 0..failures {
            state = state.after(now, RULE);
            let until = state.locked_until.unwrap_or(now);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        waits
    }

    #[test]
    fn the_wait_grows_up_to_its_bound() {
        assert_eq!(waits(7), [0, 0, 60, 60, 60, 120, 120]);
        assert_eq!(waits(100)[99], 15 * 60);
    }

    #[test]
    fn trying_while_locked_makes_it_no_longer() {
        let locked = (0..3).fold(Failures::default(), |state, second| state.after(at(second), RULE));
        assert!(locked.is_locked(at(61)) && !locked.is_locked(at(62)));
        let again = locked.after(at(30), RULE);
        assert_eq!((again.count, again.locked_until), (locked.count, locked.locked_until));
    }

    #[test]
    fn failures_are_forgotten_after_half_a_day() {
        let two = Failures::default().after(at(0), RULE).after(at(1), RULE);
        assert_eq!(two.after(at(12 * 3600), RULE).count, 3);
        assert_eq!(two.after(at(12 * 3600 + 2), RULE).count, 1);
    }
}
