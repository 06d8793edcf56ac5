//! Resources and their lives (RFC 7643 §2-§4, RFC 7644 §3.3-§3.6).

use serde_json::{Value, json};

use super::{
    Unmet, Verdict, checks,
    provider::{Provider, expect},
    urn,
};

/// In the form of an id, and nobody's.
pub const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

checks! {
    "RFC 7644 §3.3", "POST creates a user: 201 and the representation" => |p| {
        let answer = p.post("/Users", p.user(json!({ "displayName": "Ada" }))).await?;
        answer.is(201)?.has("/displayName", "Ada")?;
        let media_type = answer.header("content-type");
        expect(media_type.starts_with("application/scim+json"), || format!("found {media_type}"))?;
    }
    "RFC 7644 §3.3", "POST creates a group: 201 and the representation" => |p| {
        p.post("/Groups", p.group(json!({}))).await?.is(201)?;
    }
    "RFC 7644 §3.3", "Location of the answer to POST is meta.location" => |p| {
        for (path, created) in [p.create_user(json!({})).await?, p.create_group(json!({})).await?] {
            let location = format!("{}{path}", p.base_url);
            created.has("/meta/location", location.as_str())?;
            expect(created.header("location") == location, || format!("expected Location: {location}"))?;
        }
    }
    "RFC 7643 §3.1", "A resource has an id of the service provider's, which the client cannot choose" => |p| {
        let (_, created) = p.create_user(json!({ "id": "mine" })).await?;
        expect(created.id()? != "mine", || "expected another id".into())?;
    }
    "RFC 7643 §3.1", "Ids are unique, also over types" => |p| {
        let (user, group) = (p.create_user(json!({})).await?.1.id()?, p.create_group(json!({})).await?.1.id()?);
        expect(user != group, || "found one id twice".into())?;
        p.get(&format!("/Groups/{user}")).await?.refused(404, "")?;
    }
    "RFC 7643 §3.1", "externalId is kept as the client wrote it" => |p| {
        let external = p.fresh("Ext-ID");
        let (path, _) = p.create_user(json!({ "externalId": external })).await?;
        p.get(&path).await?.has("/externalId", external)?;
    }
    "RFC 7643 §3.1", "meta has resourceType, created, lastModified and location" => |p| {
        for (path, _) in [p.create_user(json!({})).await?, p.create_group(json!({})).await?] {
            let read = p.get(&path).await?;
            read.has("/meta/resourceType", if path.starts_with("/Users") { "User" } else { "Group" })?;
            for time in ["/meta/created", "/meta/lastModified"] {
                let found = read.text_at(time).unwrap_or_default();
                expect(found.contains('T') && found.ends_with('Z'), || format!("expected a time at {time}"))?;
            }
        }
    }
    "RFC 7643 §3.1", "What a client sends as meta is ignored" => |p| {
        let (path, _) = p.create_user(json!({ "meta": { "resourceType": "Teapot", "location": "x" } })).await?;
        p.get(&path).await?.has("/meta/resourceType", "User")?;
    }
    "RFC 7643 §3.1", "meta.lastModified moves on with a change, meta.created does not" => |p| {
        let (path, before) = p.create_user(json!({ "title": "a" })).await?;
        let changed = p.patch(&path, json!([{ "op": "replace", "path": "title", "value": "b" }])).await?;
        changed.succeeds()?;
        let after = p.get(&path).await?;
        after.has("/meta/created", before.body["meta"]["created"].clone())?;
        let moved = after.text_at("/meta/lastModified") >= before.text_at("/meta/lastModified");
        expect(moved, || "expected a later lastModified".into())?;
    }
    "RFC 7643 §3", "schemas names what the resource has attributes of" => |p| {
        let (path, _) = p.create_user(json!({ urn::ENTERPRISE: { "department": "Engines" } })).await?;
        let read = p.get(&path).await?;
        let has = |urn: &str| read.body["schemas"].as_array().is_some_and(|urns| urns.contains(&urn.into()));
        expect(has(urn::USER) && has(urn::ENTERPRISE), || "expected both URNs".into())?;
    }
    "RFC 7643 §2.1", "Attribute names do not heed case, and are answered as the schema has them" => |p| {
        let name = p.fresh("Case");
        let mut user = p.user(json!({ "NAME": { "GivenName": "Ada" } }));
        user["USERNAME"] = user["userName"].take();
        if let Some(map) = user.as_object_mut() { map.remove("userName"); }
        user["USERNAME"] = name.as_str().into();
        p.post("/Users", user).await?.is(201)?.has("/userName", name)?.has("/name/givenName", "Ada")?;
    }
    "RFC 7643 §2.5", "null and an empty array are as good as nothing" => |p| {
        let user = json!({ "nickName": null, "emails": [], "name": { "givenName": "Ada", "familyName": null } });
        let (path, _) = p.create_user(user).await?;
        let read = p.get(&path).await?;
        read.lacks("/nickName")?.lacks("/emails")?.lacks("/name/familyName")?.has("/name/givenName", "Ada")?;
    }
    "RFC 7643 §2.3.1", "Text is kept as it was written, in any script" => |p| {
        let text = "Ἀρχιμήδης 李小龍 🦀 \"\\ <&>";
        let (path, _) = p.create_user(json!({ "displayName": text })).await?;
        p.get(&path).await?.has("/displayName", text)?;
    }
    "RFC 7643 §2.4", "A multi-valued attribute keeps its values and their parts" => |p| {
        let emails = json!([
            { "value": "a@work.example", "type": "work", "primary": true, "display": "A" },
            { "value": "a@home.example", "type": "home" },
        ]);
        let (path, _) = p.create_user(json!({ "emails": emails })).await?;
        p.get(&path).await?.has("/emails", emails)?;
    }
    "RFC 7643 §2.4", "No more than one value is primary" => |p| {
        let value = |name: &str| json!({ "value": format!("{name}@a.example"), "primary": true });
        p.post("/Users", p.user(json!({ "emails": [value("a"), value("b")] }))).await?.refused(400, "invalidValue")?;
    }
    "RFC 7643 §2.3.2", "A boolean is no other thing" => |p| {
        p.post("/Users", p.user(json!({ "active": "perhaps" }))).await?.refused(400, "invalidValue")?;
        p.post("/Users", p.user(json!({ "active": 7 }))).await?.refused(400, "invalidValue")?;
    }
    "RFC 7643 §2.3.8", "A complex attribute is no text where no part could be meant" => |p| {
        p.post("/Users", p.user(json!({ "name": "Ada" }))).await?.refused(400, "invalidValue")?;
    }
    "RFC 7643 §2.3.1", "A text is no object" => |p| {
        p.post("/Users", p.user(json!({ "title": { "value": "Countess" } }))).await?.refused(400, "invalidValue")?;
    }
    "RFC 7643 §4.1", "A user without userName is refused" => |p| {
        for name in [Value::Null, json!("")] {
            p.post("/Users", p.user(json!({ "userName": name }))).await?.refused(400, "invalidValue")?;
        }
    }
    "RFC 7643 §4.2", "A group without displayName is refused" => |p| {
        p.post("/Groups", p.group(json!({ "displayName": null }))).await?.refused(400, "invalidValue")?;
    }
    "RFC 7644 §3.3.1", "A taken userName is 409 uniqueness, in whatever case" => |p| {
        let name = p.fresh("Taken");
        p.create_user(json!({ "userName": name })).await?;
        for again in [name.clone(), name.to_uppercase(), name.to_lowercase()] {
            p.post("/Users", p.user(json!({ "userName": again }))).await?.refused(409, "uniqueness")?;
        }
    }
    "RFC 7644 §3.5", "A taken userName is 409 uniqueness for PUT and PATCH too" => |p| {
        let name = p.fresh("taken");
        p.create_user(json!({ "userName": name })).await?;
        let (path, _) = p.create_user(json!({})).await?;
        p.put(&path, p.user(json!({ "userName": name }))).await?.refused(409, "uniqueness")?;
        let take = json!([{ "op": "replace", "path": "userName", "value": name }]);
        p.patch(&path, take).await?.refused(409, "uniqueness")?;
    }
    "RFC 7643 §4.2", "Two groups share a displayName only where the realm's policy lets them" => |p| {
        let name = p.fresh("Engines");
        p.create_group(json!({ "displayName": name })).await?;
        let again = p.post("/Groups", p.group(json!({ "displayName": name.to_uppercase() }))).await?;
        if p.rule("group_names", "unique") { again.refused(409, "uniqueness")?; } else { again.is(201)?; }
    }
    "RFC 7643 §2.2", "readOnly attributes in a request are ignored" => |p| {
        let foreign = json!([{ "value": NOBODY }]);
        let (path, _) = p.create_user(json!({ "groups": foreign })).await?;
        p.get(&path).await?.lacks("/groups")?;
        p.put(&path, p.user(json!({ "groups": foreign, "id": NOBODY }))).await?.is(200)?.lacks("/groups")?;
    }
    "RFC 7643 §4.1.1", "A password is accepted and never returned" => |p| {
        let secret = p.fresh("correct-horse");
        let (path, created) = p.create_user(json!({ "password": secret })).await?;
        let asked = p.get(&format!("{path}?attributes=password,userName")).await?;
        for answer in [created, p.get(&path).await?, asked] {
            expect(!answer.text.contains(&secret), || "expected no password".into())?;
        }
    }
    "RFC 7643 §2.2", "The password is never part of what a filter finds" => |p| {
        p.get("/Users?filter=password%20pr").await?.refused(400, "invalidFilter")?;
    }
    "RFC 7643 §3.3", "Extension attributes stand under the URN of their schema" => |p| {
        let enterprise = json!({ "employeeNumber": "1815", "department": "Engines" });
        let (path, _) = p.create_user(json!({ urn::ENTERPRISE: enterprise })).await?;
        let read = p.get(&path).await?;
        expect(read.body[urn::ENTERPRISE] == enterprise, || "expected the extension as it was sent".into())?;
    }
    "RFC 7643 §4.1", "Attributes which no schema knows are treated as the realm's policy says" => |p| {
        let answer = p.post("/Users", p.user(json!({ "shoeSize": 44 }))).await?;
        match p.policy["unknown_attributes"].as_str() {
            Some("reject") => { answer.refused(400, "")?; }
            Some("ignore") => { answer.is(201)?.lacks("/shoeSize")?; }
            _ => { answer.is(201)?.has("/shoeSize", 44)?; }
        }
    }
    "RFC 7644 §3.4.1", "GET gives the resource as it was created" => |p| {
        let (path, created) = p.create_user(json!({ "name": { "givenName": "Ada" }, "locale": "en-GB" })).await?;
        let read = p.get(&path).await?;
        expect(read.is(200)?.body == created.body, || format!("expected {}", created.body))?;
    }
    "RFC 7644 §3.4.1", "An unknown id is 404" => |p| {
        for id in [NOBODY, "nobody", "1"] {
            p.get(&format!("/Users/{id}")).await?.refused(404, "")?;
            p.get(&format!("/Groups/{id}")).await?.refused(404, "")?;
        }
    }
    "RFC 7644 §3.5.1", "PUT replaces what the client may write: what is not sent is gone" => |p| {
        let (path, before) = p.create_user(json!({ "title": "Countess", "nickName": "A" })).await?;
        let name = before.body["userName"].clone();
        let put = p.put(&path, p.user(json!({ "userName": name, "nickName": "B" }))).await?;
        put.is(200)?.lacks("/title")?.has("/nickName", "B")?.has("/id", before.id()?)?;
        p.get(&path).await?.lacks("/title")?.has("/meta/created", before.body["meta"]["created"].clone())?;
    }
    "RFC 7644 §3.5.1", "PUT creates nothing: an unknown id is 404" => |p| {
        p.put(&format!("/Users/{NOBODY}"), p.user(json!({}))).await?.refused(404, "")?;
        p.put(&format!("/Groups/{NOBODY}"), p.group(json!({}))).await?.refused(404, "")?;
    }
    "RFC 7644 §3.5.1", "PUT without a required attribute is refused and changes nothing" => |p| {
        let (path, before) = p.create_user(json!({})).await?;
        p.put(&path, p.user(json!({ "userName": null }))).await?.refused(400, "invalidValue")?;
        p.get(&path).await?.has("/userName", before.body["userName"].clone())?;
    }
    "RFC 7644 §3.6", "DELETE answers 204 without a body" => |p| {
        for (path, _) in [p.create_user(json!({})).await?, p.create_group(json!({})).await?] {
            let deleted = p.delete(&path).await?;
            expect(deleted.is(204)?.text.is_empty(), || "expected no body".into())?;
        }
    }
    "RFC 7644 §3.6", "A deleted resource is 404 for every verb" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        p.delete(&path).await?.is(204)?;
        p.get(&path).await?.refused(404, "")?;
        p.delete(&path).await?.refused(404, "")?;
        p.put(&path, p.user(json!({}))).await?.refused(404, "")?;
        p.patch(&path, json!([{ "op": "replace", "path": "title", "value": "x" }])).await?.refused(404, "")?;
    }
    "RFC 7644 §3.6", "A deleted resource is in no list, and its userName is free again" => |p| {
        let name = p.fresh("gone");
        let (path, _) = p.create_user(json!({ "userName": name })).await?;
        p.delete(&path).await?.is(204)?;
        p.get(&format!("/Users?filter=userName%20eq%20%22{name}%22")).await?.is(200)?.has("/totalResults", 0)?;
        p.create_user(json!({ "userName": name })).await?;
    }
    "RFC 7643 §4.2", "A group shows its members with value, $ref and type" => |p| {
        let (user, created) = p.create_user(json!({})).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": created.id()? }] })).await?;
        let read = p.get(&path).await?;
        read.has("/members/0/value", created.id()?)?.has("/members/0/type", "User")?;
        read.has("/members/0/$ref", format!("{}{user}", p.base_url))?;
    }
    "RFC 7643 §4.1.2", "A user shows its groups with value, $ref and display" => |p| {
        let (user, created) = p.create_user(json!({})).await?;
        let (path, group) = p.create_group(json!({ "members": [{ "value": created.id()? }] })).await?;
        let read = p.get(&user).await?;
        read.has("/groups/0/value", group.id()?)?.has("/groups/0/display", group.body["displayName"].clone())?;
        read.has("/groups/0/$ref", format!("{}{path}", p.base_url))?;
    }
    "RFC 7643 §4.2", "A group may be a member of a group" => |p| {
        let (inner, group) = p.create_group(json!({})).await?;
        let (outer, _) = p.create_group(json!({ "members": [{ "value": group.id()?, "type": "Group" }] })).await?;
        let read = p.get(&outer).await?;
        read.has("/members/0/type", "Group")?.has("/members/0/$ref", format!("{}{inner}", p.base_url))?;
    }
    "RFC 7643 §4.1.2", "A user shows the groups which it belongs to through other groups" => |p| {
        let (user, created) = p.create_user(json!({})).await?;
        let (_, inner) = p.create_group(json!({ "members": [{ "value": created.id()? }] })).await?;
        let (_, outer) = p.create_group(json!({ "members": [{ "value": inner.id()? }] })).await?;
        let read = p.get(&user).await?;
        let groups = read.body["groups"].as_array().map_or(&[][..], Vec::as_slice);
        let through = groups.iter().find(|group| group["type"] == "indirect");
        let through = through.ok_or_else(|| Unmet::unsupported("`indirect` in groups"))?;
        expect(through["value"] == outer.id()?, || format!("expected the outer group, found {through}"))?;
    }
    "RFC 7643 §4.2", "A deleted user is a member of nothing" => |p| {
        let (user, created) = p.create_user(json!({})).await?;
        let (path, _) = p.create_group(json!({ "members": [{ "value": created.id()? }] })).await?;
        p.delete(&user).await?.is(204)?;
        p.get(&path).await?.is(200)?.lacks("/members")?;
    }
    "RFC 7643 §4.2", "A member whom nobody knows is refused where the realm's policy says so" => |p| {
        let answer = p.post("/Groups", p.group(json!({ "members": [{ "value": NOBODY }] }))).await?;
        if p.rule("unknown_members", "reject") { answer.refused(400, "invalidValue")?; } else { answer.is(201)?; }
    }
    "RFC 7643 §3", "A body whose schemas name another type is refused" => |p| {
        p.post("/Users", p.user(json!({ "schemas": [urn::GROUP] }))).await?.refused(400, "")?;
    }
    "RFC 7643 §7", "A required schema extension is demanded" => |p| {
        demanded(p).await?;
    }
}

/// Without what a realm's required extension demands, a user is refused.
async fn demanded(p: &Provider) -> Verdict {
    let Some(urn) = p.demanded[0].keys().next() else {
        return Err(Unmet::unsupported("a required extension of User"));
    };
    let mut user = p.user(json!({}));
    if let Some(map) = user.as_object_mut() {
        map.remove(urn);
    }
    p.post("/Users", user).await?.refused(400, "")?;
    Ok(())
}
