//! Operators: who may use the admin API, and for what.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use uuid::{Builder, Uuid};

use super::{Actor, AdminId, RealmId, realm::MASTER};

const MAX_USERNAME_CHARS: usize = 255;

/// An operator of the `master` realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub id: AdminId,
    /// As it was given; the store compares it folded.
    pub username: String,
    /// Of a service account alone: how its client names itself (RFC 6749 §2.2).
    pub client_id: Option<String>,
    /// A disabled operator cannot sign in, and tokens held already are refused.
    pub enabled: bool,
    /// Known by a token of another issuer alone, and kept nowhere.
    pub external: bool,
    pub created_at: Timestamp,
    pub rights: Rights,
}

impl Admin {
    /// As the cause of changes.
    pub fn actor(&self) -> Actor {
        if self.external { Actor::ExternalAdmin(self.username.clone()) } else { Actor::Admin(self.id) }
    }
}

/// An operator's name, for people to read and folded to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

/// Why a text is no operator's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a username has 1 to {MAX_USERNAME_CHARS} characters, none of them a control character")]
pub struct InvalidUsername;

impl Username {
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        let is_possible = (1..=MAX_USERNAME_CHARS).contains(&text.chars().take(MAX_USERNAME_CHARS + 1).count())
            && !text.chars().any(char::is_control);
        if is_possible { Ok(Self { text: text.to_owned(), key: folded(text) }) } else { Err(InvalidUsername) }
    }

    /// Keycloak's name for the service account of a client.
    pub fn of_client(client_id: &str) -> Result<Self, InvalidUsername> {
        Self::parse(&format!("service-account-{client_id}"))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form in which it is unique and looked up.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Upper and lower case and compatibility forms count as the same.
pub fn folded(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

/// The id of a role which is no row: made of the realm and the name, so that it stays the same.
pub fn role_id(realm: RealmId, name: &str) -> Uuid {
    let digest = digest::digest(&digest::SHA256, format!("{realm}/{name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// A role of the realm `master`, beside the rights in realms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MasterRole {
    /// Everything, in every realm.
    Admin,
    /// Creates realms, and gets all rights in those.
    CreateRealm,
}

impl MasterRole {
    pub const ALL: [Self; 2] = [Self::Admin, Self::CreateRealm];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::CreateRealm => "create-realm",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
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
    /// From the names of realms, each with the name of a role in it.
    pub fn of(held: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut rights = Self::default();
        for (realm, role) in held {
            // A word of a later version allows nothing here. Nor does a right in `master`: whoever could change its
            // clients could do everything.
            if realm == MASTER {
                match MasterRole::parse(&role) {
                    Some(MasterRole::Admin) => rights.admin = true,
                    Some(MasterRole::CreateRealm) => rights.create_realm = true,
                    None => {}
                }
            } else if let Some(right) = Right::parse(&role) {
                rights.realms.entry(realm).or_default().insert(right);
            }
        }
        rights
    }

    /// The roles of `master` which are held.
    pub fn master_roles(&self) -> impl Iterator<Item = MasterRole> {
        let held = [(self.admin, MasterRole::Admin), (self.create_realm, MasterRole::CreateRealm)];
        held.into_iter().filter_map(|(is_held, role)| is_held.then_some(role))
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
    fn rights_are_read_from_realms_and_roles() {
        let held = |realm: &str, role: &str| (realm.to_owned(), role.to_owned());
        let nothing = [held("acme", "no-such"), held("acme", "create-realm"), held("master", "manage-realm")];
        let rights =
            Rights::of(nothing.into_iter().chain([held("acme", "view-users"), held("master", "create-realm")]));
        assert_eq!(rights, Rights { create_realm: true, ..of("acme", &[Right::ViewUsers]) });
        assert_eq!(rights.master_roles().collect::<Vec<_>>(), [MasterRole::CreateRealm]);
        assert_eq!(Rights::of([held("acme", "admin")]), Rights::default(), "the role of another realm");
    }

    #[test]
    fn usernames_ignore_case_and_compatibility_forms() {
        let key = |text: &str| Username::parse(text).unwrap().key().to_owned();
        assert_eq!(key("Admin"), key("ADMIN"));
        assert_eq!(key("ａｄｍｉｎ"), key("admin"));
        assert_eq!(key("Zoe\u{308}"), key("zoë"));
        assert_ne!(key("admin"), key("admin "));
    }

    #[test]
    fn some_names_nobody_can_have() {
        for name in ["", "a\0b", "a\nb", &"x".repeat(256)] {
            assert_eq!(Username::parse(name), Err(InvalidUsername), "{name:?}");
        }
        assert!(Username::parse(&"ß".repeat(255)).is_ok());
    }

    #[test]
    fn an_admin_may_everything() {
        let everything = Rights { admin: true, ..Rights::default() };
        assert!(everything.meet(Need::Everything, Some("acme")) && everything.meet(Need::CreateRealm, None));
        assert!(Right::ALL.into_iter().all(|right| Right::parse(right.as_str()) == Some(right)));
    }
}
