//! Lists (RFC 7644 §3.4.2, §3.4.3; RFC 9865): of one resource type or of all, by GET or by POST, by index or by cursor.

use http::StatusCode;

use super::{
    cursor::{self, Fingerprint},
    groups,
    members::{Answer, Shown},
    render::{self, Asked, Place},
    users,
};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, SCIM_JSON, reply_of},
        failure::Result,
    },
    model::{Scope, listing::Listed},
    provision::list::{self, Along, Query},
    scim::{
        filter,
        list::{ListQuery, Start},
        schema::{ResourceType, ResourceTypes},
        search,
    },
};

/// Which resource types of the realm are asked for.
type Kinds = fn(&ResourceTypes) -> Vec<&ResourceType>;

const USERS: Kinds = |types| vec![&types.user];
const GROUPS: Kinds = |types| vec![&types.group];
const ALL: Kinds = |types| types.all().to_vec();

pub async fn users(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, USERS, queried(&call)).await
}

pub async fn groups(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, GROUPS, queried(&call)).await
}

pub async fn all(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, ALL, queried(&call)).await
}

pub async fn search_users(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, USERS, searched(&call)?).await
}

pub async fn search_groups(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, GROUPS, searched(&call)?).await
}

pub async fn search_all(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(edge, &call, ALL, searched(&call)?).await
}

type Parameters = Vec<(String, String)>;

/// What a GET asks for.
fn queried(call: &Permitted<Scope>) -> Parameters {
    call.query.clone()
}

/// What a POST asks for.
fn searched(call: &Permitted<Scope>) -> Result<Parameters> {
    let parameters = search::parameters(call.json()?)?;
    Ok(parameters.into_iter().map(|(name, text)| (name.to_owned(), text)).collect())
}

async fn answer(edge: Edge, call: &Permitted<Scope>, kinds: Kinds, parameters: Parameters) -> Result<Reply> {
    let (scope, settings) = (call.caller(), &edge.settings);
    let types = kinds(&scope.realm.types);
    let parameters = parameters.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    let query = ListQuery::parse(parameters, settings.page_sizes)?;
    let filter = query.filter.as_deref().map(|text| filter::parse(text, scope.realm.policy.dialect)).transpose()?;
    let (key, fingerprint) = (&scope.realm.cursor_key, Fingerprint::of(&types, &query));
    let page = match &query.start {
        Start::Index(offset) => edge.walks.resumed(scope, fingerprint, *offset, query.count).await,
        Start::Cursor(given) => {
            cursor::page(key, fingerprint, given.as_deref(), query.count, scope.at, settings.cursor_timeout)?
        }
    };
    let asked = Asked { projection: query.projection };
    let groups_url = users::groups_url(call);
    let shown = Shown::of(&asked.projection);
    let along = Along {
        groups: asked.projection.includes("groups").then_some(groups_url.as_str()),
        members: Shown::membership(shown),
    };
    let wanted = Query { types: &types, filter: filter.as_ref(), sort: query.sort.as_ref() };
    let (listing, members) = list::list(&edge.store, scope, &wanted, &page, along).await?;
    let place = match &query.start {
        Start::Index(offset) => {
            edge.walks.remember(scope, fingerprint, &page, &listing).await;
            Place::Index(offset + 1)
        }
        Start::Cursor(_) => Place::Cursor(cursor::around(key, fingerprint, &page, &listing, scope.at)),
    };
    let resources = listing.resources.iter().map(|listed| match listed {
        Listed::User(user) => users::rendered(call, &asked, user),
        Listed::Group(group) => groups::rendered(call, &asked, &group.document),
    });
    let mut list = render::list(listing.total, &place, resources);
    let (Some(members), Some(shown)) = (members, shown) else { return Ok(list.reply()) };
    let mut listed = listing.resources.iter();
    list.ends.retain(|_| matches!(listed.next(), Some(Listed::Group(_))));
    let answer = Answer::new(&edge, call, shown, list, listing.groups());
    Ok(reply_of(StatusCode::OK, SCIM_JSON, answer.body(members)))
}
