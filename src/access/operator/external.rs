//! Operators whom another issuer signs in: their tokens say who they are and what they may do. They have no row here,
//! no password and no session: what an issuer has signed is good until it expires.

use aws_lc_rs::digest;
use jiff::Timestamp;
use serde_json::Value;
use tracing::debug;
use uuid::Builder;

use super::Refusal;
use crate::{
    access::foreign::{
        Error,
        source::Sources,
        token::{Claims, Expected, Foreign},
    },
    model::{
        AdminId,
        admin::{Admin, Rights, Username},
        identity::{InvalidIdentity, Issuer},
        realm::MASTER,
    },
    store,
};

/// An issuer whose tokens open the admin API, and what they must say.
pub struct External {
    issuer: Issuer,
    username_claim: String,
    roles_claim: String,
    sources: Sources,
}

impl External {
    pub fn new(
        issuer: Issuer,
        username_claim: String,
        roles_claim: String,
        sources: Sources,
    ) -> Result<Self, InvalidIdentity> {
        issuer.check()?;
        Ok(Self { issuer, username_claim, roles_claim, sources })
    }

    /// Whose token it is; `None` if it is of another issuer.
    pub(super) async fn verify(&self, token: &str, now: Timestamp) -> Result<Option<Admin>, Refusal> {
        let Ok(presented) = Foreign::read(token) else { return Ok(None) };
        if presented.claimed_issuer().ok().as_deref() != Some(self.issuer.issuer.as_str()) {
            return Ok(None);
        }
        let issuer = &self.issuer;
        let expected =
            Expected { issuer: &issuer.issuer, audiences: &issuer.audiences, claims: &issuer.claims, max_life: None };
        match self.sources.verify(&presented, &issuer.keys(), &expected, now).await {
            Ok(claims) => self.operator(&claims, now).map(Some),
            Err(Error::Flaw(flaw)) => {
                debug!(reason = flaw.as_str(), "a token of the operators' issuer was refused");
                Err(Refusal::InvalidGrant(super::INVALID_ACCESS))
            }
            Err(Error::Keys(error)) => {
                let away = format!("the public keys of the operators' issuer are not to be had: {error}");
                Err(store::error::Error::Unavailable(away).into())
            }
        }
    }

    fn operator(&self, claims: &Claims, now: Timestamp) -> Result<Admin, Refusal> {
        let nameless = || {
            debug!(claim = self.username_claim, "a token of the operators' issuer names nobody");
            Refusal::InvalidGrant(super::INVALID_ACCESS)
        };
        let subject = claims.text("sub").ok_or_else(nameless)?;
        let username = claims.text(&self.username_claim).and_then(|name| Username::parse(name).ok());
        let username = username.ok_or_else(nameless)?.as_str().to_owned();
        let rights = Rights::of(claims.get(&self.roles_claim).map(roles).unwrap_or_default());
        let id = id_of(&self.issuer.issuer, subject);
        Ok(Admin { id, username, client_id: None, enabled: true, external: true, created_at: now, rights })
    }
}

/// Realms, each with a role in it. Either `{"master": ["admin"], "acme": ["view-users"]}` or `["admin",
/// "acme:view-users"]`; whatever else stands there is no role.
fn roles(claim: &Value) -> Vec<(String, String)> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    match claim {
        Value::Object(realms) => {
            realms.iter().flat_map(|(realm, held)| texts(held).into_iter().map(|role| (realm.clone(), role))).collect()
        }
        list => texts(list)
            .into_iter()
            .map(|text| match text.split_once(':') {
                Some((realm, role)) => (realm.to_owned(), role.to_owned()),
                None => (MASTER.to_owned(), text),
            })
            .collect(),
    }
}

/// The same for the same subject, and nobody's who has a row.
fn id_of(issuer: &str, subject: &str) -> AdminId {
    let digest = digest::digest(&digest::SHA256, format!("{issuer}\n{subject}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    AdminId(Builder::from_custom_bytes(bytes).into_uuid())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::admin::{Need, Right};

    #[test]
    fn both_forms_of_the_claim_say_the_same() {
        let by_realm = json!({ "master": ["create-realm"], "acme": ["view-users", "fly", 7], "globex": "all" });
        let listed = json!(["create-realm", "acme:view-users", "acme:fly", 7]);
        let rights = Rights::of(roles(&by_realm));
        assert_eq!(rights, Rights::of(roles(&listed)));
        assert!(rights.create_realm && rights.meet(Right::ViewUsers.into(), Some("acme")));
        assert!(!rights.meet(Need::Everything, None) && !rights.meet(Need::AnyRight, Some("globex")));
        for nothing in [json!(null), json!("admin"), json!(true), json!({ "acme": ["admin"] }), json!(["acme:admin"])] {
            assert_eq!(Rights::of(roles(&nothing)), Rights::default(), "{nothing}");
        }
        assert!(Rights::of(roles(&json!(["admin"]))).admin);
    }

    #[test]
    fn a_subject_keeps_its_id() {
        assert_eq!(id_of("https://a.example", "1"), id_of("https://a.example", "1"));
        assert_ne!(id_of("https://a.example", "1"), id_of("https://b.example", "1"));
    }
}
