//! Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, so that a receiver knows who sent what, and when.

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use uuid::Uuid;

use crate::model::webhook::SigningSecret;

/// The header `webhook-signature`: a signature by each of the secrets. `at` is `webhook-timestamp`, in seconds.
pub fn sign<'a>(secrets: impl Iterator<Item = &'a SigningSecret>, id: Uuid, at: i64, body: &[u8]) -> String {
    let head = format!("{id}.{at}.");
    let signature = |secret: &SigningSecret| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        context.update(head.as_bytes());
        context.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
    };
    secrets.map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As computed by the library `standardwebhooks` of PyPI.
    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id = Uuid::from_u128(0x0190_a1b2_c3d4_7e5f_8a6b_7c8d_9e0f_1a2b);
        let body = br#"{"test": 2432232314}"#;
        let one = sign([&secret].into_iter(), id, 1_614_265_330, body);
        assert_eq!(one, "v1,gg2J4llVLeRq0mWnG8GWS0Xt65L6zu1HNYgMynNuYck=");
        assert_eq!(sign([&secret, &secret].into_iter(), id, 1_614_265_330, body), format!("{one} {one}"));
    }
}
