//! Path aliases: the paths under which another product served a realm, kept so that its IdP need not be told of the new
//! one.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// First segments of our own paths: nothing below them can be anybody's alias.
const OURS: [&str; 7] = ["admin", "realms", "console", "setup", "health", "metrics", ".well-known"];

/// What stands behind `/scim/v2` on a custom domain.
const ENDPOINTS: [&str; 8] =
    [".search", "Bulk", "Groups", "Me", "ResourceTypes", "Schemas", "ServiceProviderConfig", "Users"];

const MAX_SEGMENTS: usize = 8;
/// Bytes.
const MAX_LENGTH: usize = 512;

/// A path which stands for the SCIM base URL of one realm: `/scim/v2/acme`, compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct AliasPath(String);

/// Why a path cannot be an alias.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be an alias: write 1 to {MAX_SEGMENTS} segments of the characters a-z A-Z 0-9 - . _ ~ @ : = + , as in \
     `/scim/v2/acme`; paths of realmgate itself are no aliases: `/scim`, `/scim/v2` and its endpoints, and what lies \
     below /admin /realms /console /setup /health /metrics /.well-known"
)]
pub struct InvalidAlias(String);

impl AliasPath {
    /// A slash at the end makes no difference.
    pub fn parse(text: &str) -> Result<Self, InvalidAlias> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_whole = candidates(path).last().is_some_and(|candidate| candidate == path);
        if is_whole { Ok(Self(path.to_owned())) } else { Err(InvalidAlias(text.chars().take(100).collect())) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path and those above it, as far as they could be aliases themselves.
    pub fn and_above(&self) -> Vec<&str> {
        candidates(&self.0).collect()
    }
}

impl fmt::Display for AliasPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AliasPath {
    type Error = InvalidAlias;

    fn try_from(text: String) -> Result<Self, InvalidAlias> {
        Self::parse(&text)
    }
}

impl From<AliasPath> for String {
    fn from(path: AliasPath) -> Self {
        path.0
    }
}

/// The beginnings of a request's path which could be an alias, the shortest first. None for a path of our own, so that
/// such a path is never looked for.
pub fn candidates(path: &str) -> impl Iterator<Item = &str> {
    let segments = path.strip_prefix('/').map(|rest| rest.split('/')).into_iter().flatten();
    let ends = segments.scan(0, |end, segment| {
        *end += 1 + segment.len();
        is_plain(segment).then_some(*end)
    });
    let mut beginnings = path.strip_prefix('/').unwrap_or_default().split('/');
    let of_ours = match (beginnings.next(), beginnings.next(), beginnings.next()) {
        (Some("scim"), Some("v2"), third) => third.is_none_or(|third| third.is_empty() || ENDPOINTS.contains(&third)),
        (Some(first), ..) => OURS.contains(&first),
        (None, ..) => true,
    };
    let most = if of_ours { 0 } else { MAX_SEGMENTS };
    let whole = |end: &usize| *end <= MAX_LENGTH;
    ends.take(most).take_while(whole).map(|end| &path[..end]).filter(|path| !["/scim", "/scim/v2"].contains(path))
}

fn is_plain(segment: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~@:=+,".contains(&b);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_the_path_of_another_product() {
        for path in ["/scim/v2/acme", "/api/scim/v2.0/7f3b-1", "/scim/directories/x", "/x", "/v1/a/b/c/d/e/f/g"] {
            assert_eq!(AliasPath::parse(path).map(|alias| alias.to_string()), Ok(path.to_owned()));
        }
        assert_eq!(AliasPath::parse("/scim/v2/acme/").map(String::from), Ok("/scim/v2/acme".into()));
    }

    #[test]
    fn our_own_paths_and_odd_ones_are_no_aliases() {
        for path in [
            "",
            "/",
            "//",
            "x",
            "/a//b",
            "/a/../b",
            "/a/.",
            "/a b",
            "/a%20b",
            "/ä",
            "/a?b",
            "/a#b",
            "/a/b//",
            "/scim",
            "/scim/v2",
            "/scim/v2/",
            "/scim/v2/Users",
            "/scim/v2/Users/x",
            "/scim/v2/.search",
            "/admin",
            "/admin/x",
            "/realms/acme/scim/v2",
            "/console",
            "/setup/x",
            "/health",
            "/metrics/a",
            "/1/2/3/4/5/6/7/8/9",
        ] {
            assert!(AliasPath::parse(path).is_err(), "{path}");
        }
        assert!(AliasPath::parse(&format!("/{}", "a".repeat(MAX_LENGTH))).is_err());
    }

    #[test]
    fn a_request_is_looked_for_under_each_beginning_of_its_path() {
        let found = |path| candidates(path).collect::<Vec<_>>();
        assert_eq!(found("/scim/v2/acme/Users/1"), ["/scim/v2/acme", "/scim/v2/acme/Users", "/scim/v2/acme/Users/1"]);
        assert_eq!(found("/a/b%20c/d"), ["/a"]);
        assert_eq!(found("/1/2/3/4/5/6/7/8/9/10").len(), MAX_SEGMENTS);
        for ours in ["/", "", "*", "/realms/acme/scim/v2/Users", "/scim/v2/Users/1", "/scim/v2", "/admin/realms"] {
            assert!(found(ours).is_empty(), "{ours}");
        }
    }
}
