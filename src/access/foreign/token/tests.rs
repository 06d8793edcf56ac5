use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;

const ISSUER: &str = "https://login.example";
const NOW: i64 = 1_800_000_000;

/// An issuer with one key, and what it publishes of it.
struct Signer {
    header: Header,
    key: EncodingKey,
    jwk: Value,
}

/// Made once: that takes a while.
static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair).unwrap();
    let public = pair.public_key();
    let jwk = json!({
        "kty": "RSA", "use": "sig", "kid": "rsa",
        "n": b64(public.modulus().big_endian_without_leading_zero()),
        "e": b64(public.exponent().big_endian_without_leading_zero()),
    });
    // Behind the 26 bytes which say that it is RSA (RFC 5208 §5).
    Signer { header: header(Algorithm::RS256, "rsa"), key: EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]), jwk }
});

impl Signer {
    fn ec() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": b64(&point[1..33]), "y": b64(&point[33..]) });
        Self { header: header(Algorithm::ES256, "ec"), key: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk }
    }

    fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(pair.public_key().as_ref()) });
        Self { header: header(Algorithm::EdDSA, "ed"), key: EncodingKey::from_ed_der(pkcs8.as_ref()), jwk }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header, claims)
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// Header and payload as they are, signed.
    fn sign_raw(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", b64(header.as_bytes()), b64(payload.as_bytes()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.header.alg).unwrap();
        format!("{message}.{signature}")
    }

    fn keys(&self) -> Keyset {
        Keyset::read(&json!({ "keys": [self.jwk] })).unwrap()
    }

    fn verify(&self, token: &str) -> Result<Claims, Flaw> {
        verify_at(token, &self.keys(), NOW)
    }
}

fn verify_at(token: &str, keys: &Keyset, now: i64) -> Result<Claims, Flaw> {
    let (audiences, claims) = (["app".to_owned(), "other-app".to_owned()], BTreeMap::new());
    let expected = Expected { issuer: ISSUER, audiences: &audiences, claims: &claims, max_life: None };
    Foreign::read(token)?.verify(keys, &expected, Timestamp::from_second(now).unwrap())
}

fn header(alg: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(alg) }
}

fn b64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "app", "sub": "ada", "iat": NOW, "nbf": NOW, "exp": NOW + 300 })
}

/// Good claims with one set, or taken away by `null`.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(name)
    } else {
        map.insert(name.to_owned(), value)
    };
    claims
}

#[test]
fn a_good_token_opens_with_a_key_of_each_kind() {
    for signer in [&*RSA, &Signer::ec(), &Signer::ed()] {
        let claims = signer.verify(&signer.sign(&claims())).unwrap();
        assert_eq!((claims.text("sub"), claims.expires_at()), (Some("ada"), NOW + 300));
    }
    for alg in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512] {
        assert!(RSA.verify(&RSA.sign_with(&header(alg, "rsa"), &claims())).is_ok(), "{alg:?}");
    }
}

#[test]
fn what_is_no_token_is_refused_by_its_form() {
    let signer = Signer::ec();
    let good = signer.sign(&claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    let huge = signer.sign(&with("groups", json!("x".repeat(MAX_LENGTH))));
    let glued = format!("{good}.{good}");
    let unsigned = format!("{message}.");
    let cut = good.split_once('.').unwrap().1;
    for token in ["", ".", "..", "...", "a.b.c", "💥.💥.💥", &huge, &glued, &unsigned, message, cut] {
        assert_eq!(signer.verify(token), Err(Flaw::Form), "{}", token.len());
    }
}

#[test]
fn the_algorithm_none_is_refused() {
    let signer = Signer::ec();
    let payload = b64(claims().to_string().as_bytes());
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = b64(json!({ "alg": alg, "typ": "JWT", "kid": "ec" }).to_string().as_bytes());
        for signature in ["", "AA"] {
            assert_eq!(signer.verify(&format!("{header}.{payload}.{signature}")), Err(Flaw::Form));
        }
    }
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    for signer in [&*RSA, &Signer::ec()] {
        for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for secret in [signer.jwk.to_string(), signer.jwk["n"].to_string(), signer.jwk["x"].to_string()] {
                let key = EncodingKey::from_secret(secret.as_bytes());
                let kid = signer.header.kid.as_deref().unwrap();
                let token = jsonwebtoken::encode(&header(alg, kid), &claims(), &key).unwrap();
                assert_eq!(signer.verify(&token), Err(Flaw::Form));
            }
        }
    }
}

#[test]
fn a_key_is_used_for_its_own_algorithms_alone() {
    let signer = Signer::ec();
    let token = signer.sign(&claims());
    let (_, rest) = token.split_once('.').unwrap();
    for alg in ["RS256", "PS256", "ES384", "EdDSA"] {
        let header = b64(json!({ "alg": alg, "kid": "ec" }).to_string().as_bytes());
        assert_eq!(signer.verify(&format!("{header}.{rest}")), Err(Flaw::UnknownKey), "{alg}");
    }
    let mut pinned = RSA.jwk.clone();
    pinned["alg"] = "RS256".into();
    let keys = Keyset::read(&json!({ "keys": [pinned] })).unwrap();
    let token = RSA.sign_with(&header(Algorithm::PS256, "rsa"), &claims());
    assert_eq!(verify_at(&token, &keys, NOW), Err(Flaw::UnknownKey));
}

#[test]
fn a_key_of_somebody_else_is_refused() {
    let (signer, stranger) = (Signer::ec(), Signer::ec());
    assert_eq!(signer.verify(&stranger.sign(&claims())), Err(Flaw::Signature), "under the same name");
    let renamed = header(Algorithm::ES256, "rotated-out");
    assert_eq!(signer.verify(&signer.sign_with(&renamed, &claims())), Err(Flaw::UnknownKey));
}

#[test]
fn a_name_of_a_key_is_a_name_and_nothing_else() {
    let signer = Signer::ec();
    for kid in ["", "EC", "ec ", "../../../dev/null", "ec' OR '1'='1", "http://127.0.0.1/keys", "\u{0}", "0"] {
        let token = signer.sign_with(&header(Algorithm::ES256, kid), &claims());
        assert_eq!(signer.verify(&token), Err(Flaw::UnknownKey), "{kid:?}");
    }
    let nameless = Header { kid: None, ..signer.header.clone() };
    assert!(signer.verify(&signer.sign_with(&nameless, &claims())).is_ok(), "there is no choice");
}

#[test]
fn keys_which_a_token_brings_along_are_not_looked_at() {
    let (signer, stranger) = (Signer::ec(), Signer::ec());
    let url = || Some("http://127.0.0.1:1/keys".to_owned());
    let brought = Header {
        jwk: Some(serde_json::from_value(stranger.jwk.clone()).unwrap()),
        jku: url(),
        x5u: url(),
        x5c: Some(vec!["AA==".to_owned()]),
        ..stranger.header.clone()
    };
    assert_eq!(signer.verify(&stranger.sign_with(&brought, &claims())), Err(Flaw::Signature));
}

#[test]
fn what_we_do_not_understand_is_not_passed_over() {
    let signer = Signer::ec();
    let payload = claims().to_string();
    for odd in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "b64": false }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A128GCM" }),
        json!({ "typ": "logout+jwt" }),
        json!({ "typ": "secevent+jwt" }),
        json!({ "typ": "dpop+jwt" }),
        json!({ "typ": 1 }),
        json!({ "kid": ["ec"] }),
    ] {
        let mut header = json!({ "alg": "ES256", "kid": "ec" });
        header.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        assert_eq!(signer.verify(&signer.sign_raw(&header.to_string(), &payload)), Err(Flaw::Form), "{odd}");
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({ "alg": "ES256", "kid": "ec", "typ": typ }).to_string();
        assert!(signer.verify(&signer.sign_raw(&header, &payload)).is_ok(), "{typ}");
    }
}

#[test]
fn what_occurs_twice_is_refused() {
    let signer = Signer::ec();
    let payload = claims().to_string();
    let twice = |more: &str| format!("{},{more}}}", payload.strip_suffix('}').unwrap());
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    assert!(signer.verify(&signer.sign_raw(header, &payload)).is_ok());
    for more in [r#""sub":"bob""#, r#""aud":"app""#, r#""exp":1"#, r#""email":1,"email":2"#] {
        assert_eq!(signer.verify(&signer.sign_raw(header, &twice(more))), Err(Flaw::Form), "{more}");
    }
    let header = r#"{"alg":"ES256","kid":"ec","alg":"none"}"#;
    assert_eq!(signer.verify(&signer.sign_raw(header, &payload)), Err(Flaw::Form));
}

#[test]
fn a_signature_is_of_every_byte_and_well_formed() {
    let signer = Signer::ec();
    let token = signer.sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let payload = b64(with("sub", json!("bob")).to_string().as_bytes());
    assert_eq!(signer.verify(&format!("{}.{payload}.{}", parts[0], parts[2])), Err(Flaw::Signature));
    let signature = BASE64_URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let wrong: [&[u8]; 7] =
        [&[0; 64], &[0xff; 64], &signature[..63], &[r, &zero].concat(), &[&zero, s].concat(), &[s, r].concat(), &[1]];
    for wrong in wrong.into_iter().chain([&[signature.as_slice(), &[0]].concat()[..]]) {
        assert_eq!(signer.verify(&format!("{}.{}.{}", parts[0], parts[1], b64(wrong))), Err(Flaw::Signature));
    }
    // DER, as TLS writes it, is not the form of a JWS (RFC 7518 §3.4).
    let der = [&[0x30, 0x44, 2, 32][..], r, &[2, 32], s].concat();
    assert_eq!(signer.verify(&format!("{}.{}.{}", parts[0], parts[1], b64(&der))), Err(Flaw::Signature));
    let padded = format!("{}.{}.{}=", parts[0], parts[1], parts[2]);
    assert_eq!(signer.verify(&padded), Err(Flaw::Form));
}

#[test]
fn the_issuer_is_compared_letter_by_letter() {
    let signer = Signer::ec();
    for issuer in ["https://login.example/", "https://LOGIN.example", "https://evil.example", "login.example", ""] {
        assert_eq!(signer.verify(&signer.sign(&with("iss", json!(issuer)))), Err(Flaw::Issuer), "{issuer}");
    }
    for odd in [json!([ISSUER]), json!({}), json!(1), json!(null)] {
        assert_eq!(signer.verify(&signer.sign(&with("iss", odd.clone()))), Err(Flaw::Issuer), "{odd}");
    }
}

#[test]
fn the_audience_must_be_there_and_ours() {
    let signer = Signer::ec();
    for good in [json!("other-app"), json!(["x", "app"])] {
        assert!(signer.verify(&signer.sign(&with("aud", good.clone()))).is_ok(), "{good}");
    }
    for wrong in
        [json!("x"), json!(["x"]), json!([]), json!(["app", 1]), json!("APP"), json!(""), json!({}), json!(null)]
    {
        assert_eq!(signer.verify(&signer.sign(&with("aud", wrong.clone()))), Err(Flaw::Audience), "{wrong}");
    }
}

#[test]
fn times_are_numbers_and_hold_within_what_clocks_differ() {
    let signer = Signer::ec();
    let at = |now: i64| verify_at(&signer.sign(&claims()), &signer.keys(), now).map(|_| ());
    assert_eq!((at(NOW + 359), at(NOW + 360)), (Ok(()), Err(Flaw::Expired)));
    assert_eq!((at(NOW - 60), at(NOW - 61)), (Ok(()), Err(Flaw::Early)));
    let future = with("iat", json!(NOW + 61));
    assert_eq!(signer.verify(&signer.sign(&future)), Err(Flaw::Early), "issued in the future");
    assert!(signer.verify(&signer.sign(&with("exp", json!(1.8e9 + 0.5)))).is_ok(), "a NumericDate may have a fraction");
    assert_eq!(signer.verify(&signer.sign(&with("exp", json!(null)))), Err(Flaw::Claims), "it is required");
    for name in ["exp", "nbf", "iat"] {
        for odd in [json!((NOW + 300).to_string()), json!([NOW]), json!({}), json!(true)] {
            let refused = signer.verify(&signer.sign(&with(name, odd.clone())));
            assert!(matches!(refused, Err(Flaw::Claims | Flaw::Form)), "{name}: {odd}");
        }
    }
    for (extreme, verdict) in
        [(json!(i64::MAX), Ok(())), (json!(u64::MAX), Ok(())), (json!(-1e300), Err(Flaw::Expired))]
    {
        assert_eq!(signer.verify(&signer.sign(&with("exp", extreme.clone()))).map(|_| ()), verdict, "{extreme}");
    }
}

#[test]
fn a_life_may_have_a_bound_and_claims_a_value() {
    let signer = Signer::ec();
    let audiences = ["app".to_owned()];
    let wanted = BTreeMap::from([("tid".to_owned(), "acme".to_owned()), ("roles".to_owned(), "scim".to_owned())]);
    let verify = |max_life: i64, claims: &Value| {
        let expected = Expected { issuer: ISSUER, audiences: &audiences, claims: &wanted, max_life: Some(max_life) };
        let token = signer.sign(claims);
        Foreign::read(&token)?.verify(&signer.keys(), &expected, Timestamp::from_second(NOW).unwrap()).map(|_| ())
    };
    let mut good = claims();
    good["tid"] = "acme".into();
    good["roles"] = json!(["x", "scim"]);
    assert_eq!(verify(300, &good), Ok(()));
    assert_eq!(verify(239, &good), Err(Flaw::LongLived));
    for (name, value) in [("tid", json!("globex")), ("tid", json!(1)), ("tid", json!(null)), ("roles", json!([]))] {
        let mut wrong = good.clone();
        wrong[name] = value;
        assert_eq!(verify(300, &wrong), Err(Flaw::Claims), "{name}");
    }
}

#[test]
fn the_issuer_of_a_token_is_read_before_it_is_believed() {
    let signer = Signer::ec();
    let issuer = |claims: &Value| Foreign::read(&signer.sign(claims)).unwrap().claimed_issuer();
    assert_eq!(issuer(&claims()), Ok(ISSUER.to_owned()));
    assert_eq!(issuer(&with("iss", json!(1))), Err(Flaw::Issuer));
}
