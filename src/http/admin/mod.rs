//! The admin API: Keycloak's shape where Keycloak has one, our own below `…/scim` and `…/domains`.

mod domains;
mod realms;
mod schemas;
mod scim;

use http::Method;

use super::route::{Route, admin, route};

/// The route table.
pub fn routes() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/realms", admin(realms::list)),
        route(Method::POST, "/admin/realms", admin(realms::create)),
        route(Method::GET, "/admin/realms/{realm}", admin(realms::get)),
        route(Method::PUT, "/admin/realms/{realm}", admin(realms::update)),
        route(Method::DELETE, "/admin/realms/{realm}", admin(realms::delete)),
        route(Method::GET, "/admin/realms/{realm}/scim", admin(scim::status)),
        route(Method::POST, "/admin/realms/{realm}/scim/enable", admin(scim::enable)),
        route(Method::POST, "/admin/realms/{realm}/scim/rotate", admin(scim::rotate)),
        route(Method::POST, "/admin/realms/{realm}/scim/disable", admin(scim::disable)),
        route(Method::GET, "/admin/realms/{realm}/scim/policy", admin(scim::policy)),
        route(Method::PATCH, "/admin/realms/{realm}/scim/policy", admin(scim::set_policy)),
        route(Method::GET, "/admin/realms/{realm}/scim/schemas", admin(schemas::list)),
        route(Method::POST, "/admin/realms/{realm}/scim/schemas", admin(schemas::add)),
        route(Method::GET, "/admin/realms/{realm}/scim/schemas/{urn}", admin(schemas::get)),
        route(Method::DELETE, "/admin/realms/{realm}/scim/schemas/{urn}", admin(schemas::remove)),
        route(Method::GET, "/admin/realms/{realm}/domains", admin(domains::list)),
        route(Method::POST, "/admin/realms/{realm}/domains", admin(domains::add)),
        route(Method::DELETE, "/admin/realms/{realm}/domains/{domain}", admin(domains::remove)),
    ]
}
