//! A realm's events as they happen, as server-sent events (WHATWG HTML §9.2): what `GET …/events` answers to whoever
//! accepts `text/event-stream`.
//!
//! A stream holds neither a connection to the database nor more than one stretch of events, which is read when the client
//! has taken the one before. It ends when its caller may no longer read it and when the node stops; the client comes back
//! with the `id` that it had last, to any node.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, timeout_at},
};
use tracing::{Instrument, Span, info};

use super::events;
use crate::{
    access::{caller::bearer, operator::Refusal},
    http::{
        Edge,
        exchange::{Body, BoxError, Permitted, Reply, authorization, reply_of},
        failure::{Failure, Result},
    },
    model::{
        admin::{Admin, Right::ViewEvents},
        realm::Realm,
    },
    provision::{self, realms},
    telemetry::LiveFeed,
};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What keeps proxies from waiting for the end of the answer.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Events which are read at once, at most.
const STRETCH: usize = 100;
/// A client hears something at least so often.
const BEAT: Duration = Duration::from_secs(15);
/// A hint may be lost; so it is looked again after so long.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whether the caller may still read.
const JUDGE_EVERY: Duration = Duration::from_secs(1);
/// How soon a client comes back whose stream has ended, in milliseconds.
const RETRY: u32 = 1_000;

/// A stream which is open.
struct Live {
    edge: Edge,
    call: Permitted<Admin>,
    realm: Realm,
    names: Vec<String>,
    head: watch::Receiver<i64>,
    /// The last event that was sent or passed over.
    place: i64,
    /// When the caller was last found to be good; `None` if that is to be asked anew.
    judged: Option<Instant>,
    _place: OwnedSemaphorePermit,
    _open: LiveFeed,
}

/// Does the caller want a stream?
pub(super) fn is_wanted(call: &Permitted<Admin>) -> bool {
    let accepted = call.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let essence = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    accepted.flat_map(|value| value.split(',')).any(|range| essence(range) == EVENT_STREAM)
}

/// Begins behind `Last-Event-ID`, or behind `after`, or with what happens from now on.
pub(super) async fn open(edge: Edge, call: Permitted<Admin>, names: Vec<String>) -> Result<Reply> {
    let after = match call.header(LAST_EVENT_ID).filter(|id| !id.is_empty()).map(str::parse) {
        None => events::cursor(&call)?,
        Some(Ok(after @ 0..)) => Some(after),
        Some(_) => return Err(Failure::Invalid("`Last-Event-ID` is the `seq` of an event, or 0".into())),
    };
    let place = edge.feed.live_place().ok_or(Failure::Busy)?;
    let realm = realms::get(&edge.store, call.param("realm")).await?;
    let head = edge.feed.head(realm.id);
    let stretch = edge.feed.after(&realm, after.unwrap_or(0), 1, &names).await?;
    events::check(after, stretch.head, stretch.oldest)?;
    let live = Live {
        edge,
        call,
        realm,
        names,
        head,
        place: after.unwrap_or(stretch.head),
        judged: Some(Instant::now()),
        _place: place,
        _open: LiveFeed::opened(),
    };
    let mut reply = reply_of(StatusCode::OK, EVENT_STREAM, live.body());
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.headers_mut().insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(reply)
}

impl Live {
    fn body(self) -> Body {
        let span = Span::current();
        // At once, so that the client knows where it stands even if nothing ever happens.
        let first = format!("retry: {RETRY}\nid: {}\n\n", self.place);
        let parts = stream::try_unfold((self, Some(first)), move |(mut live, first)| {
            let step = async move {
                let part = match first {
                    Some(first) => Some(first),
                    None => live.next().await.inspect_err(|error| info!(%error, "a live feed was broken off"))?,
                };
                Ok::<_, BoxError>(part.map(|text| (Frame::data(Bytes::from(text)), (live, None))))
            };
            step.instrument(span.clone())
        });
        StreamBody::new(parts).boxed_unsync()
    }

    /// What is to be sent next, once there is something; `None` at the end.
    async fn next(&mut self) -> Result<Option<String>> {
        let beat = Instant::now() + BEAT;
        loop {
            if !self.may_go_on().await? {
                return Ok(None);
            }
            let stretch = self.edge.feed.after(&self.realm, self.place, STRETCH, &self.names).await;
            let stretch = match stretch.map_err(Failure::from) {
                // The realm has changed, or is gone.
                Err(failure) if failure.is_stale() => {
                    self.judged = None;
                    continue;
                }
                stretch => stretch?,
            };
            // Was this stream too slow? The client is told when it comes back.
            if self.place + 1 < stretch.oldest {
                return Ok(None);
            }
            self.place = stretch.scanned;
            if !stretch.events.is_empty() {
                let mut text = String::new();
                for event in &stretch.events {
                    // Infallible: a String takes whatever it is given. JSON of one line has no line breaks.
                    let body = event.body(self.realm.name.as_str());
                    let _ = write!(text, "id: {}\nevent: {}\ndata: {body}\n\n", event.seq, event.name);
                }
                return Ok(Some(text));
            }
            if Instant::now() >= beat {
                // With its place, so that who waits for rare kinds does not fall behind what is kept.
                return Ok(Some(format!(": still here\nid: {}\n\n", self.place)));
            }
            if self.place >= stretch.head {
                let (place, end) = (self.place, beat.min(Instant::now() + LOOK_EVERY));
                tokio::select! {
                    // Neither outcome tells more than to look again.
                    _ = timeout_at(end, self.head.wait_for(|known| *known > place)) => {}
                    () = self.edge.draining() => {}
                }
            }
        }
    }

    /// Is there still the realm which the stream is of, and its caller somebody who may read it?
    async fn may_go_on(&mut self) -> Result<bool> {
        if self.edge.is_draining() {
            return Ok(false);
        }
        if self.judged.is_some_and(|judged| judged.elapsed() < JUDGE_EVERY) {
            return Ok(true);
        }
        let realm = match realms::get(&self.edge.store, self.call.param("realm")).await {
            Err(provision::Error::NotFound(_)) => return Ok(false),
            realm => realm?,
        };
        let Ok(token) = bearer(authorization(&self.call.headers)) else { return Ok(false) };
        let caller = match self.edge.operators.verify(token).await {
            Err(Refusal::Unavailable(error)) => return Err(error.into()),
            Err(Refusal::WrongCredentials | Refusal::InvalidGrant(_)) => return Ok(false),
            Ok(caller) => caller,
        };
        let is_good = realm.id == self.realm.id && caller.rights.meet(ViewEvents.into(), Some(realm.name.as_str()));
        (self.realm, self.judged) = (realm, Some(Instant::now()));
        Ok(is_good)
    }
}
