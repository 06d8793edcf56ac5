//! Filters (RFC 7644 §3.4.2.2): every operator, the grammar, the rules of comparison, and what must be refused.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{
    Verdict, checks,
    provider::{Answer, Provider, expect},
    urn,
};

checks! {
    "RFC 7644 §3.4.2.2", "eq" => |p| { finds(p, r#"title eq "Countess""#, "ada").await?; }
    "RFC 7644 §3.4.2.2", "ne, also where there is no value" => |p| {
        finds(p, r#"title ne "Countess""#, "bob cyd").await?;
    }
    "RFC 7644 §3.4.2.2", "co" => |p| { finds(p, r#"displayName co "bb""#, "bob").await?; }
    "RFC 7644 §3.4.2.2", "sw" => |p| { finds(p, r#"displayName sw "Ada ""#, "ada").await?; }
    "RFC 7644 §3.4.2.2", "ew" => |p| { finds(p, r#"displayName ew "age""#, "bob").await?; }
    "RFC 7644 §3.4.2.2", "pr" => |p| {
        finds(p, "title pr", "ada bob").await?;
        finds(p, "emails pr", "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "gt, ge, lt and le by the order of text" => |p| {
        for (op, found) in [("gt", "bob"), ("ge", "ada bob"), ("lt", ""), ("le", "ada")] {
            finds(p, &format!(r#"title {op} "Countess""#), found).await?;
        }
    }
    "RFC 7644 §3.4.2.2", "gt and lt by the order of time" => |p| {
        finds(p, r#"meta.lastModified gt "2011-05-13T04:42:34Z""#, "ada bob cyd").await?;
        finds(p, r#"meta.lastModified lt "2011-05-13T04:42:34Z""#, "").await?;
        finds(p, r#"meta.created gt "2999-01-01T00:00:00+02:00""#, "").await?;
    }
    "RFC 7644 §3.4.2.2", "and" => |p| { finds(p, "title pr and active eq false", "bob").await?; }
    "RFC 7644 §3.4.2.2", "or" => |p| { finds(p, r#"title eq "Countess" or displayName sw "cyd""#, "ada cyd").await?; }
    "RFC 7644 §3.4.2.2", "not" => |p| {
        finds(p, "not (title pr)", "cyd").await?;
        finds(p, r#"not (title eq "Countess")"#, "bob cyd").await?;
    }
    "RFC 7644 §3.4.2.2", "and binds closer than or" => |p| {
        finds(p, r#"displayName sw "cyd" or title pr and active eq false"#, "bob cyd").await?;
        finds(p, r#"title pr and active eq false or displayName sw "cyd""#, "bob cyd").await?;
    }
    "RFC 7644 §3.4.2.2", "not binds closer than and" => |p| {
        finds(p, "not (active eq false) and title pr", "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "Parentheses group" => |p| {
        finds(p, r#"(displayName sw "cyd" or title pr) and active eq false"#, "bob").await?;
        finds(p, "((((title pr))))", "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "Operators and attribute names do not heed case" => |p| {
        finds(p, r#"TITLE EQ "Countess""#, "ada").await?;
        finds(p, "Title Pr AND NOT (Active Eq False)", "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "Text is compared without case where caseExact is false" => |p| {
        finds(p, r#"title eq "COUNTESS""#, "ada").await?;
        finds(p, r#"displayName co "LOVE""#, "ada").await?;
    }
    "RFC 7643 §3.1", "Text is compared with case where caseExact is true" => |p| {
        finds(p, r#"externalId eq "Ext-{ada}""#, "ada").await?;
        finds(p, r#"externalId eq "ext-{ada}""#, "").await?;
    }
    "RFC 7643 §4.1", "userName is found in any case" => |p| {
        let name = people(p).await?[0].to_uppercase();
        finds(p, &format!(r#"userName eq "{name}""#), "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "A boolean is compared with eq and ne" => |p| {
        finds(p, "active eq false", "bob").await?;
        finds(p, "active ne true", "bob").await?;
    }
    "RFC 7644 §3.4.2.2", "A boolean has no order: invalidFilter" => |p| { refused(p, "active gt false").await?; }
    "RFC 7644 §3.4.2.2", "Sub-attributes are named with a dot" => |p| {
        finds(p, r#"name.familyName eq "Lovelace""#, "ada").await?;
        finds(p, r#"emails.value eq "bob@work.example""#, "bob").await?;
    }
    "RFC 7644 §3.4.2.2", "A multi-valued attribute matches if one of its values does" => |p| {
        finds(p, r#"emails.value ew "@home.example""#, "ada").await?;
        finds(p, r#"emails.type eq "home""#, "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "A complex attribute with `value` is compared by it" => |p| {
        finds(p, r#"emails co "@home.example""#, "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "A value path wants all of it from one value" => |p| {
        finds(p, r#"emails[type eq "home" and value ew "@work.example"]"#, "bob").await?;
        finds(p, r#"emails[type eq "home"] and emails[value ew "@work.example"]"#, "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "A value path takes or, not and groups" => |p| {
        finds(p, r#"emails[(type eq "work" or primary eq true) and not (value sw "bob")]"#, "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "Attributes of an extension are named with the URN of its schema" => |p| {
        finds(p, &format!(r#"{}:department eq "engines""#, urn::ENTERPRISE), "ada bob").await?;
        finds(p, &format!(r#"{}:employeeNumber eq "1815""#, urn::ENTERPRISE), "ada").await?;
    }
    "RFC 7644 §3.4.2.2", "Attributes of the core may be named with its URN" => |p| {
        finds(p, &format!(r#"{}:title eq "Countess""#, urn::USER), "ada").await?;
    }
    "RFC 7643 §3.3", "schemas can be filtered by" => |p| {
        finds(p, &format!(r#"schemas eq "{}""#, urn::ENTERPRISE), "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "eq null is the contrary of pr" => |p| {
        finds(p, "title eq null", "cyd").await?;
        finds(p, "title ne null", "ada bob").await?;
    }
    "RFC 7644 §3.4.2.2", "Text is JSON: escapes mean what they mean there" => |p| {
        finds(p, r#"displayName co "\"off\"""#, "cyd").await?;
        finds(p, r#"displayName co "\u0063yd""#, "cyd").await?;
    }
    "RFC 7644 §3.4.2.2", "Signs which mean something elsewhere mean themselves" => |p| {
        finds(p, r#"displayName co "0% ""#, "cyd").await?;
        finds(p, r#"displayName co "A_a""#, "").await?;
        finds(p, r#"displayName eq "' or 1=1 --""#, "").await?;
    }
    "RFC 7644 §3.4.2.2", "id can be filtered by" => |p| {
        let (_, user) = p.create_user(json!({})).await?;
        filtered(p, "/Users", &format!(r#"id eq "{}""#, user.id()?)).await?.is(200)?.has("/totalResults", 1)?;
    }
    "RFC 7644 §3.4.2.2", "Groups are filtered by displayName and by members" => |p| {
        let (_, user) = p.create_user(json!({})).await?;
        let (_, group) = p.create_group(json!({ "members": [{ "value": user.id()? }] })).await?;
        let name = group.text_at("/displayName").unwrap_or_default().to_uppercase();
        for filter in [format!(r#"displayName eq "{name}""#), format!(r#"members.value eq "{}""#, user.id()?)] {
            let list = filtered(p, "/Groups", &filter).await?;
            list.is(200)?.has("/totalResults", 1)?.has("/Resources/0/id", group.id()?)?;
        }
    }
    "RFC 7644 §3.4.2.2", "A filter which matches nobody: 200, totalResults 0" => |p| {
        let nobody = filtered(p, "/Users", r#"userName eq "nobody at all""#).await?;
        nobody.is(200)?.has("/totalResults", 0)?.lacks("/Resources")?;
    }
    "RFC 7644 §3.4.2.2", "An unknown attribute is 400 invalidFilter, never an empty list" => |p| {
        refused(p, r#"shoeSizes eq "44""#).await?;
        refused(p, "name.mood pr").await?;
    }
    "RFC 7644 §3.4.2.2", "An unknown operator is 400 invalidFilter" => |p| { refused(p, r#"title like "C%""#).await?; }
    "RFC 7644 §3.4.2.2", "What the grammar does not have is 400 invalidFilter" => |p| {
        for filter in [
            "title", "title eq", r#"eq "x""#, "title eq Countess", r#"title eq "Countess"#, "(title pr", "title pr)",
            "title pr and", "not title pr", r#"emails[type eq "work""#, "emails[]", "title eq 'Countess'",
            "title pr title pr",
        ] {
            refused(p, filter).await?;
        }
    }
    "RFC 7644 §3.4.2.2", "A value of another type is 400 invalidFilter" => |p| {
        refused(p, "userName eq 7").await?;
        refused(p, r#"meta.created gt "yesterday""#).await?;
    }
    "RFC 7644 §7.7", "A filter of absurd depth is refused, and nothing breaks" => |p| {
        let depth = 400;
        refused(p, &format!("{}title pr{}", "(".repeat(depth), ")".repeat(depth))).await?;
        p.get("/Users?count=0").await?.is(200)?;
    }
}

/// `userName` of the three whom filters look for.
async fn people(p: &Provider) -> Verdict<&[String; 3]> {
    p.people
        .get_or_try_init(|| async {
            let names = ["ada", "bob", "cyd"].map(|name| p.fresh(name));
            let [ada, bob, cyd] = [
                json!({
                    "externalId": format!("Ext-{}", names[0]), "title": "Countess", "displayName": "Ada Lovelace",
                    "name": { "givenName": "Ada", "familyName": "Lovelace" },
                    "emails": [
                        { "value": "ada@work.example", "type": "work", "primary": true },
                        { "value": "ada@home.example", "type": "home" },
                    ],
                    urn::ENTERPRISE: { "department": "Engines", "employeeNumber": "1815" },
                }),
                json!({
                    "title": "Professor", "displayName": "Bob Babbage", "active": false,
                    "emails": [{ "value": "bob@work.example", "type": "home" }],
                    urn::ENTERPRISE: { "department": "ENGINES" },
                }),
                json!({ "displayName": "cyd 50% \"off\"", "active": true }),
            ];
            for (mut person, name) in [ada, bob, cyd].into_iter().zip(&names) {
                person["userName"] = name.as_str().into();
                p.create_user(person).await?;
            }
            Ok(names)
        })
        .await
}

async fn filtered(p: &Provider, endpoint: &str, filter: &str) -> Verdict<Answer> {
    let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC);
    p.get(&format!("{endpoint}?count=1000&attributes=userName&filter={filter}")).await
}

/// The filter finds just these of the three.
async fn finds(p: &Provider, filter: &str, expected: &str) -> Verdict {
    p.announces("filter")?;
    let people = people(p).await?;
    let filter = filter.replace("{ada}", &people[0]);
    let answer = filtered(p, "/Users", &filter).await?;
    let names = answer.is(200)?.each("userName");
    let found: Vec<_> =
        people.iter().filter(|name| names.contains(&name.as_str())).filter_map(|name| name.split('-').next()).collect();
    let found = found.join(" ");
    expect(found == expected, || format!("{filter}: expected [{expected}], found [{found}]"))
}

async fn refused(p: &Provider, filter: &str) -> Verdict {
    p.announces("filter")?;
    filtered(p, "/Users", filter).await?.refused(400, "invalidFilter").map(|_| ())
}
