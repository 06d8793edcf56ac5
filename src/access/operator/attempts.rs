//! Failed sign-ins: counted by operator in the store, so that all nodes know of them, and by source address here.

use std::{
    future::ready,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use jiff::Timestamp;
use moka::{Entry, future::Cache};
use tracing::warn;
use uuid::Uuid;

use crate::{
    model::{
        AdminId,
        lockout::{Failures, Lockout},
    },
    store::{Store, error::Result, login_failures},
    telemetry::{self, Authentication, Locked},
};

/// An address may fail as often as so many operators together: a company may come from one.
const OPERATORS_AT_AN_ADDRESS: u32 = 10;

/// Addresses that are known at a time. Who has more can only be stopped by name.
const ADDRESSES: u64 = 100_000;

/// Rows for all names that nobody has.
const ROWS_OF_NOBODY: u64 = 1024;

/// How often two nodes may count the same operator at once before one gives up counting.
const TRIES: usize = 10;

pub struct Attempts {
    store: Store,
    rule: Lockout,
    addresses: Cache<IpAddr, Failures>,
}

/// Whose password it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Operator(AdminId),
    /// Nobody has the name; told apart from some others by its hash.
    Nobody(u64),
}

impl Subject {
    pub fn nobody(name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self::Nobody(hasher.finish() % ROWS_OF_NOBODY)
    }

    fn row(self) -> Uuid {
        match self {
            Self::Operator(id) => id.0,
            Self::Nobody(row) => Uuid::from_u64_pair(0, row),
        }
    }
}

impl Attempts {
    pub fn new(store: Store, rule: Lockout) -> Self {
        let forgotten_after = Duration::from_secs(12 * 60 * 60);
        Self { store, rule, addresses: Cache::builder().max_capacity(ADDRESSES).time_to_idle(forgotten_after).build() }
    }

    /// Has this address failed so often that nothing is looked at?
    pub async fn is_locked_out(&self, from: IpAddr) -> bool {
        self.addresses.get(&network(from)).await.is_some_and(|failures| failures.is_locked(Timestamp::now()))
    }

    /// Notes how a sign-in ended. May it go on? Not if the operator is locked, whatever was presented: whoever asks
    /// learns nothing of that, neither from the answer nor from the work.
    pub async fn settle(&self, subject: Subject, from: IpAddr, is_right: bool) -> Result<bool> {
        let row = subject.row();
        for _ in 0..TRIES {
            let now = Timestamp::now();
            // Looked up after the password was: of many guesses at once, all but the first few come too late.
            let found = login_failures::find(&self.store, row).await?;
            let before = found.unwrap_or_default();
            if is_right && !before.is_locked(now) {
                if found.is_some() {
                    login_failures::forget(&self.store, row).await?;
                }
                return Ok(true);
            }
            let after = before.after(now, self.rule);
            if login_failures::save(&self.store, row, before, after).await? {
                if let (Subject::Operator(id), Some(until), false) =
                    (subject, after.locked_until, before.is_locked(now))
                {
                    telemetry::login_lock(Locked::Operator);
                    warn!(actor.kind = "admin", actor.id = %id, failures = after.count, %until,
                        "too many failed sign-ins of an operator: further ones are refused for a while");
                }
                break;
            }
        }
        telemetry::authentication(Authentication::WrongPassword);
        self.note(from).await;
        Ok(false)
    }

    async fn note(&self, from: IpAddr) {
        let now = Timestamp::now();
        let rule = Lockout { failures: self.rule.failures.saturating_mul(OPERATORS_AT_AN_ADDRESS), ..self.rule };
        let counted = |known: Option<Entry<IpAddr, Failures>>| {
            ready(known.map(Entry::into_value).unwrap_or_default().after(now, rule))
        };
        let failures = self.addresses.entry(network(from)).and_upsert_with(counted).await.into_value();
        if failures.is_locked(now) {
            telemetry::login_lock(Locked::Address);
            warn!(client.address = %from, failures = failures.count,
                "too many failed sign-ins from an address: further ones are refused for a while");
        }
    }
}

/// What one customer of a provider has: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_one_ipv6_address_has_very_many() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((network("192.0.2.1"), network("::ffff:192.0.2.1")), ("192.0.2.1".into(), "192.0.2.1".into()));
    }

    #[test]
    fn names_of_nobody_share_a_few_rows() {
        let Subject::Nobody(row) = Subject::nobody("eve") else { panic!() };
        assert!(row < ROWS_OF_NOBODY);
        assert_eq!(Subject::nobody("eve"), Subject::nobody("eve"));
    }
}
