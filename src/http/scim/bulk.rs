//! `/Bulk` (RFC 7644 §3.7): each operation is one verb and one transaction of its own, told of in the answer.

use std::collections::HashMap;

use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, SCIM_JSON, authorization, reply},
        failure::{Failure, Result},
        layer::rescue,
    },
    model::{Scope, document::Document, group::Membership, request_log::Outcome},
    provision::{self, Preconditions, etag, groups, users},
    scim::{
        bulk::{BULK_RESPONSE_URN, Bulk, Call, Endpoint, Operation, Verb},
        patch,
    },
};

/// What an operation came to.
struct Done {
    status: StatusCode,
    id: String,
    /// `None` for what is gone.
    version: Option<i64>,
    outcome: Outcome,
}

pub async fn bulk(edge: Edge, call: Permitted<Scope>) -> Result<Reply> {
    let mut bulk = Bulk::parse(call.json()?)?;
    let order = bulk.order();
    // A request which is cut off could not say what was done: what is not begun in time is told so instead.
    let deadline = Instant::now() + edge.settings.request_timeout * 2 / 3;
    let (mut scope, mut created) = (call.caller().clone(), HashMap::new());
    let mut answers: Vec<Option<Value>> = vec![None; bulk.operations.len()];
    let mut outcomes = vec![Outcome::Skipped; bulk.operations.len()];
    let (mut failed, mut applied) = (0, false);
    for at in order.possible.iter().chain(&order.circular) {
        if bulk.fail_on_errors.is_some_and(|most| failed >= most) {
            break;
        }
        let operation = &mut bulk.operations[*at];
        let outcome = match &mut operation.call {
            Err(error) => Err(error.clone().into()),
            Ok(_) if order.circular.contains(at) => Err(circular()),
            Ok(_) if deadline < Instant::now() => Err(Failure::TimedOut),
            Ok(asked) => match asked.resolve(&created) {
                Ok(()) => perform(&edge, &call, &mut scope, asked, operation.version.as_deref()).await,
                Err(error) => Err(error.into()),
            },
        };
        match outcome {
            // Who may not come in any longer is told so, unless some of it is done already.
            Err(failure @ Failure::Denied(_)) if !applied => return Err(failure),
            Err(failure) => {
                failed += 1;
                outcomes[*at] = Outcome::Refused;
                answers[*at] = Some(refused(&call, operation, &failure));
            }
            Ok(done) => {
                applied = true;
                outcomes[*at] = done.outcome;
                answers[*at] = Some(answered(&call, operation, &done));
                if let Some(bulk_id) = &operation.bulk_id {
                    created.insert(bulk_id.clone(), done.id);
                }
            }
        }
    }
    call.came_to(outcomes);
    let operations: Vec<Value> = answers.into_iter().flatten().collect();
    let body = json!({ "schemas": [BULK_RESPONSE_URN], "Operations": operations });
    Ok(reply(StatusCode::OK, SCIM_JSON, body.to_string()))
}

/// Does one operation. If the realm moves on in the middle of the request, the caller is asked anew and the work goes on.
async fn perform(
    edge: &Edge,
    call: &Permitted<Scope>,
    scope: &mut Scope,
    asked: &Call,
    version: Option<&str>,
) -> Result<Done> {
    let mut tries = 1;
    loop {
        match run(edge, scope, asked, version).await {
            Err(failure) if failure.is_stale() && tries < 5 => tries += 1,
            outcome => return outcome,
        }
        *scope = edge.access.again(scope, authorization(&call.headers)).await?;
    }
}

async fn run(edge: &Edge, scope: &Scope, asked: &Call, version: Option<&str>) -> Result<Done> {
    let store = &edge.store;
    let preconditions = Preconditions { if_match: version, if_none_match: None };
    let (id, data) = (asked.id.as_str(), asked.data.clone());
    let admission = provision::admission(&scope.realm.policy);
    let done = |status, document: Document, outcomes: &[Outcome]| Done {
        status,
        id: document.id.to_string(),
        version: Some(document.version),
        outcome: sum_of(outcomes),
    };
    let gone = |outcome| Done { status: StatusCode::NO_CONTENT, id: id.to_owned(), version: None, outcome };
    Ok(match (asked.endpoint, asked.verb) {
        (Endpoint::Users, Verb::Create) => {
            done(StatusCode::CREATED, users::create(store, scope, data).await?.document, &[Outcome::Applied])
        }
        (Endpoint::Users, Verb::Replace) => {
            let (user, outcomes) = users::replace(store, scope, id, data, preconditions, "").await?;
            done(StatusCode::OK, user.document, &outcomes)
        }
        (Endpoint::Users, Verb::Patch) => {
            let operations = patch::parse(data, &admission)?;
            let (user, outcomes) = users::patch(store, scope, id, &operations, preconditions, "").await?;
            done(StatusCode::OK, user.document, &outcomes)
        }
        (Endpoint::Users, Verb::Delete) => gone(users::delete(store, scope, id, preconditions).await?),
        (Endpoint::Groups, Verb::Create) => {
            let group = groups::create(store, scope, data, Membership::Unread).await?;
            done(StatusCode::CREATED, group.document, &[Outcome::Applied])
        }
        (Endpoint::Groups, Verb::Replace) => {
            let (group, outcomes) = groups::replace(store, scope, id, data, preconditions, Membership::Unread).await?;
            done(StatusCode::OK, group.document, &outcomes)
        }
        (Endpoint::Groups, Verb::Patch) => {
            let operations = patch::parse(data, &admission)?;
            let (group, outcomes) =
                groups::patch(store, scope, id, &operations, preconditions, Membership::Unread).await?;
            done(StatusCode::NO_CONTENT, group.document, &outcomes)
        }
        (Endpoint::Groups, Verb::Delete) => gone(groups::delete(store, scope, id, preconditions).await?),
    })
}

/// What became of a request, if that became of its operations: what was held, else what was done.
fn sum_of(outcomes: &[Outcome]) -> Outcome {
    let sum = [Outcome::Held, Outcome::Applied].into_iter().find(|outcome| outcomes.contains(outcome));
    sum.unwrap_or(Outcome::NoOp)
}

fn answered(call: &Permitted<Scope>, operation: &Operation, done: &Done) -> Value {
    let mut answer = echo(operation, done.status.as_u16());
    if let Some(location) = location(call, operation, &done.id) {
        answer.insert("location".to_owned(), location.into());
    }
    if let Some(version) = done.version {
        answer.insert("version".to_owned(), etag(version).into());
    }
    Value::Object(answer)
}

/// RFC 7644 §3.7.3: a failed operation has the error as its `response`, and its location unless it was a POST.
fn refused(call: &Permitted<Scope>, operation: &Operation, failure: &Failure) -> Value {
    let (status, error) = rescue::told(failure);
    let mut answer = echo(operation, status);
    let id = operation.call.as_ref().map_or("", |call| call.id.as_str());
    if let Some(location) = location(call, operation, id).filter(|_| !id.is_empty() && !id.contains(':')) {
        answer.insert("location".to_owned(), location.into());
    }
    answer.insert("response".to_owned(), error);
    Value::Object(answer)
}

fn echo(operation: &Operation, status: u16) -> Map<String, Value> {
    let mut answer = Map::new();
    answer.insert("method".to_owned(), operation.method.as_str().into());
    if let Some(bulk_id) = &operation.bulk_id {
        answer.insert("bulkId".to_owned(), bulk_id.as_str().into());
    }
    answer.insert("status".to_owned(), status.to_string().into());
    answer
}

fn location(call: &Permitted<Scope>, operation: &Operation, id: &str) -> Option<String> {
    let endpoint = match operation.call.as_ref().ok()?.endpoint {
        Endpoint::Users => "Users",
        Endpoint::Groups => "Groups",
    };
    Some(format!("{}/{endpoint}/{id}", call.base_url))
}

/// RFC 7644 §3.7.1 lets a circle end in 409.
fn circular() -> Failure {
    let why = "the operations refer to each other in a circle, or to one which does: create them first, then let a \
               PATCH join them";
    provision::Error::Conflict(why.into()).into()
}
