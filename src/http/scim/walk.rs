//! Where pages ended. A client which walks a list by `startIndex` means "go on where I was", not "skip so many of
//! whoever is there by now": who leaves in between must hide nobody, who comes must repeat nobody (DESIGN 7).
//!
//! A hint and no more: on another node, or after a while, a page begins by counting.

use std::time::Duration;

use moka::future::Cache;

use super::cursor::Fingerprint;
use crate::{
    model::{Actor, RealmId, Scope, listing::Listing},
    scim::list::{Boundary, Page},
};

/// How long a client may take from one page to the next.
const PATIENCE: Duration = Duration::from_secs(600);
const MOST: u64 = 10_000;

/// The walks under way on this node. Cheap to clone.
#[derive(Clone)]
pub struct Walks {
    ends: Cache<Step, End>,
}

/// Whose walk, over what, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    realm: RealmId,
    actor: Actor,
    list: Fingerprint,
    offset: i64,
}

/// Where a page ended, and how many there were in all when the walk began.
#[derive(Debug, Clone)]
struct End {
    last: Boundary,
    total: i64,
}

impl Walks {
    #[expect(clippy::new_without_default, reason = "a cache is made once, on purpose")]
    pub fn new() -> Self {
        Self { ends: Cache::builder().max_capacity(MOST).time_to_live(PATIENCE).build() }
    }

    /// The page of `limit` resources behind `offset` others, from where the one before it ended.
    pub async fn resumed(&self, scope: &Scope, list: Fingerprint, offset: i64, limit: i64) -> Page {
        let end = match offset {
            0 => None,
            offset => self.ends.get(&step(scope, list, offset)).await,
        };
        let (after, total) = end.map(|end| (end.last, end.total)).unzip();
        Page { offset, limit, after, backwards: false, total }
    }

    /// Remembers where a page ended, if there is another one.
    pub async fn remember(&self, scope: &Scope, list: Fingerprint, page: &Page, listing: &Listing) {
        let Some((_, last)) = listing.ends.clone().filter(|_| listing.more) else { return };
        let count = i64::try_from(listing.resources.len()).unwrap_or(i64::MAX);
        let end = End { last, total: listing.total };
        self.ends.insert(step(scope, list, page.offset.saturating_add(count)), end).await;
    }
}

fn step(scope: &Scope, list: Fingerprint, offset: i64) -> Step {
    Step { realm: scope.realm.id, actor: scope.actor.clone(), list, offset }
}
