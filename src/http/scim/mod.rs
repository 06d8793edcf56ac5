//! SCIM at the edge: the route table, discovery, and how resources are read and rendered.
//!
//! Each route exists twice: below `/realms/{realm}/scim/v2`, and below `/scim/v2` for a custom domain, which implies
//! the realm.

mod bulk;
mod cursor;
mod discovery;
mod groups;
mod list;
mod members;
mod render;
mod users;
pub mod walk;

use http::Method;

use super::{
    Edge,
    exchange::{Permitted, Reply},
    failure::{Failure, Result},
    route::{Route, route, scim},
};
use crate::model::Scope;

/// The route table.
pub fn routes() -> Vec<Route> {
    macro_rules! both {
        ($($method:ident $path:literal => $handler:path $(, $large:ident)?);* $(;)?) => {
            vec![$(
                route(Method::$method, concat!("/realms/{realm}/scim/v2", $path), scim($handler))$(.$large())?,
                route(Method::$method, concat!("/scim/v2", $path), scim($handler))$(.$large())?,
            )*]
        };
    }
    both![
        GET "" => list::all;
        POST "/.search" => list::search_all;
        GET "/Users" => list::users;
        POST "/Users/.search" => list::search_users;
        POST "/Users" => users::create;
        GET "/Users/{id}" => users::get;
        PUT "/Users/{id}" => users::replace;
        PATCH "/Users/{id}" => users::patch;
        DELETE "/Users/{id}" => users::delete;
        GET "/Groups" => list::groups;
        POST "/Groups/.search" => list::search_groups;
        POST "/Groups" => groups::create, large;
        GET "/Groups/{id}" => groups::get;
        PUT "/Groups/{id}" => groups::replace, large;
        PATCH "/Groups/{id}" => groups::patch, large;
        DELETE "/Groups/{id}" => groups::delete;
        POST "/Bulk" => bulk::bulk, large;
        GET "/Me" => me;
        POST "/Me" => me;
        PUT "/Me" => me;
        PATCH "/Me" => me;
        DELETE "/Me" => me;
        GET "/ServiceProviderConfig" => discovery::service_provider_config;
        GET "/ResourceTypes" => discovery::resource_types;
        GET "/ResourceTypes/{id}" => discovery::resource_type;
        GET "/Schemas" => discovery::schemas;
        GET "/Schemas/{id}" => discovery::schema;
        GET "/{*rest}" => nothing;
    ]
}

/// RFC 7644 §3.11: an alias for the user who asks. An IdP is no user, so there is none to answer with.
async fn me(_: Edge, _: Permitted<Scope>) -> Result<Reply> {
    Err(Failure::NotOffered("`/Me` is not offered: the caller is an identity provider and no user"))
}

/// What no other route names. It is a route, so that a stranger gets the same 401 here as everywhere in a realm.
async fn nothing(_: Edge, _: Permitted<Scope>) -> Result<Reply> {
    Err(Failure::NoRoute)
}
