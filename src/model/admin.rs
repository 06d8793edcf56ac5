//! Operators: who may use the admin API, and for what.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AdminId;

/// An operator of the `master` realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub id: AdminId,
    /// As it was given; the store compares it folded.
    pub username: String,
    /// A disabled operator cannot sign in, and tokens held already are refused.
    pub enabled: bool,
    pub rights: Rights,
}

/// What an operator may do in one realm, in Keycloak's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    ViewRealm,
    /// Includes `view-realm`.
    ManageRealm,
    ViewUsers,
    /// Includes `view-users`.
    ManageUsers,
    ViewEvents,
}

/// All that an operator may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Keycloak's realm role `admin` of `master`: everything, in every realm.
    pub admin: bool,
    /// Keycloak's realm role `create-realm` of `master`.
    pub create_realm: bool,
    /// By the name of the realm.
    pub realms: BTreeMap<String, BTreeSet<Right>>,
}

/// What a request needs its operator to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Somebody whom we know.
    Operator,
    CreateRealm,
    /// The realm role `admin`.
    Everything,
    /// Any right in the realm of the path.
    AnyRight,
    Right(Right),
}

impl Right {
    pub const ALL: [Self; 5] =
        [Self::ViewRealm, Self::ManageRealm, Self::ViewUsers, Self::ManageUsers, Self::ViewEvents];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ViewRealm => "view-realm",
            Self::ManageRealm => "manage-realm",
            Self::ViewUsers => "view-users",
            Self::ManageUsers => "manage-users",
            Self::ViewEvents => "view-events",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text)
    }

    /// The other right which is as good.
    const fn stronger(self) -> Option<Self> {
        match self {
            Self::ViewRealm => Some(Self::ManageRealm),
            Self::ViewUsers => Some(Self::ManageUsers),
            Self::ManageRealm | Self::ManageUsers | Self::ViewEvents => None,
        }
    }
}

impl From<Right> for Need {
    fn from(right: Right) -> Self {
        Need::Right(right)
    }
}

impl Rights {
    /// All that can be done.
    pub fn everything() -> Self {
        Self { admin: true, create_realm: true, realms: BTreeMap::new() }
    }

    /// Is `need` met, where the path names `realm`?
    pub fn meet(&self, need: Need, realm: Option<&str>) -> bool {
        let held = realm.and_then(|realm| self.realms.get(realm));
        self.admin
            || match need {
                Need::Operator => true,
                Need::CreateRealm => self.create_realm,
                Need::Everything => false,
                Need::AnyRight => held.is_some_and(|held| !held.is_empty()),
                Need::Right(right) => held.is_some_and(|held| {
                    held.contains(&right) || right.stronger().is_some_and(|stronger| held.contains(&stronger))
                }),
            }
    }
}

/// Argon2id hash of an operator's password, in PHC form. Does not print.
pub struct PasswordHash(String);

impl PasswordHash {
    pub fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(realm: &str, rights: &[Right]) -> Rights {
        let realms = [(realm.to_owned(), rights.iter().copied().collect())].into();
        Rights { realms, ..Rights::default() }
    }

    #[test]
    fn a_right_holds_in_its_realm_alone() {
        let rights = of("acme", &[Right::ViewUsers]);
        assert!(rights.meet(Right::ViewUsers.into(), Some("acme")));
        assert!(rights.meet(Need::AnyRight, Some("acme")) && rights.meet(Need::Operator, None));
        for (need, realm) in [
            (Right::ViewUsers.into(), Some("globex")),
            (Right::ViewUsers.into(), None),
            (Right::ManageUsers.into(), Some("acme")),
            (Right::ViewRealm.into(), Some("acme")),
            (Need::AnyRight, Some("globex")),
            (Need::CreateRealm, None),
            (Need::Everything, Some("acme")),
        ] {
            assert!(!rights.meet(need, realm), "{need:?} in {realm:?}");
        }
    }

    #[test]
    fn who_may_manage_may_look() {
        let rights = of("acme", &[Right::ManageUsers, Right::ManageRealm]);
        assert!(
            rights.meet(Right::ViewUsers.into(), Some("acme")) && rights.meet(Right::ViewRealm.into(), Some("acme"))
        );
        assert!(!rights.meet(Right::ViewEvents.into(), Some("acme")));
    }

    #[test]
    fn an_admin_may_everything() {
        assert!(Rights::everything().meet(Need::Everything, Some("acme")));
        assert!(Right::ALL.into_iter().all(|right| Right::parse(right.as_str()) == Some(right)));
    }
}
