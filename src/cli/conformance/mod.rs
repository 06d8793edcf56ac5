//! `realmgate conformance`: what RFC 7643, RFC 7644 and RFC 9865 require, asked of a running server over HTTP.
//!
//! The checks are data: a section, a requirement, and the requests which show it, in one file for each subject. They
//! run in a throw-away realm with the policy and the schemas of the realm that was named, which is itself left alone.
//! What ServiceProviderConfig announces must work; what it does not announce is `not supported`.
//!
//! To add a check, add it to the `checks!` of its subject.

mod bulk;
mod discovery;
mod extensions;
mod filters;
mod lists;
mod messages;
mod patch;
mod provider;
mod resources;
mod security;

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use clap::Args;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::OnceCell,
};

use super::{
    Exit, Failure, ServerOption,
    client::{Client, decode},
    output::{Format, Report, Table},
    realm, scim,
};
use crate::{
    model::realm::RealmName,
    outbound::{self, Outbound, Reach},
};
use provider::Provider;

/// URNs of schemas and messages (RFC 7643 §8, RFC 7644 §8.2).
mod urn {
    pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
    pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
    pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
    pub const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
    pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
    pub const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
    pub const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
    pub const BULK_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
}

/// One exchange of a check.
const LIMITS: outbound::Limits = outbound::Limits { time: Duration::from_secs(20), body: 16 << 20 };
/// All checks together.
const PATIENCE: Duration = Duration::from_secs(600);

/// Arguments of `realmgate conformance`.
#[derive(Debug, Args)]
pub struct Conformance {
    /// Whose sync policy and schemas to check with; the realm itself is not touched
    #[arg(value_parser = RealmName::parse)]
    realm: RealmName,
    #[command(flatten)]
    server: ServerOption,
    /// How to answer: for people or for scripts
    #[arg(long, short, value_enum, default_value_t, env = "REALMGATE_OUTPUT")]
    output: Format,
}

/// A requirement of an RFC, and how to see whether it is met.
struct Check {
    /// For example `RFC 7644 §3.4.2.2`.
    section: &'static str,
    requirement: &'static str,
    run: for<'a> fn(&'a Provider) -> LocalBoxFuture<'a, Verdict>,
}

/// `Ok` if a requirement is met.
type Verdict<T = ()> = Result<T, Unmet>;

/// Why a requirement is not met.
#[derive(Debug)]
enum Unmet {
    /// What was expected instead.
    Fail(String),
    /// It is about something that the server does not claim to have.
    NotSupported(String),
}

/// What came of a check.
struct Outcome {
    check: &'static Check,
    verdict: Verdict,
    /// The last answer.
    seen: String,
}

/// Writes down checks: `section, requirement => |provider| { statements }`. The statements end a check early with `?`.
macro_rules! checks {
    ($($section:literal, $requirement:literal => |$provider:ident| $body:block)+) => {
        pub(super) const CHECKS: &[super::Check] = &[$(super::Check {
            section: $section,
            requirement: $requirement,
            run: |$provider| Box::pin(async move {
                $body
                super::Verdict::Ok(())
            }),
        }),+];
    };
}
use checks;

const SUBJECTS: [&[Check]; 8] = [
    discovery::CHECKS,
    resources::CHECKS,
    filters::CHECKS,
    lists::CHECKS,
    patch::CHECKS,
    bulk::CHECKS,
    messages::CHECKS,
    security::CHECKS,
];

impl Conformance {
    /// Prints what came of each check. Fails if one of them failed; the throw-away realm is gone in any case.
    pub async fn run(self) -> Result<(), Failure> {
        let server = self.server.url;
        let client = Client::sign_in(server.clone()).await?;
        let throwaway = throwaway(&self.realm)?;
        let path = realm::path(&self.realm);
        let policy = client.get(&format!("{path}/scim/policy")).await.map_err(|e| realm::missing(e, &self.realm))?;
        let schemas = client.get(&format!("{path}/scim/schemas")).await?;
        let checked = async {
            client.post("/admin/realms", &json!({ "realm": throwaway, "enabled": true })).await?;
            let provider = furnished(&client, server.as_str(), &self.realm, &throwaway, policy, schemas).await?;
            Ok(judged(&provider).await)
        };
        let outcomes = bounded(checked).await;
        // The access token may have expired meanwhile.
        let removed = async { Client::sign_in(server.clone()).await?.delete(&realm::path(&throwaway)).await };
        let removed = match removed.await {
            Err(failure) if failure.exit != Exit::NotFound => {
                Err(failure.hint(format!("`realmgate realm delete {throwaway} --yes` removes what is left")))
            }
            _ => Ok(()),
        };
        let outcomes = outcomes?;
        report(&self.realm, &outcomes).print(self.output)?;
        removed?;
        match outcomes.iter().filter(|outcome| matches!(outcome.verdict, Err(Unmet::Fail(_)))).count() {
            0 => Ok(()),
            failed => {
                let message = format_args!("{failed} of {} requirements are not met", outcomes.len()).to_string();
                Err(Failure::new(Exit::Failed, message))
            }
        }
    }
}

/// `<realm>-conformance-<random>`, within the 63 characters of a realm's name.
fn throwaway(realm: &RealmName) -> Result<RealmName, Failure> {
    let random = RandomState::new().hash_one(realm.as_str()) >> 16;
    let name: String = realm.as_str().chars().take(36).collect();
    RealmName::parse(&format!("{name}-conformance-{random:012x}")).map_err(|e| Failure::new(Exit::Failed, e))
}

/// Waits for the checks, but not for ever, and not once somebody wants them to end.
async fn bounded<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Failed, e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        outcome = tokio::time::timeout(PATIENCE, work) => {
            let too_slow = |_| Failure::new(Exit::Unavailable, format_args!("the checks took more than {PATIENCE:?}"));
            outcome.map_err(too_slow)?
        }
        _ = interrupt.recv() => Err(Failure::new(Exit::Failed, "interrupted")),
        _ = terminate.recv() => Err(Failure::new(Exit::Failed, "terminated")),
    }
}

/// Gives the throw-away realm the policy and the schemas of the other, and a token.
async fn furnished(
    client: &Client,
    server: &str,
    realm: &RealmName,
    throwaway: &RealmName,
    policy: Value,
    schemas: Value,
) -> Result<Provider, Failure> {
    let path = |rest: &str| format!("{}/scim/{rest}", realm::path(throwaway));
    client.patch(&path("policy"), &policy).await?;
    for schema in schemas.as_array().into_iter().flatten() {
        let [resource_type, required] = ["resourceType", "required"].map(|key| &schema[key]);
        let resource_type = resource_type.as_str().unwrap_or("User");
        let query = format!("schemas?resourceType={resource_type}&required={}", required == true);
        let parts = ["id", "name", "description", "attributes"];
        let definition: Value = parts.map(|key| (key.to_owned(), schema[key].clone())).into_iter().collect();
        client.post(&path(&query), &definition).await?;
    }
    let access: scim::Access = decode(client.post(&path("enable"), &json!({})).await?)?;
    let mut provider = Provider {
        outbound: Outbound::new(LIMITS, Reach::Anywhere).map_err(|e| Failure::new(Exit::Failed, e))?,
        url: format!("{server}/realms/{throwaway}/scim/v2"),
        other_realm: format!("{server}/realms/{realm}/scim/v2"),
        base_url: access.base_url,
        token: access.token,
        policy,
        config: Value::Null,
        demanded: ["User", "Group"].map(|resource_type| extensions::demanded(&schemas, resource_type)),
        seen: RefCell::default(),
        count: Cell::default(),
        people: OnceCell::new(),
    };
    let config = provider.get("/ServiceProviderConfig").await.map_err(|e| Failure::new(Exit::Unavailable, e))?;
    provider.config = config.body;
    Ok(provider)
}

async fn judged(provider: &Provider) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for check in SUBJECTS.into_iter().flatten() {
        provider.seen.take();
        let verdict = (check.run)(provider).await;
        outcomes.push(Outcome { check, verdict, seen: provider.seen.take() });
    }
    outcomes
}

fn report(realm: &RealmName, outcomes: &[Outcome]) -> Report {
    let mut table = Table::new(["SECTION", "REQUIREMENT", "RESULT", "SEEN"]);
    let mut checks = Vec::new();
    let mut count = [0; 3];
    for Outcome { check, verdict, seen } in outcomes {
        let (at, result, told) = match verdict {
            Ok(()) => (0, "pass", String::new()),
            Err(Unmet::Fail(expected)) => (1, "fail", format!("{expected}; {seen}")),
            Err(Unmet::NotSupported(what)) => (2, "not supported", what.clone()),
        };
        count[at] += 1;
        table.row([&check.section.into(), &check.requirement.into(), &result.into(), &told.as_str().into()]);
        let seen = if told.is_empty() { seen } else { &told };
        checks.push(
            json!({ "section": check.section, "requirement": check.requirement, "result": result, "seen": seen }),
        );
    }
    let [passed, failed, unsupported] = count;
    let text = format!("{table}\n{passed} passed, {failed} failed, {unsupported} not supported");
    let json = json!({
        "realm": realm, "passed": passed, "failed": failed, "not_supported": unsupported, "checks": checks,
    });
    Report { json, text }
}

impl Unmet {
    fn fail(why: impl fmt::Display) -> Self {
        Self::Fail(why.to_string())
    }

    fn unsupported(feature: &str) -> Self {
        Self::NotSupported(format!("{feature} is not offered"))
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Fail(why) | Self::NotSupported(why)) = self;
        f.write_str(why)
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_throw_away_realm_has_a_name_that_a_realm_may_have() {
        for name in ["a", "acme", &"x".repeat(63)] {
            let realm = throwaway(&RealmName::parse(name).unwrap()).unwrap();
            assert!(realm.as_str().contains("-conformance-") && realm.as_str() != name, "{realm}");
        }
    }

    #[test]
    fn each_requirement_is_named_once() {
        let all = || SUBJECTS.into_iter().flatten();
        assert!(all().count() > 150);
        for check in all() {
            assert!(check.section.starts_with("RFC "), "{}", check.section);
            let same = all().filter(|other| (other.section, other.requirement) == (check.section, check.requirement));
            assert_eq!(same.count(), 1, "{}", check.requirement);
        }
    }

    #[test]
    fn a_report_tells_what_was_seen_where_something_is_amiss() {
        let outcome = |at: usize, verdict: Verdict| Outcome {
            check: &security::CHECKS[at],
            verdict,
            seen: "GET /Users: 200 {}".to_owned(),
        };
        let outcomes = [
            outcome(0, Err(Unmet::fail("expected 401"))),
            outcome(3, Err(Unmet::unsupported("sort"))),
            outcome(5, Ok(())),
        ];
        let report = report(&RealmName::parse("acme").unwrap(), &outcomes);
        assert_snapshot!(report.text, @"
        SECTION        REQUIREMENT                                                     RESULT         SEEN
        RFC 7644 §2    Without a token: 401, and WWW-Authenticate says how to come in  fail           expected 401; GET /Users: 200 {}
        RFC 6750 §5.3  A token in the query is none                                    not supported  sort is not offered
        RFC 7644 §6    The token of one realm opens no other                           pass

        1 passed, 1 failed, 1 not supported
        ");
        assert_eq!(report.json["checks"][2]["seen"], "GET /Users: 200 {}");
        assert_eq!((&report.json["passed"], &report.json["failed"]), (&json!(1), &json!(1)));
    }
}
