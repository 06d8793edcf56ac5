//! `/Groups`: read, call one verb, render.

use http::{StatusCode, header};

use super::render::{self, Asked, Rendered};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, with_header},
        failure::Result,
    },
    model::{Scope, group::Group},
    provision::{
        IfMatch,
        groups::{self, MemberUrls},
    },
    scim::patch,
};

pub async fn create(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, urls) = (Asked::of(&call)?, Urls::of(&call));
    let group = groups::create(&edge.store, call.caller(), call.json()?, urls.wanted(&asked)).await?;
    let rendered = rendered(&call, &asked, &group);
    let location = rendered.location.clone();
    Ok(with_header(rendered.reply(StatusCode::CREATED), header::LOCATION, &location))
}

pub async fn get(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, urls) = (Asked::of(&call)?, Urls::of(&call));
    let group = groups::get(&edge.store, call.caller(), call.param("id"), urls.wanted(&asked)).await?;
    Ok(rendered(&call, &asked, &group).reply_unless_known(&call))
}

pub async fn replace(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, urls) = (Asked::of(&call)?, Urls::of(&call));
    let (id, if_match) = (call.param("id"), IfMatch(call.header(header::IF_MATCH)));
    let group = groups::replace(&edge.store, call.caller(), id, call.json()?, if_match, urls.wanted(&asked)).await?;
    Ok(rendered(&call, &asked, &group).reply(StatusCode::OK))
}

/// Answers 204 unless the client names the attributes that it wants: a group may have a million members.
pub async fn patch(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, urls) = (Asked::of(&call)?, Urls::of(&call));
    let (id, if_match) = (call.param("id"), IfMatch(call.header(header::IF_MATCH)));
    let operations = patch::parse(call.json()?, &render::admission(&call))?;
    let answers = !asked.projection.is_default();
    let wanted = urls.wanted(&asked).filter(|_| answers);
    let group = groups::patch(&edge.store, call.caller(), id, &operations, if_match, wanted).await?;
    let rendered = rendered(&call, &asked, &group);
    Ok(if answers {
        rendered.reply(StatusCode::OK)
    } else {
        with_header(empty(StatusCode::NO_CONTENT), header::ETAG, &rendered.etag)
    })
}

pub async fn delete(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let if_match = IfMatch(call.header(header::IF_MATCH));
    groups::delete(&edge.store, call.caller(), call.param("id"), if_match).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What the ids of members are appended to.
pub(super) struct Urls {
    users: String,
    groups: String,
}

impl Urls {
    pub(super) fn of(call: &Permitted<Scope>) -> Self {
        Self { users: format!("{}/Users/", call.base_url), groups: format!("{}/Groups/", call.base_url) }
    }

    /// Members are read only where the answer shows them.
    pub(super) fn wanted(&self, asked: &Asked) -> Option<MemberUrls<'_>> {
        asked.projection.includes("members").then_some(MemberUrls { users: &self.users, groups: &self.groups })
    }
}

pub(super) fn rendered(call: &Permitted<Scope>, asked: &Asked, group: &Group) -> Rendered {
    let members = group.members.as_deref().map(|members| ("members", members));
    Rendered::of(&call.caller().realm.types.group, &group.document, members, asked, &call.base_url)
}
