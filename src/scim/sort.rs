//! `sortBy` and `sortOrder` (RFC 7644 §3.4.2.3).
//!
//! The order is total: what the list is sorted by, then the id. A resource without a value comes after all which have
//! one. Of a multi-valued attribute the primary value counts, else the first; a complex one stands for its `value`.
//! Text ignores case unless it is `caseExact`, and is compared by its first [`MAX_KEY_CHARS`] characters. The
//! descending list is the ascending one, read from its end.

use super::error::{Error, Result};
use super::path::AttrPath;
use super::schema::{Kind, Resolved, ResourceType, Returned};

/// Characters of a text by which it is sorted.
pub const MAX_KEY_CHARS: usize = 256;

/// What a list is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sort {
    pub by: AttrPath,
    pub descending: bool,
}

impl Sort {
    /// Reads `sortBy` and `sortOrder`. Any fault is `invalidValue`, the one word of RFC 7644 table 9 for a GET's
    /// parameters other than its filter.
    pub fn parse(by: &str, order: Option<&str>) -> Result<Self> {
        let by = by.parse().map_err(|error: Error| Error::invalid_value(format!("`sortBy`: {error}")))?;
        let descending = match order {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => return Err(Error::invalid_value("`sortOrder` is `ascending` or `descending`")),
        };
        Ok(Self { by, descending })
    }

    /// What resources of each type are sorted by; `None` for a type which lacks the attribute, so that its resources
    /// have no value. Refused where all lack it, and where its values have no order.
    pub fn keys<'a>(&self, types: &[&'a ResourceType]) -> Result<Vec<Option<Resolved<'a>>>> {
        let keys: Vec<_> = types.iter().map(|resource_type| self.key(resource_type)).collect::<Result<_>>()?;
        if keys.iter().all(Option::is_none) {
            let names: Vec<&str> = types.iter().map(|resource_type| &*resource_type.name).collect();
            return Err(Error::invalid_value(format!(
                "`sortBy`: `{}` is not an attribute of {}; extensions need their schema URN",
                self.by,
                names.join(" or ")
            )));
        }
        Ok(keys)
    }

    fn key<'a>(&self, resource_type: &'a ResourceType) -> Result<Option<Resolved<'a>>> {
        let Some(found) = resource_type.resolve(&self.by).map(Resolved::compared) else { return Ok(None) };
        let (attribute, leaf) = (found.attribute, found.leaf());
        let refuse = |why: &str| Err(Error::invalid_value(format!("`sortBy`: `{}` {why}", self.by)));
        if [attribute, leaf].iter().any(|attribute| attribute.returned == Returned::Never) {
            return refuse("is never shown, so nothing can be sorted by it");
        }
        if found.extension.is_none() && ["members", "groups"].contains(&&*attribute.name) {
            return refuse("is membership, which has no order; sort by an attribute of the resource itself");
        }
        match leaf.kind {
            Kind::Complex => refuse("has parts and no `value`; sort by one of them"),
            Kind::Binary => refuse("is binary, which has no order (RFC 7643 §2.3.6)"),
            _ if found.sub.is_some_and(|sub| sub.multi_valued) => refuse("has several values within one"),
            _ => Ok(Some(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn key(by: &str) -> String {
        let types = [ResourceType::user(), ResourceType::group()];
        let keys = Sort::parse(by, None).and_then(|sort| {
            let name = |found: &Resolved| found.leaf().name.clone();
            Ok(sort.keys(&types)?.iter().map(|key| key.as_ref().map(name)).collect::<Vec<_>>())
        });
        keys.map_or_else(|error| error.to_string(), |keys| format!("{keys:?}"))
    }

    #[test]
    fn a_list_is_sorted_by_whatever_has_an_order() {
        assert_snapshot!(key("USERNAME"), @r#"[Some("userName"), None]"#);
        assert_snapshot!(key("displayName"), @r#"[Some("displayName"), Some("displayName")]"#);
        assert_snapshot!(key("emails"), @r#"[Some("value"), None]"#);
        assert_snapshot!(key("emails.type"), @r#"[Some("type"), None]"#);
        assert_snapshot!(key("meta.lastModified"), @r#"[Some("lastModified"), Some("lastModified")]"#);
        assert_snapshot!(key("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"), @r#"[Some("value"), None]"#);
    }

    #[test]
    fn what_has_no_order_is_refused() {
        assert_snapshot!(key("shoeSize"), @"`sortBy`: `shoeSize` is not an attribute of User or Group; extensions need their schema URN");
        assert_snapshot!(key(""), @"`sortBy`: expected the name of an attribute (column 1)");
        assert_snapshot!(key("name"), @"`sortBy`: `name` has parts and no `value`; sort by one of them");
        assert_snapshot!(key("x509Certificates"), @"`sortBy`: `x509Certificates` is binary, which has no order (RFC 7643 §2.3.6)");
        assert_snapshot!(key("members"), @"`sortBy`: `members` is membership, which has no order; sort by an attribute of the resource itself");
        assert_snapshot!(key("password"), @"`sortBy`: `password` is never shown, so nothing can be sorted by it");
        let upside_down = Sort::parse("userName", Some("upside-down")).unwrap_err();
        assert_snapshot!(upside_down, @"`sortOrder` is `ascending` or `descending`");
        assert!(Sort::parse("userName", Some("Descending")).unwrap().descending);
    }
}
