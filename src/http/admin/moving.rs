//! Import and export of a realm, in lines of JSON.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use schemars::JsonSchema;
use serde::Serialize;
use tracing::{Instrument, Span, warn};

use crate::{
    http::{
        Edge,
        exchange::{BoxError, Permitted, Reply, json as answer, reply_of},
        failure::{Failure, Result},
    },
    model::{
        admin::{Admin, Right},
        moved::{Counts, LineReport, Outcome},
    },
    provision::{export::Export, import},
};

const JSON_LINES: HeaderValue = HeaderValue::from_static("application/jsonl");

/// What became of a batch.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ImportReport {
    /// Nothing was changed: it was only tried.
    dry_run: bool,
    counts: Counts,
    lines: Vec<LineReport>,
}

/// `?dryRun=true` tries it, and changes nothing.
pub async fn import(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    may(&call, Right::ManageUsers)?;
    let dry_run = match call.query("dryRun") {
        None | Some("false") => false,
        Some("true" | "") => true,
        Some(_) => return Err(Failure::Invalid("`dryRun` is true or false".into())),
    };
    let media_type = call.header(header::CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !["", "application/jsonl", "application/x-ndjson"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Err(Failure::Invalid("send lines of JSON as application/jsonl".into()));
    }
    let outcome = import::batch(&edge.store, call.param("realm"), &call.body, dry_run, &call.cause()).await;
    // Also of a batch which failed in the middle: its settings may have been taken.
    if !dry_run && outcome.as_ref().map_or(true, |lines| lines.iter().any(is_new_setting)) {
        edge.access.forget();
    }
    let lines = outcome?;
    Ok(answer(StatusCode::OK, &ImportReport { dry_run, counts: Counts::of(&lines), lines }))
}

/// Sent as it is read. An export which cannot be finished is broken off; its last line would be `end`.
pub async fn export(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    may(&call, Right::ViewUsers)?;
    let export = Export::of(&edge.store, call.param("realm"), call.at).await?;
    let span = Span::current();
    let parts = stream::try_unfold(export, move |mut export| {
        let step = async move {
            let part = export.next().await.inspect_err(|error| warn!(?error, "an export was broken off"))?;
            Ok::<_, BoxError>(part.map(|text| (Frame::data(Bytes::from(text)), export)))
        };
        step.instrument(span.clone())
    });
    let mut reply = reply_of(StatusCode::OK, JSON_LINES, StreamBody::new(parts).boxed_unsync());
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// A realm's settings and its people are two rights; a file holds both.
fn may(call: &Permitted<Admin>, right: Right) -> Result<()> {
    let allowed = call.caller().rights.meet(right.into(), Some(call.param("realm")));
    if allowed { Ok(()) } else { Err(Failure::Forbidden) }
}

fn is_new_setting(report: &LineReport) -> bool {
    let setting = ["schema", "policy", "domain", "alias", "token"].contains(&report.kind);
    setting && matches!(report.outcome, Outcome::Created | Outcome::Updated)
}
