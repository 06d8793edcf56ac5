//! Custom domains of a realm.

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
    model::{admin::Admin, realm::Domain},
    provision::realms,
};

/// A custom domain.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Domain")]
pub(super) struct Written {
    /// A host name, without scheme, port and path.
    domain: String,
}

pub async fn list(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    Ok(answer(StatusCode::OK, &realms::domains(&edge.store, &realm).await?))
}

pub async fn add(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let written: Written = body(&call)?;
    if Domain::parse(&written.domain).is_ok_and(|domain| edge.access.is_platform(&domain)) {
        return Err(Failure::Invalid("this is the platform's own host: a realm's domain is another one".into()));
    }
    let domain = realms::add_domain(&edge.store, call.param("realm"), &written.domain, &call.cause()).await?;
    edge.access.forget();
    Ok(answer(StatusCode::CREATED, &Written { domain: domain.as_str().to_owned() }))
}

pub async fn remove(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    realms::remove_domain(&edge.store, call.param("realm"), call.param("domain"), &call.cause()).await?;
    edge.access.forget();
    Ok(empty(StatusCode::NO_CONTENT))
}
