//! The token endpoint of every realm but `master`: clients which want to use its SCIM, and nobody else.

use http::StatusCode;

use super::{
    form::{Client, Form},
    refused,
};
use crate::{
    access::oauth::client::Proof,
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::Anyone,
    },
};

/// RFC 7523 §2.2
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How often a realm may move on under a request before the client is told to come back.
const TRIES: usize = 5;

/// The grant `client_credentials` (RFC 6749 §4.4).
pub async fn token(edge: &Edge, call: &Permitted<Anyone>, form: &Form) -> Result<Reply> {
    match form.need("grant_type")? {
        "client_credentials" => {}
        _ => return Err(refused("unsupported_grant_type", "Unsupported grant_type")),
    }
    let client = form.client(call)?;
    let proof = match (&client, form.get("client_assertion")) {
        (_, Some(assertion)) => {
            if form.need("client_assertion_type")? != JWT_BEARER {
                let description = format!("client_assertion_type: write {JWT_BEARER}");
                return Err(refused("invalid_request", &description));
            }
            Proof::Assertion { client_id: form.get("client_id"), assertion }
        }
        (Some(Client { id, secret: Some(secret) }), None) => Proof::Secret { client_id: id, secret },
        (_, None) => return Err(Failure::WrongClient),
    };
    let mut place = call.caller().place.clone();
    let mut tries = 1;
    loop {
        let outcome = async {
            let (realm, client) = edge.access.client(&place, proof, call.at).await?;
            // Told only to who has proven to be a client of the realm.
            if !realm.scim_enabled {
                return Err(refused("unauthorized_client", "SCIM is switched off for this realm"));
            }
            Ok(edge.access.issue(&realm, &client, call.at).await?)
        };
        match outcome.await {
            Err(failure) if failure.is_stale() && tries < TRIES => {
                place = edge.access.place_again(&place).await?;
                tries += 1;
            }
            outcome => return Ok(json(StatusCode::OK, &outcome?)),
        }
    }
}
