//! What a realm brings along from elsewhere: settings, users and groups under the ids which they have, line by line
//! (`model::moved`).
//!
//! A batch is two transactions at most: its settings, then all else. What cannot be done is reported for its line and the
//! rest goes on; what is there already is left alone, so that a batch can be sent again after any failure. A rehearsal
//! does the same work and takes it back.
//! NB: the leaver guard does not stand in the way: an operator imports, not the IdP.

mod directory;

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{
    Error, Result, cut_over, extensions,
    realms::{self, Changed, enact},
};
use crate::{
    model::{
        Cause, Scope,
        alias::AliasPath,
        audit::Action,
        moved::{Counts, Line, LineReport, Outcome, TokenLine},
        realm::{Domain, MASTER, Realm},
        token::{ImportedToken, KnownHash},
    },
    scim::{self, extension::Extension},
    store::{self, Store, tx::RealmTx},
};

/// Lines in a batch, at most.
pub const MOST_LINES: usize = 1_000;

/// A line and its number.
/// The lines which are ones, with their numbers, and what is to be told of the others.
type Understood = (Vec<(usize, Line)>, Vec<LineReport>);

type Numbered<'a> = (usize, &'a Line);

/// Takes a batch of lines into the realm, or rehearses that. One report for each line which is not blank, in their order.
pub async fn batch(store: &Store, name: &str, text: &[u8], rehearsal: bool, cause: &Cause) -> Result<Vec<LineReport>> {
    if name == MASTER {
        return Err(Error::Conflict("the realm `master` is the operators' own: nobody moves in there".into()));
    }
    let (lines, mut reports) = read(text, rehearsal)?;
    let (settings, rest): (Vec<Numbered>, Vec<Numbered>) =
        lines.iter().map(|(number, line)| (*number, line)).partition(|(_, line)| line.is_setting());
    let mut realm = realms::get(store, name).await?;
    if !settings.is_empty() {
        let (changed, told) = take_settings(store, name, &settings, rehearsal, cause).await?;
        realm = changed;
        reports.extend(told);
    }
    let mut tries = 1;
    loop {
        let scope = Scope { realm: Arc::new(realm), cause: cause.clone() };
        match directory::take(store, &scope, &rest, rehearsal).await {
            // Another operator has changed the realm meanwhile. A rehearsal goes on with the realm that it has made.
            Err(Error::Store(store::error::Error::Stale)) if tries < 5 && (!rehearsal || settings.is_empty()) => {
                tries += 1;
                realm = realms::get(store, name).await?;
            }
            outcome => {
                reports.extend(outcome?);
                reports.sort_by_key(|report| report.line);
                return Ok(reports);
            }
        }
    }
}

/// The lines as they can be understood, and reports on those which cannot.
fn read(text: &[u8], rehearsal: bool) -> Result<Understood> {
    let (mut lines, mut reports) = (Vec::new(), Vec::new());
    let written = text.split(|byte| *byte == b'\n').enumerate();
    for (at, text) in written.filter(|(_, text)| !text.trim_ascii().is_empty()) {
        if lines.len() + reports.len() >= MOST_LINES {
            return Err(Error::Invalid(format!("a batch has at most {MOST_LINES} lines: send the file in parts")));
        }
        match parsed(text) {
            Ok(Line::Assumed { .. }) if !rehearsal => {
                let why = "`assumed` is for a dry run: nobody is there because a file says so".to_owned();
                reports.push(LineReport::new(at + 1, "assumed", "", Outcome::Refused, Some(why)));
            }
            Ok(line) => lines.push((at + 1, line)),
            Err(why) => reports.push(LineReport::new(at + 1, "unknown", "", Outcome::Refused, Some(why))),
        }
    }
    Ok((lines, reports))
}

fn parsed(text: &[u8]) -> Result<Line, String> {
    let value = scim::json::parse(text).map_err(|e| e.detail)?;
    Line::deserialize(value).map_err(|e| e.to_string())
}

/// Takes the settings in one transaction, in which the realm changes as it does by any other word of an operator.
async fn take_settings(
    store: &Store,
    name: &str,
    lines: &[Numbered<'_>],
    rehearsal: bool,
    cause: &Cause,
) -> Result<(Realm, Vec<LineReport>)> {
    let action = Action::on_realm("realm.import-settings");
    let taken = enact(store, cause, name, action, rehearsal, |mut tx, mut realm| async move {
        let (mut reports, mut schemas) = (Vec::new(), Vec::new());
        for (number, line) in lines {
            tx.mark().await?;
            let mut changed = realm.clone();
            let outcome = match take_setting(&mut tx, &mut changed, line, cause).await {
                Ok((outcome, schema)) => {
                    tx.on().await?;
                    realm = changed;
                    schemas.extend(schema);
                    Ok(outcome)
                }
                Err(error) => {
                    let why = refusal(error)?;
                    tx.back().await?;
                    Err(why)
                }
            };
            reports.push(LineReport::of(*number, line, outcome));
        }
        let told = told(&reports);
        Ok(Changed::new(tx, realm, (reports, schemas)).telling(told))
    });
    let (realm, (reports, schemas)) = taken.await?;
    for schema in schemas.iter().filter(|_| !rehearsal) {
        extensions::settle_late(store, &realm, schema).await?;
    }
    Ok((realm, reports))
}

async fn take_setting(
    tx: &mut RealmTx,
    realm: &mut Realm,
    line: &Line,
    cause: &Cause,
) -> Result<(Outcome, Option<Extension>)> {
    let created = |is_new| if is_new { Outcome::Created } else { Outcome::Unchanged };
    let outcome = match line {
        Line::Schema { resource_type, required, definition } => {
            let urn = definition["id"].as_str().unwrap_or_default();
            let known = realm.types.added.iter().find(|known| known.schema.id.eq_ignore_ascii_case(urn));
            if let Some(known) = known {
                let same = known.resource_type == *resource_type
                    && known.required == *required
                    && serde_json::from_value(definition.clone()).is_ok_and(|schema| known.schema == schema);
                return if same {
                    Ok((Outcome::Unchanged, None))
                } else {
                    Err(Error::Conflict(format!("the realm has another schema `{urn}`: remove that one first")))
                };
            }
            let schema = extensions::put(tx, realm, definition.clone(), *resource_type, *required).await?;
            return Ok((Outcome::Created, Some(schema)));
        }
        Line::Policy { policy } => {
            let before = realm.policy.clone();
            realms::put_policy(tx, realm, policy).await?;
            if realm.policy == before { Outcome::Unchanged } else { Outcome::Updated }
        }
        Line::Domain { domain } => {
            let domain = Domain::parse(domain).map_err(|e| Error::Invalid(e.to_string()))?;
            let is_new = !store::realms::has_domain(tx, &domain).await?;
            if is_new {
                realms::put_domain(tx, realm, &domain, cause).await?;
            }
            created(is_new)
        }
        Line::Alias { path } => {
            let alias = AliasPath::parse(path).map_err(|e| Error::Invalid(e.to_string()))?;
            created(cut_over::put_alias(tx, realm, &alias, cause).await?)
        }
        Line::Token(token) => created(cut_over::put_token(tx, realm, &imported(token)?, cause).await?),
        // `Line::is_setting` says what comes here.
        other => return Err(Error::Invalid(format!("`{}` is no setting", other.kind()))),
    };
    Ok((outcome, None))
}

fn imported(line: &TokenLine) -> Result<ImportedToken> {
    let TokenLine { hash, format, prefix, label, expires_at } = line.clone();
    let hash = KnownHash::parse(format, &hash).map_err(|e| Error::Invalid(e.to_string()))?;
    ImportedToken::checked(format, hash, prefix, label, expires_at).map_err(|e| Error::Invalid(e.to_owned()))
}

/// Why a line is refused; or the error, if it is not the line's fault.
fn refusal(error: Error) -> Result<String> {
    match error {
        Error::Scim(_)
        | Error::NotFound(_)
        | Error::Precondition(_)
        | Error::Conflict(_)
        | Error::Exists(_)
        | Error::Invalid(_)
        | Error::Gone(_)
        | Error::Damaged(_)
        | Error::Managed(_)
        | Error::Store(store::error::Error::Taken(_)) => Ok(error.to_string()),
        Error::Store(_) => Err(error),
    }
}

impl LineReport {
    fn new(line: usize, kind: &'static str, id: &str, outcome: Outcome, reason: Option<String>) -> Self {
        Self { line, kind, id: id.chars().take(512).collect(), outcome, reason }
    }

    fn of(number: usize, line: &Line, outcome: Result<Outcome, String>) -> Self {
        let (outcome, reason) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(why) => (Outcome::Refused, Some(why)),
        };
        Self::new(number, line.kind(), line.subject(), outcome, reason)
    }
}

/// What the audit log says of a batch.
fn told(reports: &[LineReport]) -> Value {
    json!({ "counts": Counts::of(reports) })
}
