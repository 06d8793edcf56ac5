//! HTTP as SCIM uses it (RFC 7644 §3.1, §3.8, §3.11, §3.12, §3.14): errors, versions, methods, media types.

use http::Method;
use serde_json::json;

use super::{
    Unmet, Verdict, checks,
    provider::{Provider, expect},
};

checks! {
    "RFC 7644 §3.12", "An error has the schema, the status as text, and a detail" => |p| {
        p.get("/Users/nobody").await?.refused(404, "")?.lacks("/scimType")?;
        p.post("/Users", json!({})).await?.refused(400, "")?;
    }
    "RFC 7644 §3.1", "Answers and errors have the media type application/scim+json" => |p| {
        for path in ["/Users", "/Users/nobody", "/ServiceProviderConfig", "/Nothing"] {
            let media_type = p.get(path).await?;
            let media_type = media_type.header("content-type");
            expect(media_type.starts_with("application/scim+json"), || format!("{path}: found {media_type}"))?;
        }
    }
    "RFC 7644 §3.12", "A body which is no JSON is 400 invalidSyntax" => |p| {
        for body in ["", "{", "nothing", "[]", "\"text\"", "{\"userName\":\"a\",}", "{\"a\":1} {}"] {
            let ask = p.ask(Method::POST, "/Users").header("content-type", "application/scim+json").body(body);
            ask.send().await?.refused(400, "invalidSyntax")?;
        }
    }
    "RFC 8259 §8.1", "A body which is no UTF-8 is refused" => |p| {
        let ask = p.ask(Method::POST, "/Users").header("content-type", "application/scim+json");
        ask.body(b"{\"userName\":\"\xff\xfe\"}".to_vec()).send().await?.refused(400, "invalidSyntax")?;
    }
    "RFC 7644 §3.12", "A path that leads nowhere is 404" => |p| {
        for path in ["/Nothing", "/Users/1/2", "/users"] {
            p.get(path).await?.refused(404, "")?;
        }
    }
    "RFC 9110 §15.5.6", "A method which a path does not have is 405, and Allow tells those it has" => |p| {
        let (user, _) = p.create_user(json!({})).await?;
        for (path, method, allowed) in [("/Users", Method::DELETE, "POST"), (&*user, Method::POST, "PATCH")] {
            let answer = p.ask(method, path).json(&json!({})).send().await?;
            answer.refused(405, "")?;
            let allow = answer.header("allow");
            expect(allow.contains("GET") && allow.contains(allowed), || format!("found Allow: {allow}"))?;
        }
    }
    "RFC 9110 §15.5.16", "A body of another media type is 415" => |p| {
        for media_type in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
            let body = p.user(json!({})).to_string();
            let ask = p.ask(Method::POST, "/Users").header("content-type", media_type).body(body);
            ask.send().await?.refused(415, "")?;
        }
    }
    "RFC 7644 §3.8", "application/json is taken as well, with and without a charset" => |p| {
        for media_type in ["application/json", "application/scim+json; charset=utf-8", "Application/JSON"] {
            let body = p.user(json!({})).to_string();
            p.ask(Method::POST, "/Users").header("content-type", media_type).body(body).send().await?.is(201)?;
        }
    }
    "RFC 7644 §3.8", "Who accepts application/json or anything is answered" => |p| {
        for accept in ["application/scim+json", "application/json", "*/*", "application/scim+json, */*;q=0.1"] {
            p.ask(Method::GET, "/Users?count=0").header("accept", accept).send().await?.is(200)?;
        }
    }
    "RFC 9110 §9.3.2", "HEAD answers as GET does, without a body" => |p| {
        let (path, _) = p.create_user(json!({})).await?;
        let (head, get) = (p.ask(Method::HEAD, &path).send().await?, p.get(&path).await?);
        expect(head.is(200)?.text.is_empty(), || "expected no body".into())?;
        expect(head.header("etag") == get.header("etag"), || "expected the same ETag".into())?;
        let missing = p.ask(Method::HEAD, "/Users/nobody").send().await?;
        expect(missing.is(404)?.text.is_empty(), || "expected no body".into())?;
    }
    "RFC 7644 §3.14", "ETag is meta.version, on every answer with a resource" => |p| {
        p.announces("etag")?;
        let (path, created) = p.create_user(json!({})).await?;
        let put = p.put(&path, p.user(json!({}))).await?;
        for answer in [created, put, p.get(&path).await?] {
            let etag = answer.header("etag");
            expect(!etag.is_empty(), || "expected an ETag".into())?;
            answer.has("/meta/version", etag)?;
        }
    }
    "RFC 7644 §3.14", "A change makes a new version" => |p| {
        p.announces("etag")?;
        let (path, created) = p.create_user(json!({ "title": "a" })).await?;
        p.patch(&path, json!([{ "op": "replace", "path": "title", "value": "b" }])).await?.succeeds()?;
        let etag = p.get(&path).await?;
        expect(etag.header("etag") != created.header("etag"), || "expected another ETag".into())?;
    }
    "RFC 7644 §3.14", "If-None-Match with the version that is there is 304 without a body" => |p| {
        p.announces("etag")?;
        let (path, created) = p.create_user(json!({})).await?;
        let known = p.ask(Method::GET, &path).header("if-none-match", created.header("etag")).send().await?;
        expect(known.is(304)?.text.is_empty(), || "expected no body".into())?;
        p.ask(Method::GET, &path).header("if-none-match", "W/\"another\"").send().await?.is(200)?;
    }
    "RFC 7644 §3.14", "If-Match with another version is 412 and changes nothing" => |p| {
        p.announces("etag")?;
        let (path, before) = p.create_user(json!({ "title": "a" })).await?;
        let put = p.user(json!({}));
        let patch = json!({ "schemas": [super::urn::PATCH_OP], "Operations": [{ "op": "remove", "path": "title" }] });
        for (method, body) in [(Method::PUT, put), (Method::PATCH, patch), (Method::DELETE, json!(null))] {
            let ask = p.ask(method, &path).header("if-match", "W/\"another\"");
            let ask = if body.is_null() { ask } else { ask.json(&body) };
            ask.send().await?.refused(412, "")?;
        }
        p.get(&path).await?.is(200)?.has("/meta/version", before.header("etag"))?;
    }
    "RFC 7644 §3.14", "If-Match with the version that is there lets the change happen" => |p| {
        p.announces("etag")?;
        let (path, created) = p.create_user(json!({})).await?;
        let put = p.ask(Method::PUT, &path).header("if-match", created.header("etag")).json(&p.user(json!({})));
        let put = put.send().await?;
        put.is(200)?;
        p.ask(Method::DELETE, &path).header("if-match", put.header("etag")).send().await?.is(204)?;
    }
    "RFC 9110 §13.1.1", "If-Match: * wants a resource to be there" => |p| {
        p.announces("etag")?;
        let (path, _) = p.create_user(json!({})).await?;
        p.ask(Method::DELETE, &path).header("if-match", "*").send().await?.is(204)?;
    }
    "RFC 7644 §3.11", "/Me is 501 where it is not offered" => |p| {
        let me = p.get("/Me").await?;
        if me.status == 404 {
            return Err(Unmet::unsupported("/Me (404, where 501 is recommended)"));
        }
        if me.status == 501 { me.refused(501, "")?; } else { me.is(200)?.has("/meta/resourceType", "User")?; }
    }
    "RFC 7644 §3.7", "/Bulk is there if and only if it is announced" => |p| {
        let body = json!({ "schemas": [super::urn::BULK], "Operations": [] });
        let there = ![404, 501].contains(&p.post("/Bulk", body).await?.status);
        let announced = p.config["bulk"]["supported"] == true;
        expect(there == announced, || format!("announced: {announced}"))?;
    }
    "RFC 7644 §3.12", "A body larger than the server takes is 413" => |p| {
        too_large(p).await?;
    }
    "RFC 8259 §4", "A name that is given twice in an object is refused" => |p| {
        let body = format!(r#"{{"schemas":["{}"],"userName":"a-twice","userName":"b-twice"}}"#, super::urn::USER);
        let ask = p.ask(Method::POST, "/Users").header("content-type", "application/scim+json").body(body);
        ask.send().await?.refused(400, "invalidSyntax")?;
    }
    "RFC 7644 §7.7", "JSON of absurd depth is refused, and nothing breaks" => |p| {
        let body = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        let ask = p.ask(Method::POST, "/Users").header("content-type", "application/scim+json").body(body);
        ask.send().await?.refused(400, "invalidSyntax")?;
        p.get("/Users?count=0").await?.is(200)?;
    }
}

/// Sixteen MiB of one attribute: more than any service takes for a user.
async fn too_large(p: &Provider) -> Verdict {
    let user = p.user(json!({ "displayName": "x".repeat(16 << 20) }));
    match p.post("/Users", user).await {
        // The server may end the connection before it has read it all.
        Err(Unmet::Fail(_)) => p.get("/Users?count=0").await?.is(200).map(|_| ()),
        answer => answer?.refused(413, "").map(|_| ()),
    }
}
