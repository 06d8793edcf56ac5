//! A stream of security event tokens, from which a receiver polls (RFC 8936).

use jiff::Timestamp;
use serde_json::Value;

use super::{StreamId, token::TokenHash, webhook::EventFilter};

/// A stream as its operator wants it, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct EventStream {
    pub id: StreamId,
    pub name: String,
    /// `aud` of its tokens.
    pub audience: String,
    pub events: EventFilter,
    /// Of the token which polls.
    pub token: TokenHash,
    pub place: Place,
    pub acknowledged_at: Option<Timestamp>,
    /// What the receiver said last of a token that it could not use.
    pub last_error: Option<Value>,
    pub created_at: Timestamp,
}

/// How far a receiver is. Acknowledgements may come in any order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// All events up to this one are done with.
    pub cursor: i64,
    /// The last event which was handed out.
    pub sent: i64,
    /// Events behind the cursor which are done with, in order.
    pub acknowledged: Vec<i64>,
    /// Raised with each change.
    pub revision: i64,
}

/// What stands behind the cursor, as far as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Behind<'a> {
    /// The events that the stream is to tell of, in order.
    pub owed: &'a [i64],
    /// Up to which event there are no others.
    pub scanned: i64,
}

impl Place {
    /// With these acknowledged as well.
    #[must_use]
    pub fn acknowledging(mut self, events: &[i64]) -> Self {
        self.acknowledged.extend(events.iter().filter(|seq| **seq > self.cursor));
        self.acknowledged.sort_unstable();
        self.acknowledged.dedup();
        self
    }

    /// Moves the cursor over all that is done with, and hands out what is not, up to `most` events.
    #[must_use]
    pub fn go_on(mut self, behind: Behind<'_>, most: usize) -> (Self, Vec<i64>) {
        let is_open = |seq: &&i64| self.acknowledged.binary_search(seq).is_err();
        let open: Vec<i64> = behind.owed.iter().filter(is_open).copied().collect();
        self.cursor = open.first().map_or(behind.scanned, |first| first - 1).max(self.cursor);
        self.acknowledged.retain(|seq| *seq > self.cursor);
        let handed: Vec<i64> = open.into_iter().take(most).collect();
        self.sent = handed.last().copied().unwrap_or(self.sent).max(self.sent);
        (self, handed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cursor: i64, sent: i64, acknowledged: &[i64]) -> Place {
        Place { cursor, sent, acknowledged: acknowledged.to_vec(), revision: 0 }
    }

    #[test]
    fn what_is_not_acknowledged_comes_again_and_the_cursor_stays_before_it() {
        // Of the events 1 to 9, the stream tells of these; it was looked up to 8.
        let behind = Behind { owed: &[2, 3, 5, 6], scanned: 8 };
        for (before, now, most, after, handed) in [
            (place(0, 0, &[]), &[][..], 2, place(1, 3, &[]), &[2, 3][..]),
            (place(1, 3, &[]), &[], 2, place(1, 3, &[]), &[2, 3]),
            (place(1, 3, &[]), &[3], 2, place(1, 5, &[3]), &[2, 5]),
            (place(1, 5, &[3]), &[2], 9, place(4, 6, &[]), &[5, 6]),
            (place(1, 5, &[3]), &[2, 5], 0, place(5, 5, &[]), &[]),
            (place(5, 6, &[]), &[6, 6, 2], 9, place(8, 6, &[]), &[]),
        ] {
            let owed: Vec<i64> = behind.owed.iter().copied().filter(|seq| *seq > before.cursor).collect();
            let outcome = before.clone().acknowledging(now).go_on(Behind { owed: &owed, ..behind }, most);
            assert_eq!(outcome, (after, handed.to_vec()), "{before:?} {now:?}");
        }
    }
}
