//! What operators' tokens say.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    access::jwt::{self, Flaw, Presented},
    model::{
        AdminId,
        admin::{Admin, MasterRole, Right},
        client::{OF_A_REALM, PUBLIC_CLIENT},
    },
};

/// Who an access token is for. A refresh token is for its issuer alone.
const ACCESS_AUDIENCE: &str = "realmgate-admin-api";

/// The most that a token tells of rights in realms, in bytes of JSON. Who has more is told none: headers have an end.
const MAX_RESOURCE_ACCESS: usize = 2048;

/// Keycloak's `typ` claim: what a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Opens the admin API.
    Bearer,
    /// Buys new tokens, and opens nothing.
    Refresh,
}

/// What a token says (RFC 7519 §4.1, and Keycloak's own). Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    /// When the password was given.
    pub auth_time: i64,
    pub jti: Uuid,
    pub iss: String,
    pub aud: String,
    pub sub: AdminId,
    pub typ: Kind,
    pub azp: String,
    /// The session: the same in all tokens that come from one password.
    pub sid: Uuid,
    /// Of the operator, when the password was given.
    pub epoch: i32,
    #[serde(flatten, skip_deserializing)]
    pub profile: Option<Profile>,
}

/// What clients may read in an access token. We never do: rights are looked up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    preferred_username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    realm_access: Roles,
    /// By the name of Keycloak's client for the realm, `<realm>-realm`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    resource_access: BTreeMap<String, Roles>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Roles {
    roles: Vec<&'static str>,
}

impl Claims {
    /// Claims for `sub`, valid from `now` for `life` seconds.
    pub fn new(kind: Kind, issuer: &str, sub: AdminId, session: Session, now: Timestamp, life: i64) -> Self {
        let now = now.as_second();
        Self {
            exp: now.saturating_add(life),
            iat: now,
            nbf: now,
            auth_time: session.auth_time,
            jti: Uuid::now_v7(),
            iss: issuer.to_owned(),
            aud: audience(kind, issuer).to_owned(),
            sub,
            typ: kind,
            azp: PUBLIC_CLIENT.to_owned(),
            sid: session.sid,
            epoch: session.epoch,
            profile: None,
        }
    }

    /// For clients to read.
    pub fn with_profile(self, admin: &Admin) -> Self {
        let azp = admin.client_id.as_deref().unwrap_or(PUBLIC_CLIENT).to_owned();
        Self { azp, profile: Some(Profile::of(admin)), ..self }
    }

    /// The claims of `token`, if `key` (the one of [`Presented::kid`], `None` if nobody has it) signed them for this use.
    pub fn open(
        token: &Presented<'_>,
        key: Option<&DecodingKey>,
        kind: Kind,
        issuer: &str,
        now: Timestamp,
    ) -> Result<Self, Flaw> {
        let claims: Self = token.open(key, issuer, audience(kind, issuer), now)?;
        if claims.typ == kind { Ok(claims) } else { Err(Flaw::Foreign) }
    }

    pub fn session(&self) -> Session {
        Session { sid: self.sid, auth_time: self.auth_time, epoch: self.epoch }
    }
}

impl Profile {
    pub fn of(admin: &Admin) -> Self {
        let roles_in = |(realm, rights): (&String, &BTreeSet<Right>)| {
            (format!("{realm}{OF_A_REALM}"), Roles { roles: rights.iter().map(|right| right.as_str()).collect() })
        };
        let resource_access: BTreeMap<_, _> = admin.rights.realms.iter().map(roles_in).collect();
        let is_short = serde_json::to_vec(&resource_access).is_ok_and(|json| json.len() <= MAX_RESOURCE_ACCESS);
        Self {
            preferred_username: admin.username.clone(),
            client_id: admin.client_id.clone(),
            realm_access: Roles { roles: admin.rights.master_roles().map(MasterRole::as_str).collect() },
            resource_access: if is_short { resource_access } else { BTreeMap::new() },
        }
    }
}

/// What all tokens that come from one password share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub sid: Uuid,
    /// Seconds since 1970.
    pub auth_time: i64,
    /// That of the operator: setting a password raises it.
    pub epoch: i32,
}

impl jwt::Claims for Claims {
    fn exp(&self) -> i64 {
        self.exp
    }

    fn nbf(&self) -> i64 {
        self.nbf
    }
}

fn audience(kind: Kind, issuer: &str) -> &str {
    match kind {
        Kind::Bearer => ACCESS_AUDIENCE,
        Kind::Refresh => issuer,
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        access::jwt::{CLOCK_SKEW, MAX_LENGTH, Signer},
        model::admin::Rights,
    };

    const ISSUER: &str = "https://id.example/realms/master";
    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claims(kind: Kind) -> Claims {
        let session = Session { sid: Uuid::now_v7(), auth_time: NOW, epoch: 0 };
        Claims::new(kind, ISSUER, AdminId(Uuid::now_v7()), session, at(NOW), 300)
    }

    fn ada(rights: Rights) -> Admin {
        let (username, created_at) = ("Ada".to_owned(), at(NOW));
        Admin {
            id: AdminId(Uuid::now_v7()),
            username,
            client_id: None,
            enabled: true,
            external: false,
            created_at,
            rights,
        }
    }

    fn key_of(signer: &Signer) -> DecodingKey {
        DecodingKey::from_ec_der(signer.public_key())
    }

    /// What becomes of `token`, presented at `second` as an access token, if `signer` is the only known key.
    fn verify_at(token: &str, signer: &Signer, second: i64) -> Result<Claims, Flaw> {
        let presented = Presented::read(token)?;
        let key = (presented.kid() == signer.kid()).then(|| key_of(signer));
        Claims::open(&presented, key.as_ref(), Kind::Bearer, ISSUER, at(second))
    }

    fn verify(token: &str, signer: &Signer) -> Result<Claims, Flaw> {
        verify_at(token, signer, NOW)
    }

    /// A good access token with one claim set, or taken away by `null`; well signed.
    fn with_claim(signer: &Signer, name: &str, value: Value) -> String {
        let mut claims = serde_json::to_value(claims(Kind::Bearer)).unwrap();
        let map = claims.as_object_mut().unwrap();
        if value.is_null() {
            map.remove(name)
        } else {
            map.insert(name.to_owned(), value)
        };
        jsonwebtoken::encode(&signer.header, &claims, &signer.private_key).unwrap()
    }

    /// A good access token whose header has one more member; well signed.
    fn with_header(signer: &Signer, change: impl FnOnce(&mut Header)) -> String {
        let mut header = signer.header.clone();
        change(&mut header);
        jsonwebtoken::encode(&header, &claims(Kind::Bearer), &signer.private_key).unwrap()
    }

    /// `header` and good claims, with `signature` as it stands.
    fn assembled(header: &Value, signature: &str) -> String {
        let signed = Signer::generate().sign(&claims(Kind::Bearer));
        let payload = signed.split('.').nth(1).unwrap().to_owned();
        format!("{}.{payload}.{signature}", base64url(header.to_string().as_bytes()))
    }

    fn base64url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let digit = |chunk: &[u8], i: usize| {
            let bits = chunk.iter().chain([0; 2].iter()).take(3).fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
            char::from(ALPHABET[(bits >> (18 - 6 * i)) & 63])
        };
        bytes.chunks(3).flat_map(|chunk| (0..=chunk.len()).map(move |i| digit(chunk, i))).collect()
    }

    #[test]
    fn a_token_of_ours_opens() {
        let signer = Signer::generate();
        let sent = claims(Kind::Bearer);
        let token = signer.sign(&sent.clone().with_profile(&ada(Rights::default())));
        assert_eq!(verify(&token, &signer), Ok(sent));
    }

    #[test]
    fn an_access_token_tells_clients_who_it_is_for() {
        let rights = |realms: usize| {
            let held = (0..realms).map(|n| (format!("acme{n}"), "view-users".to_owned()));
            Rights::of(held.chain([("master".to_owned(), "create-realm".to_owned())]))
        };
        let told = |admin: &Admin| serde_json::to_value(claims(Kind::Bearer).with_profile(admin)).unwrap();
        let claims = told(&ada(rights(1)));
        assert_eq!(claims["preferred_username"], "Ada");
        assert_eq!(claims["realm_access"], json!({"roles": ["create-realm"]}));
        assert_eq!(claims["resource_access"], json!({"acme0-realm": {"roles": ["view-users"]}}));
        assert_eq!((&claims["azp"], &claims["typ"]), (&json!("admin-cli"), &json!("Bearer")));
        assert!(told(&ada(rights(1000)))["resource_access"].is_null(), "no header has room for it");
        let client = Admin { client_id: Some("batch".into()), ..ada(Rights::default()) };
        assert_eq!((&told(&client)["azp"], &told(&client)["client_id"]), (&json!("batch"), &json!("batch")));
    }

    #[test]
    fn the_longest_token_is_not_too_long() {
        let signer = Signer::generate();
        let held = (0..28).map(|n| (format!("{n:0>44}"), "view-events".to_owned()));
        let admin = Admin { username: "\u{10ffff}".repeat(255), ..ada(Rights::of(held)) };
        let token = signer.sign(&claims(Kind::Bearer).with_profile(&admin));
        assert!(verify(&token, &signer).is_ok(), "{}", token.len());
    }

    #[test]
    fn what_is_no_token_is_refused_by_its_form() {
        let signer = Signer::generate();
        let long = format!("{}.a.b", "a".repeat(MAX_LENGTH));
        let scim = crate::model::token::PlainToken::generate();
        for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "\u{0}.\u{0}.\u{0}", "💥.💥.💥", &long, scim.reveal()]
        {
            assert_eq!(verify(token, &signer), Err(Flaw::Foreign), "{token:?}");
        }
    }

    #[test]
    fn the_algorithm_none_is_refused() {
        let signer = Signer::generate();
        for alg in ["none", "None", "NONE", ""] {
            let header = json!({"typ": "JWT", "alg": alg, "kid": signer.kid()});
            assert_eq!(verify(&assembled(&header, ""), &signer), Err(Flaw::Foreign));
        }
    }

    #[test]
    fn a_token_without_its_signature_is_refused() {
        let signer = Signer::generate();
        let token = signer.sign(&claims(Kind::Bearer));
        let (message, _) = token.rsplit_once('.').unwrap();
        let zeros = base64url(&[0; 64]);
        for signature in ["", "AAAA", &zeros] {
            assert_eq!(verify(&format!("{message}.{signature}"), &signer), Err(Flaw::Unsigned));
        }
    }

    #[test]
    fn the_public_key_is_no_hmac_secret() {
        let signer = Signer::generate();
        let header = Header { alg: Algorithm::HS256, ..signer.header.clone() };
        let secret = EncodingKey::from_secret(signer.public_key());
        let token = jsonwebtoken::encode(&header, &claims(Kind::Bearer), &secret).unwrap();
        assert_eq!(verify(&token, &signer), Err(Flaw::Foreign));
    }

    #[test]
    fn another_key_under_the_same_kid_is_refused() {
        let (signer, stranger) = (Signer::generate(), Signer::generate());
        let token = jsonwebtoken::encode(&signer.header, &claims(Kind::Bearer), &stranger.private_key).unwrap();
        assert_eq!(verify(&token, &signer), Err(Flaw::Unsigned));
    }

    #[test]
    fn a_kid_of_nobody_is_refused() {
        let (signer, stranger) = (Signer::generate(), Signer::generate());
        let token = stranger.sign(&claims(Kind::Bearer));
        assert_eq!(verify(&token, &signer), Err(Flaw::Unsigned));
        assert_eq!(verify_at(&token, &signer, NOW + 300), Err(Flaw::Expired), "its key may have gone with it");
    }

    #[test]
    fn a_kid_that_is_not_ours_by_form_is_refused() {
        let signer = Signer::generate();
        let simple = signer.kid().simple().to_string();
        for kid in [None, Some(""), Some("../../etc/passwd"), Some("' OR 1=1 --"), Some(simple.as_str())] {
            let token = with_header(&signer, |header| header.kid = kid.map(str::to_owned));
            assert_eq!(verify(&token, &signer), Err(Flaw::Foreign), "{kid:?}");
        }
    }

    #[test]
    fn a_header_with_more_than_ours_is_refused() {
        type Change = Box<dyn FnOnce(&mut Header)>;
        let signer = Signer::generate();
        let jwk = serde_json::from_value(json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"})).unwrap();
        let url = || Some("https://evil.example/keys".to_owned());
        let changes: Vec<Change> = vec![
            Box::new(|h| h.crit = Some(vec!["exp".into()])),
            Box::new(|h| h.crit = Some(vec![])),
            Box::new(|h| h.extras.insert("b64", false)),
            Box::new(move |h| h.jku = url()),
            Box::new(move |h| h.x5u = url()),
            Box::new(|h| h.x5c = Some(vec!["AA==".into()])),
            Box::new(move |h| h.jwk = Some(jwk)),
            Box::new(|h| h.cty = Some("JWT".into())),
            Box::new(|h| h.typ = Some("at+jwt".into())),
            Box::new(|h| h.typ = None),
        ];
        for change in changes {
            assert_eq!(verify(&with_header(&signer, change), &signer), Err(Flaw::Foreign));
        }
    }

    #[test]
    fn a_changed_claim_breaks_the_signature() {
        let signer = Signer::generate();
        let token = signer.sign(&claims(Kind::Bearer));
        let other = signer.sign(&claims(Kind::Bearer));
        let parts: Vec<&str> = token.split('.').collect();
        let payload = other.split('.').nth(1).unwrap();
        assert_eq!(verify(&format!("{}.{payload}.{}", parts[0], parts[2]), &signer), Err(Flaw::Unsigned));
    }

    #[test]
    fn issuer_and_audience_must_be_ours_and_one() {
        let signer = Signer::generate();
        for issuer in [json!("https://id.example/realms/acme"), json!([ISSUER]), json!(1), json!(null)] {
            assert_eq!(verify(&with_claim(&signer, "iss", issuer), &signer), Err(Flaw::Foreign));
        }
        let audiences = [json!("account"), json!(ISSUER), json!([ACCESS_AUDIENCE]), json!({}), json!(null)];
        for audience in audiences {
            assert_eq!(verify(&with_claim(&signer, "aud", audience), &signer), Err(Flaw::Foreign));
        }
    }

    #[test]
    fn a_time_of_the_wrong_type_is_no_absence() {
        let signer = Signer::generate();
        for name in ["exp", "nbf", "iat"] {
            for value in
                [json!((NOW + 300).to_string()), json!(1.8e9), json!([NOW]), json!({}), json!(true), json!(null)]
            {
                let token = with_claim(&signer, name, value.clone());
                assert_eq!(verify(&token, &signer), Err(Flaw::Foreign), "{name}: {value}");
            }
        }
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let signer = Signer::generate();
        assert!(verify(&with_claim(&signer, "exp", json!(i64::MAX)), &signer).is_ok());
        for beyond in [json!(u64::MAX), json!(i64::MIN)] {
            assert_eq!(verify(&with_claim(&signer, "exp", beyond), &signer), Err(Flaw::Foreign));
        }
        assert_eq!(verify(&with_claim(&signer, "exp", json!(0)), &signer), Err(Flaw::Expired));
        assert_eq!(verify(&with_claim(&signer, "nbf", json!(i64::MAX)), &signer), Err(Flaw::Early));
    }

    #[test]
    fn a_token_ends_with_the_second_of_its_exp() {
        let signer = Signer::generate();
        let token = signer.sign(&claims(Kind::Bearer));
        assert!(verify_at(&token, &signer, NOW + 299).is_ok());
        assert_eq!(verify_at(&token, &signer, NOW + 300), Err(Flaw::Expired));
    }

    #[test]
    fn a_token_of_the_future_is_refused_beyond_what_clocks_differ() {
        let signer = Signer::generate();
        let token = signer.sign(&claims(Kind::Bearer));
        assert!(verify_at(&token, &signer, NOW - CLOCK_SKEW).is_ok());
        assert_eq!(verify_at(&token, &signer, NOW - CLOCK_SKEW - 1), Err(Flaw::Early));
    }

    #[test]
    fn access_and_refresh_tokens_do_not_stand_in_for_each_other() {
        let signer = Signer::generate();
        let refresh = signer.sign(&claims(Kind::Refresh));
        assert_eq!(verify(&refresh, &signer), Err(Flaw::Foreign));

        let access = signer.sign(&claims(Kind::Bearer));
        let presented = Presented::read(&access).ok().unwrap();
        assert_eq!(
            Claims::open(&presented, Some(&key_of(&signer)), Kind::Refresh, ISSUER, at(NOW)),
            Err(Flaw::Foreign)
        );

        // Not even if the audience is the other's: the kind is asked for itself.
        for typ in ["Refresh", "ID", "bearer"] {
            assert_eq!(verify(&with_claim(&signer, "typ", json!(typ)), &signer), Err(Flaw::Foreign));
        }
    }

    #[test]
    fn a_subject_must_be_an_id() {
        let signer = Signer::generate();
        for value in [json!("admin"), json!(1), json!(null)] {
            assert_eq!(verify(&with_claim(&signer, "sub", value), &signer), Err(Flaw::Foreign));
        }
    }
}
