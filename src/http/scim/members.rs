//! Members on their way into an answer: written as they are read, since a group may have a million of them.
//!
//! What one stretch holds is sent whole, with its length. More than that is sent as the client takes it, a stretch at a
//! time, each in a transaction of its own, so that a slow client holds neither a connection to the database nor more
//! than a stretch of memory. If the way cannot be gone to its end (a group is deleted, the token revoked, the database
//! away), the body is broken off and the client sees that: never a short list which looks whole.

use std::{fmt::Write, sync::LazyLock};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tracing::{Instrument, Span, info};
use uuid::Uuid;

use super::render::List;
use crate::{
    http::{
        Edge,
        exchange::{Body, BoxError, Permitted, authorization, body_of},
        failure::{Failure, Result},
    },
    model::{
        Scope,
        group::{Member, MemberKind, Membership, Place, Stretch},
    },
    provision::{self, groups},
    scim::{list::Projection, schema::ResourceType},
    telemetry,
};

/// What an answer shows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each sub-attribute is wanted or not, whatever the others are")]
pub struct Shown {
    value: bool,
    reference: bool,
    kind: bool,
    display: bool,
}

impl Shown {
    /// What the client wants of each member; `None` if it wants no members.
    pub fn of(projection: &Projection) -> Option<Self> {
        static BY_DEFAULT: LazyLock<Option<Shown>> = LazyLock::new(|| Shown::asked_by(&Projection::Default));
        if projection.is_default() { *BY_DEFAULT } else { Self::asked_by(projection) }
    }

    fn asked_by(projection: &Projection) -> Option<Self> {
        let member = json!({ "members": [{ "value": "", "$ref": "", "type": "", "display": "" }] });
        let mut sample = member.as_object().cloned().unwrap_or_default();
        projection.apply(ResourceType::group(), &mut sample);
        let member = sample.get("members")?.get(0)?;
        let has = |name| member.get(name).is_some();
        Some(Self { value: has("value"), reference: has("$ref"), kind: has("type"), display: has("display") })
    }

    /// What must be read to show it.
    pub fn membership(shown: Option<Self>) -> Membership {
        match shown {
            None => Membership::Unread,
            Some(Self { display: true, .. }) => Membership::Named,
            Some(_) => Membership::Plain,
        }
    }
}

/// An answer which lacks nothing but the members of its groups.
pub struct Answer {
    edge: Edge,
    call: Permitted<Scope>,
    scope: Scope,
    shown: Shown,
    users_url: String,
    groups_url: String,
    list: List,
    groups: Vec<Uuid>,
    /// How much of the text is written.
    written: usize,
    /// Index of the group whose members are being written, if any of them is.
    open: Option<usize>,
}

/// What is to be written next.
enum Next {
    This(Stretch),
    From(Place),
    Nothing,
}

impl Answer {
    /// `list` holds the `groups` in their order.
    pub fn new(edge: &Edge, call: &Permitted<Scope>, shown: Shown, list: List, groups: Vec<Uuid>) -> Self {
        Self {
            edge: edge.clone(),
            call: call.clone(),
            scope: call.caller().clone(),
            shown,
            users_url: format!("{}/Users/", call.base_url),
            groups_url: format!("{}/Groups/", call.base_url),
            list,
            groups,
            written: 0,
            open: None,
        }
    }

    /// The body, which begins with the `first` members.
    pub fn body(mut self, first: Stretch) -> Body {
        if first.next.is_none() {
            return body_of(self.write(&first));
        }
        let span = Span::current();
        let stretches = stream::try_unfold((self, Next::This(first)), move |(mut answer, next)| {
            let step = async move {
                let stretch = match next {
                    Next::This(stretch) => stretch,
                    Next::From(place) => answer.read(place).await?,
                    Next::Nothing => return Ok::<_, BoxError>(None),
                };
                let text = answer.write(&stretch);
                let next = stretch.next.map_or(Next::Nothing, Next::From);
                Ok(Some((Frame::data(Bytes::from(text)), (answer, next))))
            };
            step.instrument(span.clone())
        });
        StreamBody::new(stretches).boxed_unsync()
    }

    async fn read(&mut self, place: Place) -> Result<Stretch> {
        let mut stretch = self.stretch(place).await;
        // A change of the realm is no reason to break off, as long as the client may still know.
        if stretch.as_ref().is_err_and(Failure::is_stale) {
            self.scope = self.edge.access.again(&self.scope, authorization(&self.call.headers)).await?;
            stretch = self.stretch(place).await;
        }
        stretch.inspect_err(|failure| {
            if let Failure::Verb(provision::Error::Store(error)) = failure {
                telemetry::store_error(error.kind());
            }
            info!(error = %failure, "an answer was broken off");
        })
    }

    async fn stretch(&self, place: Place) -> Result<Stretch> {
        Ok(groups::members(&self.edge.store, &self.scope, &self.groups, place, self.shown.display).await?)
    }

    fn write(&mut self, stretch: &Stretch) -> String {
        let mut out = String::with_capacity(self.list.text.len() - self.written + 256 * stretch.members.len());
        for (group, member) in &stretch.members {
            if self.open == Some(*group) {
                out.push(',');
            } else {
                self.close(&mut out);
                self.write_text(self.list.ends[*group], &mut out);
                out.push_str(r#","members":["#);
                self.open = Some(*group);
            }
            self.write_member(member, &mut out);
        }
        if stretch.next.is_none() {
            self.close(&mut out);
            self.write_text(self.list.text.len(), &mut out);
        }
        out
    }

    fn close(&mut self, out: &mut String) {
        if self.open.take().is_some() {
            out.push(']');
        }
    }

    fn write_text(&mut self, end: usize, out: &mut String) {
        out.push_str(&self.list.text[self.written..end]);
        self.written = end;
    }

    fn write_member(&self, member: &Member, out: &mut String) {
        let (url, kind) = match member.kind {
            MemberKind::User => (&self.users_url, "User"),
            MemberKind::Group => (&self.groups_url, "Group"),
        };
        let (id, begin) = (member.id, out.len());
        // Infallible: a String takes whatever it is given. Ids and our own URLs need no escapes.
        if self.shown.value {
            let _ = write!(out, r#","value":"{id}""#);
        }
        if self.shown.reference {
            let _ = write!(out, r#","$ref":"{url}{id}""#);
        }
        if self.shown.kind {
            let _ = write!(out, r#","type":"{kind}""#);
        }
        if let Some(display) = member.display.as_ref().filter(|_| self.shown.display) {
            let _ = write!(out, r#","display":{display}"#);
        }
        if out.len() > begin {
            out.replace_range(begin..=begin, "{");
        } else {
            out.push('{');
        }
        out.push('}');
    }
}
