//! Roles, users, groups and memberships of a batch: one transaction, few statements. Users who follow each other are
//! written by one.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Numbered, refusal, told};
use crate::{
    model::{
        GroupId, RoleId, Scope, UserId,
        audit::Action,
        document::Document,
        moved::{GroupLine, Line, LineReport, Outcome, UserLine},
        policy::{DisplayName, InitialState},
        role::{Holder, RoleName, SCIM_MANAGED},
        user::{State, User},
    },
    provision::{
        Error, Result, admission, awaits_members,
        groups::{self, RING, unknown},
        named_id, users,
    },
    scim::{
        self,
        patch::{self, MembersDelta},
        resource::{self, Member, Resource},
    },
    store::{
        self, Store, audit,
        import::{self, Arrival},
        members::{self, Rules},
        outbox::Origin,
        roles,
        tx::RealmTx,
    },
};

/// A line which has been understood, or why it is refused.
struct Item<'a> {
    number: usize,
    line: &'a Line,
    work: Result<Work<'a>, String>,
}

enum Work<'a> {
    Role { name: RoleName, description: Option<String> },
    User(NewUser),
    Group(NewGroup),
    Members { group: Uuid, delta: MembersDelta },
    Assumed(&'a [Uuid], &'a [Uuid], &'a [String]),
    Nothing,
}

struct NewUser {
    id: Uuid,
    resource: Resource,
    /// Does the resource not say whether the user may come in?
    silent: bool,
    arrival: Arrival,
    roles: Vec<String>,
}

struct NewGroup {
    id: Uuid,
    resource: Resource,
    created_at: jiff::Timestamp,
    members: Option<Vec<Member>>,
    roles: Vec<String>,
}

/// Takes the lines in their order.
pub(super) async fn take(
    store: &Store,
    scope: &Scope,
    lines: &[Numbered<'_>],
    rehearsal: bool,
) -> Result<Vec<LineReport>> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<Item> = lines.iter().map(|(number, line)| understood(scope, *number, line)).collect();
    let mut tries = 1;
    loop {
        match attempt(store.begin(scope).await?, scope, &items, rehearsal).await {
            Err(Error::Store(store::error::Error::Deadlock | store::error::Error::Dangling(_))) if tries < 5 => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(mut tx: RealmTx, scope: &Scope, items: &[Item<'_>], rehearsal: bool) -> Result<Vec<LineReport>> {
    let nests = |item: &Item| matches!(item.work, Ok(Work::Group(_) | Work::Members { .. }));
    if items.iter().any(nests) {
        members::hold_realm(&mut tx).await?;
    } else if awaits_members(scope) {
        members::admit_arrivals(&mut tx).await?;
    }
    let mut roles = Roles::default();
    let mut reports = Vec::with_capacity(items.len());
    let mut rest = items;
    while let Some((first, others)) = rest.split_first() {
        let run = run_of_users(rest);
        if run > 0 {
            let (now, later) = rest.split_at(run);
            take_users(&mut tx, scope, now, &mut roles, &mut reports).await?;
            rest = later;
            continue;
        }
        rest = others;
        let outcome = match &first.work {
            Err(why) => Err(why.clone()),
            Ok(Work::Nothing) => Ok(Outcome::Unchanged),
            Ok(work) => {
                tx.mark().await?;
                match take_one(&mut tx, scope, work, &mut roles).await {
                    Ok(outcome) => {
                        tx.on().await?;
                        Ok(outcome)
                    }
                    Err(error) => {
                        let why = refusal(named(error, first))?;
                        tx.back().await?;
                        Err(why)
                    }
                }
            }
        };
        reports.push(LineReport::of(first.number, first.line, outcome));
    }
    if rehearsal {
        tx.rollback().await?;
        return Ok(reports);
    }
    if reports.iter().any(|report| matches!(report.outcome, Outcome::Created | Outcome::Updated)) {
        audit::append(&mut tx, scope, Action::on_realm("realm.import"), None, Some(&told(&reports))).await?;
    }
    tx.commit().await?;
    Ok(reports)
}

/// How many of the first items are users, each of whom is named once.
fn run_of_users(items: &[Item<'_>]) -> usize {
    let mut seen = HashSet::new();
    items.iter().take_while(|item| matches!(&item.work, Ok(Work::User(user)) if seen.insert(user.id))).count()
}

async fn take_users(
    tx: &mut RealmTx,
    scope: &Scope,
    items: &[Item<'_>],
    roles: &mut Roles,
    reports: &mut Vec<LineReport>,
) -> Result<()> {
    let users: Vec<&NewUser> =
        items.iter().filter_map(|item| if let Ok(Work::User(user)) = &item.work { Some(user) } else { None }).collect();
    let ids: Vec<Uuid> = users.iter().map(|user| user.id).collect();
    let origin = Origin::of(scope);
    let groups: HashSet<Uuid> = import::groups_among(tx, &ids).await?.into_iter().collect();
    let there: HashMap<Uuid, User> =
        import::lock(tx, &ids).await?.into_iter().map(|user| (user.document.id, user)).collect();
    let mut mapped = Vec::with_capacity(users.len());
    for user in &users {
        mapped.push(match roles.ids(tx, &user.roles).await {
            Ok(ids) => Ok(ids),
            Err(error) => Err(refusal(error)?),
        });
    }
    let is_fresh = |user: &NewUser| !there.contains_key(&user.id) && !groups.contains(&user.id);
    let fresh = users.iter().zip(&mapped).filter(|(user, roles)| is_fresh(user) && roles.is_ok());
    let fresh: Vec<&Arrival> = fresh.map(|(user, _)| &user.arrival).collect();
    let created: HashSet<Uuid> = if fresh.is_empty() {
        HashSet::new()
    } else {
        import::insert(tx, &fresh, &origin).await?.into_iter().collect()
    };
    let awaited = awaits_members(scope) && import::awaits_anybody(tx).await?;
    for ((item, user), mapped) in items.iter().zip(users).zip(mapped) {
        let outcome = match (mapped, there.get(&user.id)) {
            (Err(why), _) => Err(why),
            (Ok(roles), Some(known)) => {
                tx.mark().await?;
                match update(tx, scope, user, known, &roles, awaited).await {
                    Ok(outcome) => {
                        tx.on().await?;
                        Ok(outcome)
                    }
                    Err(error) => {
                        let why = refusal(named(error, item))?;
                        tx.back().await?;
                        Err(why)
                    }
                }
            }
            (Ok(_), None) if groups.contains(&user.id) => Err(format!("`{}` is the id of a group", user.id)),
            (Ok(roles), None) if created.contains(&user.id) => {
                if awaited {
                    let external_id = user.arrival.row.external_id.as_deref();
                    members::join(tx, UserId(user.id), external_id, &origin, false).await?;
                }
                map(tx, Holder::User(UserId(user.id)), &roles, &origin).await?;
                Ok(Outcome::Created)
            }
            (Ok(_), None) => Err(name_taken(&user.resource)),
        };
        reports.push(LineReport::of(item.number, item.line, outcome));
    }
    Ok(())
}

async fn update(
    tx: &mut RealmTx,
    scope: &Scope,
    new: &NewUser,
    known: &User,
    roles: &[Uuid],
    awaited: bool,
) -> Result<Outcome> {
    let updated = update_user(tx, scope, new, known, awaited).await?;
    let mapped = map(tx, Holder::User(UserId(new.id)), roles, &Origin::of(scope)).await?;
    Ok(if updated || mapped { Outcome::Updated } else { Outcome::Unchanged })
}

/// Does what a PUT would do. Did it make a difference?
async fn update_user(tx: &mut RealmTx, scope: &Scope, new: &NewUser, known: &User, awaited: bool) -> Result<bool> {
    if !known.document.managed {
        return Err(Error::Conflict(format!(
            "`{}` is a user whom operators keep, and not the identity provider",
            new.id
        )));
    }
    let user_type = &scope.realm.types.user;
    let before = known.document.resource().ok_or(Error::Damaged(new.id))?;
    let mut after = new.resource.clone();
    match before.active() {
        Some(active) if new.silent => after.set("active", active),
        None if new.silent => drop(after.0.shift_remove("active")),
        Some(_) | None => {}
    }
    resource::keep_immutable(user_type, &before, &mut after)?;
    resource::finish(user_type, &after)?;
    let changes = patch::changes(&before, &after);
    if changes.is_empty() {
        return Ok(false);
    }
    let previous: Map<String, Value> =
        changes.into_iter().map(|change| (change.path, change.previous.unwrap_or(Value::Null))).collect();
    let (id, row) = (UserId(new.id), users::row_of(user_type, &after, known.state != State::Disabled));
    let follows = scope.realm.policy.display_name == DisplayName::Always;
    let origin = Origin::of(scope);
    store::users::update(tx, id, &row, &previous, follows, &origin, false).await?;
    if awaited && before.external_id() != after.external_id() {
        members::join(tx, id, row.external_id.as_deref(), &origin, false).await?;
    }
    Ok(true)
}

async fn take_one(tx: &mut RealmTx, scope: &Scope, work: &Work<'_>, roles: &mut Roles) -> Result<Outcome> {
    let origin = Origin::of(scope);
    match work {
        Work::Role { name, description } => {
            let known = store::roles::find_by_name(tx, name.as_str()).await?;
            let Some(mut role) = known else {
                store::roles::insert(tx, RoleId(Uuid::now_v7()), name, description.as_deref(), &Origin::of(scope))
                    .await?;
                return Ok(Outcome::Created);
            };
            if role.description == *description || role.name == SCIM_MANAGED {
                return Ok(Outcome::Unchanged);
            }
            role.description.clone_from(description);
            store::roles::update(tx, &role, &Origin::of(scope)).await?;
            Ok(Outcome::Updated)
        }
        Work::Group(group) => {
            let outcome = take_group(tx, scope, group).await?;
            let ids = roles.ids(tx, &group.roles).await?;
            let mapped = map(tx, Holder::Group(GroupId(group.id)), &ids, &origin).await?;
            Ok(if mapped && outcome == Outcome::Unchanged { Outcome::Updated } else { outcome })
        }
        Work::Members { group, delta } => {
            let id = GroupId(*group);
            if store::groups::lock(tx, id).await?.is_none() {
                return Err(Error::NotFound(format!("there is no group `{group}` in this realm")));
            }
            Ok(if move_members(tx, scope, id, delta).await? { Outcome::Updated } else { Outcome::Unchanged })
        }
        Work::Assumed(users, groups, roles) => {
            import::assume(tx, users, groups, roles, scope.at).await?;
            Ok(Outcome::Unchanged)
        }
        // They come in runs.
        Work::User(_) | Work::Nothing => Ok(Outcome::Unchanged),
    }
}

async fn take_group(tx: &mut RealmTx, scope: &Scope, new: &NewGroup) -> Result<Outcome> {
    let (id, origin) = (GroupId(new.id), Origin::of(scope));
    let delta = new.members.clone().map(MembersDelta::replace).unwrap_or_default();
    let Some(document) = store::people::lock_group(tx, id).await? else {
        if import::is_user(tx, new.id).await? {
            return Err(Error::Conflict(format!("`{}` is the id of a user of this realm", new.id)));
        }
        let row = groups::row_of(scope, &new.resource);
        import::insert_group(tx, id, new.created_at, &row, true, &origin).await?;
        move_members(tx, scope, id, &delta).await?;
        return Ok(Outcome::Created);
    };
    if !document.managed {
        return Err(Error::Conflict(format!("`{id}` is a group which operators keep, and not the identity provider")));
    }
    let updated = update_group(tx, scope, new, &document).await?;
    let moved = move_members(tx, scope, id, &delta).await?;
    Ok(if updated || moved { Outcome::Updated } else { Outcome::Unchanged })
}

async fn update_group(tx: &mut RealmTx, scope: &Scope, new: &NewGroup, document: &Document) -> Result<bool> {
    let group_type = &scope.realm.types.group;
    let before = document.resource().ok_or(Error::Damaged(new.id))?;
    let mut after = new.resource.clone();
    resource::keep_immutable(group_type, &before, &mut after)?;
    resource::finish(group_type, &after)?;
    let changes = patch::changes(&before, &after);
    if changes.is_empty() {
        return Ok(false);
    }
    let previous: Map<String, Value> =
        changes.into_iter().map(|change| (change.path, change.previous.unwrap_or(Value::Null))).collect();
    let row = groups::row_of(scope, &after);
    store::groups::update(tx, GroupId(new.id), &row, &previous, &Origin::of(scope)).await?;
    Ok(true)
}

/// Did anybody come or go?
async fn move_members(tx: &mut RealmTx, scope: &Scope, group: GroupId, delta: &MembersDelta) -> Result<bool> {
    if delta.is_empty() {
        return Ok(false);
    }
    let rules = Rules { may_wait: awaits_members(scope), realm_is_held: true };
    match members::change(tx, group, delta, rules, &Origin::of(scope), false).await? {
        members::Outcome::Done(change) => Ok(change.is_some()),
        members::Outcome::Unknown(values) => Err(unknown(&values)),
        members::Outcome::Barred => Err(scim::error::Error::invalid_value(RING).into()),
    }
}

/// Roles of the realm by name, as far as the batch has asked for them.
#[derive(Default)]
struct Roles {
    known: HashMap<String, Uuid>,
}

impl Roles {
    async fn ids(&mut self, tx: &mut RealmTx, names: &[String]) -> Result<Vec<Uuid>> {
        let mut ids = Vec::with_capacity(names.len());
        for name in names.iter().filter(|name| *name != SCIM_MANAGED) {
            if !self.known.contains_key(name) {
                let role = roles::find_by_name(tx, name).await?;
                let role = role.ok_or_else(|| Error::NotFound(format!("there is no role `{name}` in this realm")))?;
                self.known.insert(name.clone(), role.id.0);
            }
            ids.extend(self.known.get(name));
        }
        Ok(ids)
    }
}

/// Maps roles to the holder. Was one of them new to it?
async fn map(tx: &mut RealmTx, holder: Holder, ids: &[Uuid], origin: &Origin<'_>) -> Result<bool> {
    if ids.is_empty() { Ok(false) } else { Ok(!roles::map(tx, holder, ids, origin).await?.is_empty()) }
}

/// The database knows which value is taken, the operator wants to read it.
fn named(error: Error, item: &Item<'_>) -> Error {
    match (error, &item.work) {
        (Error::Store(error), Ok(Work::User(user))) if error.is_taken("user_name_key") => {
            Error::Conflict(name_taken(&user.resource))
        }
        (Error::Store(error), Ok(Work::Group(group))) if error.is_taken("unique_name") => Error::Conflict(format!(
            "displayName `{}` is taken by another group (upper and lower case count as the same)",
            group.resource.display_name().unwrap_or_default()
        )),
        (error, _) => error,
    }
}

fn name_taken(resource: &Resource) -> String {
    format!(
        "userName `{}` is taken by another user, of this realm or of this file (upper and lower case count as the same)",
        resource.user_name().unwrap_or_default()
    )
}

fn understood<'a>(scope: &Scope, number: usize, line: &'a Line) -> Item<'a> {
    let work = match line {
        Line::Role { name, description } => RoleName::parse(name)
            .map(|name| Work::Role { name, description: description.clone().filter(|text| !text.is_empty()) })
            .map_err(|e| e.to_string()),
        Line::User(user) => new_user(scope, user).map(Work::User),
        Line::Group(group) => new_group(scope, group).map(Work::Group),
        Line::Members { group, members } => new_members(scope, group, members),
        Line::Assumed { users, groups, roles } => Ok(Work::Assumed(users, groups, roles)),
        Line::Schema { .. }
        | Line::Policy { .. }
        | Line::Domain { .. }
        | Line::Alias { .. }
        | Line::Token(_)
        | Line::Export { .. }
        | Line::End(_) => Ok(Work::Nothing),
    };
    Item { number, line, work }
}

fn new_user(scope: &Scope, line: &UserLine) -> Result<NewUser, String> {
    let id = own_id(&line.id)?;
    let created_at = past(scope, line.created)?;
    let speaks = |(key, value): (&String, &Value)| key.eq_ignore_ascii_case("active") && !value.is_null();
    let silent = line.resource.as_object().is_some_and(|map| !map.iter().any(speaks));
    let policy = &scope.realm.policy;
    let admitted = resource::admit(&scope.realm.types.user, line.resource.clone(), &admission(policy));
    let resource = admitted.map_err(|e| e.detail)?.resource;
    let mut fresh = resource.clone();
    if line.active.is_some() && silent {
        fresh.0.shift_remove("active");
    }
    let row = users::row_of(&scope.realm.types.user, &fresh, line.active.unwrap_or(true));
    let activated = line.state.unwrap_or(policy.initial_state) == InitialState::Active;
    let display_name = line.display_name.clone().or_else(|| resource.display_name().map(str::to_owned));
    let display_name = display_name.filter(|name| !name.is_empty());
    let arrival = Arrival { id, created_at, activated, display_name, managed: true, row };
    Ok(NewUser { id, resource, silent, arrival, roles: line.roles.clone() })
}

fn new_group(scope: &Scope, line: &GroupLine) -> Result<NewGroup, String> {
    let id = own_id(&line.id)?;
    let created_at = past(scope, line.created)?;
    let admission = admission(&scope.realm.policy);
    let admitted = resource::admit(&scope.realm.types.group, line.resource.clone(), &admission);
    let admitted = admitted.map_err(|e| e.detail)?;
    let members = line.members.clone().map(|ids| resource::members(ids, &admission)).transpose();
    let members = members.map_err(|e| e.detail)?.or(admitted.members);
    Ok(NewGroup { id, resource: admitted.resource, created_at, members, roles: line.roles.clone() })
}

fn new_members(scope: &Scope, group: &str, ids: &[String]) -> Result<Work<'static>, String> {
    let group = own_id(group)?;
    let members = resource::members(ids.to_vec(), &admission(&scope.realm.policy)).map_err(|e| e.detail)?;
    let mut delta = MembersDelta::default();
    for member in members {
        delta.add(member);
    }
    Ok(Work::Members { group, delta })
}

/// An id as another product has given it out. It stays what it is, or the IdP would not find it again.
fn own_id(text: &str) -> Result<Uuid, String> {
    named_id(text).filter(|id| !id.is_nil()).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        format!(
            "`{shown}` cannot be kept as an id: ids are UUIDs in lower case and with hyphens; leave such a resource to the \
             IdP, which will find it by its name and learn a new id"
        )
    })
}

fn past(scope: &Scope, created: Option<jiff::Timestamp>) -> Result<jiff::Timestamp, String> {
    match created {
        Some(created) if created > scope.at => Err("`created` lies in the future".to_owned()),
        Some(created) => Ok(created),
        None => Ok(scope.at),
    }
}
