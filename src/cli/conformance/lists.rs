//! Lists (RFC 7644 §3.4.2, §3.4.3, §3.9; RFC 9865): pages, order, cursors, searches, and which attributes are answered.

use serde_json::{Value, json};

use super::{
    Unmet, Verdict, checks,
    provider::{Answer, Provider, expect},
    urn,
};

checks! {
    "RFC 7644 §3.4.2", "A list is a ListResponse with totalResults and Resources" => |p| {
        let list = page(p, &crowd(p, &[json!({}), json!({})]).await?, "").await?;
        list.has("/schemas", json!([urn::LIST]))?.has("/totalResults", 2)?;
        expect(list.resources().len() == 2, || "expected 2 resources".into())?;
    }
    "RFC 7644 §3.4.2", "The resources of a list are whole, as GET by id gives them" => |p| {
        let list = page(p, &crowd(p, &[json!({ "title": "Countess" })]).await?, "").await?;
        let id = list.text_at("/Resources/0/id").unwrap_or_default();
        list.has("/Resources/0", p.get(&format!("/Users/{id}")).await?.body)?;
    }
    "RFC 7644 §3.4.2", "Groups are listed as users are" => |p| {
        p.create_group(json!({})).await?;
        let list = p.get("/Groups").await?;
        list.is(200)?.has("/schemas", json!([urn::LIST]))?.has("/Resources/0/meta/resourceType", "Group")?;
    }
    "RFC 7644 §3.4.2.4", "startIndex and count choose a part; totalResults counts all" => |p| {
        let list = page(p, &crowd_of(p, 5).await?, "startIndex=2&count=2").await?;
        list.has("/totalResults", 5)?.has("/startIndex", 2)?.has("/itemsPerPage", 2)?;
        expect(list.resources().len() == 2, || "expected 2 resources".into())?;
    }
    "RFC 7644 §3.4.2.4", "Pages by startIndex give each resource once" => |p| {
        let crowd = crowd_of(p, 5).await?;
        let mut seen = Vec::new();
        for start in [1, 3, 5] {
            seen.extend(ids(&page(p, &crowd, &format!("startIndex={start}&count=2")).await?));
        }
        all_once(seen, 5)?;
    }
    "RFC 7644 §3.4.2.4", "startIndex less than 1 is taken for 1" => |p| {
        let crowd = crowd_of(p, 2).await?;
        for start in ["0", "-7"] {
            let list = page(p, &crowd, &format!("startIndex={start}")).await?;
            list.has("/startIndex", 1)?;
            expect(list.resources().len() == 2, || "expected 2 resources".into())?;
        }
    }
    "RFC 7644 §3.4.2.4", "count 0 gives totalResults and no resources" => |p| {
        page(p, &crowd_of(p, 2).await?, "count=0").await?.has("/totalResults", 2)?.lacks("/Resources")?;
    }
    "RFC 7644 §3.4.2.4", "A negative count is taken for 0" => |p| {
        page(p, &crowd_of(p, 2).await?, "count=-3").await?.has("/totalResults", 2)?.lacks("/Resources")?;
    }
    "RFC 7644 §3.4.2.4", "startIndex behind the end gives no resources" => |p| {
        page(p, &crowd_of(p, 2).await?, "startIndex=3").await?.has("/totalResults", 2)?.lacks("/Resources")?;
    }
    "RFC 7644 §3.4.2.4", "A count that is no number is refused" => |p| {
        p.get("/Users?count=ten").await?.refused(400, "invalidValue")?;
    }
    "RFC 7644 §3.4.2.4", "No page is longer than filter.maxResults" => |p| {
        let most = p.config["filter"]["maxResults"].as_u64().unwrap_or_default();
        let list = p.get(&format!("/Users?count={}&attributes=id", most.saturating_add(1))).await?;
        let count = list.is(200)?.resources().len();
        expect(u64::try_from(count).is_ok_and(|count| count <= most), || format!("found {count}"))?;
    }
    "RFC 7644 §3.4.2.3", "sortBy orders a list, ascending unless it is told" => |p| {
        sorted(p, &["b", "a", "c"], "sortBy=title", &["a", "b", "c"]).await?;
        sorted(p, &["b", "a", "c"], "sortBy=title&sortOrder=ascending", &["a", "b", "c"]).await?;
    }
    "RFC 7644 §3.4.2.3", "sortOrder=descending turns it around" => |p| {
        sorted(p, &["b", "a", "c"], "sortBy=title&sortOrder=descending", &["c", "b", "a"]).await?;
    }
    "RFC 7644 §3.4.2.3", "Sorting heeds caseExact" => |p| {
        sorted(p, &["B", "a", "C"], "sortBy=title", &["a", "B", "C"]).await?;
    }
    "RFC 7644 §3.4.2.3", "What has no value comes last, descending first" => |p| {
        p.announces("sort")?;
        let crowd = crowd(p, &[json!({}), json!({ "title": "b" }), json!({ "title": "a" })]).await?;
        for (order, at) in [("ascending", 2), ("descending", 0)] {
            let list = page(p, &crowd, &format!("sortBy=title&sortOrder={order}")).await?;
            list.lacks(&format!("/Resources/{at}/title"))?.has("/totalResults", 3)?;
        }
    }
    "RFC 7644 §3.4.2.3", "A multi-valued attribute sorts by its primary value, else by its first" => |p| {
        p.announces("sort")?;
        let user = |title: &str, emails: Value| json!({ "title": title, "emails": emails });
        let crowd = crowd(p, &[
            user("second", json!([{ "value": "a@x.example" }, { "value": "m@x.example", "primary": true }])),
            user("third", json!([{ "value": "z@x.example" }, { "value": "b@x.example" }])),
            user("first", json!([{ "value": "c@x.example" }])),
        ]).await?;
        in_order(&page(p, &crowd, "sortBy=emails.value").await?, &["first", "second", "third"])?;
        in_order(&page(p, &crowd, "sortBy=emails").await?, &["first", "second", "third"])?;
    }
    "RFC 7644 §3.4.2.3", "Sub-attributes and attributes of extensions sort" => |p| {
        p.announces("sort")?;
        let user = |title: &str, family: &str, number: &str| {
            json!({ "title": title, "name": { "familyName": family }, urn::ENTERPRISE: { "employeeNumber": number } })
        };
        let crowd = crowd(p, &[user("x", "b", "1"), user("y", "a", "2")]).await?;
        in_order(&page(p, &crowd, "sortBy=name.familyName").await?, &["y", "x"])?;
        in_order(&page(p, &crowd, &format!("sortBy={}:employeeNumber", urn::ENTERPRISE)).await?, &["x", "y"])?;
    }
    "RFC 7644 §3.4.2.3", "A sorted list is paged in its order" => |p| {
        p.announces("sort")?;
        let crowd = crowd(p, &["d", "a", "c", "b"].map(|title| json!({ "title": title }))).await?;
        in_order(&page(p, &crowd, "sortBy=title&startIndex=2&count=2").await?, &["b", "c"])?;
    }
    "RFC 9865 §2", "Cursors lead through a list and give each resource once" => |p| {
        cursors(p)?;
        let crowd = crowd_of(p, 5).await?;
        let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let list = page(p, &crowd, &format!("count=2&cursor={}", encoded(&cursor))).await?;
            list.has("/totalResults", 5)?;
            seen.extend(ids(&list));
            pages += 1;
            match list.text_at("/nextCursor") {
                Some(next) if pages < 9 => next.clone_into(&mut cursor),
                _ => break,
            }
        }
        expect(pages == 3, || format!("expected 3 pages, found {pages}"))?;
        all_once(seen, 5)?;
    }
    "RFC 9865 §2", "previousCursor leads back, where it is given" => |p| {
        cursors(p)?;
        let crowd = crowd_of(p, 4).await?;
        let first = page(p, &crowd, "count=2&cursor=").await?;
        first.lacks("/previousCursor")?;
        let next = first.text_at("/nextCursor").unwrap_or_default();
        let second = page(p, &crowd, &format!("count=2&cursor={}", encoded(next))).await?;
        let back = second.text_at("/previousCursor").ok_or_else(|| Unmet::unsupported("previousCursor"))?;
        let again = page(p, &crowd, &format!("count=2&cursor={}", encoded(back))).await?;
        expect(ids(&again) == ids(&first), || format!("expected {:?}", ids(&first)))?;
    }
    "RFC 9865 §2", "The last page has no nextCursor" => |p| {
        cursors(p)?;
        page(p, &crowd_of(p, 2).await?, "count=2&cursor=").await?.lacks("/nextCursor")?;
    }
    "RFC 9865 §2", "Cursors keep the order of a sorted list" => |p| {
        cursors(p)?;
        p.announces("sort")?;
        let crowd = crowd(p, &["c", "a", "b"].map(|title| json!({ "title": title }))).await?;
        let first = page(p, &crowd, "sortBy=title&count=2&cursor=").await?;
        in_order(&first, &["a", "b"])?;
        let next = encoded(first.text_at("/nextCursor").unwrap_or_default());
        in_order(&page(p, &crowd, &format!("sortBy=title&count=2&cursor={next}")).await?, &["c"])?;
    }
    "RFC 9865 §2.1", "A cursor that the server did not make is 400 invalidCursor" => |p| {
        cursors(p)?;
        p.get("/Users?cursor=nonsense").await?.refused(400, "invalidCursor")?;
    }
    "RFC 9865 §2.1", "With a cursor, a count out of range is 400 invalidCount" => |p| {
        cursors(p)?;
        p.get("/Users?cursor&count=-1").await?.refused(400, "invalidCount")?;
    }
    "RFC 7644 §3.4.3", "POST /Users/.search is a list by POST" => |p| {
        let crowd = crowd(p, &["a", "b", "c"].map(|title| json!({ "title": title }))).await?;
        let filter = format!(r#"userType eq "{crowd}" and title ne "b""#);
        let asked = json!({ "schemas": [urn::SEARCH], "filter": filter, "attributes": ["title"], "count": 1 });
        let list = search(p, "/Users/.search", asked).await?;
        list.has("/schemas", json!([urn::LIST]))?.has("/totalResults", 2)?.has("/itemsPerPage", 1)?;
        list.lacks("/Resources/0/userName")?;
    }
    "RFC 7644 §3.4.3", "POST /Groups/.search is a list by POST" => |p| {
        let (_, group) = p.create_group(json!({})).await?;
        let filter = format!(r#"id eq "{}""#, group.id()?);
        let asked = json!({ "schemas": [urn::SEARCH], "filter": filter });
        search(p, "/Groups/.search", asked).await?.has("/totalResults", 1)?;
    }
    "RFC 7644 §3.4.3", "POST /.search finds resources of every type" => |p| {
        let ids = [p.create_user(json!({})).await?.1.id()?, p.create_group(json!({})).await?.1.id()?];
        let filter = format!(r#"id eq "{}" or id eq "{}""#, ids[0], ids[1]);
        search(p, "/.search", json!({ "schemas": [urn::SEARCH], "filter": filter })).await?.has("/totalResults", 2)?;
    }
    "RFC 7644 §3.4.2.1", "GET at the root finds resources of every type" => |p| {
        let ids = [p.create_user(json!({})).await?.1.id()?, p.create_group(json!({})).await?.1.id()?];
        let filter = encoded(&format!(r#"id eq "{}" or id eq "{}""#, ids[0], ids[1]));
        let list = p.get(&format!("?filter={filter}")).await?;
        offered(&list, "a query at the root")?.is(200)?.has("/totalResults", 2)?;
    }
    "RFC 7644 §3.9", "attributes gives these, and what is always returned" => |p| {
        let (path, user) = p.create_user(json!({ "title": "Countess", "nickName": "A" })).await?;
        let read = p.get(&format!("{path}?attributes=title")).await?;
        read.is(200)?.has("/title", "Countess")?.has("/id", user.id()?)?;
        read.lacks("/nickName")?.lacks("/userName")?.lacks("/meta")?;
        expect(!read.body["schemas"].is_null(), || "expected `schemas`".into())?;
    }
    "RFC 7644 §3.9", "attributes takes sub-attributes and attributes of extensions, in any case" => |p| {
        let (path, _) = p.create_user(json!({
            "name": { "givenName": "Ada", "familyName": "L" }, urn::ENTERPRISE: { "department": "E", "division": "D" },
        })).await?;
        let read = p.get(&format!("{path}?attributes=NAME.givenname,{}:department", urn::ENTERPRISE)).await?;
        read.is(200)?.has("/name", json!({ "givenName": "Ada" }))?;
        let extension = &read.body[urn::ENTERPRISE];
        let alone = *extension == json!({ "department": "E" });
        expect(alone, || format!("expected the department alone, found {extension}"))?;
    }
    "RFC 7644 §3.9", "excludedAttributes leaves these out, but nothing that is always returned" => |p| {
        let (path, user) = p.create_user(json!({ "title": "Countess", "nickName": "A" })).await?;
        let read = p.get(&format!("{path}?excludedAttributes=title,id")).await?;
        read.is(200)?.lacks("/title")?.has("/nickName", "A")?.has("/id", user.id()?)?;
    }
    "RFC 7644 §3.9", "A list heeds attributes and excludedAttributes" => |p| {
        let crowd = crowd(p, &[json!({ "title": "a" })]).await?;
        page(p, &crowd, "attributes=title").await?.has("/Resources/0/title", "a")?.lacks("/Resources/0/userName")?;
        page(p, &crowd, "excludedAttributes=title").await?.lacks("/Resources/0/title")?;
    }
    "RFC 7644 §3.9", "POST and PUT heed attributes in their answers" => |p| {
        let created = p.post("/Users?attributes=title", p.user(json!({ "title": "a" }))).await?;
        created.is(201)?.has("/title", "a")?.lacks("/userName")?;
        let path = format!("/Users/{}?excludedAttributes=title", created.id()?);
        p.put(&path, p.user(json!({ "title": "b" }))).await?.is(200)?.lacks("/title")?;
    }
    "RFC 7644 §3.9", "attributes and excludedAttributes exclude each other" => |p| {
        p.get("/Users?attributes=title&excludedAttributes=name").await?.refused(400, "invalidValue")?;
    }
}

/// Users who are found by their `userType`, which is answered.
async fn crowd(p: &Provider, users: &[Value]) -> Verdict<String> {
    let name = p.fresh("crowd");
    for user in users {
        let mut user = user.clone();
        user["userType"] = name.as_str().into();
        p.create_user(user).await?;
    }
    Ok(name)
}

async fn crowd_of(p: &Provider, count: usize) -> Verdict<String> {
    crowd(p, &vec![json!({}); count]).await
}

async fn page(p: &Provider, crowd: &str, query: &str) -> Verdict<Answer> {
    let filter = encoded(&format!(r#"userType eq "{crowd}""#));
    let list = p.get(&format!("/Users?filter={filter}&{query}")).await?;
    list.is(200)?;
    Ok(list)
}

/// Users with these titles, sorted, have these titles.
async fn sorted(p: &Provider, titles: &[&str], query: &str, expected: &[&str]) -> Verdict {
    p.announces("sort")?;
    let users: Vec<_> = titles.iter().map(|title| json!({ "title": title })).collect();
    in_order(&page(p, &crowd(p, &users).await?, query).await?, expected)
}

fn in_order(list: &Answer, titles: &[&str]) -> Verdict {
    expect(list.each("title") == titles, || format!("expected {titles:?}, found {:?}", list.each("title")))
}

async fn search(p: &Provider, path: &str, body: Value) -> Verdict<Answer> {
    let list = p.post(path, body).await?;
    offered(&list, path)?.is(200)?;
    Ok(list)
}

/// What a service provider may leave out (RFC 7644 §3.4) answers that it is not there.
fn offered<'a>(answer: &'a Answer, what: &str) -> Verdict<&'a Answer> {
    if [404, 405, 501].contains(&answer.status) { Err(Unmet::unsupported(what)) } else { Ok(answer) }
}

fn cursors(p: &Provider) -> Verdict {
    if p.config["pagination"]["cursor"] == true { Ok(()) } else { Err(Unmet::unsupported("pagination.cursor")) }
}

fn ids(list: &Answer) -> Vec<String> {
    list.each("id").into_iter().map(str::to_owned).collect()
}

fn all_once(mut ids: Vec<String>, count: usize) -> Verdict {
    let seen = ids.len();
    ids.sort();
    ids.dedup();
    expect(seen == count && ids.len() == count, || {
        format!("expected {count}, found {seen}, of them {} different", ids.len())
    })
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
