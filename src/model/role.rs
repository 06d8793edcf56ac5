//! Realm roles (Keycloak's word).

/// The role which every synced user carries (M071). It exists in each realm from its creation.
pub const SCIM_MANAGED: &str = "scim-managed";
