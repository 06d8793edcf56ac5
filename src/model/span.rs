//! A span of time as people write it: `30m`, `24h`, `14d`.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, SpanRelativeTo, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest span, in seconds: ten years.
const LONGEST: i64 = 10 * 366 * 24 * 60 * 60;

/// A span of whole seconds, from one second to ten years. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Span(SignedDuration);

/// Why a text is not a span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no span of time: write for example `30m`, `24h` or `14d`")]
pub struct InvalidSpan(String);

impl Span {
    pub const fn days(days: u16) -> Self {
        Self(SignedDuration::from_hours(24 * days as i64))
    }

    pub const fn seconds(self) -> i64 {
        self.0.as_secs()
    }

    /// The instant so long after `at`.
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.checked_add(self.0).unwrap_or(Timestamp::MAX)
    }

    /// The instant so long before `at`.
    pub fn before(self, at: Timestamp) -> Timestamp {
        at.checked_sub(self.0).unwrap_or(Timestamp::MIN)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let invalid = || InvalidSpan(text.chars().take(50).collect());
        let span: jiff::Span = text.parse().map_err(|_| invalid())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| invalid())?;
        let is_whole = duration.subsec_nanos() == 0 && (1..=LONGEST).contains(&duration.as_secs());
        if is_whole { Ok(Self(duration)) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for Span {
    type Error = InvalidSpan;

    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

/// In the largest unit which leaves nothing over.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        let units = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
        let (length, unit) = units.into_iter().find(|(length, _)| seconds % length == 0).unwrap_or((1, "s"));
        write!(f, "{}{unit}", seconds / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_and_written_as_people_do() {
        for (text, seconds, shown) in [
            ("90s", 90, "90s"),
            ("30m", 1_800, "30m"),
            ("1h 30m", 5_400, "90m"),
            ("24h", 86_400, "1d"),
            ("14d", 1_209_600, "14d"),
            ("2 weeks", 1_209_600, "14d"),
        ] {
            let span: Span = text.parse().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((span.seconds(), span.to_string().as_str()), (seconds, shown), "{text}");
        }
        for wrong in ["", "5", "soon", "-1h", "0s", "500ms", "1 month", "20000d"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
