//! What an IdP reads of many resources at once (RFC 7644 §3.4.2, §3.4.3).

use std::collections::HashMap;

use uuid::Uuid;

use super::{Result, groups::MemberUrls};
use crate::{
    model::{
        Scope,
        listing::{Listed, Listing},
    },
    scim::{filter::Filter, list::Page, schema::ResourceType, sort::Sort},
    store::{Store, list::Plan, members},
};

/// Which resources are listed, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Types of the realm.
    pub types: &'a [&'a ResourceType],
    pub filter: Option<&'a Filter>,
    pub sort: Option<&'a Sort>,
}

/// What is read along with the resources: each with the URLs that its values need, or not at all.
#[derive(Debug, Clone, Copy)]
pub struct Along<'a> {
    /// The groups of users, by the URL which a group's id is appended to.
    pub groups: Option<&'a str>,
    /// The members of groups.
    pub members: Option<MemberUrls<'a>>,
}

/// A page of the resources which the query is for.
pub async fn list(store: &Store, scope: &Scope, query: &Query<'_>, page: &Page, along: Along<'_>) -> Result<Listing> {
    let plan = Plan::new(query.types, query.filter, query.sort, scope.realm.policy.dialect)?;
    let mut tx = store.begin(scope).await?;
    let mut listing = plan.page(&mut tx, page, along.groups).await?;
    if let Some(urls) = along.members {
        let group = |listed: &Listed| match listed {
            Listed::Group(group) => Some(group.document.id),
            Listed::User(_) => None,
        };
        let ids: Vec<Uuid> = listing.resources.iter().filter_map(group).collect();
        if !ids.is_empty() {
            let members = members::list(&mut tx, &ids, urls.users, urls.groups).await?;
            let mut members: HashMap<Uuid, String> = members.into_iter().collect();
            for listed in &mut listing.resources {
                if let Listed::Group(group) = listed {
                    group.members = members.remove(&group.document.id);
                }
            }
        }
    }
    tx.commit().await?;
    Ok(listing)
}
