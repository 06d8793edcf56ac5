//! Realm roles (Keycloak's word): who has them, and why.
//!
//! Nobody's effective roles are kept anywhere: they follow from memberships and mappings at each moment, so that who
//! leaves a group loses its roles in the same transaction.

use jiff::Timestamp;
use uuid::Uuid;

use super::{Actor, GroupId, RoleId, UserId};

/// The role which every synced user carries (M071). It exists in each realm from its creation.
pub const SCIM_MANAGED: &str = "scim-managed";

/// A role of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    pub description: Option<String>,
}

/// A role's name: 1 to 255 characters, none of which has a meaning in a path or cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleName(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role's name has 1 to 255 characters, no blank at either end, and none of `/`, `\\` and control characters")]
pub struct InvalidRoleName;

impl RoleName {
    pub fn parse(text: &str) -> Result<Self, InvalidRoleName> {
        let bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
        let sound = !matches!(text, "" | "." | "..")
            && text.trim() == text
            && text.chars().count() <= 255
            && !text.contains(bad);
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidRoleName) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What roles are mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    User(UserId),
    Group(GroupId),
}

impl Holder {
    pub const fn id(self) -> Uuid {
        match self {
            Holder::User(UserId(id)) | Holder::Group(GroupId(id)) => id,
        }
    }
}

/// Whose request brought a mapping or a membership about, and when. Older ones know only when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub since: Timestamp,
    pub actor: Option<Actor>,
    pub request_id: Option<String>,
}

/// A group by which a user comes to a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub group: GroupId,
    pub name: String,
    /// The membership in it: of the user, or of the group before it.
    pub membership: Source,
}

/// A mapping which gives a user a role, and the groups which lead from the user to it: none if it is the user's own, else
/// the last of them carries the mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub mapping: Source,
    pub way: Vec<Step>,
}

/// Memberships above a user: who is in which group. `inner` is the group which is a member, `None` for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub inner: Option<GroupId>,
    pub step: Step,
}

/// Why a user has a role, or has it not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub role: Role,
    /// None if the user does not have it.
    pub reasons: Vec<Reason>,
    /// The groups which carry the role, the first of them by name, whoever is in them.
    pub carriers: Vec<(GroupId, String)>,
}

/// The shortest way up from the user to each group, by the memberships above the user.
pub fn way_to(group: GroupId, memberships: &[Membership]) -> Vec<Step> {
    // Level by level from the user, so the first way to a group is a shortest one.
    let mut ways: Vec<Vec<&Membership>> = Vec::new();
    let mut level: Vec<Vec<&Membership>> =
        memberships.iter().filter(|above| above.inner.is_none()).map(|above| vec![above]).collect();
    while !level.is_empty() {
        let is_known = |ways: &[Vec<&Membership>], id| ways.iter().any(|way| end(way) == Some(id));
        let mut fresh: Vec<Vec<&Membership>> = Vec::new();
        for way in level {
            if end(&way).is_some_and(|id| !is_known(&ways, id) && !is_known(&fresh, id)) {
                fresh.push(way);
            }
        }
        if let Some(way) = fresh.iter().find(|way| end(way) == Some(group)) {
            return way.iter().map(|membership| membership.step.clone()).collect();
        }
        level = Vec::new();
        for way in &fresh {
            let above = memberships.iter().filter(|above| above.inner.is_some() && above.inner == end(way));
            level.extend(above.map(|above| way.iter().copied().chain([above]).collect::<Vec<_>>()));
        }
        ways.extend(fresh);
    }
    Vec::new()
}

fn end(way: &[&Membership]) -> Option<GroupId> {
    way.last().map(|membership| membership.step.group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(inner: Option<u128>, group: u128) -> Membership {
        let source = Source { since: Timestamp::UNIX_EPOCH, actor: None, request_id: None };
        let step = Step { group: id(group), name: group.to_string(), membership: source };
        Membership { inner: inner.map(id), step }
    }

    fn id(number: u128) -> GroupId {
        GroupId(Uuid::from_u128(number))
    }

    #[test]
    fn the_shortest_way_up_is_found() {
        let above = [
            membership(None, 1),
            membership(None, 2),
            membership(Some(1), 3),
            membership(Some(3), 4),
            membership(Some(2), 4),
            membership(Some(4), 5),
        ];
        let way = |group| way_to(id(group), &above).into_iter().map(|step| step.name).collect::<Vec<_>>().join(" ");
        assert_eq!((way(1), way(4), way(5)), ("1".into(), "2 4".into(), "2 4 5".into()));
        assert_eq!(way(6), "");
    }

    #[test]
    fn a_role_has_a_name_which_a_path_can_hold() {
        for good in ["admin", "a b", "Größe", "read:write", "100%", "a?b#c"] {
            assert!(RoleName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "a/b", "a\\b", "a\nb", ".", "..", &"x".repeat(256)] {
            assert!(RoleName::parse(bad).is_err(), "{bad}");
        }
    }
}
