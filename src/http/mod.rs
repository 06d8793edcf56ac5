//! The edge: from a connection to a verb, and from what it says to an answer.
//!
//! Lives here: the stack, the route tables, reading and rendering. Thin: a handler reads, calls one verb, renders.
//! Not here: what a verb means (`provision`), who may call it (`access`), SQL.
//! To add a route: a line in the table of its surface, and its handler.

pub mod admin;
pub mod exchange;
pub mod failure;
pub mod layer;
pub mod oidc;
pub mod openapi;
pub mod ops;
pub mod route;
pub mod scim;
pub mod server;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tower::{Layer, ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    access::{Access, operator::Operators, quota::Quotas},
    feed::{Feed, webhook::Webhooks},
    request_log::RequestLog,
    scim::list::PageSizes,
    secret::KeyRing,
    store::Store,
};
use exchange::{Reply, Request};
use layer::{
    alias, authenticate,
    bounds::{self, Shares},
    negotiate, quota, realm, record, rescue, trace,
};
use ops::Phase;
use route::{Dispatch, Table};
use scim::walk::Walks;

/// What the handlers stand on. One for the whole process.
#[derive(Clone)]
pub struct Edge {
    pub store: Store,
    pub access: Access,
    pub operators: Operators,
    pub quotas: Quotas,
    pub shares: Shares,
    pub walks: Walks,
    pub feed: Feed,
    pub webhooks: Webhooks,
    /// What secrets are kept under.
    pub ring: KeyRing,
    /// `None` if nothing is written down.
    pub log: Option<RequestLog>,
    pub settings: Arc<Settings>,
    pub phase: watch::Receiver<Phase>,
}

impl Edge {
    /// Drops what is known of realms and of operators. The handler which changed one calls it before it answers.
    pub fn forget(&self) {
        self.access.forget();
        self.operators.forget();
    }

    /// Is the process about to end? Then answers which could wait do not.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    /// Returns when the process is about to end.
    pub async fn draining(&self) {
        let _ = self.phase.clone().wait_for(|phase| *phase == Phase::Draining).await;
    }
}

/// What the configuration says of the edge.
#[derive(Debug)]
pub struct Settings {
    /// Scheme and authority by which the platform is known, without a slash at its end. `meta.location` and base URLs
    /// are made of it, never of what a client says.
    pub public_url: String,
    /// Largest body in bytes.
    pub body: usize,
    /// Largest body in bytes where the route says that it may be large.
    pub large_body: usize,
    pub body_timeout: Duration,
    pub request_timeout: Duration,
    pub max_requests_in_flight: usize,
    pub page_sizes: PageSizes,
    /// How long a cursor is good for.
    pub cursor_timeout: Duration,
}

/// A service whose requests were routed, and whose failures have become answers.
pub type Gateway = BoxCloneSyncService<Request, Reply, std::convert::Infallible>;

/// The way of a request, outermost first.
pub fn gateway(edge: &Edge) -> Gateway {
    let table = Table::new(scim::routes().into_iter().chain(admin::routes()).chain(oidc::routes()));
    let settings = &edge.settings;

    let scim = ServiceBuilder::new()
        .layer(realm::layer(&edge.access)) //           Call -> InRealm<Call>: from path and host
        .layer(record::layer(edge)) //                  the request log: sees whom the next one refuses
        .layer(authenticate::scim_client(edge)) //      InRealm<Call> -> Permitted<Scope>: no body is read before
        .layer(quota::layer(&edge.quotas)) //           after: a stranger must not spend a realm's budget
        .layer(negotiate::layer()) //                   in the media type which the client wants
        .service(route::Scim::new(edge));
    let admin = ServiceBuilder::new()
        .layer(realm::platform_only(&edge.access)) //   a customer's domain does not lead to the operators
        .layer(authenticate::operator(edge)) //         Call -> Permitted<Admin>
        .service(route::Admin::new(edge));
    let open = ServiceBuilder::new()
        .layer(realm::layer(&edge.access)) //           another realm's name on a custom domain leads nowhere
        .layer(authenticate::anyone(edge)) //           InRealm<Call> -> Permitted<Anyone>: the body, within its limits
        .service(route::Open::new(edge));

    let stack = ServiceBuilder::new()
        .layer(alias::layer(&edge.access)) //           Request -> Arrived: a path of another product becomes ours
        .layer(route::layer(table)) //                  Arrived -> Routed: pure, so that all below know the route
        .layer(BoxCloneSyncService::layer()) //         deep stack types cost the compiler dearly
        .layer(trace::layer()) //                       sees every answer, also the rescued ones
        .layer(rescue::layer()) //                      below it failures are values, above it only answers
        .layer(bounds::layer(settings.request_timeout, settings.max_requests_in_flight)) // never a hang
        .service(Dispatch { scim, admin, open });
    BoxCloneSyncService::layer().layer(stack)
}
