//! Undo: what an identity provider or an operator did by mistake is taken back, as a change like any other: it is told by
//! events, and the audit log says who did it. The leaver guard has no say in it.
//!
//! One transaction does all of it, so nobody ever sees a half. A dry run does the same and takes it back, so that it
//! foretells the real one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{
    Error, Result, awaits_members, groups, history, transaction,
    users::{self, is_taken},
};
use crate::{
    model::{
        GroupId, Scope, UserId,
        audit::Action as Audited,
        document::Document,
        history::Change,
        policy::{DisplayName, GroupNames, OnDelete},
        role::Holder,
        undo::{Action, Conflict, Kind, Life, Plan, Report, Step, Tie, Verdict, in_order, previous},
        user::{State, User},
    },
    provision::admission,
    scim::{
        patch::MembersDelta,
        resource::{self, Resource, fold},
    },
    store::{
        self, Store, audit,
        history::Which,
        import::{self, Arrival},
        members::{self, Rules},
        outbox::Origin,
        people, request_log, roles,
        tx::RealmTx,
        undo as stored,
    },
};

/// Users and groups which one undo may be about.
const MOST: usize = 10_000;
/// Memberships and mappings which one undo may be about.
const MOST_TIES: usize = 200_000;
/// Users who come back by one statement.
const BATCH: usize = 500;

/// What is to be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistake {
    /// `X-Request-Id` of a request.
    pub request_id: Option<String>,
    /// Its id in the request log.
    pub request: Option<Uuid>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// The id of whoever did it.
    pub actor: Option<String>,
}

/// Takes back what a request did, or what was done in a span of time; or tries to, and changes nothing.
pub async fn undo(store: &Store, scope: &Scope, mistake: Mistake, dry_run: bool) -> Result<Report> {
    let plan = &read(store, scope, &which(store, scope, mistake.clone()).await?).await?;
    let told = json!({
        "request_id": mistake.request_id, "request": mistake.request, "from": mistake.from, "to": mistake.to,
        "actor": mistake.actor,
    });
    let told = &told;
    transaction(store, scope, |mut tx| async move {
        // Before any other lock: groups may come to hold groups.
        members::hold_realm(&mut tx).await?;
        let mut work = Work::begin(tx, scope, plan).await?;
        work.lives().await?;
        work.memberships().await?;
        work.mappings().await?;
        work.finish(told, dry_run).await
    })
    .await
}

/// The events which are meant.
async fn which(store: &Store, scope: &Scope, mistake: Mistake) -> Result<Which> {
    let Mistake { request_id, request, from, to, actor } = mistake;
    match (request_id, request, from, to) {
        (Some(id), None, None, None) => Ok(Which { request_id: Some(id), actor, ..Which::default() }),
        (None, Some(id), None, None) => {
            let entry = request_log::find(store.begin(scope).await?, id).await?;
            let entry = entry.ok_or_else(|| Error::NotFound(format!("the request log has no entry `{id}`")))?;
            // Others may share the id, which the client chooses; the events have the very time of their request.
            Ok(Which { request_id: Some(entry.request_id), from: Some(entry.at), to: Some(entry.at), actor })
        }
        (None, None, Some(from), Some(to)) if from <= to => {
            Ok(Which { request_id: None, from: Some(from), to: Some(to), actor })
        }
        _ => Err(Error::Invalid(
            "say what is to be undone: `request_id`, or `request`, the id of an entry of the request log, or `from` and \
             `to`, two times in this order"
                .into(),
        )),
    }
}

/// Reads what is to be undone from the events.
async fn read(store: &Store, scope: &Scope, which: &Which) -> Result<Plan> {
    let (head, mut tx) = (history::settled(store, &scope.realm).await?, store.begin(scope).await?);
    let kept = store::history::kept(&mut tx).await?;
    tx.commit().await?;
    if let (Some(from), Some(since)) = (which.from, kept.since)
        && from < since
    {
        return Err(Error::Gone(format!("events are kept since {since}: what was before cannot be undone any more")));
    }
    let (mut after, mut last) = (kept.oldest - 1, head);
    if which.from.is_some() {
        let edges = store::history::edges(store.begin(scope).await?, which).await?;
        (after, last) = edges.map_or((head, head), |(first, last)| (first - 1, last));
    }
    let mut plan = Plan::default();
    while after < last {
        let (events, scanned) = store::history::some(store.begin(scope).await?, which, after, last).await?;
        for event in &events {
            plan.take(event);
        }
        if plan.resources() > MOST || plan.ties() > MOST_TIES {
            return Err(Error::Invalid(format!(
                "this is about more than {MOST} users and groups, or {MOST_TIES} memberships: undo it in parts, by \
                 shorter spans of time, from the latest to the earliest"
            )));
        }
        after = scanned;
    }
    if plan.events == 0 {
        return Err(Error::NotFound("no change of this realm is known which that means".into()));
    }
    Ok(plan)
}

/// Who gets back what: the resource as it is to be, and what that changes.
type Restored = (Kind, Uuid, Resource, Vec<Change>);

/// An undo under way.
struct Work<'a> {
    tx: RealmTx,
    scope: &'a Scope,
    plan: &'a Plan,
    users: HashMap<Uuid, User>,
    groups: HashMap<Uuid, Document>,
    /// Who was created then, and stays because of what others did since: with all that it was given then.
    kept: HashSet<Uuid>,
    report: Report,
}

impl<'a> Work<'a> {
    /// Holds all that it is about, in the order of the ids.
    async fn begin(mut tx: RealmTx, scope: &'a Scope, plan: &'a Plan) -> Result<Self> {
        let with_members = plan.members.keys().map(|(group, _)| group);
        let groups: BTreeSet<Uuid> = plan.groups.keys().chain(with_members).copied().collect();
        let groups: Vec<Uuid> = groups.into_iter().collect();
        let users: Vec<Uuid> = plan.users.keys().copied().collect();
        let users = import::lock(&mut tx, &users).await?.into_iter().map(|user| (user.document.id, user)).collect();
        let groups = stored::lock_groups(&mut tx, &groups).await?.into_iter().map(|group| (group.id, group)).collect();
        let report = Report { events: plan.events, requests: plan.requests.len(), ..Report::default() };
        Ok(Self { tx, scope, plan, users, groups, kept: HashSet::new(), report })
    }

    /// Users and groups: all is decided before anything changes, as one change makes versions of others.
    async fn lives(&mut self) -> Result<()> {
        let (plan, given) = (self.plan, self.given_since().await?);
        let mut verdicts = Vec::new();
        for (kind, lives) in [(Kind::User, &plan.users), (Kind::Group, &plan.groups)] {
            for (id, life) in lives {
                let present = self.document(kind, *id).map(|document| {
                    document.resource().map(|resource| (resource, document.version)).ok_or(Error::Damaged(*id))
                });
                let present = present.transpose()?;
                let present = present.as_ref().map(|(resource, version)| (resource, *version));
                let verdict = life.verdict(present, given.contains(id));
                if life.is_created() && matches!(verdict, Verdict::Conflict(_)) {
                    self.kept.insert(*id);
                }
                verdicts.push((kind, *id, life, verdict));
            }
        }
        // A name has to be free before it is given back: so some go first, then others get theirs back, then some come.
        verdicts.sort_by_key(|(.., verdict)| !matches!(verdict, Verdict::Delete));
        let (mut restored, mut users, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, id, life, verdict) in verdicts {
            match verdict {
                Verdict::Nothing => {}
                Verdict::Conflict(reason) => self.conflict(kind, id, reason),
                Verdict::Delete => self.delete(kind, id).await?,
                Verdict::Restore { resource, changes, again } => {
                    for attribute in again {
                        self.conflict(kind, id, format!("`{attribute}` has been changed again since"));
                    }
                    if !changes.is_empty() {
                        restored.push(Some((kind, id, resource, changes)));
                    }
                }
                Verdict::Create(resource) if kind == Kind::User => users.push((id, life, resource)),
                Verdict::Create(resource) => groups.push((id, life, resource)),
            }
        }
        self.restore_all(restored).await?;
        for (id, life, resource) in groups {
            self.create_group(id, life, &resource).await?;
        }
        for batch in users.chunks(BATCH) {
            self.create_users(batch).await?;
        }
        for (id, name) in &plan.roles {
            let reason = "roles themselves are not undone: create, change or delete it by hand".to_owned();
            self.report.conflicts.push(Conflict { kind: Kind::Role, id: *id, name: name.clone(), reason });
        }
        Ok(())
    }

    /// Which of those who were created then have got a group or a role since which they have still?
    async fn given_since(&mut self) -> Result<HashSet<Uuid>> {
        let (plan, created) = (self.plan, self.plan.created());
        let (mut given, mut keys, mut seqs) = (HashSet::new(), Vec::new(), Vec::new());
        for key in stored::memberships_of(&mut self.tx, &created).await? {
            if let Some(tie) = plan.members.get(&key).filter(|tie| tie.after) {
                keys.push(key);
                seqs.push(tie.seq);
            } else {
                given.insert(key.1);
            }
        }
        given.extend(stored::moved_again(&mut self.tx, &keys, &seqs).await?.into_iter().map(|(_, member)| member));
        keys.clear();
        seqs.clear();
        for key @ (holder, role) in stored::mappings_of(&mut self.tx, &created).await? {
            let kind = if plan.users.contains_key(&holder) { Kind::User } else { Kind::Group };
            if let Some(tie) = plan.mappings.get(&(kind, holder, role)).filter(|tie| tie.after) {
                keys.push(key);
                seqs.push(tie.seq);
            } else {
                given.insert(holder);
            }
        }
        given.extend(stored::mapped_again(&mut self.tx, &keys, &seqs).await?.into_iter().map(|(holder, _)| holder));
        Ok(given)
    }

    async fn delete(&mut self, kind: Kind, id: Uuid) -> Result<()> {
        let keep = self.scope.realm.policy.on_delete == OnDelete::Tombstone;
        let origin = Origin::of(self.scope);
        self.step(kind, id, Action::Delete);
        if kind == Kind::User {
            store::users::delete(&mut self.tx, UserId(id), keep, &origin, false).await?;
            self.users.remove(&id);
        } else {
            store::groups::delete(&mut self.tx, GroupId(id), keep, &origin, false).await?;
            self.groups.remove(&id);
        }
        Ok(())
    }

    /// Each is restored once its former name is free.
    async fn restore_all(&mut self, mut all: Vec<Option<Restored>>) -> Result<()> {
        let names = |(kind, id, to, _): &Restored| {
            let from = self.document(*kind, *id)?.resource()?;
            let (from, to) = (self.sole_name(*kind, &from)?, self.sole_name(*kind, to)?);
            (from != to).then_some(((*kind, from), (*kind, to)))
        };
        let renamings: Vec<_> = all.iter().map(|one| names(one.as_ref()?)).collect();
        let (order, circles) = in_order(&renamings);
        for place in order {
            if let Some((kind, id, to, changes)) = all[place].take() {
                self.restore(kind, id, &to, changes).await?;
            }
        }
        for (kind, id, ..) in circles.into_iter().filter_map(|place| all[place].take()) {
            let reason = "it and others took each other's names then, so that none is free to be given back: give one of \
                          them another name by hand, and undo again";
            self.conflict(kind, id, reason);
        }
        Ok(())
    }

    /// The name, folded, which nobody else of its kind may have.
    fn sole_name(&self, kind: Kind, resource: &Resource) -> Option<String> {
        match kind {
            Kind::User => resource.user_name().map(fold),
            _ if self.scope.realm.policy.group_names == GroupNames::Unique => resource.display_name().map(fold),
            _ => None,
        }
    }

    async fn restore(&mut self, kind: Kind, id: Uuid, to: &Resource, attributes: Vec<Change>) -> Result<()> {
        self.tx.mark().await?;
        let written = match kind {
            Kind::User => self.write_user(id, to, &attributes).await,
            _ => self.write_group(id, to, &attributes).await,
        };
        match written {
            Ok(()) => self.tx.on().await?,
            Err(error) => {
                let reason = reason(error)?;
                self.tx.back().await?;
                self.conflict(kind, id, reason);
                return Ok(());
            }
        }
        self.step(kind, id, Action::Restore { attributes });
        Ok(())
    }

    async fn write_user(&mut self, id: Uuid, to: &Resource, changes: &[Change]) -> Result<()> {
        let Some(user) = self.users.get(&id) else { return Ok(()) };
        let (scope, managed) = (self.scope, user.document.managed);
        let user_type = &scope.realm.types.user;
        resource::finish(user_type, to)?;
        let row = users::row_of(user_type, to, user.state != State::Disabled);
        let follows = scope.realm.policy.display_name == DisplayName::Always || !managed;
        let origin = Origin::of(scope);
        store::users::update(&mut self.tx, UserId(id), &row, &previous(changes), follows, &origin, false).await?;
        if managed && awaits_members(scope) && changes.iter().any(|change| change.attribute == "externalId") {
            members::join(&mut self.tx, UserId(id), row.external_id.as_deref(), &origin, false).await?;
        }
        Ok(())
    }

    async fn write_group(&mut self, id: Uuid, to: &Resource, changes: &[Change]) -> Result<()> {
        resource::finish(&self.scope.realm.types.group, to)?;
        let row = groups::row_of(self.scope, to);
        let origin = Origin::of(self.scope);
        store::groups::update(&mut self.tx, GroupId(id), &row, &previous(changes), &origin).await?;
        Ok(())
    }

    /// Users who were deleted come back; not those whose names are others' by now.
    async fn create_users(&mut self, batch: &[(Uuid, &Life, Resource)]) -> Result<()> {
        let (scope, origin) = (self.scope, Origin::of(self.scope));
        let arrivals: Vec<Arrival> =
            batch.iter().map(|(id, life, resource)| arrival(scope, *id, life, resource)).collect();
        let versions: Vec<(Uuid, i64)> = batch.iter().map(|(id, life, _)| (*id, life.version)).collect();
        stored::remember(&mut self.tx, "User", &versions, scope.at).await?;
        let all: Vec<&Arrival> = arrivals.iter().collect();
        let created: HashSet<Uuid> = import::insert(&mut self.tx, &all, &origin).await?.into_iter().collect();
        let gone: Vec<Uuid> = versions.iter().map(|(id, _)| *id).filter(|id| !created.contains(id)).collect();
        stored::forget(&mut self.tx, "User", &gone, scope.at).await?;
        for ((id, _, resource), arrival) in batch.iter().zip(&arrivals) {
            let name = resource.user_name().map(str::to_owned);
            if !created.contains(id) {
                let reason = "its userName is another user's by now".to_owned();
                self.report.conflicts.push(Conflict { kind: Kind::User, id: *id, name, reason });
                continue;
            }
            if arrival.managed && awaits_members(scope) {
                let external_id = arrival.row.external_id.as_deref();
                members::join(&mut self.tx, UserId(*id), external_id, &origin, false).await?;
            }
            self.report.changes.push(Step { kind: Kind::User, id: *id, name, action: Action::Create });
        }
        Ok(())
    }

    async fn create_group(&mut self, id: Uuid, life: &Life, resource: &Resource) -> Result<()> {
        let (scope, origin) = (self.scope, Origin::of(self.scope));
        let (created_at, managed) = (created_at(scope, life), life.facts["managed"] != false);
        let row = groups::row_of(scope, resource);
        self.tx.mark().await?;
        stored::remember(&mut self.tx, "Group", &[(id, life.version)], scope.at).await?;
        let written = import::insert_group(&mut self.tx, GroupId(id), created_at, &row, managed, &origin).await;
        let name = resource.display_name().map(str::to_owned);
        if let Err(error) = written {
            let reason = reason(error.into())?;
            self.tx.back().await?;
            self.report.conflicts.push(Conflict { kind: Kind::Group, id, name, reason });
            return Ok(());
        }
        self.tx.on().await?;
        let group = Document {
            id,
            version: life.version + 1,
            created_at,
            updated_at: scope.at,
            attributes: row.attributes.0,
            managed,
        };
        self.groups.insert(id, group);
        self.step(Kind::Group, id, Action::Create);
        Ok(())
    }

    /// Members come and go, group by group.
    async fn memberships(&mut self) -> Result<()> {
        let stays = |(group, member): &(Uuid, Uuid), tie: &Tie| {
            tie.is_as_before() || !tie.before && (self.kept.contains(group) || self.kept.contains(member))
        };
        let ties = self.plan.members.iter().filter(|(key, tie)| !stays(key, tie));
        let ties: Vec<((Uuid, Uuid), Tie)> = ties.map(|(key, tie)| (*key, *tie)).collect();
        let keys: Vec<(Uuid, Uuid)> = ties.iter().map(|(key, _)| *key).collect();
        let present = stored::members_among(&mut self.tx, &keys).await?;
        let seqs: Vec<i64> = ties.iter().map(|(_, tie)| tie.seq).collect();
        let again = stored::moved_again(&mut self.tx, &keys, &seqs).await?;
        let mut by_group: BTreeMap<Uuid, (Vec<Uuid>, Vec<Uuid>)> = BTreeMap::new();
        for (key @ (group, member), tie) in ties {
            if present.contains(&key) == tie.before {
                continue;
            }
            if again.contains(&key) {
                self.conflict(Kind::Group, group, format!("the membership of `{member}` has been changed again since"));
                continue;
            }
            let (come, go) = by_group.entry(group).or_default();
            if tie.before { come.push(member) } else { go.push(member) }
        }
        for (group, (come, go)) in by_group {
            self.move_members(group, come, go).await?;
        }
        Ok(())
    }

    async fn move_members(&mut self, group: Uuid, come: Vec<Uuid>, go: Vec<Uuid>) -> Result<()> {
        let Some(managed) = self.groups.get(&group).map(|group| group.managed) else {
            self.conflict(Kind::Group, group, "members of it cannot come back, as it is gone");
            return Ok(());
        };
        let origin = Origin::of(self.scope);
        let names: Vec<String> = come.iter().map(Uuid::to_string).collect();
        let known: HashSet<Uuid> = if managed {
            members::named(&mut self.tx, names.iter(), false).await?.into_iter().collect()
        } else {
            stored::users_among(&mut self.tx, &come).await?
        };
        let (come, missing): (Vec<Uuid>, Vec<Uuid>) = come.into_iter().partition(|member| known.contains(member));
        for member in missing {
            self.conflict(Kind::Group, group, format!("`{member}` cannot be a member again, as nobody has that id"));
        }
        let (mut added, mut removed) = (come, go);
        if managed {
            let mut delta = MembersDelta::default();
            for member in
                resource::members(added.iter().map(Uuid::to_string).collect(), &admission(&self.scope.realm.policy))?
            {
                delta.add(member);
            }
            for member in &removed {
                delta.remove(member.to_string());
            }
            let rules = Rules { may_wait: false, realm_is_held: true };
            match members::change(&mut self.tx, GroupId(group), &delta, rules, &origin, false).await? {
                members::Outcome::Done(_) => {}
                members::Outcome::Unknown(_) | members::Outcome::Barred => {
                    self.conflict(Kind::Group, group, "a group which was in it holds it by now: its members stay");
                    return Ok(());
                }
            }
        } else {
            let group = GroupId(group);
            for member in &added {
                people::join(&mut self.tx, group, UserId(*member), &origin).await?;
            }
            for member in &removed {
                people::leave(&mut self.tx, group, UserId(*member), &origin).await?;
            }
        }
        if !(added.is_empty() && removed.is_empty()) {
            added.sort_unstable();
            removed.sort_unstable();
            self.step(Kind::Group, group, Action::Members { added, removed });
        }
        Ok(())
    }

    /// Roles come and go, holder by holder.
    async fn mappings(&mut self) -> Result<()> {
        let stays = |holder: &Uuid, tie: &Tie| tie.is_as_before() || !tie.before && self.kept.contains(holder);
        let ties = self.plan.mappings.iter().filter(|((_, holder, _), tie)| !stays(holder, tie));
        let ties: Vec<((Kind, Uuid, Uuid), Tie)> = ties.map(|(key, tie)| (*key, *tie)).collect();
        let keys: Vec<(Uuid, Uuid)> = ties.iter().map(|((_, holder, role), _)| (*holder, *role)).collect();
        let seqs: Vec<i64> = ties.iter().map(|(_, tie)| tie.seq).collect();
        let again = stored::mapped_again(&mut self.tx, &keys, &seqs).await?;
        let wanted: BTreeSet<Uuid> = keys.iter().map(|(_, role)| *role).collect();
        let names = stored::role_names(&mut self.tx, &wanted.into_iter().collect::<Vec<_>>()).await?;
        let mut by_holder: BTreeMap<(Kind, Uuid), (Vec<Uuid>, Vec<Uuid>)> = BTreeMap::new();
        for ((kind, holder, role), tie) in ties {
            if again.contains(&(holder, role)) {
                self.conflict(kind, holder, format!("the mapping of role `{role}` has been changed again since"));
            } else if names.contains_key(&role) {
                let (come, go) = by_holder.entry((kind, holder)).or_default();
                if tie.before { come.push(role) } else { go.push(role) }
            } else if tie.before {
                self.conflict(kind, holder, format!("role `{role}` cannot be mapped again, as it is gone"));
            }
        }
        let origin = Origin::of(self.scope);
        for ((kind, id), (come, go)) in by_holder {
            let holder = if kind == Kind::User { Holder::User(UserId(id)) } else { Holder::Group(GroupId(id)) };
            if !people::is_there(&mut self.tx, holder).await? {
                if !come.is_empty() {
                    self.conflict(kind, id, "roles of it cannot come back, as it is gone");
                }
                continue;
            }
            let named = |roles: Vec<Uuid>| {
                let mut named: Vec<String> = roles.iter().filter_map(|role| names.get(role).cloned()).collect();
                named.sort_unstable();
                named
            };
            let added = named(roles::map(&mut self.tx, holder, &come, &origin).await?);
            let removed = named(roles::unmap(&mut self.tx, holder, &go, &origin).await?);
            if !(added.is_empty() && removed.is_empty()) {
                self.step(kind, id, Action::Roles { added, removed });
            }
        }
        Ok(())
    }

    async fn finish(mut self, what: &serde_json::Value, dry_run: bool) -> Result<Report> {
        self.report.dry_run = dry_run;
        if dry_run {
            self.tx.rollback().await?;
            return Ok(self.report);
        }
        if !self.report.changes.is_empty() {
            let told = json!({
                "what": what, "changes": self.report.changes.len(), "conflicts": self.report.conflicts.len(),
            });
            audit::append(&mut self.tx, self.scope, Audited::on_realm("undo"), None, Some(&told)).await?;
        }
        self.tx.commit().await?;
        Ok(self.report)
    }

    fn document(&self, kind: Kind, id: Uuid) -> Option<&Document> {
        match kind {
            Kind::User => self.users.get(&id).map(|user| &user.document),
            _ => self.groups.get(&id),
        }
    }

    /// The name of what is there.
    fn name(&self, kind: Kind, id: Uuid) -> Option<String> {
        let resource = self.document(kind, id)?.resource()?;
        let name = if kind == Kind::User { resource.user_name() } else { resource.display_name() };
        name.map(str::to_owned)
    }

    fn step(&mut self, kind: Kind, id: Uuid, action: Action) {
        let name = self.name(kind, id);
        self.report.changes.push(Step { kind, id, name, action });
    }

    fn conflict(&mut self, kind: Kind, id: Uuid, reason: impl Into<String>) {
        let (name, reason) = (self.name(kind, id), reason.into());
        self.report.conflicts.push(Conflict { kind, id, name, reason });
    }
}

/// A user who was deleted, as it comes back.
fn arrival(scope: &Scope, id: Uuid, life: &Life, resource: &Resource) -> Arrival {
    let facts = &life.facts;
    Arrival {
        id,
        created_at: created_at(scope, life),
        activated: facts["activated"].as_bool().unwrap_or(facts["state"] == "active"),
        display_name: facts["display_name"].as_str().map(str::to_owned),
        managed: facts["managed"] != false,
        row: users::row_of(&scope.realm.types.user, resource, facts["state"] != "disabled"),
    }
}

fn created_at(scope: &Scope, life: &Life) -> Timestamp {
    let told = life.facts["created_at"].as_str().and_then(|at| at.parse().ok());
    told.unwrap_or(scope.at)
}

/// Why something stays as it is; or the error, if it is not its fault.
fn reason(error: Error) -> Result<String> {
    match error {
        error if is_taken(&error) => Ok("its former userName is another user's by now".into()),
        Error::Store(error) if error.is_taken("unique_name") => {
            Ok("its former displayName is another group's by now".into())
        }
        Error::Scim(error) => Ok(format!("what it was breaks a rule of today: {}", error.detail)),
        error => Err(error),
    }
}
