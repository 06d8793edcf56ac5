//! `/Users`: read, call one verb, render.

use http::{StatusCode, header};

use super::render::{self, Asked, Rendered, preconditions};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, with_header},
        failure::Result,
    },
    model::{Scope, user::User},
    provision::users,
    scim::patch,
};

pub async fn create(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let asked = Asked::of(&call)?;
    let user = users::create(&edge.store, call.caller(), call.json()?).await?;
    let rendered = rendered(&call, &asked, &user);
    let location = rendered.location.clone();
    Ok(with_header(rendered.reply(StatusCode::CREATED), header::LOCATION, &location))
}

pub async fn get(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let asked = Asked::of(&call)?;
    let user = users::get(&edge.store, call.caller(), call.param("id"), &groups_url(&call)).await?;
    let rendered = rendered(&call, &asked, &user);
    Ok(rendered.not_modified(&call)?.unwrap_or_else(|| rendered.reply(StatusCode::OK)))
}

pub async fn replace(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, preconditions) = (Asked::of(&call)?, preconditions(&call));
    let (id, body, groups_url) = (call.param("id"), call.json()?, groups_url(&call));
    let (user, outcomes) = users::replace(&edge.store, call.caller(), id, body, preconditions, &groups_url).await?;
    call.came_to(outcomes);
    Ok(rendered(&call, &asked, &user).reply(StatusCode::OK))
}

pub async fn patch(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, preconditions) = (Asked::of(&call)?, preconditions(&call));
    let operations = patch::parse(call.json()?, &render::admission(&call))?;
    let (id, groups_url) = (call.param("id"), groups_url(&call));
    let (user, outcomes) =
        users::patch(&edge.store, call.caller(), id, &operations, preconditions, &groups_url).await?;
    call.came_to(outcomes);
    Ok(rendered(&call, &asked, &user).reply(StatusCode::OK))
}

pub async fn delete(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let preconditions = preconditions(&call);
    let outcome = users::delete(&edge.store, call.caller(), call.param("id"), preconditions).await?;
    call.came_to(vec![outcome]);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What the id of a group is appended to.
pub(super) fn groups_url(call: &Permitted<Scope>) -> String {
    format!("{}/Groups/", call.base_url)
}

pub(super) fn rendered(call: &Permitted<Scope>, asked: &Asked, user: &User) -> Rendered {
    let groups = user.groups.as_deref().map(|groups| ("groups", groups));
    Rendered::of(&call.caller().realm.types.user, &user.document, groups, asked, &call.base_url)
}
