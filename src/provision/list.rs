//! What an IdP reads of many resources at once (RFC 7644 §3.4.2, §3.4.3).

use super::{Error, Result};
use crate::{
    model::{
        Scope,
        group::{Membership, Place, Stretch},
        listing::Listing,
    },
    scim::{self, filter::Filter, list::Page, schema::ResourceType, sort::Sort},
    store::{self, Store, list::Plan, members},
};

/// Which resources are listed, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Types of the realm.
    pub types: &'a [&'a ResourceType],
    pub filter: Option<&'a Filter>,
    pub sort: Option<&'a Sort>,
}

/// What is read along with the resources.
#[derive(Debug, Clone, Copy)]
pub struct Along<'a> {
    /// The groups of users, by the URL which a group's id is appended to.
    pub groups: Option<&'a str>,
    /// The members of groups.
    pub members: Membership,
}

/// A page of the resources which the query is for, and the first members of the groups among them.
pub async fn list(
    store: &Store,
    scope: &Scope,
    query: &Query<'_>,
    page: &Page,
    along: Along<'_>,
) -> Result<(Listing, Option<Stretch>)> {
    let plan = Plan::new(query.types, query.filter, query.sort, scope.realm.policy.dialect)?;
    let mut tries = 1;
    loop {
        match read(store, scope, &plan, page, along).await {
            // A group of the page was deleted before its members were read.
            Err(Error::Store(store::error::Error::Dangling(_))) if tries < 5 => tries += 1,
            // RFC 7644 §3.12: it is the query that is too much, and it would be next time. What an index serves takes long
            // only while the database has trouble of its own, and is worth another try.
            Err(Error::Store(store::error::Error::TooLong)) if !plan.is_indexed() => {
                return Err(scim::error::Error::too_many(
                    "This filter or sorting looks at more values than one request may; compare fewer attributes, or \
                     indexed ones: id, userName, externalId, displayName, emails.value, meta.lastModified",
                )
                .into());
            }
            outcome => return outcome,
        }
    }
}

async fn read(
    store: &Store,
    scope: &Scope,
    plan: &Plan,
    page: &Page,
    along: Along<'_>,
) -> Result<(Listing, Option<Stretch>)> {
    let mut tx = store.begin(scope).await?;
    let listing = plan.page(&mut tx, page, along.groups).await?;
    let groups = listing.groups();
    if groups.is_empty() || along.members == Membership::Unread {
        tx.commit().await?;
        return Ok((listing, None));
    }
    let members = members::read(tx, &groups, Place::default(), along.members == Membership::Named).await?;
    Ok((listing, Some(members)))
}
