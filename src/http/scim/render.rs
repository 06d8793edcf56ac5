//! From a stored document to an answer: copied as text, rebuilt only where the client wants less than all of it.

use std::fmt::Write;

use http::{StatusCode, header};
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::{Map, Value};

use super::cursor::Cursors;
use crate::{
    http::{
        exchange::{Body, Permitted, Reply, SCIM_JSON, body_of, empty, reply, reply_of, with_header},
        failure::Result,
    },
    model::{Scope, document::Document},
    provision::{self, Preconditions, etag},
    scim::{
        list::{LIST_RESPONSE_URN, Projection},
        resource::Admission,
        schema::ResourceType,
    },
};

/// What a request asks for besides its verb.
#[derive(Debug)]
pub struct Asked {
    pub projection: Projection,
}

impl Asked {
    pub fn of(call: &Permitted<Scope>) -> Result<Self> {
        let projection = Projection::parse(call.query("attributes"), call.query("excludedAttributes"))?;
        Ok(Self { projection })
    }
}

/// What the caller's realm lets in.
pub fn admission(call: &Permitted<Scope>) -> Admission {
    provision::admission(&call.caller().realm.policy)
}

/// What the caller says of the version that it has in mind.
pub fn preconditions(call: &Permitted<Scope>) -> Preconditions<'_> {
    let [if_match, if_none_match] = [header::IF_MATCH, header::IF_NONE_MATCH].map(|name| call.header(name));
    Preconditions { if_match, if_none_match }
}

/// A resource as it goes into an answer.
pub struct Rendered {
    pub body: String,
    pub location: String,
    pub version: i64,
    pub etag: String,
}

impl Rendered {
    /// `extra` is a read-only attribute and its JSON text.
    pub fn of(
        resource_type: &ResourceType,
        document: &Document,
        extra: Option<(&str, &str)>,
        asked: &Asked,
        base_url: &str,
    ) -> Self {
        let location = format!("{base_url}{}/{}", resource_type.endpoint, document.id);
        let etag = etag(document.version);
        let mut body = String::with_capacity(document.attributes.len() + location.len() + 256);
        // Infallible: a String takes whatever it is given. The texts inside need no escapes: ids, times, our own URLs,
        // and the two quotes of the ETag.
        let _ = write!(
            body,
            r#"{{"id":"{}","meta":{{"resourceType":"{}","created":"{}","lastModified":"{}","location":"{location}","version":"W/\"{}\""}}"#,
            document.id,
            resource_type.name,
            Millis(document.created_at),
            Millis(document.updated_at),
            document.version,
        );
        if let Some((name, json)) = extra {
            let _ = write!(body, r#","{name}":{json}"#);
        }
        // The document is an object which holds at least `schemas`.
        body.push(',');
        body.push_str(document.attributes.trim_start().strip_prefix('{').unwrap_or("}"));
        if !asked.projection.is_all_of(resource_type)
            && let Ok(mut map) = serde_json::from_str::<Map<String, Value>>(&body)
        {
            asked.projection.apply(resource_type, &mut map);
            body = Value::Object(map).to_string();
        }
        Self { body, location, version: document.version, etag }
    }

    pub fn reply(mut self, status: StatusCode) -> Reply {
        let body = std::mem::take(&mut self.body);
        self.reply_with(status, body_of(body))
    }

    /// The answer, its body made by somebody else.
    pub fn reply_with(&self, status: StatusCode, body: Body) -> Reply {
        self.with_names(reply_of(status, SCIM_JSON, body))
    }

    /// 304 if the client has this version already (RFC 7644 §3.14).
    pub fn not_modified(&self, call: &Permitted<Scope>) -> Result<Option<Reply>> {
        let is_known = preconditions(call).is_known(self.version)?;
        Ok(is_known.then(|| self.with_names(empty(StatusCode::NOT_MODIFIED))))
    }

    fn with_names(&self, reply: Reply) -> Reply {
        with_header(with_header(reply, header::ETAG, &self.etag), header::CONTENT_LOCATION, &self.location)
    }
}

/// The text of a list, and where in it each resource ends: before its closing brace.
#[derive(Debug)]
pub struct List {
    pub text: String,
    pub ends: Vec<usize>,
}

impl List {
    pub fn reply(self) -> Reply {
        reply(StatusCode::OK, SCIM_JSON, self.text)
    }
}

/// Where a page lies in its list, as the answer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `startIndex`
    Index(i64),
    /// `nextCursor` and `previousCursor` (RFC 9865 §2.2).
    Cursor(Cursors),
}

/// A ListResponse (RFC 7644 §3.4.2).
pub fn list(total: i64, place: &Place, resources: impl ExactSizeIterator<Item = Rendered>) -> List {
    let mut body = String::with_capacity(256 + resources.len() * 1024);
    let _ = write!(
        body,
        r#"{{"schemas":["{LIST_RESPONSE_URN}"],"totalResults":{total},{place}"itemsPerPage":{},"Resources":["#,
        resources.len(),
    );
    let mut ends = Vec::with_capacity(resources.len());
    for (index, resource) in resources.enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&resource.body);
        ends.push(body.len() - 1);
    }
    body.push_str("]}");
    List { text: body, ends }
}

/// The members of the answer, each with a comma behind it. Cursors are of characters which need no escapes.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (next, previous) = match self {
            Place::Index(start) => return write!(f, r#""startIndex":{start},"#),
            Place::Cursor(Cursors { next, previous }) => (next, previous),
        };
        for (name, cursor) in [("nextCursor", next), ("previousCursor", previous)] {
            if let Some(cursor) = cursor {
                write!(f, r#""{name}":"{cursor}","#)?;
            }
        }
        Ok(())
    }
}

/// A time as answers show it: UTC, to the millisecond.
struct Millis(Timestamp);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        PRINTER.print_timestamp(&self.0, jiff::fmt::StdFmtWrite(f)).map_err(|_| std::fmt::Error)
    }
}
