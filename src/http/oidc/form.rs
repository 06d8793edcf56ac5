//! What a client sends to the token endpoint: a form, and who it is.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::refused;
use crate::{
    access::oauth::client::Proof,
    http::{
        exchange::{Permitted, authorization, pairs},
        failure::{Failure, Result},
        route::Anyone,
    },
};

/// RFC 7523 §2.2
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// `application/x-www-form-urlencoded`. A field that is empty counts as not sent (RFC 6749 §3.2), an unknown one is
/// passed over: clients of Keycloak send several.
pub struct Form {
    fields: Vec<(String, String)>,
}

/// Who a client says that it is (RFC 6749 §2.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
}

impl Form {
    pub fn read(call: &Permitted<Anyone>) -> Result<Self> {
        let text = std::str::from_utf8(&call.body).map_err(|_| refused("invalid_request", "the form is not UTF-8"))?;
        Ok(Self { fields: pairs(text) })
    }

    /// A field, if it is there and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// A field that must be there.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| refused("invalid_request", &format!("Missing form parameter: {name}")))
    }

    /// The client: by `Authorization: Basic`, else by the form; `None` if it says nothing of itself.
    pub fn client(&self, call: &Permitted<Anyone>) -> Result<Option<Client>> {
        let in_form = || {
            let (id, secret) = (self.get("client_id")?, self.get("client_secret"));
            Some(Client { id: id.to_owned(), secret: secret.map(str::to_owned) })
        };
        match authorization(&call.headers) {
            Some(header) => basic(header).map(Some).ok_or(Failure::WrongClient),
            None => Ok(in_form()),
        }
    }

    /// What shows that it is `client`: an assertion, or its secret.
    pub fn proof<'a>(&'a self, client: Option<&'a Client>) -> Result<Proof<'a>> {
        match (client, self.get("client_assertion")) {
            (_, Some(assertion)) => {
                if self.need("client_assertion_type")? != JWT_BEARER {
                    let description = format!("client_assertion_type: write {JWT_BEARER}");
                    return Err(refused("invalid_request", &description));
                }
                Ok(Proof::Assertion { client_id: self.get("client_id"), assertion })
            }
            (Some(Client { id, secret: Some(secret) }), None) => Ok(Proof::Secret { client_id: id, secret }),
            (_, None) => Err(Failure::WrongClient),
        }
    }
}

/// Both halves are form-urlencoded before they are joined (RFC 6749 §2.3.1).
fn basic(header: &str) -> Option<Client> {
    let (scheme, encoded) = header.split_once(' ')?;
    let bytes = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |half: &str| pairs(&format!("x={}", half.replace('&', "%26"))).pop().map(|(_, value)| value);
    Some(Client { id: decoded(id)?, secret: decoded(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(plain: &str) -> Option<(String, String)> {
        let client = basic(&format!("Basic {}", STANDARD.encode(plain)))?;
        Some((client.id, client.secret.unwrap()))
    }

    #[test]
    fn both_halves_of_basic_are_decoded() {
        assert_eq!(parts("batch:s3c%2B%2F%3D"), Some(("batch".into(), "s3c+/=".into())));
        assert_eq!(parts("a%3Ab:x%20y+z"), Some(("a:b".into(), "x y z".into())));
        assert_eq!(parts("batch:a&b=c:d"), Some(("batch".into(), "a&b=c:d".into())), "and clients which do not encode");
        assert_eq!(parts("batch"), None);
    }

    #[test]
    fn what_is_not_basic_names_nobody() {
        for header in ["", "Basic", "Basic !", "Bearer YTpi", "Basic /w=="] {
            assert_eq!(basic(header), None, "{header}");
        }
        assert!(basic("basic YTpi").is_some());
    }
}
