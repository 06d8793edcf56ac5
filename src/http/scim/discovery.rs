//! Discovery (RFC 7644 §4). It needs a token like everything else (M013), and one that is good at this moment.

use http::StatusCode;
use serde_json::Value;

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, SCIM_JSON, reply},
        failure::{Failure, Result},
    },
    model::Scope,
    provision,
    scim::discovery::{self, Bounds},
};

pub async fn service_provider_config(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let settings = &edge.settings;
    let bounds = Bounds {
        page_sizes: settings.page_sizes,
        cursor_timeout: settings.cursor_timeout.as_secs(),
        bulk_bytes: settings.large_body,
    };
    let config = discovery::service_provider_config(&call.base_url, &bounds, call.caller().realm.identity.has_oauth());
    answer(&edge, &call, config).await
}

pub async fn resource_types(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(&edge, &call, discovery::resource_types(&call.base_url, &call.caller().realm.types.all())).await
}

pub async fn resource_type(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let id = call.param("id");
    let found = call
        .caller()
        .realm
        .types
        .all()
        .into_iter()
        .find(|kind| kind.name == id)
        .ok_or_else(|| not_found("resource type", id))?;
    answer(&edge, &call, discovery::resource_type(&call.base_url, found)).await
}

pub async fn schemas(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    answer(&edge, &call, discovery::schemas(&call.base_url, &call.caller().realm.types.all())).await
}

pub async fn schema(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let id = call.param("id");
    let found = call
        .caller()
        .realm
        .types
        .all()
        .into_iter()
        .find_map(|kind| kind.schema_by_urn(id))
        .ok_or_else(|| not_found("schema", id))?;
    answer(&edge, &call, discovery::schema(&call.base_url, found)).await
}

/// Answers once it is sure that the caller may still know: nothing here touches the store, which would see to that.
async fn answer(edge: &Edge, call: &Permitted<Scope>, document: Value) -> Result<Reply> {
    edge.access.confirm(call.caller()).await?;
    // RFC 7644 §4: whoever filters here believes to get less than everything.
    if call.query("filter").is_some() {
        return Err(Failure::FilteredDiscovery);
    }
    Ok(reply(StatusCode::OK, SCIM_JSON, document.to_string()))
}

fn not_found(what: &str, id: &str) -> Failure {
    provision::Error::NotFound(format!("there is no {what} `{id}`")).into()
}
