//! In which media type the client wants its answer (RFC 7644 §3.8): `application/scim+json`, or `application/json` where
//! the client prefers that. Below `authenticate`, so that a stranger learns nothing by it; errors are always SCIM's own.

use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, header};
use tower::{Layer, Service};

use crate::{
    http::{
        exchange::{JSON, Reply, SCIM_JSON},
        failure::Failure,
        route::{Answer, Bound},
    },
    model::Scope,
};

pub fn layer<S>() -> impl Layer<S, Service = Negotiate<S>> + Clone {
    tower::layer::layer_fn(|inner| Negotiate { inner })
}

#[derive(Clone)]
pub struct Negotiate<S> {
    inner: S,
}

impl<S> Service<Bound<Scope>> for Negotiate<S>
where
    S: Service<Bound<Scope>, Response = Reply, Error = Failure, Future = Answer>,
{
    type Response = Reply;
    type Error = Failure;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, bound: Bound<Scope>) -> Self::Future {
        match preferred(&bound.call.headers) {
            None => Box::pin(std::future::ready(Err(Failure::NotAcceptable))),
            // What the handlers answer in anyway.
            Some(media_type) if media_type == SCIM_JSON => self.inner.call(bound),
            Some(media_type) => {
                let answer = self.inner.call(bound);
                Box::pin(async move {
                    let mut reply = answer.await?;
                    if reply.headers().contains_key(header::CONTENT_TYPE) {
                        reply.headers_mut().insert(header::CONTENT_TYPE, media_type);
                    }
                    Ok(reply)
                })
            }
        }
    }
}

/// The media type which the client likes best, SCIM's own if it is as good as the other; `None` if it takes neither.
fn preferred(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range> =
        values.flat_map(|value| value.split(',')).filter(|range| !range.trim().is_empty()).map(Range::parse).collect();
    if ranges.is_empty() {
        return Some(SCIM_JSON);
    }
    let (scim, json) = (quality(&ranges, "scim+json"), quality(&ranges, "json"));
    if scim > 0.0 && scim >= json { Some(SCIM_JSON) } else { (json > 0.0).then_some(JSON) }
}

/// A range of media types and how welcome it is (RFC 9110 §12.5.1).
struct Range<'a> {
    name: &'a str,
    quality: f32,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Self { name, quality: quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)) }
    }
}

/// How welcome `application/{subtype}` is: the range that names it most closely says so.
fn quality(ranges: &[Range], subtype: &str) -> f32 {
    let exact = format!("application/{subtype}");
    // Old clients write `*` for `*/*`.
    let levels = [&[exact.as_str()][..], &["application/*"], &["*/*", "*"]];
    let named = |names: &[&str]| {
        let matching = ranges.iter().filter(|range| names.iter().any(|name| range.name.eq_ignore_ascii_case(name)));
        matching.map(|range| range.quality).reduce(f32::max)
    };
    levels.into_iter().find_map(named).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred_of(accept: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        preferred(&headers).map_or("none".into(), |media_type| media_type.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        let (scim, json) = ("application/scim+json", "application/json");
        assert_eq!(preferred(&HeaderMap::new()), Some(SCIM_JSON));
        for (accept, expected) in [
            ("application/scim+json", scim),
            ("application/json", json),
            ("application/json, application/scim+json", scim),
            ("application/json, */*;q=0.5", json),
            ("application/scim+json;q=0.5, application/json;q=0.9", json),
            ("*/*", scim),
            ("text/html, image/gif, *; q=.2, */*; q=.2", scim),
            ("APPLICATION/*", scim),
            ("application/json; charset=utf-8", json),
            ("*/*, application/scim+json;q=0", json),
            ("text/html", "none"),
            ("application/scim+json;q=0", "none"),
            ("", scim),
        ] {
            assert_eq!(preferred_of(accept), expected, "{accept}");
        }
    }
}
