//! PATCH (RFC 7644 §3.5.2): each operation with each kind of path, and what must be refused with nothing changed.

use http::Method;
use serde_json::{Value, json};

use super::{
    Unmet, Verdict, checks,
    provider::{Answer, Provider, expect},
    resources::NOBODY,
    urn,
};

checks! {
    "RFC 7644 §3.5.2", "PATCH answers 200 with the resource, or 204" => |p| {
        for (path, _) in [p.create_user(json!({})).await?, p.create_group(json!({})).await?] {
            let answer = p.patch(&path, json!([{ "op": "add", "path": "externalId", "value": p.fresh("x") }])).await?;
            expect([200, 204].contains(&answer.status), || "expected 200 or 204".into())?;
            expect((answer.status == 204) == answer.text.is_empty(), || "expected a body with 200 alone".into())?;
        }
    }
    "RFC 7644 §3.5.2", "PATCH answers 200 where attributes are asked for" => |p| {
        let (path, _) = p.create_group(json!({})).await?;
        let name = p.fresh("renamed");
        let answer = p.patch(&format!("{path}?attributes=displayName"), replace("displayName", name.as_str())).await?;
        answer.is(200)?.has("/displayName", name)?;
    }
    "RFC 7644 §3.5.2.1", "add without a path adds the attributes of its value" => |p| {
        let value = json!({ "title": "b", "nickName": "n", "name": { "familyName": "F" } });
        let before = json!({ "title": "a", "name": { "givenName": "G" } });
        let after = changed(p, before, json!([{ "op": "add", "value": value }])).await?;
        after.has("/title", "b")?.has("/nickName", "n")?.has("/name", json!({ "givenName": "G", "familyName": "F" }))?;
    }
    "RFC 7644 §3.5.2.1", "add to a single value replaces it" => |p| {
        let add = json!([{ "op": "add", "path": "title", "value": "b" }]);
        changed(p, json!({ "title": "a" }), add).await?.has("/title", "b")?;
    }
    "RFC 7644 §3.5.2.1", "add to a multi-valued attribute appends" => |p| {
        let add = json!([{ "op": "add", "path": "emails", "value": [{ "value": "b@x.example" }] }]);
        let after = changed(p, json!({ "emails": [{ "value": "a@x.example" }] }), add).await?;
        after.has("/emails", json!([{ "value": "a@x.example" }, { "value": "b@x.example" }]))?;
    }
    "RFC 7644 §3.5.2.1", "add of a value which is there changes nothing, and makes no new version" => |p| {
        let (path, _) = p.create_user(json!({ "title": "a", "emails": [{ "value": "a@x.example" }] })).await?;
        let before = p.get(&path).await?;
        for (at, value) in [("emails", json!([{ "value": "a@x.example" }])), ("title", json!("a"))] {
            p.patch(&path, json!([{ "op": "add", "path": at, "value": value }])).await?.succeeds()?;
        }
        expect(p.get(&path).await?.body == before.body, || format!("expected {}", before.body))?;
    }
    "RFC 7644 §3.5.2.1", "add to a sub-attribute" => |p| {
        let add = json!([{ "op": "add", "path": "name.familyName", "value": "F" }]);
        changed(p, json!({}), add).await?.has("/name/familyName", "F")?;
    }
    "RFC 7644 §3.5.2.1", "add to the attribute of an extension, by the URN of its schema" => |p| {
        let at = format!("{}:department", urn::ENTERPRISE);
        let after = changed(p, json!({}), json!([{ "op": "add", "path": at, "value": "E" }])).await?;
        expect(after.body[urn::ENTERPRISE]["department"] == "E", || "expected the department".into())?;
    }
    "RFC 7644 §3.5.2.1", "add of an extension as an object, without a path" => |p| {
        let value = json!({ urn::ENTERPRISE: { "department": "E" } });
        let before = json!({ urn::ENTERPRISE: { "division": "D" } });
        let after = changed(p, before, json!([{ "op": "add", "value": value }])).await?;
        let extension = &after.body[urn::ENTERPRISE];
        expect(*extension == json!({ "division": "D", "department": "E" }), || format!("found {extension}"))?;
    }
    "RFC 7644 §3.5.2.3", "replace of a single value" => |p| {
        changed(p, json!({ "title": "a" }), replace("title", "b")).await?.has("/title", "b")?;
    }
    "RFC 7644 §3.5.2.3", "replace without a path replaces the attributes of its value, and no others" => |p| {
        let operation = json!([{ "op": "replace", "value": { "title": "b" } }]);
        let after = changed(p, json!({ "title": "a", "nickName": "n" }), operation).await?;
        after.has("/title", "b")?.has("/nickName", "n")?;
    }
    "RFC 7644 §3.5.2.3", "replace of what has no value adds it" => |p| {
        changed(p, json!({}), replace("title", "b")).await?.has("/title", "b")?;
    }
    "RFC 7644 §3.5.2.3", "replace of a multi-valued attribute replaces all of its values" => |p| {
        let before = json!({ "emails": [{ "value": "a@x.example" }, { "value": "b@x.example" }] });
        let after = changed(p, before, replace("emails", json!([{ "value": "c@x.example" }]))).await?;
        after.has("/emails", json!([{ "value": "c@x.example" }]))?;
    }
    "RFC 7644 §3.5.2.3", "replace of a complex attribute leaves the parts that it does not name" => |p| {
        let before = json!({ "name": { "givenName": "G", "familyName": "F" } });
        let after = changed(p, before, replace("name", json!({ "familyName": "H" }))).await?;
        after.has("/name", json!({ "givenName": "G", "familyName": "H" }))?;
    }
    "RFC 7644 §3.5.2.3", "replace of the part of the value which a filter selects" => |p| {
        let after = changed(p, two_emails(), replace(r#"emails[type eq "work"].value"#, "w2@x.example")).await?;
        after.has("/emails/0/value", "w2@x.example")?.has("/emails/1", two_emails()["emails"][1].clone())?;
    }
    "RFC 7644 §3.5.2.3", "replace of the whole value which a filter selects" => |p| {
        let value = json!({ "type": "work", "value": "w2@x.example" });
        let after = changed(p, two_emails(), replace(r#"emails[type eq "work"]"#, value)).await?;
        after.has("/emails/0/value", "w2@x.example")?.has("/emails/1", two_emails()["emails"][1].clone())?;
    }
    "RFC 7644 §3.5.2.3", "replace where a filter selects nothing is 400 noTarget" => |p| {
        unchanged(p, two_emails(), replace(r#"emails[value sw "nobody"].value"#, "x"), "noTarget").await?;
    }
    "RFC 7644 §3.5.2.2", "remove of a single value" => |p| {
        changed(p, json!({ "title": "a" }), remove("title")).await?.lacks("/title")?;
    }
    "RFC 7644 §3.5.2.2", "remove of a sub-attribute leaves the others" => |p| {
        let before = json!({ "name": { "givenName": "G", "familyName": "F" } });
        let after = changed(p, before, remove("name.givenName")).await?;
        after.has("/name", json!({ "familyName": "F" }))?;
    }
    "RFC 7644 §3.5.2.2", "remove of a multi-valued attribute removes all of its values" => |p| {
        changed(p, two_emails(), remove("emails")).await?.lacks("/emails")?;
    }
    "RFC 7644 §3.5.2.2", "remove of the values which a filter selects" => |p| {
        let after = changed(p, two_emails(), remove(r#"emails[type eq "work"]"#)).await?;
        after.has("/emails", json!([two_emails()["emails"][1]]))?;
    }
    "RFC 7644 §3.5.2.2", "remove of a part of the values which a filter selects" => |p| {
        let after = changed(p, two_emails(), remove(r#"emails[type eq "work"].display"#)).await?;
        after.lacks("/emails/0/display")?.has("/emails/0/value", "w@x.example")?.has("/emails/1/display", "H")?;
    }
    "RFC 7644 §3.5.2.2", "remove of the attribute of an extension; the last one takes the extension along" => |p| {
        let operation = remove(&format!("{}:department", urn::ENTERPRISE));
        let after = changed(p, json!({ urn::ENTERPRISE: { "department": "E" } }), operation).await?;
        let extension = &after.body[urn::ENTERPRISE];
        expect(extension.is_null(), || format!("found {extension}"))?;
    }
    "RFC 7644 §3.5.2.2", "remove without a path is 400 noTarget" => |p| {
        unchanged(p, json!({}), json!([{ "op": "remove" }]), "noTarget").await?;
    }
    "RFC 7644 §3.5.2.2", "remove of a required attribute is 400 mutability" => |p| {
        unchanged(p, json!({}), remove("userName"), "mutability").await?;
        let (path, _) = p.create_group(json!({})).await?;
        p.patch(&path, remove("displayName")).await?.refused(400, "mutability")?;
    }
    "RFC 7644 §3.5.2", "A change of what is readOnly is 400 mutability" => |p| {
        for at in ["id", "meta.created", "groups"] {
            unchanged(p, json!({}), replace(at, "x"), "mutability").await?;
        }
    }
    "RFC 7644 §3.5.2", "A path that is none is 400 invalidPath" => |p| {
        for at in ["name..givenName", "", " ", "title]", "name.givenName.first"] {
            unchanged(p, json!({}), replace(at, "x"), "invalidPath").await?;
        }
    }
    "RFC 7644 §3.12", "A filter in a path that is none is 400 invalidFilter" => |p| {
        for at in ["emails[type eq", "emails[type eq \"work\"", "emails[]", "emails[type like \"w\"]"] {
            unchanged(p, json!({}), replace(at, "x"), "invalidFilter").await?;
        }
    }
    "RFC 7644 §3.5.2", "A value of another type is 400 invalidValue" => |p| {
        unchanged(p, json!({}), replace("active", "perhaps"), "invalidValue").await?;
        unchanged(p, json!({}), replace("emails", json!([7])), "invalidValue").await?;
    }
    "RFC 7644 §3.5.2", "An attribute which no schema knows is treated as the realm's policy says" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        let answer = p.patch(&path, json!([{ "op": "add", "path": "shoeSize", "value": 44 }])).await?;
        let after = p.get(&path).await?;
        match p.policy["unknown_attributes"].as_str() {
            Some("reject") => { answer.refused(400, "")?; }
            Some("ignore") => { answer.succeeds()?; after.lacks("/shoeSize")?; }
            _ => { answer.succeeds()?; after.has("/shoeSize", 44)?; }
        }
    }
    "RFC 7644 §3.5.2", "add and replace without a value are refused" => |p| {
        unchanged(p, json!({}), json!([{ "op": "add", "path": "title" }]), "invalidValue").await?;
        unchanged(p, json!({}), json!([{ "op": "add" }]), "invalidValue").await?;
    }
    "RFC 7644 §3.5.2", "An operation that is none is 400 invalidSyntax" => |p| {
        unchanged(p, json!({}), json!([{ "op": "frobnicate", "path": "title", "value": "x" }]), "invalidSyntax").await?;
        unchanged(p, json!({}), json!([{ "path": "title", "value": "x" }]), "invalidSyntax").await?;
    }
    "RFC 7644 §3.5.2", "A body without Operations is refused" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        let body = json!({ "schemas": [urn::PATCH_OP] });
        p.ask(Method::PATCH, &path).json(&body).send().await?.refused(400, "invalidSyntax")?;
    }
    "RFC 7644 §3.5.2", "The name of an operation and the schemas of the body are exact for the strict dialect" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        let capital = p.patch(&path, json!([{ "op": "Replace", "path": "title", "value": "x" }])).await?;
        let body = json!({ "Operations": replace("title", "y") });
        let bare = p.ask(Method::PATCH, &path).json(&body).send().await?;
        for answer in [capital, bare] {
            if p.rule("dialect", "strict") { answer.refused(400, "invalidSyntax")?; } else { answer.succeeds()?; }
        }
    }
    "RFC 7644 §3.5.2", "Operations are done in their order" => |p| {
        let operations = json!([
            { "op": "add", "path": "title", "value": "a" }, { "op": "remove", "path": "title" },
            { "op": "add", "path": "title", "value": "b" }, { "op": "replace", "path": "nickName", "value": "c" },
        ]);
        changed(p, json!({}), operations).await?.has("/title", "b")?.has("/nickName", "c")?;
    }
    "RFC 7644 §3.5.2", "One operation that fails, and none is done" => |p| {
        let operations = json!([
            { "op": "replace", "path": "title", "value": "b" }, { "op": "replace", "path": "id", "value": "x" },
        ]);
        unchanged(p, json!({ "title": "a" }), operations, "mutability").await?;
    }
    "RFC 7644 §3.5.2", "A new primary value ends the one before" => |p| {
        let add = json!([{ "op": "add", "path": "emails", "value": [{ "value": "n@x.example", "primary": true }] }]);
        let after = changed(p, json!({ "emails": [{ "value": "a@x.example", "primary": true }] }), add).await?;
        after.has("/emails/1/primary", true)?;
        let former = &after.body["emails"][0]["primary"];
        expect(*former != true, || "expected one primary value".into())?;
    }
    "RFC 7644 §3.10", "Paths do not heed case, and may bear the URN of the core schema" => |p| {
        changed(p, json!({}), replace("NAME.GivenName", "G")).await?.has("/name/givenName", "G")?;
        let at = format!("{}:title", urn::USER);
        changed(p, json!({}), replace(&at, "b")).await?.has("/title", "b")?;
    }
    "RFC 7643 §4.1.1", "active is switched off and on" => |p| {
        let (path, _) = p.create_user(json!({ "active": true })).await?;
        for active in [false, true] {
            p.patch(&path, replace("active", active)).await?.succeeds()?;
            p.get(&path).await?.has("/active", active)?;
        }
    }
    "RFC 7643 §4.1.1", "A password that is patched is not shown" => |p| {
        let secret = p.fresh("battery-staple");
        let (path, _) = p.create_user(json!({})).await?;
        let answer = p.patch(&path, replace("password", secret.as_str())).await?;
        answer.succeeds()?;
        for answer in [answer, p.get(&path).await?] {
            expect(!answer.text.contains(&secret), || "expected no password".into())?;
        }
    }
    "RFC 7644 §3.5.2.1", "add of members adds them; one who is there stays one" => |p| {
        let [a, b] = users(p).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": a }] })).await?;
        for _ in 0..2 {
            let add = json!([{ "op": "add", "path": "members", "value": [{ "value": a }, { "value": b }] }]);
            p.patch(&path, add).await?.succeeds()?;
        }
        members(p, &path, &[&a, &b]).await?;
    }
    "RFC 7644 §3.5.2.2", "remove of the member whom a filter selects" => |p| {
        let [a, b] = users(p).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": a }, { "value": b }] })).await?;
        p.patch(&path, remove(&format!(r#"members[value eq "{a}"]"#))).await?.succeeds()?;
        members(p, &path, &[&b]).await?;
    }
    "RFC 7644 §3.5.2.2", "remove of all members" => |p| {
        let [a, b] = users(p).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": a }, { "value": b }] })).await?;
        p.patch(&path, remove("members")).await?.succeeds()?;
        members(p, &path, &[]).await?;
    }
    "RFC 7644 §3.5.2.3", "replace of members leaves these alone" => |p| {
        let [a, b] = users(p).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": a }] })).await?;
        p.patch(&path, replace("members", json!([{ "value": b }]))).await?.succeeds()?;
        members(p, &path, &[&b]).await?;
    }
    "RFC 7644 §3.5.2.1", "One unknown member, and nobody is added, where the realm's policy refuses it" => |p| {
        let [a, b] = users(p).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": a }] })).await?;
        let add = json!([{ "op": "add", "path": "members", "value": [{ "value": b }, { "value": NOBODY }] }]);
        let answer = p.patch(&path, add).await?;
        if p.rule("unknown_members", "reject") {
            answer.refused(400, "invalidValue")?;
            members(p, &path, &[&a]).await?;
        } else {
            answer.succeeds()?;
        }
    }
}

fn replace(path: &str, value: impl Into<Value>) -> Value {
    let value: Value = value.into();
    json!([{ "op": "replace", "path": path, "value": value }])
}

fn remove(path: &str) -> Value {
    json!([{ "op": "remove", "path": path }])
}

fn two_emails() -> Value {
    json!({ "emails": [
        { "value": "w@x.example", "type": "work", "display": "W" },
        { "value": "h@x.example", "type": "home", "display": "H" },
    ] })
}

/// A new user as it reads after the operations.
async fn changed(p: &Provider, user: Value, operations: Value) -> Verdict<Answer> {
    p.announces("patch")?;
    let (path, _) = p.create_user(user).await?;
    p.patch(&path, operations).await?.succeeds()?;
    p.get(&path).await
}

/// The operations are refused, and the user reads as before.
async fn unchanged(p: &Provider, user: Value, operations: Value, scim_type: &str) -> Verdict {
    p.announces("patch")?;
    let (path, _) = p.create_user(user).await?;
    let before = p.get(&path).await?;
    let answer = p.patch(&path, operations).await?;
    let after = p.get(&path).await?;
    answer.refused(400, scim_type).map_err(|unmet| Unmet::fail(format_args!("{unmet}; PATCH answered {answer}")))?;
    expect(after.body == before.body, || format!("expected {}", before.body))
}

async fn users(p: &Provider) -> Verdict<[String; 2]> {
    Ok([p.create_user(json!({})).await?.1.id()?, p.create_user(json!({})).await?.1.id()?])
}

async fn members(p: &Provider, path: &str, expected: &[&str]) -> Verdict {
    let read = p.get(path).await?;
    let values = read.is(200)?.body["members"].as_array().map_or(&[][..], Vec::as_slice);
    let found: Vec<_> = values.iter().filter_map(|member| member["value"].as_str()).collect();
    let same = found.len() == expected.len() && expected.iter().all(|id| found.contains(id));
    expect(same, || format!("expected {expected:?}, found {found:?}"))
}
