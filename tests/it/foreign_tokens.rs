//! An IdP which comes from another product keeps its token: the hash which that product had of it is enough.

use aws_lc_rs::digest;
use http::Method;
use serde_json::{Value, json};

use crate::world::{Caller, Realm, World};

/// Of the hashes below, which Python's bcrypt, argon2-cffi and passlib have made.
const TOKEN: &str = "sk_live_4f6a1c";
const BCRYPT: &str = "$2b$05$hOdAIFNvnu2/.81N6EwRI.GC.VSeQHbd8H.iC8xvZ43kSrKaw9xvu";
const SLOW: [&str; 5] = [
    BCRYPT,
    "$argon2id$v=19$m=256,t=2,p=2$6QKHKcjd47uS51nZRmljYg$/9j9EfZRYEt1HIUURYypg0wBCi5b55ScGDe8QNNwU/Y",
    "$pbkdf2-sha256$1000$jrFWyllLqXVuzVmL0dpbCw$bfxDUNBthsTvfvhvRcIu7YsPclfzkWATmr9LVlmmO.8",
    "$pbkdf2-sha512$1000$ndN6z1kLQeg9R8g5x5izlg$iUp5Uiz.8xNJt72F7CDeTlCq3doN.BYTQV/ZG7wLm3d51Plw4xzJ6YiuYiJ0TDYGofUHxOIgfyMe0Fpax2oTDg",
    "pbkdf2_sha256$1000$NaClNaCl$zsWRjusaYkvFQpNsxD5IVzhoFOMFkajF0H/jdv+pnKI=",
];

/// The digest which another product has of the token, in hexadecimal digits.
pub fn hex_of(algorithm: &'static digest::Algorithm, token: &str) -> String {
    let digest = digest::digest(algorithm, token.as_bytes());
    digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// A realm without a token of ours, which takes this one instead.
async fn realm_with(token: Value) -> Realm {
    let realm = World::realm().await;
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    let imported = realm.admin.post("/scim/tokens/import", token).await;
    assert_eq!(imported.status, 201, "{imported}");
    realm
}

async fn summary(idp: &Caller) -> String {
    idp.get("/Users").await.summary()
}

#[tokio::test]
async fn the_old_token_opens_the_realm_whichever_hash_is_known_of_it() {
    let mut hashes =
        vec![(hex_of(&digest::SHA256, TOKEN), "sha256"), (hex_of(&digest::SHA512, TOKEN).to_uppercase(), "sha512")];
    hashes.extend(SLOW.map(|hash| (hash.to_owned(), "phc")));
    for (hash, format) in hashes {
        let realm = realm_with(json!({ "hash": hash, "format": format, "label": "from the old product" })).await;
        let idp = realm.bearer(TOKEN);
        assert_eq!(summary(&idp).await, "200 OK", "{hash}");
        assert_eq!(summary(&idp).await, "200 OK", "{hash}: from the cache");
        for wrong in ["sk_live_4f6a1d", "SK_LIVE_4F6A1C", "x", &hash, &"y".repeat(5000)] {
            assert_eq!(summary(&realm.bearer(wrong)).await, "401 Unauthorized", "{hash}: {wrong}");
        }
        let tokens = realm.admin.get("/scim").await.json()["tokens"].clone();
        assert_eq!(
            (&tokens[0]["format"], &tokens[0]["label"], tokens.as_array().map(Vec::len)),
            (&json!(format), &json!("from the old product"), Some(1))
        );
        assert!(!tokens.to_string().contains(&hash), "a hash is nothing to show");
        let rotated = realm.admin.post("/scim/rotate", json!({})).await;
        assert_eq!(summary(&idp).await, "401 Unauthorized", "{hash}: rotated");
        assert_eq!(summary(&realm.bearer(&rotated.text_at("token"))).await, "200 OK");
    }
}

#[tokio::test]
async fn an_imported_token_stands_beside_ours_and_ends_with_them() {
    let realm = World::realm().await;
    let known = json!({ "hash": hex_of(&digest::SHA256, TOKEN), "format": "sha256" });
    assert_eq!(realm.admin.post("/scim/tokens/import", known.clone()).await.status, 201);
    assert_eq!(realm.admin.post("/scim/tokens/import", known).await.status, 409, "it is there already");
    let idp = realm.bearer(TOKEN);
    assert_eq!((summary(&idp).await, summary(&realm).await), ("200 OK".into(), "200 OK".into()));
    assert_eq!(realm.admin.post("/scim/disable", json!({})).await.status, 204);
    assert_eq!(summary(&idp).await, "401 Unauthorized");
    assert_eq!(realm.admin.post("/scim/enable", json!({})).await.status, 200);
    assert_eq!(summary(&idp).await, "401 Unauthorized", "it does not come back");
}

#[tokio::test]
async fn an_imported_token_ends_when_it_did_elsewhere() {
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(700);
    for (hash, format) in [(hex_of(&digest::SHA256, TOKEN), "sha256"), (BCRYPT.to_owned(), "phc")] {
        let realm = realm_with(json!({ "hash": hash, "format": format, "expires_at": "2999-01-01T00:00:00Z" })).await;
        assert_eq!(summary(&realm.bearer(TOKEN)).await, "200 OK");
        let over = json!({ "hash": hash, "format": format, "expires_at": "2020-01-01T00:00:00Z" });
        assert_eq!(World::realm().await.admin.post("/scim/tokens/import", over).await.status, 400);
    }
    let ending = json!({ "hash": hex_of(&digest::SHA256, TOKEN), "format": "sha256", "expires_at": soon });
    let slow = json!({ "hash": BCRYPT, "format": "phc", "expires_at": soon });
    for token in [ending, slow] {
        let realm = World::realm().await;
        // It may be over by now already, which is as good an end.
        let _either = realm.admin.post("/scim/tokens/import", token).await;
        let begun = std::time::Instant::now();
        while realm.bearer(TOKEN).get("/Users").await.status != 401 {
            assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it never ends");
        }
    }
}

#[tokio::test]
async fn a_token_of_one_realm_opens_no_other_which_has_one_as_well() {
    let other = "sk_live_another";
    for (hash, format) in [(hex_of(&digest::SHA256, TOKEN), "sha256"), (BCRYPT.to_owned(), "phc")] {
        let acme = realm_with(json!({ "hash": hash, "format": format })).await;
        let globex = realm_with(json!({ "hash": hex_of(&digest::SHA256, other), "format": "sha256" })).await;
        assert_eq!(summary(&acme.bearer(TOKEN)).await, "200 OK");
        assert_eq!(summary(&acme.bearer(TOKEN).at(&globex)).await, "401 Unauthorized");
        assert_eq!(summary(&globex.bearer(other).at(&acme)).await, "401 Unauthorized");
        let plain = World::realm().await;
        assert_eq!(summary(&plain.bearer(TOKEN)).await, "401 Unauthorized", "nor one which has none");
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_with_the_reason() {
    let realm = World::realm().await;
    for (token, why) in [
        (json!({ "hash": "abc", "format": "sha256" }), "64 hexadecimal digits"),
        (json!({ "hash": "secret", "format": "phc" }), "bcrypt"),
        (json!({ "hash": BCRYPT.replace("$05$", "$15$"), "format": "phc" }), "costs too much"),
        (json!({ "hash": BCRYPT, "format": "md5" }), "md5"),
        (json!({ "hash": BCRYPT, "format": "phc", "prefix": "x".repeat(17) }), "prefix"),
        (json!({ "format": "phc" }), "hash"),
    ] {
        let reply = realm.admin.post("/scim/tokens/import", token.clone()).await;
        assert_eq!(reply.status, 400, "{token}: {reply}");
        assert!(reply.text_at("errorMessage").contains(why), "{token}: {reply}");
    }
    for n in 0..5 {
        let hash = format!("pbkdf2_sha256$1000$salt{n}$zsWRjusaYkvFQpNsxD5IVzhoFOMFkajF0H/jdv+pnKI=");
        let reply = realm.admin.post("/scim/tokens/import", json!({ "hash": hash, "format": "phc" })).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    let sixth = realm.admin.post("/scim/tokens/import", json!({ "hash": BCRYPT, "format": "phc" })).await;
    assert_eq!(sixth.status, 409, "{sixth}");
    assert_eq!(realm.admin.get("/scim").await.json()["tokens"].as_array().map(Vec::len), Some(6), "ours and five");
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_locks_out_nobody_who_is_known() {
    let realm = realm_with(json!({ "hash": BCRYPT, "format": "phc" })).await;
    let idp = realm.bearer(TOKEN);
    assert_eq!(summary(&idp).await, "200 OK");
    let flood: Vec<_> = (0..40)
        .map(|n| {
            let stranger = realm.bearer(&format!("sk_live_{n}"));
            tokio::spawn(async move { stranger.send(Method::GET, "/Users", "".into()).await.expect("an answer") })
        })
        .collect();
    // Whatever the realm's policy becomes meanwhile, so that no verdict is remembered.
    for value in ["unique", "any", "unique"] {
        realm.policy("group_names", value).await;
        assert_eq!(summary(&idp).await, "200 OK");
    }
    for stranger in flood {
        let reply = stranger.await.expect("no panic");
        assert!([401, 503].contains(&reply.status.as_u16()), "{reply}");
        assert!(reply.status != 503 || !reply.header("retry-after").is_empty(), "{reply}");
        assert!(!reply.detail().contains("database"), "{reply}");
    }
}

#[tokio::test]
async fn what_begins_otherwise_is_not_even_compared() {
    let realm = realm_with(json!({ "hash": BCRYPT, "format": "phc", "prefix": "sk_live_" })).await;
    assert_eq!(summary(&realm.bearer(TOKEN)).await, "200 OK");
    let tokens = realm.admin.get("/scim").await.json()["tokens"].clone();
    assert_eq!(tokens[0]["prefix"], "sk_live_");
    // Nobody rests after these: each is answered at once, so none is told to come back.
    let strangers = (0..40).map(|n| realm.bearer(&format!("other_{n}")));
    for stranger in strangers {
        assert_eq!(summary(&stranger).await, "401 Unauthorized");
    }
}
