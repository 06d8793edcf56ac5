//! Whose word a realm takes beside that of its static tokens: who signs its users in, who signs tokens for its SCIM.

use std::collections::BTreeMap;

use http::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jwk::{KeySource, Keyset};

/// A realm's settings. Every key has a default, so an empty object is a setting.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Nobody signs in without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignIn>,
    /// Whose access tokens open SCIM.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scim_issuers: Vec<Issuer>,
    /// Has the realm clients of its token endpoint? Kept by the verbs which change them, for discovery to tell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_clients: bool,
}

/// Somebody else who signs tokens, and what they must say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The claim `iss`, letter by letter.
    pub issuer: String,
    /// The claim `aud` names one of these: for id tokens the client ids of the applications.
    pub audiences: Vec<String>,
    /// The URL of the issuer's JWK Set. Without it and `jwks` the issuer's metadata name it (OpenID Connect Discovery).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// The JWK Set itself, which then is never fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Further claims and the values that they must have, or hold if they are lists: `{"tid": "…"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// Who signs the users of a realm in, and how a user is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub provider: Issuer,
    /// Tried in this order. The first claim which is there and leads to a user is the one that counts.
    #[serde(default = "Match::usual", rename = "match")]
    pub matches: Vec<Match>,
}

/// A claim and the attribute which has its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// `email` counts only if `email_verified` is true.
    pub claim: String,
    pub attribute: MatchAttribute,
}

/// An attribute which leads to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MatchAttribute {
    ExternalId,
    /// Upper and lower case count as the same.
    UserName,
}

/// Why settings cannot be used: the key and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidIdentity(String);

/// Longer lists and texts are nobody's.
const MAX_VALUES: usize = 20;
const MAX_TEXT: usize = 1024;

impl Identity {
    /// Is there anybody whose access tokens open SCIM?
    pub fn has_oauth(&self) -> bool {
        self.has_clients || !self.scim_issuers.is_empty()
    }
}

impl Issuer {
    /// Where the keys of the issuer are.
    pub fn keys(&self) -> KeySource {
        match (&self.jwks, &self.jwks_uri) {
            (Some(jwks), _) => KeySource::Inline(jwks.to_string()),
            (None, Some(url)) => KeySource::Url(url.clone()),
            (None, None) => KeySource::Discovery(self.issuer.clone()),
        }
    }

    pub fn check(&self) -> Result<(), InvalidIdentity> {
        let fits = |text: &str| (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
        if !fits(&self.issuer) {
            return invalid("issuer: write the `iss` of the tokens, for example `https://login.example.com`");
        }
        if self.audiences.is_empty() || self.audiences.len() > MAX_VALUES || !self.audiences.iter().all(|a| fits(a)) {
            return invalid("audiences: write 1 to 20 values of `aud`, for id tokens the client id of the application");
        }
        if self.claims.len() > MAX_VALUES || !self.claims.iter().all(|(name, value)| fits(name) && fits(value)) {
            return invalid("claims: write at most 20 names and values");
        }
        match (&self.jwks, &self.jwks_uri) {
            (Some(_), Some(_)) => invalid("jwks, jwks_uri: write one of them, or none for the issuer's own metadata"),
            (Some(jwks), None) => {
                Keyset::read(jwks).map(|_| ()).map_err(|error| InvalidIdentity(format!("jwks: {error}")))
            }
            (None, Some(url)) if !is_url(url) => {
                invalid("jwks_uri: write a URL such as `https://login.example.com/keys`")
            }
            (None, None) if !is_url(&self.issuer) => {
                invalid("issuer: it is no URL, so that it has no metadata: say with `jwks_uri` where its keys are")
            }
            (None, _) => Ok(()),
        }
    }
}

impl SignIn {
    pub fn check(&self) -> Result<(), InvalidIdentity> {
        self.provider.check().map_err(|error| InvalidIdentity(format!("provider.{error}")))?;
        let fits = |claim: &str| (1..=MAX_TEXT).contains(&claim.len());
        if self.matches.is_empty() || self.matches.len() > MAX_VALUES || !self.matches.iter().all(|m| fits(&m.claim)) {
            return invalid("match: write 1 to 20 pairs such as {\"claim\": \"sub\", \"attribute\": \"externalId\"}");
        }
        Ok(())
    }
}

impl Match {
    /// What identity providers which push over SCIM and sign in over OpenID Connect have in common.
    pub fn usual() -> Vec<Self> {
        let usual = [("sub", MatchAttribute::ExternalId), ("email", MatchAttribute::UserName)];
        usual.map(|(claim, attribute)| Self { claim: claim.into(), attribute }).into()
    }
}

/// A URL of a server: `http` or `https`, no name and password. Whether it may be reached is decided when it is.
pub fn is_url(text: &str) -> bool {
    text.len() <= MAX_TEXT
        && text.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        })
}

fn invalid<T>(what: &str) -> Result<T, InvalidIdentity> {
    Err(InvalidIdentity(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer(more: Value) -> Result<Issuer, String> {
        let mut written = json!({ "issuer": "https://login.example", "audiences": ["app"] });
        let Value::Object(more) = more else { panic!("an object") };
        written.as_object_mut().unwrap().extend(more);
        let issuer: Issuer = serde_json::from_value(written).map_err(|e| e.to_string())?;
        issuer.check().map_err(|e| e.to_string()).map(|()| issuer)
    }

    #[test]
    fn keys_are_where_the_settings_say_or_else_where_the_issuer_says() {
        let source = |more| issuer(more).unwrap().keys();
        assert_eq!(source(json!({})), KeySource::Discovery("https://login.example".into()));
        let url = "https://login.example/keys";
        assert_eq!(source(json!({ "jwks_uri": url })), KeySource::Url(url.into()));
    }

    #[test]
    fn a_mistake_names_its_key() {
        for (more, key) in [
            (json!({ "issuer": "" }), "issuer:"),
            (json!({ "issuer": "acme" }), "issuer: it is no URL"),
            (json!({ "audiences": [] }), "audiences:"),
            (json!({ "audiences": [""] }), "audiences:"),
            (json!({ "jwks_uri": "ftp://x/" }), "jwks_uri:"),
            (json!({ "jwks_uri": "https://u:p@x/" }), "jwks_uri:"),
            (json!({ "jwks": { "keys": [] } }), "jwks: no key"),
            (json!({ "jwks": {}, "jwks_uri": "https://x/" }), "jwks, jwks_uri:"),
            (json!({ "claims": { "": "x" } }), "claims:"),
            (json!({ "audience": "app" }), "unknown field `audience`"),
        ] {
            let error = issuer(more.clone()).unwrap_err();
            assert!(error.starts_with(key), "{more}: {error}");
        }
    }

    #[test]
    fn a_user_is_found_by_subject_and_then_by_address_if_nothing_else_is_said() {
        let provider = json!({ "issuer": "https://login.example", "audiences": ["app"] });
        let sign_in: SignIn = serde_json::from_value(json!({ "provider": provider })).unwrap();
        assert_eq!(sign_in.matches, Match::usual());
        assert_eq!(sign_in.check(), Ok(()));
        let none: SignIn = serde_json::from_value(json!({ "provider": provider, "match": [] })).unwrap();
        assert!(none.check().unwrap_err().to_string().starts_with("match:"));
    }

    #[test]
    fn what_was_stored_before_there_were_settings_reads_as_none() {
        assert_eq!(serde_json::from_str::<Identity>("{}").unwrap(), Identity::default());
        assert_eq!(serde_json::to_string(&Identity::default()).unwrap(), "{}");
    }
}
