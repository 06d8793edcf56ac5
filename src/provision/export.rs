//! What a realm holds, in the lines by which it can be brought elsewhere (`model::moved`).
//!
//! Read in parts, each of them a transaction, so that an export holds neither a connection nor more memory than a part.
//! Whoever is there all the while is in it once; who comes or goes meanwhile may be in it or not, which the events tell
//! from the `seq` of the first line on. A last line tells what stands before it, so that an export which was cut off is
//! not taken for a whole one, and the event from which on all of it has been told.

use std::{collections::VecDeque, fmt::Write as _};

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Result, history, realms};
use crate::{
    model::{
        RealmId,
        group::Place,
        moved::{Held, Line, TokenLine},
        realm::Realm,
    },
    store::{
        self, Store,
        export::{self, Leaving, LeavingGroup, LeavingUser},
        members, tokens,
    },
};

/// Of the form of the lines.
const VERSION: u32 = 1;

/// An export under way.
pub struct Export {
    store: Store,
    name: String,
    realm: RealmId,
    at: Timestamp,
    /// The realm's last event before anything was read.
    seq: i64,
    held: Held,
    /// Groups whose members come in lines of their own.
    large: VecDeque<Uuid>,
    next: Part,
}

#[derive(Clone, Copy)]
enum Part {
    Settings,
    /// Behind that id.
    Users(Uuid),
    Groups(Uuid),
    /// Of the first large group, from there on.
    Members(Place),
    End,
    Nothing,
}

impl Export {
    /// Begins with nothing read.
    pub async fn of(store: &Store, name: &str, at: Timestamp) -> Result<Self> {
        let realm = realms::get(store, name).await?.id;
        let seq = store::events::heads(store, &[realm]).await?.first().map_or(0, |(_, seq)| *seq);
        let (held, large, next) = (Held::default(), VecDeque::new(), Part::Settings);
        Ok(Self { store: store.clone(), name: name.to_owned(), realm, at, seq, held, large, next })
    }

    /// The next lines, each with its end; `None` behind the last.
    pub async fn next(&mut self) -> Result<Option<String>> {
        let mut tries = 1;
        loop {
            let realm = realms::get(&self.store, &self.name).await?;
            if realm.id != self.realm {
                return Err(Error::NotFound("Realm not found.".into()));
            }
            match self.part(&realm).await {
                Err(Error::Store(store::error::Error::Stale)) if tries < 5 => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn part(&mut self, realm: &Realm) -> Result<Option<String>> {
        let mut out = String::new();
        match self.next {
            Part::Nothing => return Ok(None),
            Part::Settings => {
                self.settings(realm, &mut out).await?;
                self.next = Part::Users(Uuid::nil());
            }
            Part::Users(after) => {
                let page = export::users(self.store.enter(realm.id, realm.epoch).await?, after).await?;
                self.held.users += page.resources.len() as u64;
                for user in &page.resources {
                    write_user(&mut out, user);
                }
                let last = page.resources.last().filter(|_| page.more);
                self.next = last.map_or(Part::Groups(Uuid::nil()), |user| Part::Users(user.resource.id));
            }
            Part::Groups(after) => {
                let page = export::groups(self.store.enter(realm.id, realm.epoch).await?, after).await?;
                self.held.groups += page.resources.len() as u64;
                for group in &page.resources {
                    write_group(&mut out, group);
                    match &group.members {
                        Some(members) => self.held.members += members.len() as u64,
                        None => self.large.push_back(group.resource.id),
                    }
                }
                let last = page.resources.last().filter(|_| page.more);
                self.next = last.map_or(Part::Members(Place::default()), |group| Part::Groups(group.resource.id));
            }
            Part::Members(place) => self.next = self.members(realm, place, &mut out).await?,
            Part::End => {
                self.held.until = Some(history::settled(&self.store, realm).await?);
                write(&mut out, &Line::End(self.held));
                self.next = Part::Nothing;
            }
        }
        Ok(Some(out))
    }

    async fn settings(&mut self, realm: &Realm, out: &mut String) -> Result<()> {
        let mut tx = self.store.enter(realm.id, realm.epoch).await?;
        let (hashes, roles) = (tokens::hashes(&mut tx).await?, export::roles(&mut tx).await?);
        tx.commit().await?;
        let mut settings = Vec::new();
        for extension in &realm.types.added {
            let definition = serde_json::to_value(&extension.schema).unwrap_or_default();
            let (resource_type, required) = (extension.resource_type, extension.required);
            settings.push(Line::Schema { resource_type, required, definition });
        }
        if let Ok(Value::Object(policy)) = serde_json::to_value(&realm.policy) {
            settings.push(Line::Policy { policy });
        }
        let (domains, aliases) =
            (store::realms::domains(&self.store, realm.id), store::realms::aliases(&self.store, realm.id));
        settings.extend(domains.await?.into_iter().map(|domain| Line::Domain { domain }));
        settings.extend(aliases.await?.into_iter().map(|path| Line::Alias { path }));
        let good = hashes.into_iter().filter(|(token, _)| token.expires_at.is_none_or(|end| end > self.at));
        settings.extend(good.map(|(token, hash)| {
            Line::Token(TokenLine {
                hash: hash.text(),
                format: token.format,
                prefix: token.prefix,
                label: token.label,
                expires_at: token.expires_at,
            })
        }));
        write(out, &Line::Export { version: VERSION, realm: self.name.clone(), at: self.at, seq: Some(self.seq) });
        self.held = Held { settings: settings.len() as u64, roles: roles.len() as u64, ..Held::default() };
        let roles = roles.into_iter().map(|(name, description)| Line::Role { name, description });
        for line in settings.into_iter().chain(roles) {
            write(out, &line);
        }
        Ok(())
    }

    /// Members of the first large group, and what comes then.
    async fn members(&mut self, realm: &Realm, place: Place, out: &mut String) -> Result<Part> {
        let Some(group) = self.large.front().copied() else { return Ok(Part::End) };
        let tx = self.store.enter(realm.id, realm.epoch).await?;
        let next = match members::read(tx, &[group], place, false).await {
            Ok(stretch) => {
                let members: Vec<String> = stretch.members.iter().map(|(_, member)| member.id.to_string()).collect();
                self.held.members += members.len() as u64;
                if !members.is_empty() {
                    write(out, &Line::Members { group: group.to_string(), members });
                }
                stretch.next
            }
            // It has been deleted meanwhile.
            Err(store::error::Error::Dangling(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if next.is_none() {
            self.large.pop_front();
        }
        Ok(Part::Members(next.unwrap_or_default()))
    }
}

fn write(out: &mut String, line: &Line) {
    // Lines of ours have text keys and no way to fail, and a String takes whatever it is given.
    let _ = writeln!(out, "{}", serde_json::to_string(line).unwrap_or_default());
}

/// The document is copied as it is kept: `schemas` and what the IdP wrote.
fn write_user(out: &mut String, user: &LeavingUser) {
    let LeavingUser { resource, activated, active, display_name } = user;
    let mut own = json!({ "state": if *activated { "active" } else { "shadow" } });
    if let Some(active) = active {
        own["active"] = (*active).into();
    }
    if let Some(display_name) = display_name {
        own["display_name"] = display_name.as_str().into();
    }
    write_resource(out, "user", resource, own);
}

fn write_group(out: &mut String, group: &LeavingGroup) {
    let own = match &group.members {
        Some(members) => json!({ "members": members }),
        None => json!({}),
    };
    write_resource(out, "group", &group.resource, own);
}

fn write_resource(out: &mut String, kind: &str, resource: &Leaving, mut own: Value) {
    let Leaving { id, created_at, attributes, roles } = resource;
    if !roles.is_empty() {
        own["roles"] = json!(roles);
    }
    let own = own.to_string();
    let own = own.strip_prefix('{').and_then(|own| own.strip_suffix('}')).unwrap_or_default();
    let comma = if own.is_empty() { "" } else { "," };
    let _ = writeln!(
        out,
        r#"{{"type":"{kind}","id":"{id}","created":"{created_at}",{own}{comma}"resource":{attributes}}}"#
    );
}
