//! What was done by mistake is taken back.

use http::{Method, StatusCode};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{query::since_1970, realms::body, scope};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        admin::{Admin, Right::ManageUsers},
        undo::Report,
    },
    provision::undo::{self, Mistake},
};

/// What is to be undone: `request_id`, or `request`, or `from` and `to`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Undo")]
struct Wanted {
    /// `X-Request-Id` of a request.
    request_id: Option<String>,
    /// The id of a request in the request log.
    request: Option<Uuid>,
    /// What requests did which came in from then on.
    from: Option<Timestamp>,
    /// And up to then.
    to: Option<Timestamp>,
    /// Only what this one did: the `id` of an `actor`.
    actor: Option<String>,
    /// Is it only tried? Unless this is `false`, nothing is changed.
    #[serde(default = "yes")]
    dry_run: bool,
}

const fn yes() -> bool {
    true
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::POST, "/admin/realms/{realm}/undo", admin(ManageUsers, undo))
            .says(
                "Takes back what a request did to users and groups, or what was done in a span of time; tries it first",
            )
            .takes::<Wanted>()
            .answers::<Report>(200),
    ]
}

async fn undo(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let Wanted { request_id, request, from, to, actor, dry_run } = body(&call)?;
    let mistake = Mistake { request_id, request, from: from.map(since_1970), to: to.map(since_1970), actor };
    let report = undo::undo(&edge.store, &scope(&edge, &call).await?, mistake, dry_run).await?;
    Ok(json(StatusCode::OK, &report))
}
