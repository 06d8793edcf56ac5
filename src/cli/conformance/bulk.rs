//! Bulk requests (RFC 7644 §3.7).

use http::Method;
use serde_json::{Value, json};

use super::{
    Verdict, checks,
    provider::{Answer, Provider, expect},
    urn,
};

checks! {
    "RFC 7644 §3.7", "A bulk request answers each operation, in the order of the request" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        let answer = bulk(p, json!([
            { "method": "POST", "path": "/Users", "bulkId": "a", "data": p.user(json!({})) },
            { "method": "PATCH", "path": path, "data": titled("b") },
            { "method": "DELETE", "path": path },
        ])).await?;
        answer.has("/schemas", json!([urn::BULK_RESPONSE]))?;
        for (at, (method, status)) in [("POST", "201"), ("PATCH", "200"), ("DELETE", "204")].iter().enumerate() {
            let at = format!("/Operations/{at}");
            answer.has(&format!("{at}/method"), *method)?.has(&format!("{at}/status"), *status)?;
        }
        answer.has("/Operations/0/bulkId", "a")?;
    }
    "RFC 7644 §3.7.3", "The answer to a creation has location and version, and the resource is there" => |p| {
        let user = p.user(json!({ "title": "a" }));
        let answer = bulk(p, json!([{ "method": "POST", "path": "/Users", "bulkId": "a", "data": user }])).await?;
        let location = answer.text_at("/Operations/0/location").unwrap_or_default();
        let path = location.strip_prefix(&p.base_url).unwrap_or_default();
        let read = p.get(path).await?;
        read.is(200)?.has("/title", "a")?;
        answer.has("/Operations/0/version", read.body["meta"]["version"].clone())?;
    }
    "RFC 7644 §3.7", "PUT in a bulk request replaces" => |p| {
        let (path, _) = p.create_user(json!({ "title": "a" })).await?;
        let data = p.user(json!({ "nickName": "n" }));
        bulk(p, json!([{ "method": "PUT", "path": path, "data": data }])).await?.has("/Operations/0/status", "200")?;
        p.get(&path).await?.lacks("/title")?.has("/nickName", "n")?;
    }
    "RFC 7644 §3.7.2", "bulkId stands for the id of what another operation creates" => |p| {
        referenced(p, false).await?;
    }
    "RFC 7644 §3.7.2", "A bulkId may be used before the operation which it belongs to" => |p| {
        referenced(p, true).await?;
    }
    "RFC 7644 §3.7.1", "Operations which wait for each other are solved, or are 409" => |p| {
        let group = |id: &str, other: &str| json!({
            "method": "POST", "path": "/Groups", "bulkId": id,
            "data": p.group(json!({ "members": [{ "type": "Group", "value": format!("bulkId:{other}") }] })),
        });
        let answer = bulk(p, json!([group("a", "b"), group("b", "a")])).await?;
        for at in [0, 1] {
            let status = answer.text_at(&format!("/Operations/{at}/status")).unwrap_or_default();
            expect(["201", "409"].contains(&status), || "expected 201 or 409".into())?;
        }
    }
    "RFC 7644 §3.7.2", "A bulkId which no operation has is 409 for the operation that names it" => |p| {
        let data = p.group(json!({ "members": [{ "value": "bulkId:nobody" }] }));
        let answer = bulk(p, json!([{ "method": "POST", "path": "/Groups", "bulkId": "a", "data": data }])).await?;
        let status = answer.text_at("/Operations/0/status").unwrap_or_default();
        expect(["400", "409"].contains(&status), || "expected 409".into())?;
    }
    "RFC 7644 §3.7.3", "An operation that fails answers its status and an error; the others are done" => |p| {
        let answer = bulk(p, json!([
            { "method": "POST", "path": "/Users", "bulkId": "a", "data": p.user(json!({ "userName": "" })) },
            { "method": "POST", "path": "/Users", "bulkId": "b", "data": p.user(json!({})) },
        ])).await?;
        answer.has("/Operations/0/status", "400")?.has("/Operations/0/response/schemas", json!([urn::ERROR]))?;
        answer.has("/Operations/1/status", "201")?;
    }
    "RFC 7644 §3.7.3", "After failOnErrors failures, the rest is not done" => |p| {
        let name = p.fresh("late");
        let post = |id: &str, name: &str| {
            json!({ "method": "POST", "path": "/Users", "bulkId": id, "data": p.user(json!({ "userName": name })) })
        };
        let (wrong, late) = (post("a", ""), post("b", &name));
        let body = json!({ "schemas": [urn::BULK], "failOnErrors": 1, "Operations": [wrong, late] });
        sent(p, body).await?.is(200)?.has("/Operations/0/status", "400")?;
        p.get(&format!("/Users?filter=userName%20eq%20%22{name}%22")).await?.has("/totalResults", 0)?;
    }
    "RFC 7644 §3.7", "An operation on what is not there is 404" => |p| {
        let path = format!("/Users/{}", super::resources::NOBODY);
        bulk(p, json!([{ "method": "DELETE", "path": path }])).await?.has("/Operations/0/status", "404")?;
    }
    "RFC 7644 §3.7.4", "More operations than maxOperations are 413" => |p| {
        p.announces("bulk")?;
        let most = p.config["bulk"]["maxOperations"].as_u64().unwrap_or_default();
        let most = usize::try_from(most).map_err(super::Unmet::fail)?;
        let one = json!({ "method": "DELETE", "path": "/Users/1" });
        let body = json!({ "schemas": [urn::BULK], "Operations": vec![one; most + 1] });
        sent(p, body).await?.refused(413, "")?;
    }
    "RFC 7644 §3.7", "A body which is no bulk request is refused" => |p| {
        sent(p, json!({ "schemas": [urn::BULK] })).await?.refused(400, "invalidSyntax")?;
    }
}

async fn sent(p: &Provider, body: Value) -> Verdict<Answer> {
    p.announces("bulk")?;
    p.ask(Method::POST, "/Bulk").json(&body).send().await
}

async fn bulk(p: &Provider, operations: Value) -> Verdict<Answer> {
    let answer = sent(p, json!({ "schemas": [urn::BULK], "Operations": operations })).await?;
    answer.is(200)?;
    Ok(answer)
}

fn titled(title: &str) -> Value {
    json!({ "schemas": [urn::PATCH_OP], "Operations": [{ "op": "replace", "path": "title", "value": title }] })
}

/// A group and its member, in one request and in either order.
async fn referenced(p: &Provider, backwards: bool) -> Verdict {
    let group = p.group(json!({ "members": [{ "type": "User", "value": "bulkId:user" }] }));
    let mut operations = vec![
        json!({ "method": "POST", "path": "/Users", "bulkId": "user", "data": p.user(json!({})) }),
        json!({ "method": "POST", "path": "/Groups", "bulkId": "group", "data": group }),
    ];
    if backwards {
        operations.reverse();
    }
    let answer = bulk(p, operations.into()).await?;
    let (user, group) = if backwards { (1, 0) } else { (0, 1) };
    let path = |at: usize| {
        let location = answer.text_at(&format!("/Operations/{at}/location")).unwrap_or_default();
        location.strip_prefix(&p.base_url).unwrap_or_default().to_owned()
    };
    let created = p.get(&path(user)).await?;
    p.get(&path(group)).await?.is(200)?.has("/members/0/value", created.id()?)?;
    Ok(())
}
