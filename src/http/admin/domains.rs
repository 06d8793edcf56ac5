//! Custom domains of a realm.

use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::realms::body;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::Result,
    },
    model::admin::Admin,
    provision::realms,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    domain: String,
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(answer(StatusCode::OK, &realms::domains(&edge.store, &realm).await?))
}

pub async fn add(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let domain = realms::add_domain(&edge.store, call.param("realm"), &written.domain, call.at).await?;
    edge.access.forget();
    Ok(answer(StatusCode::CREATED, &json!({ "domain": domain })))
}

pub async fn remove(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    realms::remove_domain(&edge.store, call.param("realm"), call.param("domain"), call.at).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}
