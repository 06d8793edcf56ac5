//! What a realm shows over time: what its IdP has done so far, and the faults which that tells of.

use jiff::Timestamp;

use super::diagnosis::{self, Diagnosis, Facts};
use crate::{
    model::{realm::Realm, request_log::Sign},
    store::{Store, error::Result, request_log},
};

/// What is known of the realm's IdP, and the faults which that shows, as they are `now`.
pub async fn overview(store: &Store, realm: &Realm, now: Timestamp) -> Result<(request_log::Overview, Vec<Diagnosis>)> {
    let found = request_log::overview(store.enter(realm.id, realm.epoch).await?, now).await?;
    let first = |sign: Sign| found.signs.iter().find(|seen| seen.sign == sign.as_str()).map(|seen| seen.first_at);
    // An attribute which only some users lack may be one that they do not have.
    let lacking = found.lacking.iter().filter(|lacking| lacking.users == lacking.looked_at);
    let facts = Facts {
        first_request: first(Sign::Request),
        first_user: first(Sign::UserCreated),
        first_update: first(Sign::UserUpdated),
        first_leaver: first(Sign::UserLeft),
        first_group: first(Sign::GroupWritten),
        has_users: found.has_users,
        has_groups: found.has_groups,
        missing: lacking.map(|lacking| lacking.attribute.clone()).collect(),
    };
    let faults = diagnosis::of_realm(&facts, now);
    Ok((found, faults))
}
