//! Who is let in (RFC 7644 §2, RFC 6750).

use http::Method;
use serde_json::json;

use super::{checks, provider::expect};

checks! {
    "RFC 7644 §2", "Without a token: 401, and WWW-Authenticate says how to come in" => |p| {
        for path in ["/Users", "/Groups", "/ServiceProviderConfig", "/Schemas", "/Nothing"] {
            let answer = p.ask(Method::GET, path).token(None).send().await?;
            answer.refused(401, "")?;
            let challenge = answer.header("www-authenticate");
            expect(challenge.starts_with("Bearer"), || format!("found WWW-Authenticate: {challenge}"))?;
        }
    }
    "RFC 6750 §3.1", "With a wrong token: 401 invalid_token" => |p| {
        for token in ["wrong", &format!("{}x", p.token), "rgs_0000000000000000000000000000000000000000000000000"] {
            let answer = p.ask(Method::GET, "/Users").token(Some(token)).send().await?;
            answer.refused(401, "")?;
            let challenge = answer.header("www-authenticate");
            expect(challenge.contains("invalid_token"), || format!("found WWW-Authenticate: {challenge}"))?;
        }
    }
    "RFC 7644 §2", "Another scheme than Bearer is refused" => |p| {
        let basic = p.ask(Method::GET, "/Users").token(None).header("authorization", "Basic YTpi");
        basic.send().await?.refused(401, "")?;
    }
    "RFC 6750 §5.3", "A token in the query is none" => |p| {
        let path = format!("/Users?access_token={}", p.token);
        p.ask(Method::GET, &path).token(None).send().await?.refused(401, "")?;
    }
    "RFC 6750 §2.1", "The name of the scheme does not heed case" => |p| {
        let ask = p.ask(Method::GET, "/Users?count=0").token(None);
        ask.header("authorization", format!("bearer {}", p.token)).send().await?.is(200)?;
    }
    "RFC 7644 §6", "The token of one realm opens no other" => |p| {
        for path in ["/Users?count=0", "/Groups?count=0", "/ServiceProviderConfig"] {
            p.ask(Method::GET, path).at_other_realm().send().await?.refused(401, "")?;
        }
    }
    "RFC 7644 §7.5", "Nothing is written before the caller is known" => |p| {
        let name = p.fresh("stranger");
        let user = p.user(json!({ "userName": name }));
        p.ask(Method::POST, "/Users").token(None).json(&user).send().await?.refused(401, "")?;
        p.get(&format!("/Users?filter=userName%20eq%20%22{name}%22")).await?.has("/totalResults", 0)?;
    }
}
