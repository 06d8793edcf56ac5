//! Our nouns: what is kept, and who asks. Pure: no clock, no socket, no SQL.
//!
//! A noun which the protocol also has (User, Group) is here what the protocol does not know of: version, times,
//! state. To add a noun, give it a file and its id a line below.

pub mod admin;
pub mod alias;
pub mod audit;
pub mod client;
pub mod document;
pub mod event;
pub mod group;
pub mod guard;
pub mod history;
pub mod identity;
pub mod jwk;
pub mod listing;
pub mod lockout;
pub mod moved;
pub mod policy;
pub mod profile;
pub mod realm;
pub mod request_log;
pub mod revocation;
pub mod role;
pub mod search;
pub mod set;
pub mod sign_in;
pub mod slow_hash;
pub mod span;
pub mod stream;
pub mod token;
pub mod undo;
pub mod user;
pub mod webhook;

use std::{fmt, ops::Deref, sync::Arc};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use realm::Realm;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

id! {
    /// A tenant; Keycloak's word. Never changes, while the realm's name may.
    RealmId,
    /// `id` of a User (RFC 7643 §3.1): ours, never the IdP's `externalId`.
    UserId,
    /// `id` of a Group (RFC 7643 §3.1).
    GroupId,
    /// A realm role.
    RoleId,
    /// A SCIM token, as the operator sees it; its secret is known by hash only.
    TokenId,
    /// An operator or service account of the `master` realm.
    AdminId,
    /// A client of a realm's token endpoint.
    ClientId,
    /// An endpoint to which events are sent.
    WebhookId,
    /// A stream of security event tokens.
    StreamId,
}

/// Who causes a change: the actor of every event and of every line in a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Actor {
    /// The realm's IdP, known by the SCIM token it presented.
    ScimToken(TokenId),
    /// The realm's IdP, by a token which it got at the realm's token endpoint.
    OauthClient(ClientId),
    /// Another issuer whose tokens the realm takes: an access token at its SCIM, an id token at a sign-in.
    Issuer(String),
    /// An operator, through the admin API.
    Admin(AdminId),
    /// An operator whom another issuer signs in, by the name that its tokens give him.
    ExternalAdmin(String),
    /// The gateway itself: a first start, or work that comes by the clock.
    System,
}

/// Who causes a change, by which request, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub actor: Actor,
    /// `X-Request-Id`: ties log, event and answer together.
    pub request_id: Arc<str>,
    /// When the request came in, to the millisecond: the time of whatever it changes.
    pub at: Timestamp,
}

/// Where a request stands and who asks: every verb on a realm's data takes one. Made by `access` alone.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The realm as it was when the caller was let in; its `epoch` is checked again by the store.
    pub realm: Arc<Realm>,
    pub cause: Cause,
}

impl Deref for Scope {
    type Target = Cause;

    fn deref(&self) -> &Cause {
        &self.cause
    }
}
