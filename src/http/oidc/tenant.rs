//! The token endpoint of every realm but `master`: clients which want to use its SCIM, and nobody else.

use http::StatusCode;

use super::{TRIES, form::Form, refused};
use crate::{
    access::oauth::client::Refusal,
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
        route::Anyone,
    },
};

/// The grant `client_credentials` (RFC 6749 §4.4).
pub async fn token(edge: &Edge, call: &Permitted<Anyone>, form: &Form) -> Result<Reply> {
    match form.need("grant_type")? {
        "client_credentials" => {}
        _ => return Err(refused("unsupported_grant_type", "Unsupported grant_type")),
    }
    let client = form.client(call)?;
    let proof = form.proof(client.as_ref())?;
    let mut place = call.caller().place.clone();
    let mut tries = 1;
    loop {
        let outcome = async {
            // Failures are counted by address, so that a stranger who guesses locks out nobody but himself.
            let (guesser, mut found) = (format!("{}@{}", place.name, call.address), None);
            let check = async {
                match edge.access.client(&place, proof, call.at).await {
                    Ok(known) => found = Some(known),
                    Err(Refusal::Unknown) => {}
                    Err(refusal) => return Err(Failure::from(refusal)),
                }
                Ok(found.is_some())
            };
            let is_admitted = edge.operators.admits_client(&guesser, call.address, check).await?;
            let (realm, client) = found.filter(|_| is_admitted).ok_or(Failure::WrongClient)?;
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
