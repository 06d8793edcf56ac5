//! Where pages ended. A client which walks a list by `startIndex` means "go on where I was", not "skip so many of
//! whoever is there by now": who leaves in between must hide nobody, who comes must repeat nobody (DESIGN 7).
//!
//! A hint and no more: on another node, or after a while, a page begins by counting.

use std::time::Duration;

use moka::future::Cache;
use uuid::Uuid;

use crate::{
    http::exchange::Permitted,
    model::{Actor, RealmId, Scope},
    scim::list::Page,
};

/// How long a client may take from one page to the next.
const PATIENCE: Duration = Duration::from_secs(600);
const MOST: u64 = 10_000;

/// The walks under way on this node. Cheap to clone.
#[derive(Clone)]
pub struct Walks {
    ends: Cache<Step, Uuid>,
}

/// Whose walk, over what, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    realm: RealmId,
    actor: Actor,
    list: &'static str,
    filter: Option<String>,
    offset: i64,
}

impl Walks {
    #[expect(clippy::new_without_default, reason = "a cache is made once, on purpose")]
    pub fn new() -> Self {
        Self { ends: Cache::builder().max_capacity(MOST).time_to_live(PATIENCE).build() }
    }

    /// The page, from where the one before it ended.
    pub async fn resumed(&self, call: &Permitted<Scope>, list: &'static str, page: Page) -> Page {
        match page.offset {
            0 => page,
            offset => Page { after: self.ends.get(&step(call, list, offset)).await, ..page },
        }
    }

    /// Remembers the last id of a page with `count` resources.
    pub async fn remember(&self, call: &Permitted<Scope>, list: &'static str, page: Page, count: usize, last: Uuid) {
        let offset = page.offset.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        self.ends.insert(step(call, list, offset), last).await;
    }
}

fn step(call: &Permitted<Scope>, list: &'static str, offset: i64) -> Step {
    let scope = call.caller();
    let filter = call.query("filter").map(str::to_owned);
    Step { realm: scope.realm.id, actor: scope.actor.clone(), list, filter, offset }
}
