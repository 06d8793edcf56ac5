//! Realm roles: what there is, what they are mapped to, who has them and why (DESIGN 11).

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Error, Result, named_id,
    people::{self, Page},
    transaction,
};
use crate::{
    model::{
        RoleId, Scope,
        audit::Action,
        document::Document,
        role::{Access, Holder, Reason, Role, RoleName, SCIM_MANAGED, way_to},
        user::User,
    },
    store::{self, Store, audit, outbox::Origin, people as stored, roles, tx::RealmTx},
};

/// Groups which an explanation names beside the reasons.
const CARRIERS: i64 = 20;

/// How a client names a role: by id, by name, or by both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: Option<String>,
    pub name: Option<String>,
}

/// Roles by name; `search` is a part of it.
pub async fn list(store: &Store, scope: &Scope, search: Option<&str>, page: Page) -> Result<Vec<Role>> {
    let stretch = page.stretch()?;
    Page::whole(Some(roles::list(store.begin(scope).await?, search, stretch).await?))
}

pub async fn get(store: &Store, scope: &Scope, name: &str) -> Result<Role> {
    let mut tx = store.begin(scope).await?;
    let role = roles::find_by_name(&mut tx, name).await?;
    tx.commit().await?;
    role.ok_or_else(not_found)
}

pub async fn get_by_id(store: &Store, scope: &Scope, id: &str) -> Result<Role> {
    let mut tx = store.begin(scope).await?;
    let role = roles::find(&mut tx, named_id(id).map(RoleId).ok_or_else(not_found)?).await?;
    tx.commit().await?;
    role.ok_or_else(not_found)
}

pub async fn create(store: &Store, scope: &Scope, name: &str, description: Option<&str>) -> Result<Role> {
    let (id, parsed) = (RoleId(Uuid::now_v7()), &parse(name)?);
    if name.eq_ignore_ascii_case(SCIM_MANAGED) {
        return Err(Error::Conflict(format!("Role with name {name} already exists")));
    }
    let description = description.filter(|text| !text.is_empty());
    transaction(store, scope, |mut tx| async move {
        roles::insert(&mut tx, id, parsed, description, &Origin::of(scope)).await.map_err(|e| taken(e, name))?;
        let role = Role { id, name: name.to_owned(), description: description.map(str::to_owned) };
        audit::append(&mut tx, scope, Action { word: "role.create", target: name }, None, Some(&shown(&role))).await?;
        tx.commit().await?;
        Ok(role)
    })
    .await
}

/// Renames the role or describes it anew. `None` leaves as it is; the empty text takes the description away.
pub async fn update(
    store: &Store,
    scope: &Scope,
    name: &str,
    new_name: Option<&str>,
    description: Option<&str>,
) -> Result<()> {
    let new_name = new_name.unwrap_or(name);
    parse(new_name)?;
    transaction(store, scope, |mut tx| async move {
        let before = roles::find_by_name(&mut tx, name).await?.ok_or_else(not_found)?;
        if new_name != name {
            unreserved(&before)?;
        }
        let mut after = Role { name: new_name.to_owned(), ..before.clone() };
        if let Some(text) = description {
            after.description = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
        if before != after {
            roles::update(&mut tx, &after, &Origin::of(scope)).await.map_err(|e| taken(e, new_name))?;
            let action = Action { word: "role.update", target: name };
            audit::append(&mut tx, scope, action, Some(&shown(&before)), Some(&shown(&after))).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// Deletes the role with its mappings: whoever had it has it no longer when this returns.
pub async fn delete(store: &Store, scope: &Scope, name: &str) -> Result<()> {
    transaction(store, scope, |mut tx| async move {
        let role = roles::find_by_name(&mut tx, name).await?.ok_or_else(not_found)?;
        unreserved(&role)?;
        roles::delete(&mut tx, role.id, &Origin::of(scope)).await?;
        let action = Action { word: "role.delete", target: name };
        audit::append(&mut tx, scope, action, Some(&shown(&role)), None).await?;
        Ok(tx.commit().await?)
    })
    .await
}

/// The roles which are mapped to the holder itself.
pub async fn of(store: &Store, scope: &Scope, holder: Holder) -> Result<Vec<Role>> {
    known(store, scope, holder).await?;
    Ok(roles::of(store.begin(scope).await?, holder).await?)
}

/// The roles which could be mapped to the holder: all that are not, and can be by hand.
pub async fn available(store: &Store, scope: &Scope, holder: Holder) -> Result<Vec<Role>> {
    let mapped = of(store, scope, holder).await?;
    let mut available = list(store, scope, None, Page { first: 0, max: None }).await?;
    available.retain(|role| role.name != SCIM_MANAGED && !mapped.contains(role));
    Ok(available)
}

/// The roles which the holder has, by itself or by a group which holds it, however deep.
pub async fn effective(store: &Store, scope: &Scope, holder: Holder) -> Result<Vec<Role>> {
    known(store, scope, holder).await?;
    let tx = store.begin(scope).await?;
    Ok(match holder {
        Holder::User(id) => roles::effective(tx, id).await?,
        Holder::Group(id) => roles::effective_of_group(tx, id).await?,
    })
}

/// Maps roles to the holder, all of them or none. What it has already is no mistake.
pub async fn map(store: &Store, scope: &Scope, holder: Holder, named: &[Named]) -> Result<()> {
    change(store, scope, holder, named, true).await
}

/// Takes roles from the holder, all of them or none. What it has not is no mistake.
pub async fn unmap(store: &Store, scope: &Scope, holder: Holder, named: &[Named]) -> Result<()> {
    change(store, scope, holder, named, false).await
}

/// The users to whom the role is mapped directly.
pub async fn users(store: &Store, scope: &Scope, name: &str, page: Page) -> Result<Vec<User>> {
    let (role, stretch) = (get(store, scope, name).await?, page.stretch()?);
    Page::whole(stored::users_of_role(store.begin(scope).await?, role.id.0, stretch).await?)
}

/// The groups to which the role is mapped.
pub async fn groups(store: &Store, scope: &Scope, name: &str, page: Page) -> Result<Vec<Document>> {
    let (role, stretch) = (get(store, scope, name).await?, page.stretch()?);
    Page::whole(stored::groups_of_role(store.begin(scope).await?, role.id.0, stretch).await?)
}

/// Why the user has the role: each mapping which gives it, and the groups that lead there; or why not.
pub async fn access(store: &Store, scope: &Scope, id: &str, name: &str) -> Result<(User, Access)> {
    let user = people::users::parse(id)?;
    transaction(store, scope, |mut tx| async move {
        let holder = stored::user(&mut tx, user).await?.ok_or_else(people::users::not_found)?;
        let role = roles::find_by_name(&mut tx, name).await?.ok_or_else(not_found)?;
        let own = roles::mapping(&mut tx, user, role.id).await?;
        let above = roles::memberships(&mut tx, user).await?;
        let ids: Vec<Uuid> = above.iter().map(|membership| membership.step.group.0).collect();
        let by_groups = roles::carriers_among(&mut tx, role.id, &ids).await?;
        let carriers = roles::carriers(&mut tx, role.id, CARRIERS).await?;
        tx.commit().await?;
        let own = own.map(|mapping| Reason { mapping, way: Vec::new() });
        let by_groups = by_groups.into_iter().map(|(group, mapping)| Reason { mapping, way: way_to(group, &above) });
        let reasons = own.into_iter().chain(by_groups).collect();
        Ok((holder, Access { role, reasons, carriers }))
    })
    .await
}

/// The user of that id, which may be any text.
pub fn user_named(id: &str) -> Result<Holder> {
    people::users::parse(id).map(Holder::User)
}

/// The group of that id, which may be any text.
pub fn group_named(id: &str) -> Result<Holder> {
    people::groups::parse(id).map(Holder::Group)
}

async fn change(store: &Store, scope: &Scope, holder: Holder, named: &[Named], maps: bool) -> Result<()> {
    transaction(store, scope, |mut tx| async move {
        if !stored::is_there(&mut tx, holder).await? {
            return Err(missing(holder));
        }
        let mut wanted: Vec<Role> = Vec::new();
        for named in named {
            let role = resolved(&mut tx, named).await?;
            unreserved(&role)?;
            wanted.push(role);
        }
        let ids: Vec<Uuid> = wanted.iter().map(|role| role.id.0).collect();
        let changed = if maps {
            roles::map(&mut tx, holder, &ids, &Origin::of(scope)).await?
        } else {
            roles::unmap(&mut tx, holder, &ids, &Origin::of(scope)).await?
        };
        wanted.retain(|role| changed.contains(&role.id.0));
        if !wanted.is_empty() {
            let names: Vec<&str> = wanted.iter().map(|role| role.name.as_str()).collect();
            let kind = match holder {
                Holder::User(_) => "user",
                Holder::Group(_) => "group",
            };
            let told = json!({ "kind": kind, "roles": names });
            let (word, before, after) =
                if maps { ("role.map", None, Some(&told)) } else { ("role.unmap", Some(&told), None) };
            audit::append(&mut tx, scope, Action { word, target: &holder.id().to_string() }, before, after).await?;
        }
        Ok(tx.commit().await?)
    })
    .await
}

/// The role which a client names. Where it names it twice, both must mean the same.
async fn resolved(tx: &mut RealmTx, named: &Named) -> Result<Role> {
    let found = match (named.id.as_deref(), named.name.as_deref()) {
        (Some(id), _) => roles::find(tx, named_id(id).map(RoleId).ok_or_else(not_found)?).await?,
        (None, Some(name)) => roles::find_by_name(tx, name).await?,
        (None, None) => return Err(Error::Invalid("name each role by its `id` or its `name`".into())),
    };
    found.filter(|role| named.name.as_ref().is_none_or(|name| *name == role.name)).ok_or_else(not_found)
}

async fn known(store: &Store, scope: &Scope, holder: Holder) -> Result<()> {
    let mut tx = store.begin(scope).await?;
    let is_there = stored::is_there(&mut tx, holder).await?;
    tx.commit().await?;
    if is_there { Ok(()) } else { Err(missing(holder)) }
}

fn missing(holder: Holder) -> Error {
    match holder {
        Holder::User(_) => people::users::not_found(),
        Holder::Group(_) => people::groups::not_found(),
    }
}

/// Refuses what would make `scim-managed` say something else than who is kept in step over SCIM.
fn unreserved(role: &Role) -> Result<()> {
    if role.name == SCIM_MANAGED {
        return Err(Error::Managed(format!(
            "the role `{SCIM_MANAGED}` tells which users the identity provider keeps in step over SCIM: it comes and \
             goes with them, so it is neither mapped nor taken by hand, and can be neither renamed nor deleted"
        )));
    }
    Ok(())
}

fn parse(name: &str) -> Result<RoleName> {
    RoleName::parse(name).map_err(|e| Error::Invalid(e.to_string()))
}

fn shown(role: &Role) -> Value {
    json!({ "name": role.name, "description": role.description })
}

fn taken(error: store::error::Error, name: &str) -> Error {
    match error {
        store::error::Error::Taken(_) => Error::Conflict(format!("Role with name {name} already exists")),
        error => error.into(),
    }
}

/// In Keycloak's words, which clients know.
fn not_found() -> Error {
    Error::NotFound("Could not find role".into())
}
