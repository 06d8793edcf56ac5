//! Who changed what of a user, and when.

use http::StatusCode;

use super::{number, scope};
use crate::{
    http::{
        Edge,
        exchange::{Permitted, Reply, json},
        failure::{Failure, Result},
    },
    model::admin::Admin,
    provision::history,
};

pub(super) const QUERY: &[(&str, &str)] = &[
    ("before", "The `seq` of an entry: only what happened before it"),
    ("limit", "How many at most: 1 to 1000, 100 if it is not said"),
];

pub(super) async fn of_user(edge: Edge, call: Permitted<Admin>) -> Result<Reply> {
    let (before, limit) = (number(&call, "before", i64::MAX)?, number(&call, "limit", 100)?);
    if !(1..=1000).contains(&limit) {
        return Err(Failure::Invalid("`limit` is a number from 1 to 1000".into()));
    }
    let scope = scope(&edge, &call).await?;
    Ok(json(StatusCode::OK, &history::of_user(&edge.store, &scope, call.param("user"), before, limit).await?))
}
