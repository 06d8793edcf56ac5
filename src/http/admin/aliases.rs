//! Path aliases of a realm.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::realms::body;
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, empty, json as answer},
        failure::{Failure, Result},
    },
    model::admin::Admin,
    provision::{cut_over, realms},
};

/// A path which leads to the realm's SCIM.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Alias")]
pub(super) struct Written {
    /// The whole path of the old base URL, such as `/scim/v2/acme`.
    path: String,
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(answer(StatusCode::OK, &cut_over::aliases(&edge.store, &realm).await?))
}

pub async fn add(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    let alias = cut_over::add_alias(&edge.store, call.param("realm"), &written.path, &call.cause()).await?;
    edge.access.forget();
    Ok(answer(StatusCode::CREATED, &Written { path: alias.to_string() }))
}

pub async fn remove(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let path = call.query("path").ok_or_else(|| Failure::Invalid("`path` is needed: the alias to remove".into()))?;
    cut_over::remove_alias(&edge.store, call.param("realm"), path, &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}
