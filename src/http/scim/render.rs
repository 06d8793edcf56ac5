//! From a stored document to an answer: copied as text, rebuilt only where the client wants less than all of it.

use std::fmt::Write;

use http::{StatusCode, header};
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::{Map, Value};

use crate::{
    http::{
        Settings,
        exchange::{Permitted, Reply, SCIM_JSON, empty, reply, with_header},
        failure::Result,
    },
    model::{Scope, document::Document},
    provision::{self, etag},
    scim::{
        filter::{self, Filter},
        list::{LIST_RESPONSE_URN, ListQuery, Page, Projection},
        resource::Admission,
        schema::ResourceType,
    },
};

/// What a request asks for besides its verb.
#[derive(Debug)]
pub struct Asked {
    pub projection: Projection,
    pub filter: Option<Filter>,
    pub page: Page,
}

impl Asked {
    pub fn of(call: &Permitted<Scope>) -> Result<Self> {
        let projection = Projection::parse(call.query("attributes"), call.query("excludedAttributes"))?;
        Ok(Self { projection, filter: None, page: Page { offset: 0, limit: 1, after: None } })
    }

    pub fn for_list(call: &Permitted<Scope>, settings: &Settings) -> Result<Self> {
        let parameters = call.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = ListQuery::parse(parameters, settings.page_default, settings.page_max)?;
        let filter = query.filter.as_deref().map(|text| filter::parse(text, admission(call).dialect)).transpose()?;
        Ok(Self { projection: query.projection, filter, page: query.page })
    }
}

/// What the caller's realm lets in.
pub fn admission(call: &Permitted<Scope>) -> Admission {
    provision::admission(&call.caller().realm.policy)
}

/// A resource as it goes into an answer.
pub struct Rendered {
    pub body: String,
    pub location: String,
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
        if !asked.projection.is_default()
            && let Ok(mut map) = serde_json::from_str::<Map<String, Value>>(&body)
        {
            asked.projection.apply(resource_type, &mut map);
            body = Value::Object(map).to_string();
        }
        Self { body, location, etag }
    }

    pub fn reply(self, status: StatusCode) -> Reply {
        let reply = reply(status, SCIM_JSON, self.body);
        with_header(with_header(reply, header::ETAG, &self.etag), header::CONTENT_LOCATION, &self.location)
    }

    /// 304 if the client has this version already (RFC 7644 §3.14), else the resource.
    pub fn reply_unless_known(self, call: &Permitted<Scope>) -> Reply {
        let known = call.header(header::IF_NONE_MATCH).unwrap_or_default();
        if known.split(',').map(str::trim).any(|tag| tag == "*" || tag == self.etag) {
            return with_header(empty(StatusCode::NOT_MODIFIED), header::ETAG, &self.etag);
        }
        self.reply(StatusCode::OK)
    }
}

/// A ListResponse (RFC 7644 §3.4.2).
pub fn list(total: i64, page: Page, resources: impl ExactSizeIterator<Item = Rendered>) -> Reply {
    let mut body = String::with_capacity(128 + resources.len() * 1024);
    let _ = write!(
        body,
        r#"{{"schemas":["{LIST_RESPONSE_URN}"],"totalResults":{total},"startIndex":{},"itemsPerPage":{},"Resources":["#,
        page.offset + 1,
        resources.len(),
    );
    for (index, resource) in resources.enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(&resource.body);
    }
    body.push_str("]}");
    reply(StatusCode::OK, SCIM_JSON, body)
}

/// A time as answers show it: UTC, to the millisecond.
struct Millis(Timestamp);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        PRINTER.print_timestamp(&self.0, jiff::fmt::StdFmtWrite(f)).map_err(|_| std::fmt::Error)
    }
}
