//! How soon applications learn who has lost access.

use http::{Method, StatusCode};
use jiff::Timestamp;

use super::{query::time, scope};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::Result,
        route::{Route, admin, route},
    },
    model::{
        admin::{Admin, Right::ViewEvents},
        revocation::Report,
    },
    provision::history,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms/{realm}/time-to-revoke", admin(ViewEvents, report))
            .says("From the requests which took access away to the applications' acknowledgements")
            .query(&[(
                "since",
                "A time (RFC 3339): only what was asked for later; all that is kept, if it is not said",
            )])
            .answers::<Report>(200),
    ]
}

async fn report(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let since = time(&call, "since")?.unwrap_or(Timestamp::UNIX_EPOCH);
    let report = history::time_to_revoke(&edge.store, &scope(&edge, &call).await?, since).await?;
    Ok(json(StatusCode::OK, &report))
}
