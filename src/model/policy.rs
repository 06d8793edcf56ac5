//! The sync policy: what a realm makes of what its IdP sends.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scim::{lenient::Dialect, resource::UnknownAttributes};

/// A realm's rules. Every key has a default, so an empty object is a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub unknown_attributes: UnknownAttributes,
    pub display_name: DisplayName,
    pub initial_state: InitialState,
    pub on_delete: OnDelete,
    pub group_names: GroupNames,
    /// When the IdP changes the work e-mail of a user whose `userName` was that e-mail, `userName` follows (M064).
    pub user_name_follows_email: bool,
    pub unknown_members: UnknownMembers,
    pub dialect: Dialect,
}

/// Whose the application's display name is after creation (M065, X3). SCIM always answers what the IdP sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DisplayName {
    /// Set at creation, then the user's own.
    #[default]
    Once,
    /// Follows the IdP.
    Always,
}

/// State of a user whom the IdP just created (M057).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialState {
    #[default]
    Shadow,
    Active,
}

/// What DELETE leaves behind (M053, X6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// 404 afterwards, the userName is free again, the last state is kept.
    #[default]
    Tombstone,
    /// Nothing is kept.
    Purge,
}

/// May two groups of a realm share a `displayName`? (M082)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupNames {
    /// The second one is 409 `uniqueness`, compared without regard to case.
    #[default]
    Unique,
    Any,
}

/// What becomes of a member whom the realm does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMembers {
    /// 400, the answer names it, nothing is applied.
    #[default]
    Reject,
    /// Kept aside until the user arrives under that `id` or `externalId`, who then joins the group. The `externalId` of
    /// a user who is there is as good as the `id`, if no other user has the same. Who is kept aside when the policy goes
    /// back to `reject` stays so: no user joins under `reject`.
    Pending,
}
