//! Undo: what some events did to a realm, and what would take it back.
//!
//! A [`Plan`] is made of these events alone. What it comes to is decided against what is there now: only what still is as
//! those events left it is taken back. What was changed again since is somebody's later word, a conflict, and left alone.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{event::Event, history};
use crate::scim::{
    patch::{
        self,
        revert::{set_at, value_at},
    },
    resource::Resource,
};

/// What has a life and roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    User,
    Group,
    Role,
}

/// What an undo does, or would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Undone")]
pub struct Report {
    /// Nothing was changed: it was only tried.
    pub dry_run: bool,
    /// How many events are meant.
    pub events: usize,
    /// How many requests they are of, told apart by when they came in, to the millisecond: others may share an
    /// `X-Request-Id`.
    pub requests: usize,
    pub changes: Vec<Step>,
    pub conflicts: Vec<Conflict>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "UndoStep")]
pub struct Step {
    pub kind: Kind,
    pub id: Uuid,
    /// The userName, or the displayName of a group.
    pub name: Option<String>,
    #[serde(flatten)]
    pub action: Action,
}

/// What is done to a user or a group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
#[schemars(rename = "UndoAction")]
pub enum Action {
    /// It was created, and goes.
    Delete,
    /// It was deleted, and comes back under its id.
    Create,
    /// Attributes have their former values again.
    Restore { attributes: Vec<history::Change> },
    /// Users and groups are members again, or no longer.
    Members { added: Vec<Uuid>, removed: Vec<Uuid> },
    /// Roles, by name, are mapped again, or no longer.
    Roles { added: Vec<String>, removed: Vec<String> },
}

/// What stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "UndoConflict")]
pub struct Conflict {
    pub kind: Kind,
    pub id: Uuid,
    pub name: Option<String>,
    pub reason: String,
}

/// What the events of a plan say, thing by thing.
#[derive(Debug, Default)]
pub struct Plan {
    pub events: usize,
    /// When the requests came in which these events are of.
    pub requests: BTreeSet<Timestamp>,
    pub users: BTreeMap<Uuid, Life>,
    pub groups: BTreeMap<Uuid, Life>,
    /// By group and member.
    pub members: BTreeMap<(Uuid, Uuid), Tie>,
    /// By holder and role.
    pub mappings: BTreeMap<(Kind, Uuid, Uuid), Tie>,
    /// Roles which were themselves created, changed or deleted.
    pub roles: BTreeMap<Uuid, Option<String>>,
}

/// A user or group in the light of some events.
#[derive(Debug)]
pub struct Life {
    before: Option<Resource>,
    after: Option<Resource>,
    /// After the last of the events.
    pub version: i64,
    /// The first former and the last written value of what was changed.
    touched: BTreeMap<String, (Option<Value>, Option<Value>)>,
    /// Was it created or deleted?
    came_or_went: bool,
    /// What its deletion told beside the document.
    pub facts: Value,
}

/// Two things which belong together, or not: before and after some events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    pub before: bool,
    pub after: bool,
    /// Of the last of these events.
    pub seq: i64,
}

/// What undoing means for a user or group which is there, or not.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// It is as it was.
    Nothing,
    Delete,
    Create(Resource),
    /// The resource as it is to be, what that changes, and what was changed again since.
    Restore {
        resource: Resource,
        changes: Vec<history::Change>,
        again: Vec<String>,
    },
    Conflict(&'static str),
}

impl Plan {
    /// Takes the next event in.
    pub fn take(&mut self, event: &Event) {
        self.events += 1;
        self.requests.insert(event.at);
        let id = event.resource_id;
        let name = event.name.strip_prefix("dsync.").unwrap_or(&event.name);
        match (name.split_once('.'), event.member_id) {
            (Some((holder @ ("user" | "group"), "created" | "updated" | "deleted")), _) => {
                let (kind, lives) = match holder {
                    "user" => (Kind::User, &mut self.users),
                    _ => (Kind::Group, &mut self.groups),
                };
                lives.entry(id).or_insert_with(|| Life::beginning_with(event)).take(event);
                let roles = event.facts["roles"].as_array().into_iter().flatten();
                for role in roles.filter_map(|role| role.as_str()?.parse().ok()) {
                    Tie::note(&mut self.mappings, (kind, id, role), false, event.seq);
                }
            }
            (Some(("group", moved @ ("user_added" | "user_removed"))), Some(member)) => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.version = event.version;
                }
                Tie::note(&mut self.members, (id, member), moved == "user_added", event.seq);
            }
            (Some((holder, mapped @ ("role_added" | "role_removed"))), Some(role)) => {
                let kind = if holder == "user" { Kind::User } else { Kind::Group };
                Tie::note(&mut self.mappings, (kind, id, role), mapped == "role_added", event.seq);
            }
            (Some(("role", _)), _) => {
                self.roles.insert(id, event.facts["role"].as_str().map(str::to_owned));
            }
            _ => {}
        }
    }

    /// Users and groups which these events brought.
    pub fn created(&self) -> Vec<Uuid> {
        let lives = self.users.iter().chain(&self.groups);
        lives.filter(|(_, life)| life.is_created()).map(|(id, _)| *id).collect()
    }

    /// How many things it is about.
    pub fn resources(&self) -> usize {
        self.users.len() + self.groups.len()
    }

    /// How many memberships and mappings it is about.
    pub fn ties(&self) -> usize {
        self.members.len() + self.mappings.len()
    }
}

impl Life {
    fn beginning_with(event: &Event) -> Self {
        let before = match event.name.rsplit_once('.') {
            Some((_, "created")) => None,
            Some((_, "updated")) => Some(history::before(event)),
            _ => Some(history::resource_of(event)),
        };
        let after = before.clone();
        Self { before, after, version: 0, touched: BTreeMap::new(), came_or_went: false, facts: Value::Null }
    }

    fn take(&mut self, event: &Event) {
        self.version = event.version;
        let document = history::resource_of(event);
        if event.name.ends_with(".updated") {
            for (path, former) in history::previous(event) {
                let written = value_at(&document, &path).cloned();
                let former = Some(former).filter(|value| !value.is_null());
                self.touched.entry(path).and_modify(|of| of.1.clone_from(&written)).or_insert((former, written));
            }
        } else {
            self.came_or_went = true;
        }
        self.after = if event.name.ends_with(".deleted") {
            self.facts = event.facts.clone();
            None
        } else {
            Some(document)
        };
    }

    /// Was it not there before these events, and is after them?
    pub const fn is_created(&self) -> bool {
        self.before.is_none() && self.after.is_some()
    }

    /// What it comes to if the resource and its version are `present`. Has it been `given` a group or a role since?
    pub fn verdict(&self, present: Option<(&Resource, i64)>, given: bool) -> Verdict {
        match (&self.before, &self.after, present) {
            (None, None, _) | (None, Some(_), None) => Verdict::Nothing,
            (None, Some(_), Some((_, version))) if version != self.version => {
                Verdict::Conflict("it was created then, and has been changed since")
            }
            (None, Some(_), Some(_)) if given => {
                Verdict::Conflict("it was created then, and has been given a group or a role since")
            }
            (None, Some(_), Some(_)) => Verdict::Delete,
            (Some(before), None, None) => Verdict::Create(before.clone()),
            (Some(_), None, Some(_)) => Verdict::Conflict("it was deleted then, and is there again"),
            (Some(_), Some(_), None) => Verdict::Conflict("it was changed then, and has been deleted since"),
            (Some(before), Some(after), Some((present, _))) => {
                if self.came_or_went {
                    let changes = patch::changes(before, after).into_iter();
                    restore(present, changes.map(|change| (change.path, (change.previous, change.current))))
                } else {
                    restore(present, self.touched.clone().into_iter())
                }
            }
        }
    }
}

/// Puts back the former values of what still has the written ones.
fn restore(present: &Resource, touched: impl Iterator<Item = (String, (Option<Value>, Option<Value>))>) -> Verdict {
    let (mut resource, mut changes, mut again) = (present.clone(), Vec::new(), Vec::new());
    for (attribute, (former, written)) in touched {
        let now = value_at(present, &attribute).cloned();
        if now == former || former == written {
            continue;
        }
        if now == written {
            set_at(&mut resource, &attribute, former.clone());
            changes.push(history::Change { attribute, from: now, to: former });
        } else {
            again.push(attribute);
        }
    }
    if changes.is_empty() && again.is_empty() {
        return Verdict::Nothing;
    }
    Verdict::Restore { resource, changes, again }
}

impl Tie {
    fn note<K: Ord>(ties: &mut BTreeMap<K, Self>, key: K, is_tied: bool, seq: i64) {
        let tie = ties.entry(key).or_insert(Self { before: !is_tied, after: is_tied, seq });
        (tie.after, tie.seq) = (is_tied, seq);
    }

    /// Do these events leave it as it was?
    pub const fn is_as_before(self) -> bool {
        self.before == self.after
    }
}

/// The order, by place, in which renamings can be done one by one: whoever takes a name comes after the one who gives it
/// up. Those who took each other's names, for whom there is no order, are told apart. A renaming is the name which is
/// given up and the one which is taken; `None` leaves no name and needs none.
pub fn in_order<N: Eq + Hash>(renamings: &[Option<(N, N)>]) -> (Vec<usize>, Vec<usize>) {
    let named = renamings.iter().enumerate().filter_map(|(place, names)| Some((place, names.as_ref()?)));
    let holders: HashMap<&N, usize> = named.map(|(place, (from, _))| (from, place)).collect();
    let mut is_met = vec![false; renamings.len()];
    let (mut order, mut circles) = (Vec::new(), Vec::new());
    for start in 0..renamings.len() {
        let (mut path, mut next) = (Vec::new(), Some(start));
        while let Some(place) = next.filter(|place| !is_met[*place]) {
            is_met[place] = true;
            path.push(place);
            next = renamings[place].as_ref().and_then(|(_, to)| holders.get(to).copied());
        }
        if let Some(beginning) = next.and_then(|met| path.iter().position(|place| *place == met)) {
            circles.extend(path.drain(beginning..));
        }
        order.extend(path.into_iter().rev());
    }
    (order, circles)
}

/// The former values of changes, as an event tells of them.
pub fn previous(changes: &[history::Change]) -> Map<String, Value> {
    changes.iter().map(|change| (change.attribute.clone(), change.from.clone().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{Actor, RealmId};

    const ADA: Uuid = Uuid::from_u128(1);

    fn resource(value: &Value) -> Resource {
        Resource(value.as_object().cloned().unwrap_or_default())
    }

    /// The events of one user who goes from state to state; `null` is to be away.
    fn told(states: &[Value]) -> Vec<Event> {
        let mut events = Vec::new();
        for pair in states.windows(2) {
            let (from, to) = (resource(&pair[0]), resource(&pair[1]));
            let changes = patch::changes(&from, &to).into_iter();
            let previous = changes.map(|change| (change.path, change.previous.unwrap_or_default())).collect();
            let (name, document) = match (pair[0].is_null(), pair[1].is_null()) {
                (true, true) => continue,
                (true, false) => ("created", &to),
                (false, true) => ("deleted", &from),
                (false, false) if from == to => continue,
                (false, false) => ("updated", &to),
            };
            let seq = i64::try_from(events.len()).unwrap() + 1;
            events.push(Event {
                realm: RealmId(Uuid::nil()),
                seq,
                id: Uuid::nil(),
                name: format!("dsync.user.{name}"),
                resource_id: ADA,
                version: seq,
                member_id: None,
                attributes: Some(Value::Object(document.0.clone())),
                previous: (name == "updated").then_some(Value::Object(previous)),
                facts: Value::Null,
                actor: Actor::System,
                request_id: String::new(),
                at: Timestamp::UNIX_EPOCH,
            });
        }
        events
    }

    fn verdict(events: &[Event], present: &Value) -> Verdict {
        let mut plan = Plan::default();
        for event in events {
            plan.take(event);
        }
        let version = events.last().map_or(0, |event| event.version);
        let present = Some(resource(present)).filter(|_| !present.is_null());
        plan.users
            .get(&ADA)
            .map_or(Verdict::Nothing, |life| life.verdict(present.as_ref().map(|it| (it, version)), false))
    }

    fn state() -> impl Strategy<Value = Value> {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let part =
            |name: &'static str| prop_oneof![Just(None), (0..3).prop_map(move |n| Some((name.to_owned(), json!(n))))];
        prop_oneof![
            1 => Just(Value::Null),
            5 => (part("title"), part("locale"), part("department"), part("costCenter")).prop_map(move |parts| {
                let mut map: Map<String, Value> = [parts.0, parts.1].into_iter().flatten().collect();
                map.insert("userName".into(), json!("ada"));
                let inner: Map<String, Value> = [parts.2, parts.3].into_iter().flatten().collect();
                if !inner.is_empty() {
                    map.insert(urn.into(), inner.into());
                }
                map.into()
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_was_done_is_taken_back_if_nothing_came_after(states in prop::collection::vec(state(), 1..8)) {
            let (first, last) = (&states[0], &states[states.len() - 1]);
            let undone = match verdict(&told(&states), last) {
                Verdict::Nothing => last.clone(),
                Verdict::Delete => Value::Null,
                Verdict::Create(resource) => Value::Object(resource.0),
                Verdict::Restore { resource, again, .. } => {
                    prop_assert_eq!(again, Vec::<String>::new());
                    Value::Object(resource.0)
                }
                Verdict::Conflict(reason) => panic!("{reason}"),
            };
            prop_assert_eq!(&undone, first);
        }

        #[test]
        fn a_name_is_free_before_it_is_taken(before in prop::sample::subsequence((0..12).collect::<Vec<_>>(), 6)
            .prop_shuffle(), now in prop::sample::subsequence((0..12).collect::<Vec<_>>(), 6).prop_shuffle())
        {
            let renamings: Vec<_> =
                now.iter().zip(&before).map(|(from, to)| (from != to).then_some((*from, *to))).collect();
            let (order, circles) = in_order(&renamings);
            let mut names = now.clone();
            for place in &order {
                let wanted = before[*place];
                prop_assert!(names[*place] == wanted || !names.contains(&wanted), "{wanted} is taken");
                names[*place] = wanted;
            }
            let mut places: Vec<usize> = order.into_iter().chain(circles.iter().copied()).collect();
            places.sort_unstable();
            prop_assert_eq!(places, (0..6).collect::<Vec<_>>());
            for place in &circles {
                prop_assert!(circles.iter().any(|other| other != place && now[*other] == before[*place]));
            }
        }

        #[test]
        fn what_somebody_wrote_since_stays(states in prop::collection::vec(state(), 2..6), title in 10..12) {
            let mut now = states[states.len() - 1].clone();
            prop_assume!(!now.is_null());
            now["title"] = json!(title);
            if let Verdict::Restore { resource, .. } = verdict(&told(&states), &now) {
                prop_assert_eq!(&resource.0["title"], &json!(title));
            }
        }
    }

    #[test]
    fn who_was_changed_after_its_creation_is_left_alone() {
        let events = told(&[Value::Null, json!({ "userName": "ada" })]);
        let mut plan = Plan::default();
        plan.take(&events[0]);
        let present = resource(&json!({ "userName": "ada" }));
        let ada = &plan.users[&ADA];
        assert_eq!((plan.created(), plan.requests.len()), (vec![ADA], 1));
        assert_eq!(ada.verdict(Some((&present, 1)), false), Verdict::Delete);
        assert!(matches!(ada.verdict(Some((&present, 2)), false), Verdict::Conflict(why) if why.contains("changed")));
        assert!(matches!(ada.verdict(Some((&present, 1)), true), Verdict::Conflict(why) if why.contains("given")));
        assert_eq!(ada.verdict(None, false), Verdict::Nothing);
    }

    #[test]
    fn a_first_sign_in_is_nothing_that_can_be_undone() {
        let mut events = told(&[json!({ "userName": "ada" }), json!({ "userName": "ada", "title": "x" })]);
        events[0].previous = Some(json!({ "state": "shadow" }));
        events[0].facts = json!({ "state": "active" });
        assert_eq!(verdict(&events, &json!({ "userName": "ada", "title": "x" })), Verdict::Nothing);
    }
}
