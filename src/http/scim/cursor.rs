//! Cursors (RFC 9865): a place in a list which the client carries from page to page, so that no node has to remember it.
//!
//! A cursor is `base64url(place ‖ HMAC-SHA-256)`. The key is the realm's own; what is signed begins with the query, so a
//! cursor is good for that query in that realm alone, on every node. It is signed and not encrypted: it holds nothing which
//! its client may not read.

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    model::{listing::Listing, realm::CursorKey},
    scim::{
        error::{Error, Result},
        list::{Boundary, ListQuery, Page},
        schema::ResourceType,
    },
};

/// What tells one list from another: its types, its filter, its order, and what the schemas say of what it is sorted by,
/// since an operator may change that between two pages. A hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

/// What a cursor holds.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// When it was given out.
    at: Timestamp,
    /// Does the page lie before it?
    backwards: bool,
    /// `None` for the end of the list where the page begins.
    after: Option<Boundary>,
    total: i64,
}

/// The cursors of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursors {
    pub next: Option<String>,
    pub previous: Option<String>,
}

impl Fingerprint {
    pub fn of(types: &[&ResourceType], query: &ListQuery) -> Self {
        let names: Vec<&str> = types.iter().map(|resource_type| &*resource_type.name).collect();
        let sort = query.sort.as_ref().map(|sort| {
            let found = types.iter().map(|resource_type| resource_type.resolve(&sort.by));
            let attributes: Vec<_> = found.map(|found| found.map(|found| found.compared().leaf())).collect();
            serde_json::json!([sort.by.to_string(), sort.descending, attributes])
        });
        let query = serde_json::json!([names, query.filter, sort]).to_string();
        let mut hash = [0; digest::SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest::digest(&digest::SHA256, query.as_bytes()).as_ref());
        Self(hash)
    }
}

/// The cursors of the pages next to `page`, which held `listing`.
pub fn around(key: &CursorKey, list: Fingerprint, page: &Page, listing: &Listing, at: Timestamp) -> Cursors {
    let (first, last) = listing.ends.clone().unzip();
    let (near, far) = if page.backwards { (last, first) } else { (first, last) };
    let cursor = |backwards, after| seal(key, list, &Place { at, backwards, after, total: listing.total });
    // Where the page is empty, what lies behind it begins at that end of the list.
    let onwards = listing.more.then(|| cursor(page.backwards, far));
    let back = page.after.is_some().then(|| cursor(!page.backwards, near));
    let (next, previous) = if page.backwards { (back, onwards) } else { (onwards, back) };
    Cursors { next, previous }
}

/// The page of `limit` resources which a cursor leads to; without one, the first page. `invalidCursor` if the cursor
/// was not given out for this list, `expiredCursor` if that is longer ago than `life`.
pub fn page(
    key: &CursorKey,
    list: Fingerprint,
    cursor: Option<&str>,
    limit: i64,
    now: Timestamp,
    life: Duration,
) -> Result<Page> {
    let Some(cursor) = cursor else {
        return Ok(Page { offset: 0, limit, after: None, backwards: false, total: None });
    };
    let Place { at, backwards, after, total } = open(key, list, cursor).ok_or_else(|| {
        Error::invalid_cursor(
            "This is no cursor of this list: repeat it as it was answered, with the same filter and sorting, or begin \
             anew with an empty one",
        )
    })?;
    if now.duration_since(at) > SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX) {
        return Err(Error::expired_cursor(format!(
            "The cursor was given out more than {} s ago: begin anew with an empty one",
            life.as_secs()
        )));
    }
    Ok(Page { offset: 0, limit, after, backwards, total: Some(total) })
}

fn open(key: &CursorKey, list: Fingerprint, cursor: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (place, tag) = bytes.split_at_checked(bytes.len().checked_sub(digest::SHA256_OUTPUT_LEN)?)?;
    hmac::verify(&mac(key), &[&list.0, place].concat(), tag).ok()?;
    serde_json::from_slice(place).ok()
}

fn seal(key: &CursorKey, list: Fingerprint, place: &Place) -> String {
    // A place has text keys and no way to fail.
    let mut bytes = serde_json::to_vec(place).unwrap_or_default();
    let tag = hmac::sign(&mac(key), &[&list.0, bytes.as_slice()].concat());
    bytes.extend_from_slice(tag.as_ref());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn mac(key: &CursorKey) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())
}
