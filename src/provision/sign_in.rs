//! The sign-in check: finds the user, and turns a shadow user active at the first one (M054, M056-M058).

use super::{Error, Result};
use crate::{
    model::{Scope, UserId, identity::MatchAttribute, sign_in::SignIn, user::State},
    scim::resource::fold,
    store::{Store, outbox::Origin, roles, sign_in},
};

/// Signs in the user who is `found_by` the first of these values that anybody has.
pub async fn sign_in(store: &Store, scope: &Scope, found_by: &[(MatchAttribute, String)]) -> Result<SignIn> {
    for (attribute, value) in found_by {
        match by(store, scope, *attribute, value).await? {
            SignIn::Unknown => {}
            outcome => return Ok(outcome),
        }
    }
    Ok(SignIn::Unknown)
}

async fn by(store: &Store, scope: &Scope, attribute: MatchAttribute, value: &str) -> Result<SignIn> {
    let folded = fold(value);
    let value = match attribute {
        MatchAttribute::ExternalId => value,
        MatchAttribute::UserName => &folded,
    };
    let mut first = false;
    // Once to see a shadow, once to see it active; once more for each time that somebody else is quicker.
    for _ in 0..5 {
        let mut tx = store.begin(scope).await?;
        let mut found = sign_in::find(&mut tx, attribute, value).await?;
        let Some(subject) = found.pop() else { return Ok(SignIn::Unknown) };
        if !found.is_empty() {
            return Ok(SignIn::Ambiguous);
        }
        match subject.state {
            State::Active => {
                let roles = roles::effective(tx, UserId(subject.document.id)).await?;
                let roles = roles.into_iter().map(|role| role.name).collect();
                return Ok(SignIn::Accepted { subject: Box::new(subject), roles, first });
            }
            State::Disabled => return Ok(SignIn::Disabled),
            State::Shadow => {
                first = sign_in::activate(tx, UserId(subject.document.id), &Origin::of(scope)).await?;
            }
        }
    }
    Err(Error::Store(crate::store::error::Error::Deadlock))
}
