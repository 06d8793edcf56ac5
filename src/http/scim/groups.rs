//! `/Groups`: read, call one verb, render.

use http::{StatusCode, header};

use super::{
    members::{Answer, Shown},
    render::{self, Asked, List, Rendered, preconditions},
};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, with_header},
        failure::Result,
    },
    model::{Scope, document::Document, group::Group},
    provision::groups,
    scim::patch,
};

pub async fn create(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, shown) = asked(&call)?;
    let group = groups::create(&edge.store, call.caller(), call.json()?, Shown::membership(shown)).await?;
    let rendered = rendered(&call, &asked, &group.document);
    let location = rendered.location.clone();
    let reply = answer(&edge, &call, StatusCode::CREATED, rendered, group, shown);
    Ok(with_header(reply, header::LOCATION, &location))
}

pub async fn get(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, shown) = asked(&call)?;
    let group = groups::get(&edge.store, call.caller(), call.param("id"), Shown::membership(shown)).await?;
    let rendered = rendered(&call, &asked, &group.document);
    let known = rendered.not_modified(&call)?;
    Ok(known.unwrap_or_else(|| answer(&edge, &call, StatusCode::OK, rendered, group, shown)))
}

pub async fn replace(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, shown) = asked(&call)?;
    let (id, preconditions) = (call.param("id"), preconditions(&call));
    let membership = Shown::membership(shown);
    let (group, outcomes) =
        groups::replace(&edge.store, call.caller(), id, call.json()?, preconditions, membership).await?;
    call.came_to(outcomes);
    let rendered = rendered(&call, &asked, &group.document);
    Ok(answer(&edge, &call, StatusCode::OK, rendered, group, shown))
}

/// Answers 204 unless the client names the attributes that it wants: a group may have a million members.
pub async fn patch(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let (asked, shown) = asked(&call)?;
    let (id, preconditions) = (call.param("id"), preconditions(&call));
    let operations = patch::parse(call.json()?, &render::admission(&call))?;
    let answers = !asked.projection.is_default();
    let membership = Shown::membership(shown.filter(|_| answers));
    let (group, outcomes) =
        groups::patch(&edge.store, call.caller(), id, &operations, preconditions, membership).await?;
    call.came_to(outcomes);
    let rendered = rendered(&call, &asked, &group.document);
    Ok(if answers {
        answer(&edge, &call, StatusCode::OK, rendered, group, shown)
    } else {
        with_header(empty(StatusCode::NO_CONTENT), header::ETAG, &rendered.etag)
    })
}

pub async fn delete(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let preconditions = preconditions(&call);
    let outcome = groups::delete(&edge.store, call.caller(), call.param("id"), preconditions).await?;
    call.came_to(vec![outcome]);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What the request asks for, and what of the members: they are read only where the answer shows them.
fn asked(call: &Permitted<Scope>) -> Result<(Asked, Option<Shown>)> {
    let asked = Asked::of(call)?;
    let shown = Shown::of(&asked.projection);
    Ok((asked, shown))
}

pub(super) fn rendered(call: &Permitted<Scope>, asked: &Asked, document: &Document) -> Rendered {
    Rendered::of(&call.caller().realm.types.group, document, None, asked, &call.base_url)
}

fn answer(
    edge: &Edge,
    call: &Permitted<Scope>,
    status: StatusCode,
    mut rendered: Rendered,
    group: Group,
    shown: Option<Shown>,
) -> Reply {
    let (Some(members), Some(shown)) = (group.members, shown) else { return rendered.reply(status) };
    let text = std::mem::take(&mut rendered.body);
    let ends = vec![text.len() - 1];
    let answer = Answer::new(edge, call, shown, List { text, ends }, vec![group.document.id]);
    rendered.reply_with(status, answer.body(members))
}
