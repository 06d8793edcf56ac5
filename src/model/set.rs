//! Security event tokens (RFC 8417) with the SCIM events of RFC 9967, and the key of a realm which signs them.
//!
//! What SCIM has no word for (roles, first sign-ins, what becomes of the realm itself) is told by none of them.

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::event::Event;
use crate::scim::{
    patch::PATCH_OP_URN,
    schema::{GROUP_URN, USER_URN},
};

/// Media type of a token on its way (RFC 8417 §7.2).
pub const MEDIA_TYPE: &str = "application/secevent+jwt";
/// `typ` in the header (RFC 8417 §2.3).
const TYPE: &str = "secevent+jwt";

/// Who issues tokens, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// `iss`: the URL of the realm, below which its keys are found.
    pub issuer: String,
    /// `aud`
    pub audience: String,
}

/// The key by which a realm signs its tokens: ES256. Does not print.
pub struct RealmKey {
    pub kid: Uuid,
    /// PKCS #8.
    private: Vec<u8>,
}

impl RealmKey {
    /// The column which holds the private part, to which its encryption is bound.
    pub const COLUMN: &str = "realm_keys.private_key";

    /// Makes a key pair. Answers the public part too: an uncompressed point (SEC 1 §2.3.3).
    pub fn generate(kid: Uuid) -> Result<(Self, Vec<u8>), Unspecified> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new())?.as_ref().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &private).map_err(|_| Unspecified)?;
        Ok((Self { kid, private }, pair.public_key().as_ref().to_vec()))
    }

    /// One which was made before.
    pub const fn stored(kid: Uuid, private: Vec<u8>) -> Self {
        Self { kid, private }
    }

    /// The private part, to be encrypted.
    pub fn private(&self) -> &[u8] {
        &self.private
    }

    /// The token which tells of the event, `None` if none does.
    pub fn token(&self, event: &Event, parties: &Parties, now: Timestamp) -> Result<Option<String>, Unspecified> {
        claims(event, parties, now).map(|claims| self.sign(&claims)).transpose()
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String, Unspecified> {
        let kid = Some(self.kid.to_string());
        let header = Header { typ: Some(TYPE.into()), kid, ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&self.private)).map_err(|_| Unspecified)
    }
}

/// Does a token tell of such events?
pub fn tells_of(event: &Event) -> bool {
    events(event).is_some()
}

/// What the token says which tells of the event; `None` if SCIM has no word for it.
pub fn claims(event: &Event, parties: &Parties, now: Timestamp) -> Option<Value> {
    let mut subject = Map::new();
    subject.insert("format".into(), "scim".into());
    subject.insert("uri".into(), format!("/{}/{}", endpoint(event)?, event.resource_id).into());
    let external_id = event.attributes.as_ref().and_then(|attributes| attributes.get("externalId"));
    subject.extend(external_id.map(|id| ("externalId".to_owned(), id.clone())));
    let mut claims = of(event, parties, now, &events(event)?);
    claims["sub_id"] = subject.into();
    Some(claims)
}

/// What the token says by which an operator tries whether tokens arrive and are believed: the verification event of
/// OpenID's Shared Signals Framework 1.0 §8.1.4.
pub fn trial(event: &Event, parties: &Parties, now: Timestamp) -> Value {
    let mut claims =
        of(event, parties, now, &json!({ "https://schemas.openid.net/secevent/ssf/event-type/verification": {} }));
    claims["sub_id"] = json!({ "format": "opaque", "id": event.facts["webhook"] });
    claims
}

/// NB: `seq` is a claim of ours: the place of the event in the realm's sequence, for receivers who want it in order.
fn of(event: &Event, parties: &Parties, now: Timestamp, events: &Value) -> Value {
    json!({
        "iss": parties.issuer,
        "aud": parties.audience,
        "jti": event.id,
        "iat": now.as_second(),
        "toe": event.at.as_second(),
        "txn": event.request_id,
        "seq": event.seq,
        "events": events,
    })
}

fn endpoint(event: &Event) -> Option<&'static str> {
    match event.name.strip_prefix("dsync.")?.split_once('.')?.0 {
        "user" => Some("Users"),
        "group" => Some("Groups"),
        _ => None,
    }
}

/// The `events` claim (RFC 9967 §2.4).
fn events(event: &Event) -> Option<Value> {
    let full = |word: &str, data: Value| {
        let mut told = Map::new();
        let payload = json!({ "version": format!("W/\"{}\"", event.version), "data": data });
        told.insert(uri(&format!("{word}:full")), payload);
        told
    };
    let patch = |operations: Vec<Value>| full("patch", json!({ "schemas": [PATCH_OP_URN], "Operations": operations }));
    let bare = |word: &str| Map::from_iter([(uri(word), json!({}))]);
    let told = match event.name.as_str() {
        "dsync.user.created" => full("create", document(event, USER_URN)),
        "dsync.group.created" => full("create", document(event, GROUP_URN)),
        "dsync.user.deleted" | "dsync.group.deleted" => bare("delete"),
        "dsync.user.updated" | "dsync.group.updated" => {
            let operations = operations(event);
            if operations.is_empty() {
                return None;
            }
            let mut told = patch(operations);
            match (was_active(event), event.facts["state"] == "disabled") {
                (Some(true), true) => told.extend(bare("deactivate")),
                (Some(false), false) => told.extend(bare("activate")),
                _ => {}
            }
            told
        }
        "dsync.group.user_added" => {
            let (kind, endpoint) =
                if event.facts["member"] == "Group" { ("Group", "Groups") } else { ("User", "Users") };
            let id = event.member_id?;
            let member = json!({ "value": id, "$ref": format!("/{endpoint}/{id}"), "type": kind });
            patch(vec![json!({ "op": "add", "path": "members", "value": [member] })])
        }
        "dsync.group.user_removed" => {
            patch(vec![json!({ "op": "remove", "path": format!("members[value eq \"{}\"]", event.member_id?) })])
        }
        _ => return None,
    };
    Some(told.into())
}

fn uri(word: &str) -> String {
    format!("urn:ietf:params:scim:event:prov:{word}")
}

/// The resource as SCIM answers it, but for what has events of its own: `groups` and `members`.
fn document(event: &Event, schema: &str) -> Value {
    let mut document = event.attributes.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
    let extensions: Vec<String> = document.keys().filter(|name| name.starts_with("urn:")).cloned().collect();
    let schemas: Vec<&str> = std::iter::once(schema).chain(extensions.iter().map(String::as_str)).collect();
    document.insert("schemas".into(), json!(schemas));
    document.insert("id".into(), json!(event.resource_id));
    Value::Object(document)
}

/// What leads from the former values to those of now (RFC 7644 §3.5.2).
fn operations(event: &Event) -> Vec<Value> {
    let (Some(former), Some(now)) = (event.previous.as_ref().and_then(Value::as_object), &event.attributes) else {
        return Vec::new();
    };
    let mut operations = Vec::new();
    // `state` is no attribute: it tells of a first sign-in.
    for (path, former) in former.iter().filter(|(path, _)| *path != "state") {
        let within = path.rsplit_once(':').map_or(&Value::Null, |(urn, name)| &now[urn][name]);
        let remove = json!({ "op": "remove", "path": path });
        match now.get(path).unwrap_or(within) {
            Value::Null => operations.push(remove),
            // To replace a complex attribute leaves the sub-attributes which are not named.
            value if lacks_some_of(value, former) => {
                operations.extend([remove, json!({ "op": "add", "path": path, "value": value })]);
            }
            value => operations.push(json!({ "op": "replace", "path": path, "value": value })),
        }
    }
    operations
}

fn lacks_some_of(value: &Value, former: &Value) -> bool {
    matches!((value, former), (Value::Object(now), Value::Object(former)) if former.keys().any(|name| !now.contains_key(name)))
}

/// Was the user active before, if that is different now? One of whom nothing is said is.
fn was_active(event: &Event) -> Option<bool> {
    Some(event.previous.as_ref()?.get("active")? != false)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;
    use crate::{
        model::{Actor, RealmId},
        scim::schema::ENTERPRISE_USER_URN,
    };

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn event(name: &str, attributes: Value, previous: Value, facts: Value) -> Event {
        let some = |value: Value| Some(value).filter(|value| !value.is_null());
        Event {
            realm: RealmId(Uuid::nil()),
            seq: 7,
            id: Uuid::from_u128(0x11),
            name: name.into(),
            resource_id: Uuid::from_u128(0x22),
            version: 3,
            member_id: Some(Uuid::from_u128(0x33)),
            attributes: some(attributes),
            previous: some(previous),
            facts,
            actor: Actor::System,
            request_id: "r-1".into(),
            at: NOW,
        }
    }

    fn told(name: &str, attributes: Value, previous: Value, facts: Value) -> Option<Value> {
        let parties = Parties { issuer: "https://id.example/realms/acme".into(), audience: "app".into() };
        claims(&event(name, attributes, previous, facts), &parties, NOW)
    }

    #[test]
    fn a_token_says_who_it_is_about_and_what_happened() {
        let ada = json!({ "userName": "ada", "externalId": "okta-1", "active": true,
            ENTERPRISE_USER_URN: { "department": "Engines" } });
        let claims = told("dsync.user.created", ada, Value::Null, json!({ "state": "shadow" })).unwrap();
        assert_eq!(
            claims,
            json!({
                "iss": "https://id.example/realms/acme", "aud": "app", "iat": 0, "toe": 0, "txn": "r-1", "seq": 7,
                "jti": "00000000-0000-0000-0000-000000000011",
                "sub_id": { "format": "scim", "uri": "/Users/00000000-0000-0000-0000-000000000022", "externalId": "okta-1" },
                "events": { "urn:ietf:params:scim:event:prov:create:full": { "version": "W/\"3\"", "data": {
                    "schemas": [USER_URN, ENTERPRISE_USER_URN], "id": "00000000-0000-0000-0000-000000000022",
                    "userName": "ada", "externalId": "okta-1", "active": true,
                    ENTERPRISE_USER_URN: { "department": "Engines" },
                } } },
            })
        );
    }

    #[test]
    fn an_update_tells_what_leads_to_the_new_values() {
        let now = json!({ "userName": "ada", "active": false, "name": { "givenName": "Ada" }, "emails": [],
            ENTERPRISE_USER_URN: { "department": "Engines" } });
        let former = json!({ "active": true, "name": { "givenName": "A", "middleName": "B" }, "title": "Countess",
            "emails": [{ "value": "a@b.example" }],
            format!("{ENTERPRISE_USER_URN}:department"): "Looms",
            format!("{ENTERPRISE_USER_URN}:division"): "North" });
        let claims = told("dsync.user.updated", now, former, json!({ "state": "disabled" })).unwrap();
        let patch = &claims["events"]["urn:ietf:params:scim:event:prov:patch:full"];
        assert_eq!(
            patch["data"],
            json!({ "schemas": [PATCH_OP_URN], "Operations": [
            { "op": "replace", "path": "active", "value": false },
            { "op": "remove", "path": "name" },
            { "op": "add", "path": "name", "value": { "givenName": "Ada" } },
            { "op": "remove", "path": "title" },
            { "op": "replace", "path": "emails", "value": [] },
            { "op": "replace", "path": format!("{ENTERPRISE_USER_URN}:department"), "value": "Engines" },
            { "op": "remove", "path": format!("{ENTERPRISE_USER_URN}:division") },
        ] })
        );
    }

    #[test]
    fn who_is_locked_out_and_let_in_again_is_told_so() {
        let events = |previous: Value, now: Value, state: &str| {
            let told = told("dsync.user.updated", json!({ "active": now }), previous, json!({ "state": state }));
            let events = told.map(|claims| claims["events"].clone()).unwrap_or_default();
            events
                .as_object()
                .into_iter()
                .flatten()
                .map(|(uri, _)| uri.rsplit("prov:").next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(events(json!({ "active": true }), json!(false), "disabled"), ["patch:full", "deactivate"]);
        assert_eq!(events(json!({ "active": null }), json!(false), "disabled"), ["patch:full", "deactivate"]);
        assert_eq!(events(json!({ "active": false }), json!(true), "active"), ["patch:full", "activate"]);
        assert_eq!(events(json!({ "title": "a" }), json!(false), "disabled"), ["patch:full"]);
        assert_eq!(events(json!({ "state": "shadow" }), json!(true), "active"), [""; 0]);
    }

    #[test]
    fn members_come_and_go_as_patches_of_their_group() {
        let of = |name: &str, facts: Value| told(name, Value::Null, Value::Null, facts).unwrap();
        let operations = |claims: &Value| {
            claims["events"]["urn:ietf:params:scim:event:prov:patch:full"]["data"]["Operations"].clone()
        };
        let id = "00000000-0000-0000-0000-000000000033";
        let came = of("dsync.group.user_added", json!({ "member": "User" }));
        assert_eq!(came["sub_id"]["uri"], "/Groups/00000000-0000-0000-0000-000000000022");
        let member = json!([{ "value": id, "$ref": format!("/Users/{id}"), "type": "User" }]);
        assert_eq!(operations(&came), json!([{ "op": "add", "path": "members", "value": member }]));
        let nested = of("dsync.group.user_added", json!({ "member": "Group" }));
        assert_eq!(operations(&nested)[0]["value"][0]["$ref"], format!("/Groups/{id}"));
        let left = of("dsync.group.user_removed", json!({ "member": "User" }));
        assert_eq!(operations(&left), json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]));
    }

    #[test]
    fn what_scim_has_no_word_for_is_told_by_no_token() {
        for name in
            ["dsync.activated", "dsync.user.role_added", "dsync.group.role_removed", "dsync.held", "role.created"]
        {
            assert_eq!(told(name, json!({}), json!({ "name": "a" }), json!({})), None, "{name}");
        }
    }

    #[test]
    fn a_token_is_verified_by_the_public_half() {
        let (key, public) = RealmKey::generate(Uuid::from_u128(0x44)).unwrap();
        let key = RealmKey::stored(key.kid, key.private().to_vec());
        let parties = Parties { issuer: "i".into(), audience: "a".into() };
        let event = event("dsync.user.deleted", Value::Null, Value::Null, json!({}));
        let token = key.token(&event, &parties, NOW).unwrap().unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_required_spec_claims(&["iss", "aud"]);
        validation.set_audience(&["a"]);
        let read =
            |public: &[u8]| jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_ec_der(public), &validation);
        let read_well = read(&public).unwrap();
        assert_eq!(read_well.header.typ.as_deref(), Some("secevent+jwt"));
        assert_eq!(read_well.claims["events"], json!({ "urn:ietf:params:scim:event:prov:delete": {} }));
        assert!(read(&RealmKey::generate(key.kid).unwrap().1).is_err());
    }
}
