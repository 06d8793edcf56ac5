//! A transaction in a realm. The tenant is where one stands, not a parameter that a statement could forget.

use std::{mem, pin::pin};

use deadpool_postgres::Object;
use futures_util::{FutureExt, TryStreamExt, future::OptionFuture};
use tokio::{join, sync::OwnedSemaphorePermit};
use tokio_postgres::{
    Row, RowStream,
    types::{ToSql, Type},
};

use super::{
    Store,
    error::{Error, Result},
};
use crate::model::RealmId;

const ENTER: &str = "SELECT enter($1, $2)";

/// A statement that runs once is planned for its values: only they tell whether `meta.lastModified gt` finds few.
const PLAN_FOR_VALUES: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = on";

/// A transaction which stands in one realm at one epoch.
///
/// Statements travel in flights: `BEGIN` and `enter` go out together with the first statement, `COMMIT` together with
/// the last, so a verb of one statement costs one round trip. If `enter` fails, the transaction is aborted before
/// the statement behind it runs. Dropped before its end, a transaction is rolled back; a statement after its end begins
/// the next one.
pub struct RealmTx {
    client: Option<Object>,
    /// Given back after the connection is.
    _share: OwnedSemaphorePermit,
    store: Store,
    realm: RealmId,
    epoch: i64,
    state: State,
    /// Has it written to the outbox?
    tells: bool,
}

/// A statement and its parameters from `$2` on.
#[derive(Clone, Copy)]
pub(super) enum Statement<'a> {
    /// Prepared once per connection: the text is one of ours.
    Kept(&'a str, &'a [&'a (dyn ToSql + Sync)]),
    /// Prepared for this time only: what the client asks for decides the text.
    Once(&'a str, &'a [(&'a (dyn ToSql + Sync), Type)]),
}

/// The rows of a statement.
#[derive(Default)]
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Were there further ones, for which there was no room?
    pub cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing has been sent, or all is done.
    Ended,
}

impl RealmTx {
    pub(super) fn new(client: Object, share: OwnedSemaphorePermit, store: Store, realm: RealmId, epoch: i64) -> Self {
        Self { client: Some(client), _share: share, store, realm, epoch, state: State::Ended, tells: false }
    }

    /// Runs a statement whose `$1` is the realm and whose `$2`… are `params`.
    pub(super) async fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        Ok(self.flight(Some(Statement::Kept(sql, params)), usize::MAX, false).await?.rows)
    }

    /// Like [`RealmTx::query`], for the last statement: what it did is committed when this returns.
    pub(super) async fn finish(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        Ok(self.finish_within(Statement::Kept(sql, params), usize::MAX).await?.rows)
    }

    /// Runs the last statement, and takes no more of its rows than fit into `room` bytes, but one if there is any.
    pub(super) async fn finish_within(&mut self, statement: Statement<'_>, room: usize) -> Result<Rows> {
        self.flight(Some(statement), room, true).await
    }

    /// Commits, unless the last statement has already done so.
    pub async fn commit(mut self) -> Result<()> {
        if self.state == State::Open {
            self.flight(None, 0, true).await?;
        }
        Ok(())
    }

    /// Takes back what has not been committed. The next statement begins anew.
    pub async fn rollback(&mut self) -> Result<()> {
        if self.client.is_none() || self.state != State::Open {
            return Ok(());
        }
        (self.state, self.tells) = (State::Ended, false);
        self.command("ROLLBACK").await
    }

    /// Marks a place to which [`RealmTx::back`] leads: a statement that fails behind it spoils nothing before it.
    pub async fn mark(&mut self) -> Result<()> {
        if self.state != State::Open {
            self.query("SELECT FROM realms WHERE id = $1", &[]).await?;
        }
        self.command("SAVEPOINT mark").await
    }

    /// Keeps what was done since the mark.
    pub async fn on(&mut self) -> Result<()> {
        self.command("RELEASE mark").await
    }

    /// Takes back what was done since the mark.
    pub async fn back(&mut self) -> Result<()> {
        self.command("ROLLBACK TO mark; RELEASE mark").await
    }

    async fn command(&mut self, sql: &str) -> Result<()> {
        let Some(client) = &self.client else {
            return Err(Error::Unavailable("the transaction has lost its connection".into()));
        };
        match self.store.bounded(client.batch_execute(sql)).await {
            Ok(outcome) => Ok(outcome?),
            Err(away) => {
                self.client.take().map(Object::take).map(drop).unwrap_or_default();
                Err(away)
            }
        }
    }

    /// Is the realm still at the epoch under which the caller was let in?
    pub async fn check(mut self) -> Result<()> {
        self.flight(None, 0, true).await.map(|_| ())
    }

    async fn flight(&mut self, statement: Option<Statement<'_>>, room: usize, last: bool) -> Result<Rows> {
        let Some(client) = &self.client else {
            return Err(Error::Unavailable("the transaction has lost its connection".into()));
        };
        // Whatever writes to the outbox says so in its text. That a statement may have found nothing to tell costs one
        // look at an empty outbox.
        self.tells |= matches!(statement, Some(Statement::Kept(sql, _)) if sql.contains("INTO outbox"));
        let (realm, epoch, state) = (self.realm.0, self.epoch, &mut self.state);
        let flight = async {
            let first = *state != State::Open;
            let enter = if first { Some(client.prepare_cached(ENTER).await?) } else { None };
            let prepared = match statement {
                Some(Statement::Kept(sql, _)) => Some(client.prepare_cached(sql).await?),
                Some(Statement::Once(..)) | None => None,
            };
            let place: [&(dyn ToSql + Sync); 2] = [&realm, &epoch];
            let run = async {
                let answer = match (statement, &prepared) {
                    (Some(Statement::Kept(_, params)), Some(prepared)) => {
                        let bound: Vec<_> = std::iter::once(place[0]).chain(params.iter().copied()).collect();
                        client.query_raw(prepared, bound).await?
                    }
                    (Some(Statement::Once(sql, params)), _) => {
                        let bound = std::iter::once((place[0], Type::UUID)).chain(params.iter().cloned());
                        client.query_typed_raw(sql, bound).await?
                    }
                    (Some(Statement::Kept(..)) | None, _) => return Ok(Rows::default()),
                };
                within(answer, room).await
            };
            *state = if last { State::Ended } else { State::Open };
            // Each future queues its message when it is first polled, so `join!` sends them in this order.
            let once = matches!(statement, Some(Statement::Once(..)));
            let (begun, entered, planned, rows, ended) = join!(
                OptionFuture::from(first.then(|| client.batch_execute("BEGIN"))),
                OptionFuture::from(enter.as_ref().map(|enter| client.query(enter, &place))),
                OptionFuture::from(once.then(|| client.batch_execute(PLAN_FOR_VALUES))),
                run,
                OptionFuture::from(last.then(|| client.batch_execute("COMMIT"))),
            );
            begun.transpose()?;
            entered.transpose()?;
            planned.transpose()?;
            let rows = rows?;
            ended.transpose()?;
            Ok(rows)
        };
        let outcome = self.store.bounded(flight).await;
        if last && mem::take(&mut self.tells) {
            // Also if it is not known whether it was committed.
            self.store.written().note(self.realm);
        }
        match outcome {
            Ok(outcome) => outcome,
            Err(away) => {
                self.client.take().map(Object::take).map(drop).unwrap_or_default();
                Err(away)
            }
        }
    }
}

/// Collects rows for as long as there is room; the driver drops what comes after.
async fn within(answer: RowStream, room: usize) -> Result<Rows, tokio_postgres::Error> {
    let mut answer = pin!(answer);
    let (mut found, mut bytes) = (Rows::default(), 0);
    while let Some(row) = answer.try_next().await? {
        bytes += row.raw_size_bytes();
        if bytes > room && !found.rows.is_empty() {
            found.cut = true;
            break;
        }
        found.rows.push(row);
    }
    Ok(found)
}

impl Drop for RealmTx {
    fn drop(&mut self) {
        if let (State::Open, Some(client)) = (self.state, &self.client) {
            // Polled once, it queues the message ahead of whoever uses the connection next.
            let _ = client.batch_execute("ROLLBACK").now_or_never();
        }
    }
}
