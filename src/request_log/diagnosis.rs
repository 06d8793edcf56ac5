//! Faults which are known by their signs: name, cause and cure. Pure.
//!
//! To add one, give it a line in [`FAULTS`] and its signs in [`of_request`] or, if it takes days to show, in
//! [`of_realm`]. A fault is named only where nothing else looks the same, and never of a request that was served.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::model::request_log::Refusal;

/// A fault, in words for who runs the IdP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosis {
    pub name: &'static str,
    pub cause: String,
    pub cure: &'static str,
}

macro_rules! faults {
    ($($name:ident: $cause:literal, $cure:literal;)*) => {
        /// Every fault: name, cause, cure.
        pub const FAULTS: &[(&str, &str, &str)] = &[$((stringify!($name), $cause, $cure)),*];
    };
}

faults! {
    no_token:
        "the request has no `Authorization` header",
        "enter the realm's SCIM token in the IdP's settings; in Okta choose the authentication mode `HTTP Header`, or \
         `OAuth Bearer Token`; a proxy in between must not take the header away";
    doubled_bearer_prefix:
        "the header is `Bearer Bearer …`: the IdP adds the word itself, and it was typed into the token field as well",
        "enter the token alone, without `Bearer ` in front of it";
    malformed_header:
        "the `Authorization` header is not `Bearer <token>`",
        "choose authentication by bearer token (not Basic) in the IdP's settings, and enter the token without spaces or \
         line breaks";
    wrong_token:
        "the token is not one of this realm",
        "compare the first characters with those that `realmgate scim status` shows; if they differ or a character is \
         lost, rotate the token and enter the new one whole";
    old_token:
        "this token was the realm's own and has been replaced or switched off",
        "enter the realm's present token in the IdP's settings; if nobody has it, rotate it once more";
    expired_token:
        "this token of the realm has expired",
        "rotate the token and enter the new one in the IdP's settings";
    wrong_realm:
        "the token is that of another realm",
        "the IdP has either the base URL or the token of another application: copy both anew from this realm's status";
    scim_disabled:
        "SCIM is switched off for this realm",
        "switch it on (`realmgate scim enable`) and enter the new token in the IdP's settings";
    realm_disabled:
        "the realm is disabled: nobody is let in",
        "enable the realm (`realmgate realm enable`)";
    wrong_path:
        "there is nothing at this path below the SCIM base URL",
        "let the base URL in the IdP's settings end in `/scim/v2`, with nothing behind it";
    body_too_large:
        "the body is larger than the gateway takes",
        "let the IdP send fewer members or operations at once, or raise `limits.body` and `limits.large_body`";
    missing_user_name:
        "the user has no `userName`",
        "map an attribute which every user has to `userName` in the IdP's attribute mapping; in Entra ID restart \
         provisioning afterwards, since removed mappings are cached";
    strict_attribute:
        "the IdP sends an attribute which no schema of this realm has, and the policy `unknown_attributes` is `reject`",
        "remove the attribute from the IdP's mapping (in Entra ID restart provisioning afterwards), add a schema which \
         has it, or set `unknown_attributes=keep`";
    name_conflict:
        "another resource of this realm has this name already",
        "let the IdP match it instead of creating it: look the name up, and link to what is there, rename one of the \
         two, or delete the one which is not needed";
    unknown_member:
        "the group names members whom this realm does not have",
        "assign these users to the application as well; where groups come first, set `unknown_members=pending`";
    no_target:
        "the operation is aimed at a value which is not there",
        "let the IdP send the attribute whole, or restart its provisioning, so that it reads what is there; under the \
         strict dialect `dialect=lenient` takes what Entra ID means";
    rate_limited:
        "the realm sends more requests than it may",
        "nothing is lost: the IdP comes back by itself; if it stays so, raise the realm's `rate_limit`";
    no_users_yet:
        "the IdP is connected, but has not sent a single user",
        "assign users or groups to the application; in Okta switch `Create Users` on under Provisioning, To App; in \
         Entra ID set the provisioning status to On";
    no_groups_ever:
        "users come, groups never did",
        "in Entra ID enable groups under Mappings, and assign groups to the application; in Okta add them under Push \
         Groups";
    no_updates_ever:
        "users come, but no change of one ever did",
        "in Okta switch `Update User Attributes` on under Provisioning, To App; in Entra ID enable `Update` under \
         Mappings";
    no_deactivation_ever:
        "users come, but none has ever been deactivated or deleted: who leaves may keep access",
        "in Okta switch `Deactivate Users` on under Provisioning, To App; in Entra ID enable `Delete` under Mappings \
         and see that unassigned users are soft-deleted";
    missing_fields:
        "no user has these attributes, so the IdP's mapping does not send them",
        "add them to the IdP's attribute mapping, then let it send all users once more; in Entra ID restart \
         provisioning";
}

/// The fault of that name; `None` if there is no such.
pub fn named(name: &str) -> Option<Diagnosis> {
    let (name, cause, cure) = FAULTS.iter().find(|(known, ..)| *known == name)?;
    Some(Diagnosis { name, cause: (*cause).to_owned(), cure })
}

/// What is known of a stored entry's fault, with what the entry tells of it.
pub fn told(name: &str, error: Option<&Refusal>) -> Option<Diagnosis> {
    let mut diagnosis = named(name)?;
    if let Some(at) = error.and_then(|error| error.token_ended_at) {
        let at = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC");
        diagnosis.cause = format!("{}, at {at}", diagnosis.cause);
    }
    Some(diagnosis)
}

/// A request that was not served.
pub struct Refused<'a> {
    /// Behind the SCIM base URL.
    pub path: &'a str,
    pub status: u16,
    pub error: &'a Refusal,
    pub body: Option<&'a Value>,
    /// The token is another realm's.
    pub elsewhere: bool,
}

/// The fault behind a refusal, if it is a known one.
pub fn of_request(refused: &Refused<'_>) -> Option<&'static str> {
    let (error, users) = (refused.error, refused.path.starts_with("/Users"));
    let says = |words: &str| error.detail.contains(words);
    Some(match (refused.status, error.reason.as_deref(), error.scim_type.as_deref()) {
        (401, Some("no_token"), _) => "no_token",
        (401, Some("doubled_prefix"), _) => "doubled_bearer_prefix",
        (401, Some("malformed"), _) => "malformed_header",
        (401, Some("expired_token"), _) => "expired_token",
        (401, Some("realm_disabled"), _) => "realm_disabled",
        (401, Some("scim_disabled"), _) => "scim_disabled",
        (401, Some("unknown_token"), _) if error.token_ended_at.is_some() => "old_token",
        (401, Some("unknown_token"), _) if refused.elsewhere => "wrong_realm",
        (401, Some("unknown_token" | "not_a_token"), _) => "wrong_token",
        (404, ..) if is_no_endpoint(refused.path) => "wrong_path",
        (409, _, Some("uniqueness")) => "name_conflict",
        (413, ..) => "body_too_large",
        (429, ..) => "rate_limited",
        (400, _, Some("noTarget")) => "no_target",
        (400, _, Some("invalidValue")) if users && refused.body.is_some_and(is_nameless) && says("`userName`") => {
            "missing_user_name"
        }
        (400, _, Some("invalidValue" | "invalidPath")) if says("is in no schema of this service; remove it") => {
            "strict_attribute"
        }
        (400, _, Some("invalidValue")) if says("members: this realm has no user or group") => "unknown_member",
        _ => return None,
    })
}

/// Is the path none that a service provider has (RFC 7644 §3.2)? An unknown id below one of them is no fault.
fn is_no_endpoint(path: &str) -> bool {
    const KNOWN: [&str; 8] = ["", "Users", "Groups", "Bulk", "Me", "Schemas", "ResourceTypes", "ServiceProviderConfig"];
    !KNOWN.contains(&path.trim_start_matches('/').split('/').next().unwrap_or_default())
}

/// A whole user without a name, or with a blank one.
fn is_nameless(body: &Value) -> bool {
    let Some(user) = body.as_object().filter(|user| !user.keys().any(|key| key.eq_ignore_ascii_case("Operations")))
    else {
        return false;
    };
    let name = user.iter().find(|(key, _)| key.eq_ignore_ascii_case("userName")).map(|(_, value)| value);
    name.is_none_or(|name| name.is_null() || name.as_str().is_some_and(|name| name.trim().is_empty()))
}

/// What is known of a realm and its IdP over time.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub first_request: Option<Timestamp>,
    pub first_user: Option<Timestamp>,
    pub first_update: Option<Timestamp>,
    pub first_leaver: Option<Timestamp>,
    pub first_group: Option<Timestamp>,
    pub has_users: bool,
    pub has_groups: bool,
    /// Attributes which none of the latest users has.
    pub missing: Vec<String>,
}

/// The faults of a realm which show over time.
pub fn of_realm(facts: &Facts, now: Timestamp) -> Vec<Diagnosis> {
    let past =
        |since: Option<Timestamp>, time: SignedDuration| since.is_some_and(|since| now.duration_since(since) >= time);
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    let users = facts.has_users || facts.first_user.is_some();
    let found = [
        ("no_users_yet", !users && past(facts.first_request, SignedDuration::from_mins(30))),
        ("no_groups_ever", !facts.has_groups && facts.first_group.is_none() && past(facts.first_user, days(1))),
        (
            "no_updates_ever",
            facts.first_update.is_none() && facts.first_leaver.is_none() && past(facts.first_user, days(30)),
        ),
        ("no_deactivation_ever", facts.first_leaver.is_none() && past(facts.first_user, days(30))),
        ("missing_fields", !facts.missing.is_empty()),
    ];
    let mut found: Vec<_> = found.into_iter().filter(|(_, is_so)| *is_so).filter_map(|(name, _)| named(name)).collect();
    if let Some(fields) = found.iter_mut().find(|fault| fault.name == "missing_fields") {
        fields.cause = format!("{}: {}", fields.cause, facts.missing.join(", "));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(status: u16, error: &Refusal, path: &str, body: &Value) -> Option<&'static str> {
        of_request(&Refused { path, status, error, body: Some(body).filter(|b| !b.is_null()), elsewhere: false })
    }

    fn error(scim_type: &str, detail: &str) -> Refusal {
        let scim_type = Some(scim_type.to_owned()).filter(|word| !word.is_empty());
        Refusal { scim_type, detail: detail.to_owned(), ..Refusal::default() }
    }

    #[test]
    fn each_fault_has_its_signs() {
        let nobody = json!({ "schemas": [], "userName": " " });
        let none = Value::Null;
        for (status, scim_type, detail, path, body, name) in [
            (
                400,
                "invalidValue",
                "`userName` is required for a User and must not be blank",
                "/Users",
                &nobody,
                "missing_user_name",
            ),
            (
                400,
                "invalidValue",
                "`Badge` is in no schema of this service; remove it from the attribute mapping",
                "/Users",
                &none,
                "strict_attribute",
            ),
            (
                400,
                "invalidPath",
                "`badge` is in no schema of this service; remove it from the attribute mapping",
                "/Users/1",
                &none,
                "strict_attribute",
            ),
            (
                400,
                "invalidValue",
                "members: this realm has no user or group `x`; nothing was changed",
                "/Groups/1",
                &none,
                "unknown_member",
            ),
            (400, "noTarget", "", "/Users/1", &none, "no_target"),
            (409, "uniqueness", "", "/Groups", &none, "name_conflict"),
            (413, "", "", "/Groups", &none, "body_too_large"),
            (429, "", "", "/Users", &none, "rate_limited"),
            (404, "", "", "/scim/v2/Users", &none, "wrong_path"),
        ] {
            assert_eq!(refused(status, &error(scim_type, detail), path, body), Some(name));
        }
    }

    #[test]
    fn what_looks_alike_is_no_fault() {
        let whole = json!({ "userName": "ada", "Operations": [] });
        for (status, scim_type, path) in [
            (404, "", "/Users/1"),
            (404, "", "/Me"),
            (405, "", "/Users"),
            (400, "invalidValue", "/Users"),
            (400, "invalidFilter", "/Users"),
            (409, "", "/Bulk"),
            (412, "", "/Users/1"),
            (503, "", "/Users"),
        ] {
            assert_eq!(refused(status, &error(scim_type, "`userName`"), path, &whole), None, "{status} {path}");
        }
    }

    #[test]
    fn a_401_is_told_by_its_reason() {
        let reason = |reason: &str, ended: Option<Timestamp>, elsewhere| {
            let error = Refusal { reason: Some(reason.to_owned()), token_ended_at: ended, ..Refusal::default() };
            of_request(&Refused { path: "/Users", status: 401, error: &error, body: None, elsewhere })
        };
        assert_eq!(reason("unknown_token", None, false), Some("wrong_token"));
        assert_eq!(reason("unknown_token", None, true), Some("wrong_realm"));
        assert_eq!(reason("unknown_token", Some(Timestamp::UNIX_EPOCH), false), Some("old_token"));
        assert_eq!(reason("not_a_token", None, false), Some("wrong_token"));
        for same in ["no_token", "expired_token", "realm_disabled", "scim_disabled"] {
            assert_eq!(reason(same, None, false), Some(same));
        }
        assert_eq!(reason("something_new", None, false), None);
    }

    #[test]
    fn every_name_that_is_given_has_a_cause_and_a_cure() {
        for (name, cause, cure) in FAULTS {
            assert!(!cause.is_empty() && !cure.is_empty() && named(name).is_some(), "{name}");
        }
        let ended = Refusal { token_ended_at: Some(Timestamp::UNIX_EPOCH), ..Refusal::default() };
        let told = told("old_token", Some(&ended)).expect("it is known");
        assert!(told.cause.ends_with("switched off, at 1970-01-01 00:00 UTC"), "{}", told.cause);
    }

    #[test]
    fn what_an_idp_never_does_shows_in_time() {
        let at = |hours| Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours));
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 31);
        let names = |facts: &Facts| of_realm(facts, now).into_iter().map(|fault| fault.name).collect::<Vec<_>>();
        let mut facts = Facts { first_request: at(0), ..Facts::default() };
        assert_eq!(names(&facts), ["no_users_yet"]);
        facts.has_users = true;
        assert_eq!(names(&facts), [""; 0], "they came by another way");
        facts.first_user = at(0);
        assert_eq!(names(&facts), ["no_groups_ever", "no_updates_ever", "no_deactivation_ever"]);
        facts.first_user = at(24 * 31 - 1);
        assert_eq!(names(&facts), [""; 0], "too early to tell");
        facts = Facts { first_user: at(0), first_leaver: at(1), has_groups: true, ..facts };
        assert_eq!(names(&facts), [""; 0]);
    }
}
