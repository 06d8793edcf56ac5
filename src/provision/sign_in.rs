//! The sign-in check: finds the user, and turns a shadow user active at the first one (M054, M056-M058).

use super::{Error, Result};
use crate::{
    model::{Scope, UserId, identity::MatchAttribute, sign_in::SignIn, user::State},
    scim::resource::fold,
    store::{Store, outbox::Origin, sign_in},
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
        let mut found = sign_in::find(store.begin(scope).await?, attribute, value).await?;
        let Some(subject) = found.pop() else { return Ok(SignIn::Unknown) };
        if !found.is_empty() {
            return Ok(SignIn::Ambiguous);
        }
        match subject.state {
            State::Active => return Ok(SignIn::Accepted { subject, first }),
            State::Disabled => return Ok(SignIn::Disabled),
            State::Shadow => {
                let id = UserId(subject.document.id);
                first = sign_in::activate(store.begin(scope).await?, id, &Origin::of(scope)).await?;
            }
        }
    }
    Err(Error::Store(crate::store::error::Error::Deadlock))
}
