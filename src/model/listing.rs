//! A page of a list.

use uuid::Uuid;

use super::{group::Group, user::User};
use crate::scim::list::Boundary;

/// A resource of whichever type.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed {
    User(User),
    Group(Group),
}

/// What a page holds, and how the list goes on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    /// In the order of the list, whichever way it was read.
    pub resources: Vec<Listed>,
    /// The places of the first and of the last of them.
    pub ends: Option<(Boundary, Boundary)>,
    /// Does the list go on where it was read to? Read backwards, that is before the page.
    pub more: bool,
    /// How many resources match in all, as of the first page.
    pub total: i64,
}

impl Listing {
    /// The ids of the groups in it, in its order.
    pub fn groups(&self) -> Vec<Uuid> {
        let group = |listed: &Listed| match listed {
            Listed::Group(group) => Some(group.document.id),
            Listed::User(_) => None,
        };
        self.resources.iter().filter_map(group).collect()
    }
}
