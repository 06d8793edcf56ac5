//! Where a request stands: from path and host to a realm.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Access, Denied};
use crate::{
    model::{
        alias,
        realm::{Domain, Realm},
    },
    store::{error::Error, realms},
};

/// How long a path which is not ours may wait to be looked for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a realm is found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Name(Box<str>),
    Domain(Box<str>),
    /// The beginning of a path.
    Alias(Box<str>),
}

/// What a look-up found, and how much had been forgotten when it began.
#[derive(Debug, Clone)]
pub(super) struct Known {
    generation: u64,
    realm: Option<Arc<Realm>>,
}

/// Where a request stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// As the path names it, or as the domain implies: for the answer, known or not.
    pub name: String,
    pub realm: Option<Arc<Realm>>,
    /// The custom domain by which the request came.
    pub domain: Option<Domain>,
}

impl Access {
    /// Finds the realm of a request from its host and from the realm which its path names, if it names one.
    ///
    /// A custom domain pins the realm: another one in the path is [`Denied::ElsewhereOnly`]. Without a name in the
    /// path only a custom domain leads anywhere.
    pub async fn place(&self, authority: Option<&str>, name: Option<&str>) -> Result<Place, Denied> {
        let domain = authority.and_then(|authority| self.domain_of(authority));
        let pinned = match &domain {
            Some(domain) => self.known(Key::Domain(domain.as_str().into())).await?,
            None => None,
        };
        match (pinned, name) {
            (Some(realm), name) if name.is_none_or(|name| name == realm.name.as_str()) => {
                Ok(Place { name: realm.name.to_string(), realm: Some(realm), domain })
            }
            (Some(_), _) | (None, None) => Err(Denied::ElsewhereOnly),
            (None, Some(name)) => {
                let realm = self.known(Key::Name(name.into())).await?;
                Ok(Place { name: name.to_owned(), realm, domain: None })
            }
        }
    }

    /// The same place as it is by now, for who was told that the realm has moved on.
    pub async fn place_again(&self, place: &Place) -> Result<Place, Denied> {
        self.forget();
        self.place(place.domain.as_ref().map(Domain::as_str), Some(place.name.as_str())).await
    }

    /// Is the host a realm's custom domain? What belongs to the operators is not served there.
    pub async fn is_custom_domain(&self, authority: &str) -> Result<bool, Denied> {
        match self.domain_of(authority) {
            Some(domain) => Ok(self.known(Key::Domain(domain.as_str().into())).await?.is_some()),
            None => Ok(false),
        }
    }

    /// The realm to which `path` leads by an alias, and that alias; `None` for every other path, of which our own cost
    /// nothing. An alias is valid on the platform's hosts and on its realm's own domains: on another realm's domain it
    /// does not exist.
    pub async fn alias<'p>(
        &self,
        authority: Option<&str>,
        path: &'p str,
    ) -> Result<Option<(Arc<Realm>, &'p str)>, Denied> {
        let candidates: Vec<&str> = alias::candidates(path).collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let found = timeout(PATIENCE, self.known_alias(&candidates)).await.map_err(|_| Denied::Busy)??;
        let (Some((realm, alias)), Some(domain)) = (&found, authority.and_then(|authority| self.domain_of(authority)))
        else {
            return Ok(found);
        };
        match self.known(Key::Domain(domain.as_str().into())).await? {
            Some(pinned) if pinned.id != realm.id => Ok(None),
            _ => Ok(Some((realm.clone(), alias))),
        }
    }

    /// Is it the platform's own host?
    pub fn is_platform(&self, domain: &Domain) -> bool {
        self.shared.platform.as_ref() == Some(domain)
    }

    /// The host of an authority, if it can be a custom domain at all. The platform's own host cannot, so that nobody who
    /// may manage one realm takes the platform from all others.
    fn domain_of(&self, authority: &str) -> Option<Domain> {
        custom_domain_of(authority, self.shared.platform.as_ref())
    }

    async fn known_alias<'p>(&self, candidates: &[&'p str]) -> Result<Option<(Arc<Realm>, &'p str)>, Error> {
        let generation = self.generation();
        let mut all_known = true;
        for path in candidates {
            match self.shared.realms.get(&Key::Alias((*path).into())).await {
                Some(Known { generation: then, realm }) if then == generation => {
                    if let Some(realm) = realm {
                        return Ok(Some((realm, path)));
                    }
                }
                _ => {
                    all_known = false;
                    break;
                }
            }
        }
        if all_known {
            return Ok(None);
        }
        let _turn = self.turn().await?;
        let found = realms::find_by_alias(&self.shared.store, candidates).await?;
        let found = found.map(|(path, realm)| (path, Arc::new(realm)));
        for path in candidates {
            let realm = found.as_ref().filter(|(alias, _)| alias == path).map(|(_, realm)| realm.clone());
            self.shared.realms.insert(Key::Alias((*path).into()), Known { generation, realm: realm.clone() }).await;
            if let Some(realm) = realm {
                return Ok(Some((realm, path)));
            }
        }
        Ok(None)
    }

    async fn known(&self, key: Key) -> Result<Option<Arc<Realm>>, Error> {
        let generation = self.generation();
        if let Some(known) = self.shared.realms.get(&key).await
            && known.generation == generation
        {
            return Ok(known.realm);
        }
        let _turn = self.turn().await?;
        let found = match &key {
            Key::Name(name) => realms::find_by_name(&self.shared.store, name).await?,
            Key::Domain(domain) => realms::find_by_domain(&self.shared.store, domain).await?,
            Key::Alias(path) => realms::find_by_alias(&self.shared.store, &[path]).await?.map(|(_, realm)| realm),
        };
        let realm = found.map(Arc::new);
        self.shared.realms.insert(key, Known { generation, realm: realm.clone() }).await;
        Ok(realm)
    }
}

/// The host of an authority, if it can be a custom domain at all: addresses and single labels cannot.
pub fn domain_of(authority: &str) -> Option<Domain> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    Domain::parse(host).ok()
}

fn custom_domain_of(authority: &str, platform: Option<&Domain>) -> Option<Domain> {
    domain_of(authority).filter(|domain| Some(domain) != platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platforms_own_host_is_nobodys_domain() {
        let platform = Domain::parse("gate.example.test").unwrap();
        let custom = |authority| custom_domain_of(authority, Some(&platform)).map(|domain| domain.as_str().to_owned());
        assert_eq!(custom("id.acme.example:8443").as_deref(), Some("id.acme.example"));
        for platforms in
            ["gate.example.test", "GATE.example.test:8080", "gate.example.test.", "127.0.0.1:80", "localhost"]
        {
            assert_eq!(custom(platforms), None, "{platforms}");
        }
    }
}
