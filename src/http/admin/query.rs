//! Parameters of lists, as Keycloak's clients send them: `True`, `-1`, empty ones, and some that mean nothing here.

use jiff::Timestamp;

use crate::{
    http::{
        exchange::Permitted,
        failure::{Failure, Result},
    },
    model::admin::Admin,
    provision::people::Page,
};

/// The parameters by which a list is cut.
pub const FIRST: (&str, &str) = ("first", "How many to leave out");
pub const MAX: (&str, &str) = ("max", "How many at most, up to 10000");
pub const BRIEF: (&str, &str) = ("briefRepresentation", "Without attributes?");

pub const AT: (&str, &str) = ("at", "A time (RFC 3339): as it was then, by the events; 410 if they go back no further");

/// A parameter which says something.
pub fn text<'a>(call: &'a Permitted<Admin>, name: &str) -> Option<&'a str> {
    call.query(name).filter(|text| !text.is_empty())
}

/// `true` or `false`, in any case of letters.
pub fn flag(call: &Permitted<Admin>, name: &str) -> Result<Option<bool>> {
    match text(call, name) {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        Some(_) => Err(Failure::Invalid(format!("`{name}` is `true` or `false`"))),
    }
}

/// A time of RFC 3339.
pub fn time(call: &Permitted<Admin>, name: &str) -> Result<Option<Timestamp>> {
    let parsed = text(call, name).map(str::parse).transpose();
    let time = parsed.map_err(|_| Failure::Invalid(format!("`{name}` is a time such as `2026-01-31T12:00:00Z`")))?;
    Ok(time.map(since_1970))
}

/// Nothing of ours is older, and the database does not know times of all ages.
pub fn since_1970(time: Timestamp) -> Timestamp {
    time.max(Timestamp::UNIX_EPOCH)
}

/// `first` and `max`; what is below nothing is as good as not said. `default` is as many as Keycloak gives then.
pub fn page(call: &Permitted<Admin>, default: Option<i64>) -> Result<Page> {
    let number = |name: &str| match text(call, name).map(str::parse::<i64>) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number).filter(|number| *number >= 0)),
        Some(Err(_)) => Err(Failure::Invalid(format!("`{name}` is a number"))),
    };
    Ok(Page { first: number("first")?.unwrap_or(0), max: number("max")?.or(default) })
}
