//! The admin API: Keycloak's shape where Keycloak has one, our own below `…/scim` and `…/domains`.

mod aliases;
mod audit;
mod clients;
mod domains;
mod events;
mod groups;
mod guard;
mod history;
mod identity;
mod live;
mod moving;
mod operators;
mod query;
mod realms;
mod requests;
mod roles;
mod schemas;
mod scim;
mod streams;
mod time_to_revoke;
mod undo;
mod users;
mod webhooks;

use std::sync::{Arc, LazyLock};

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    Edge,
    exchange::{JSON, Permitted, Reply, reply},
    failure::{Failure, Result},
    openapi,
    route::{Route, admin, route},
};
use crate::{
    model::{
        Scope,
        admin::{
            Admin,
            Need::{AnyRight, CreateRealm, Everything, Operator},
            Right::{ManageRealm, ManageUsers, ViewEvents, ViewRealm, ViewUsers},
        },
        policy::Policy,
    },
    provision,
};

/// The route table.
pub fn routes() -> Vec<Route> {
    let tables = [
        of_realms(),
        users::routes(),
        groups::routes(),
        roles::routes(),
        identity::routes(),
        events::routes(),
        streams::routes(),
        time_to_revoke::routes(),
        undo::routes(),
        clients::routes(),
        operators::routes(),
        webhooks::routes(),
    ];
    tables.into_iter().flatten().collect()
}

fn of_realms() -> Vec<Route> {
    vec![
        route(Method::GET, "/admin/openapi.json", admin(Operator, openapi)).says("This document").answers::<Value>(200),
        route(Method::GET, "/admin/audit-log", admin(Everything, audit::of_all))
            .says("Administrative changes in all realms, newest first")
            .query(audit::QUERY)
            .answers::<Vec<audit::AuditEntry>>(200),
        route(Method::GET, "/admin/realms", admin(Operator, realms::list))
            .says("The realms in which the operator has a role")
            .query(&[("search", "A part of the name"), ("first", "How many to leave out"), ("max", "How many at most")])
            .answers::<Vec<realms::Representation>>(200),
        route(Method::POST, "/admin/realms", admin(CreateRealm, realms::create))
            .says("Creates a realm")
            .takes::<realms::Written>()
            .empty(201),
        route(Method::GET, "/admin/realms/{realm}", admin(AnyRight, realms::get))
            .says("A realm")
            .answers::<realms::Representation>(200),
        route(Method::PUT, "/admin/realms/{realm}", admin(ManageRealm, realms::update))
            .says("Changes a realm")
            .takes::<realms::Written>()
            .empty(204),
        route(Method::DELETE, "/admin/realms/{realm}", admin(Everything, realms::delete))
            .says("Deletes a realm and all that it holds")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/audit-log", admin(ViewEvents, audit::of_realm))
            .says("Administrative changes in the realm, newest first")
            .query(audit::QUERY)
            .answers::<Vec<audit::AuditEntry>>(200),
        route(Method::GET, "/admin/realms/{realm}/scim", admin(ViewRealm, scim::status))
            .says("Inbound SCIM of the realm, and its tokens")
            .answers::<scim::ScimStatus>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/enable", admin(ManageRealm, scim::enable))
            .says("Switches inbound SCIM on and reveals a token")
            .takes::<scim::NewToken>()
            .answers::<scim::RevealedToken>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/rotate", admin(ManageRealm, scim::rotate))
            .says("Makes a new token and reveals it; the old one is dead at once, unless an overlap is asked for")
            .takes::<scim::Rotate>()
            .answers::<scim::RevealedToken>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/disable", admin(ManageRealm, scim::disable))
            .says("Switches inbound SCIM off; users and groups stay")
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/scim/tokens", admin(ViewRealm, scim::tokens))
            .says("The realm's SCIM tokens, as far as they can be shown")
            .answers::<Vec<scim::ScimToken>>(200),
        route(Method::DELETE, "/admin/realms/{realm}/scim/tokens/{id}", admin(ManageRealm, scim::revoke))
            .says("Ends a token at once")
            .empty(204),
        route(Method::POST, "/admin/realms/{realm}/scim/tokens/import", admin(ManageRealm, scim::import_token))
            .says("Keeps a token of another product, known by its hash, and switches inbound SCIM on")
            .takes::<scim::WrittenToken>()
            .empty(201),
        route(Method::GET, "/admin/realms/{realm}/scim/policy", admin(ViewRealm, scim::policy))
            .says("The sync policy")
            .answers::<Policy>(200),
        route(Method::PATCH, "/admin/realms/{realm}/scim/policy", admin(ManageRealm, scim::set_policy))
            .says("Sets some keys of the sync policy, all of them or none")
            .takes::<Policy>()
            .answers::<Policy>(200),
        route(Method::GET, "/admin/realms/{realm}/scim/leaver-guard", admin(ViewUsers, guard::status))
            .says("How the leaver guard stands")
            .answers::<guard::Status>(200),
        route(Method::GET, "/admin/realms/{realm}/scim/leaver-guard/held", admin(ViewUsers, guard::list))
            .says("The departures which are held, in the order in which they were asked for")
            .query(&[("after", "A place: only those behind it"), ("limit", "How many at most, up to 1000")])
            .answers::<Vec<guard::Held>>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/leaver-guard/apply", admin(ManageUsers, guard::apply))
            .says("Lets happen what is held")
            .answers::<guard::Outcome>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/leaver-guard/discard", admin(ManageUsers, guard::discard))
            .says("Forgets what is held")
            .answers::<guard::Outcome>(200),
        route(Method::GET, "/admin/realms/{realm}/scim/schemas", admin(ViewRealm, schemas::list))
            .says("The realm's own schema extensions")
            .answers::<Vec<Value>>(200),
        route(Method::POST, "/admin/realms/{realm}/scim/schemas", admin(ManageRealm, schemas::add))
            .says("Adds a schema extension, in the form of RFC 7643 section 7")
            .query(&[("resourceType", "`User` or `Group`"), ("required", "Must each resource have it?")])
            .takes::<Value>()
            .answers::<Value>(201),
        route(Method::GET, "/admin/realms/{realm}/scim/schemas/{urn}", admin(ViewRealm, schemas::get))
            .says("A schema extension")
            .answers::<Value>(200),
        route(Method::DELETE, "/admin/realms/{realm}/scim/schemas/{urn}", admin(ManageRealm, schemas::remove))
            .says("Takes a schema extension away")
            .query(&[("force", "Even if resources hold values of it, which then stay")])
            .empty(204),
        route(Method::GET, "/admin/realms/{realm}/scim/requests", admin(ViewEvents, requests::list))
            .says("What the identity provider sent and what became of it, newest first")
            .query(requests::QUERY)
            .answers::<Vec<requests::LoggedRequest>>(200),
        route(Method::GET, "/admin/realms/{realm}/scim/requests/{id}", admin(ViewEvents, requests::get))
            .says("A request with its operations and its body, redacted")
            .answers::<requests::WholeRequest>(200),
        route(Method::GET, "/admin/realms/{realm}/scim/diagnosis", admin(ViewEvents, requests::diagnosis))
            .says("What the identity provider has done so far, and the faults which that shows")
            .answers::<requests::RealmDiagnosis>(200),
        route(Method::GET, "/admin/realms/{realm}/domains", admin(ViewRealm, domains::list))
            .says("The realm's custom domains")
            .answers::<Vec<String>>(200),
        route(Method::POST, "/admin/realms/{realm}/domains", admin(ManageRealm, domains::add))
            .says("Gives the realm a custom domain")
            .takes::<domains::Written>()
            .answers::<domains::Written>(201),
        route(Method::DELETE, "/admin/realms/{realm}/domains/{domain}", admin(ManageRealm, domains::remove))
            .says("Takes a custom domain from the realm")
            .empty(204),
        route(Method::POST, "/admin/realms/{realm}/import", admin(ManageRealm, moving::import))
            .large()
            .says("Takes lines of JSON into the realm, at most 1000 at once; needs `manage-users` as well")
            .query(&[("dryRun", "`true` to try it and change nothing")])
            .answers::<moving::ImportReport>(200),
        route(Method::GET, "/admin/realms/{realm}/export", admin(ManageRealm, moving::export))
            .says("The realm as lines of JSON, the last of which is `end`; needs `view-users` as well"),
        route(Method::GET, "/admin/realms/{realm}/aliases", admin(ViewRealm, aliases::list))
            .says("The paths which lead to the realm's SCIM beside its own")
            .answers::<Vec<String>>(200),
        route(Method::POST, "/admin/realms/{realm}/aliases", admin(ManageRealm, aliases::add))
            .says("Gives the realm the path under which another product served it")
            .takes::<aliases::Written>()
            .answers::<aliases::Written>(201),
        route(Method::DELETE, "/admin/realms/{realm}/aliases", admin(ManageRealm, aliases::remove))
            .says("Takes a path from the realm")
            .query(&[("path", "The alias")])
            .empty(204),
    ]
}

/// The operator's standing in the realm which the path names: what the verbs on its users and groups take.
async fn scope(edge: &Edge, call: &Permitted<Admin>) -> Result<Scope> {
    let realm = provision::realms::get(&edge.store, call.param("realm")).await?;
    Ok(Scope { realm: Arc::new(realm), cause: call.cause() })
}

/// A number of the query, from 0 on.
fn number(call: &Permitted<Admin>, name: &str, default: i64) -> Result<i64> {
    match call.query(name).map(str::parse::<i64>) {
        None => Ok(default),
        Some(Ok(number)) if number >= 0 => Ok(number),
        Some(_) => Err(Failure::Invalid(format!("`{name}` is a number from 0 on"))),
    }
}

async fn openapi(_: Edge, _: Permitted<Admin>) -> Result<Reply> {
    static DOCUMENT: LazyLock<String> =
        LazyLock::new(|| openapi::document(&routes(), env!("CARGO_PKG_VERSION")).to_string());
    Ok(reply(StatusCode::OK, JSON, DOCUMENT.as_str()))
}
