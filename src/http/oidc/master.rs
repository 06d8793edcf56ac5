//! The operators' side: people by password, service accounts by secret.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::{
    TRIES,
    form::{Client, Form},
    refused, unstored,
};
use crate::{
    access::{caller::bearer, oauth::client::Proof, operator::Refusal},
    http::{
        Edge,
        exchange::{Permitted, Reply, authorization, empty, json},
        failure::{Failure, Result},
        route::Anyone,
    },
    model::{AdminId, ClientId, client::PUBLIC_CLIENT, realm::MASTER},
};

/// What an operator's token says of whom it is for (OpenID Connect Core §5.3.2).
#[derive(Debug, Serialize)]
struct UserInfo {
    sub: AdminId,
    preferred_username: String,
}

/// The grants `password`, `refresh_token` and `client_credentials`.
pub async fn token(edge: &Edge, call: &Permitted<Anyone>, form: &Form) -> Result<Reply> {
    let client = form.client(call)?;
    let tokens = match form.need("grant_type")? {
        "password" => {
            public(client.as_ref())?;
            let (username, password) = (form.need("username")?, form.get("password").unwrap_or_default());
            edge.operators.login(username, password, call.address).await?
        }
        "refresh_token" => {
            public(client.as_ref())?;
            edge.operators.refresh(form.need("refresh_token")?).await?
        }
        "client_credentials" => edge.operators.serve(client_of(edge, call, form).await?).await?,
        _ => return Err(refused("unsupported_grant_type", "Unsupported grant_type")),
    };
    Ok(json(StatusCode::OK, &tokens))
}

/// The client which has proven who it is. Secrets can be guessed, so wrong ones are counted; signatures cannot.
async fn client_of(edge: &Edge, call: &Permitted<Anyone>, form: &Form) -> Result<ClientId> {
    let client = form.client(call)?;
    let proof = form.proof(client.as_ref())?;
    let Proof::Secret { client_id, .. } = proof else { return proven(edge, call, proof).await };
    let mut found = None;
    let check = async {
        match proven(edge, call, proof).await {
            Ok(client) => found = Some(client),
            Err(Failure::WrongClient) => {}
            Err(failure) => return Err(failure),
        }
        Ok(found.is_some())
    };
    // Boxed, since it holds the whole look-up.
    let is_admitted = Box::pin(edge.operators.admits_client(client_id, call.address, check)).await?;
    found.filter(|_| is_admitted).ok_or(Failure::WrongClient)
}

async fn proven(edge: &Edge, call: &Permitted<Anyone>, proof: Proof<'_>) -> Result<ClientId> {
    let mut place = call.caller().place.clone();
    let mut tries = 1;
    loop {
        match edge.access.client(&place, proof, call.at).await.map_err(Failure::from) {
            Err(failure) if failure.is_stale() && tries < TRIES => {
                place = edge.access.place_again(&place).await?;
                tries += 1;
            }
            outcome => return outcome.map(|(_, client)| client.id),
        }
    }
}

/// Ends the session of the refresh token.
pub async fn logout(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    of_operators(&call)?;
    let form = Form::read(&call)?;
    public(form.client(&call)?.as_ref())?;
    edge.operators.logout(form.need("refresh_token")?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// RFC 7009: whoever holds a token may end its session.
pub async fn revoke(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    of_operators(&call)?;
    let form = Form::read(&call)?;
    edge.operators.revoke(form.need("token")?).await?;
    Ok(unstored(empty(StatusCode::OK)))
}

pub async fn userinfo(edge: Edge, call: Permitted<Anyone>) -> Result<Reply> {
    of_operators(&call)?;
    let unknown = || Failure::NotAnOperator("HTTP 401 Unauthorized");
    let token = bearer(authorization(&call.headers)).map_err(|_| unknown())?;
    let admin = edge.operators.verify(token).await.map_err(|refusal| match refusal {
        Refusal::Unavailable(error) => error.into(),
        Refusal::WrongCredentials | Refusal::InvalidGrant(_) => unknown(),
    })?;
    let info = UserInfo { sub: admin.id, preferred_username: admin.username };
    let mut reply = json(StatusCode::OK, &info);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// Other realms have no sessions here.
fn of_operators(call: &Permitted<Anyone>) -> Result<()> {
    if call.param("realm") == MASTER { Ok(()) } else { Err(Failure::NoRoute) }
}

/// People come through the public client, which is meant where none is named.
fn public(client: Option<&Client>) -> Result<()> {
    if client.is_none_or(|client| client.id == PUBLIC_CLIENT) { Ok(()) } else { Err(Failure::WrongClient) }
}
