//! The sign-in check: an application hands in the id token by which somebody signed in, and learns who it is.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    access::{foreign, sign_in::IdToken},
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::Anyone,
    },
    model::{
        Scope,
        sign_in::{SignIn, Subject},
        user::State,
    },
    provision,
    telemetry::{self, SignInOutcome},
};

/// How often a realm may move on under a sign-in before the client is told to come back.
const TRIES: usize = 5;

/// Who signed in.
#[derive(Debug, Serialize)]
struct SignedIn {
    user: Person,
    /// The roles that the user has, of his own and of his groups.
    roles: Vec<String>,
    groups: Value,
    /// Was it the first sign-in, which turned a shadow user active?
    first: bool,
    /// Of the id token, to be compared with the one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    id: String,
    user_name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    external_id: Value,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    name: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    emails: Value,
}

/// `POST /realms/{realm}/sign-ins` with `{"id_token": "…"}`.
pub async fn check(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let body = call.json()?;
    let id_token = body["id_token"].as_str().ok_or_else(|| Failure::Grant {
        error: "invalid_request",
        description: "send a JSON object with the id token of the realm's identity provider as `id_token`".into(),
    })?;
    let mut place = call.caller().place.clone();
    let mut tries = 1;
    let (outcome, nonce) = loop {
        let verified = edge.access.id_token(&place, id_token, call.at, call.request_id.clone()).await;
        let (scope, IdToken { found_by, nonce }): (Scope, _) = verified.map_err(|error| {
            telemetry::sign_in(match &error {
                foreign::Error::Flaw(_) => SignInOutcome::Refused,
                foreign::Error::Keys(_) => SignInOutcome::Unavailable,
            });
            Failure::IdToken(error)
        })?;
        match provision::sign_in::sign_in(&edge.store, &scope, &found_by).await.map_err(Failure::from) {
            Err(failure) if failure.is_stale() && tries < TRIES => {
                place = edge.access.place_again(&place).await?;
                tries += 1;
            }
            Err(failure) => {
                telemetry::sign_in(SignInOutcome::Unavailable);
                return Err(failure);
            }
            Ok(outcome) => break (outcome, nonce),
        }
    };
    let mut reply = json(StatusCode::OK, &answer(outcome, nonce)?);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn answer(outcome: SignIn, nonce: Option<String>) -> Result<SignedIn> {
    let refused = |outcome, error, description| {
        telemetry::sign_in(outcome);
        Err(Failure::SignIn { error, description })
    };
    match outcome {
        SignIn::Accepted { subject, roles, first } => {
            telemetry::sign_in(if first { SignInOutcome::First } else { SignInOutcome::Accepted });
            let (user, groups) = shown(*subject)?;
            Ok(SignedIn { user, roles, groups, first, nonce })
        }
        SignIn::Disabled => {
            refused(SignInOutcome::Disabled, "user_disabled", "the identity provider has disabled this user")
        }
        SignIn::Unknown => refused(
            SignInOutcome::Unknown,
            "user_unknown",
            "no user of this realm has what the id token says: is the user assigned, and provisioned over SCIM?",
        ),
        SignIn::Ambiguous => refused(
            SignInOutcome::Unknown,
            "user_ambiguous",
            "several users of this realm have what the id token says: match by a claim that is unique",
        ),
    }
}

fn shown(subject: Subject) -> Result<(Person, Value)> {
    let Subject { document, state, display_name, groups } = subject;
    let id = document.id;
    let mut written: Map<String, Value> = document.resource().ok_or(provision::Error::Damaged(id))?.0;
    let mut take = |name: &str| written.remove(name).unwrap_or_default();
    let user = Person {
        id: id.to_string(),
        user_name: take("userName"),
        external_id: take("externalId"),
        state,
        display_name,
        name: take("name"),
        emails: take("emails"),
    };
    Ok((user, groups))
}
