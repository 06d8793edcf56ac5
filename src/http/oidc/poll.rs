//! Security event tokens for whoever polls them (RFC 8936): `POST /realms/{realm}/security-events/{stream}/poll`, with the
//! stream's own token or with that of an operator who may see events.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{TRIES, unstored};
use crate::{
    access::{caller::bearer, operator::Refusal},
    http::{
        Edge,
        exchange::{Permitted, Reply, authorization, json as answer},
        failure::{Failure, Result},
        route::Anyone,
    },
    model::{
        admin::Right::{ManageRealm, ViewEvents},
        realm::Realm,
        stream::EventStream,
        token::{self, TokenHash},
    },
    provision::{
        realms,
        streams::{self, Poll, WINDOW},
    },
};

/// Tokens of an answer, if nothing is said.
const DEFAULT: usize = 100;

/// Characters that are kept of what a receiver says of a token.
const LONGEST_ERROR: usize = 300;

/// RFC 8936 §2.4.1; what else it holds is passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    max_events: Option<u64>,
    #[serde(default)]
    return_immediately: bool,
    #[serde(default)]
    ack: Vec<String>,
    #[serde(default)]
    set_errs: BTreeMap<String, Value>,
}

/// RFC 8936 §2.4.2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    sets: BTreeMap<Uuid, String>,
    more_available: bool,
}

pub async fn poll(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    let mut tries = 1;
    loop {
        match answered(&edge, &call).await {
            Err(failure) if failure.is_stale() && tries < TRIES => tries += 1,
            answered => return Ok(unstored(answer(StatusCode::OK, &answered?))),
        }
    }
}

async fn answered(edge: &Edge, call: &Permitted<Anyone>) -> Result<Answered> {
    let (mut realm, stream, may_acknowledge) = authenticated(edge, call).await?;
    let asked: Asked = serde_json::from_value(call.json()?).map_err(|error| Failure::Invalid(error.to_string()))?;
    if !(may_acknowledge || asked.ack.is_empty() && asked.set_errs.is_empty()) {
        return Err(Failure::Forbidden);
    }
    let mut poll = asked.poll();
    let waits = !asked.return_immediately && poll.most > 0;
    let issuer = format!("{}/realms/{}", edge.settings.public_url, realm.name);
    let mut end = Instant::now() + edge.settings.request_timeout / 2;
    loop {
        let head = edge.feed.head(realm.id);
        let polled = streams::poll(&edge.store, &edge.ring, &issuer, (&realm, stream.id), &poll).await?;
        if let Some(oldest) = polled.lost {
            return Err(Failure::Forgotten { oldest });
        }
        if polled.tokens.is_empty() && waits && Instant::now() < end {
            tokio::select! {
                () = edge.feed.beyond(head, polled.head, end) => {}
                () = edge.draining() => end = Instant::now(),
            }
            realm = realms::get(&edge.store, realm.name.as_str()).await?;
            poll = Poll { most: poll.most, ..Poll::default() };
            continue;
        }
        return Ok(Answered { sets: polled.tokens.into_iter().collect(), more_available: polled.more });
    }
}

/// The stream, for its receiver or for an operator, and whether he may acknowledge: to look is not to take from the
/// receiver what it has not seen. What there is, nobody else learns.
async fn authenticated(edge: &Edge, call: &Permitted<Anyone>) -> Result<(Realm, EventStream, bool)> {
    let stranger = || Failure::NotAnOperator("HTTP 401 Unauthorized");
    let token = bearer(authorization(&call.headers)).map_err(|_| stranger())?;
    let name = call.caller().place.name.as_str();
    let is_receiver = token::is_stream_token(token);
    let mut may_acknowledge = is_receiver;
    if !is_receiver {
        let operator = edge.operators.verify(token).await.map_err(|refusal| match refusal {
            Refusal::WrongCredentials | Refusal::InvalidGrant(_) => stranger(),
            Refusal::Unavailable(error) => error.into(),
        })?;
        if !operator.rights.meet(ViewEvents.into(), Some(name)) {
            return Err(Failure::Forbidden);
        }
        may_acknowledge = operator.rights.meet(ManageRealm.into(), Some(name));
    }
    let unknown = || if is_receiver { stranger() } else { Failure::NoRoute };
    let realm = realms::find(&edge.store, name).await?.ok_or_else(unknown)?;
    let stream = streams::find(&edge.store, &realm, call.param("stream")).await?.ok_or_else(unknown)?;
    // Both are hashes of 256 random bits: what comparing them tells by its time leads nowhere.
    if is_receiver && stream.token != TokenHash::of(token) {
        return Err(stranger());
    }
    Ok((realm, stream, may_acknowledge))
}

impl Asked {
    /// A token with which something is wrong is done with as well: it would be wrong again.
    fn poll(&self) -> Poll {
        let most = self.max_events.map_or(DEFAULT, |most| usize::try_from(most).unwrap_or(WINDOW)).min(WINDOW);
        let done = self.ack.iter().chain(self.set_errs.keys());
        let cut = |text: &Value| text.as_str().map(|text| text.chars().take(LONGEST_ERROR).collect::<String>());
        let shown = |(jti, error): (&String, &Value)| {
            let jti: String = jti.chars().take(LONGEST_ERROR).collect();
            json!({ "jti": jti, "error": { "err": cut(&error["err"]), "description": cut(&error["description"]) } })
        };
        let error = self.set_errs.iter().next_back().map(shown);
        Poll { most, acknowledged: done.filter_map(|jti| Uuid::try_parse(jti).ok()).collect(), error }
    }
}
