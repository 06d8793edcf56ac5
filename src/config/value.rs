//! How a single value is read. Each mistake says what was found and what to write instead.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use http::Uri;
use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected},
};
use toml::Value;

use crate::secret::Secret;

/// No wait of ours is longer; caches refuse to count further than that.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// An IP address or a network in CIDR notation, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count.
    prefix: u32,
}

impl Network {
    /// Is `address` in this network? An IPv4 address counts as itself also when it comes mapped into IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                (net.to_bits() ^ ip.to_bits()).checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Why a text is not a [`Network`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an IP address nor a network: write for example `10.0.0.5` or `10.0.0.0/8`")]
pub struct InvalidNetwork(String);

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(widest), str::parse).map_err(|_| invalid())?;
        if prefix <= widest { Ok(Self { address, prefix }) } else { Err(invalid()) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A variable's text as a value of the same kind as the default. What does not fit stays text, for the reader of the
/// setting to refuse it with its own words.
pub fn of_text(text: &str, default: &Value) -> Value {
    let text = text.trim();
    let fitting = match default {
        Value::Integer(_) => text.parse().ok().map(Value::Integer),
        Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(Value::from).collect()))
        }
        _ => None,
    };
    fitting.unwrap_or_else(|| Value::String(text.to_owned()))
}

pub fn listener<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    parsed(from, "an IP address and a port, such as `127.0.0.1:8080` or `[::]:8080`", |text| text.parse().ok())
}

/// `scheme://authority`, without what a path would add.
pub fn base_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let Some(text) = text(from)? else { return Ok(None) };
    let url = text.trim_end_matches('/');
    let fits = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|rest| rest.as_str() == "/")
    };
    match url.parse::<Uri>() {
        Ok(uri) if fits(&uri) => Ok(Some(url.to_owned())),
        _ => Err(unfit(&text, "a URL of scheme and host alone, such as `https://scim.example.com`")),
    }
}

pub fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text(from)?.map(PathBuf::from))
}

pub fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
    Ok(text(from)?.map(Secret::new))
}

/// More than nothing, at most a year.
pub fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    parsed(from, "a time above zero and below a year, such as `500ms`, `15s` or `5m`", |text| {
        let time = Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()?;
        (!time.is_zero() && time <= LONGEST).then_some(time)
    })
}

/// A whole number from 1 to a thousand million.
pub fn count<'de, T: TryFrom<u32>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    whole(from, 1, "a whole number from 1 to 1000000000")
}

/// A whole number up to a thousand million.
pub fn number<'de, T: TryFrom<u32>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    whole(from, 0, "a whole number from 0 to 1000000000")
}

fn whole<'de, T: TryFrom<u32>, D: Deserializer<'de>>(from: D, least: i64, expected: &str) -> Result<T, D::Error> {
    match Value::deserialize(from)? {
        Value::Integer(n @ ..=1_000_000_000) if n >= least => {
            let fitting = u32::try_from(n).ok().and_then(|n| T::try_from(n).ok());
            fitting.ok_or_else(|| unfit(n, expected))
        }
        Value::Integer(n) => Err(unfit(n, expected)),
        Value::String(text) => Err(unfit(text, expected)),
        other => Err(D::Error::invalid_type(Unexpected::Other(other.type_str()), &expected)),
    }
}

/// Bytes: a number, or a number with `B`, `KiB`, `MiB` or `GiB`.
pub fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let expected = "a size above zero, such as `512KiB`, `1MiB` or a number of bytes";
    let text = match Value::deserialize(from)? {
        Value::Integer(n) => n.to_string(),
        Value::String(text) => text,
        other => return Err(D::Error::invalid_type(Unexpected::Other(other.type_str()), &expected)),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match text[digits..].trim() {
        "" | "B" => Some(1usize),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.zip(text[..digits].parse().ok()).and_then(|(unit, n): (usize, usize)| n.checked_mul(unit));
    bytes.filter(|n| *n > 0).ok_or_else(|| unfit(&text, expected))
}

/// The text, or `None` for an empty one.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
}

fn parsed<'de, T, D: Deserializer<'de>>(
    from: D,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).ok_or_else(|| unfit(&text, expected))
}

fn unfit<E: Error>(found: impl fmt::Display, expected: &str) -> E {
    E::custom(format_args!("`{found}` does not fit: write {expected}"))
}
