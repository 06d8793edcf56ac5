//! What operators say of whose word a realm takes: who signs its users in, and whose tokens open its SCIM.

use super::{
    Error, Result,
    realms::{Changed, change},
};
use crate::{
    model::{
        Cause,
        audit::Action,
        identity::{Identity, Issuer, SignIn},
        realm::{MASTER, Realm},
    },
    store::Store,
};

/// More are nobody's.
const MAX_ISSUERS: usize = 20;

/// Sets who signs the users of the realm in; `None`, and nobody does.
pub async fn set_sign_in(store: &Store, name: &str, sign_in: Option<SignIn>, cause: &Cause) -> Result<()> {
    if let Some(sign_in) = &sign_in {
        sign_in.check().map_err(|error| Error::Invalid(error.to_string()))?;
    }
    let sign_in = &sign_in;
    set(store, name, "sign-in.update", cause, |identity| identity.sign_in.clone_from(sign_in)).await
}

/// Sets whose access tokens open SCIM: these and no others.
pub async fn set_scim_issuers(store: &Store, name: &str, issuers: Vec<Issuer>, cause: &Cause) -> Result<()> {
    if issuers.len() > MAX_ISSUERS {
        return Err(Error::Invalid(format!("a realm has at most {MAX_ISSUERS} issuers")));
    }
    for (index, issuer) in issuers.iter().enumerate() {
        issuer.check().map_err(|error| Error::Invalid(format!("issuer {}: {error}", index + 1)))?;
    }
    let issuers = &issuers;
    set(store, name, "scim-issuers.update", cause, |identity| identity.scim_issuers.clone_from(issuers)).await
}

async fn set(store: &Store, name: &str, word: &'static str, cause: &Cause, body: impl Fn(&mut Identity)) -> Result<()> {
    let body = &body;
    change(store, cause, name, Action::on_realm(word), |tx, mut realm: Realm| async move {
        if realm.name.as_str() == MASTER {
            return Err(Error::Conflict("the realm `master` is the operators' own: nobody else signs in there".into()));
        }
        body(&mut realm.identity);
        Ok(Changed::new(tx, realm, ()))
    })
    .await
    .map(|_| ())
}
