"""Verifies security event tokens with PyJWT, by the keys that the realm publishes: stdin is a JSON object with `jwks_uri`,
`foreign_jwks_uri`, `issuer`, `audience` and `tokens`. Writes the claims of all tokens, as a JSON array. Ends with an
exception at the first which is not believed, or is believed though it is changed or checked by another realm's keys."""

import json
import sys

import jwt


def believed(token, keys, **expected):
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["ES256"], options={"require": ["iss", "aud", "iat", "jti"]}, **expected)


def refuses(token, keys, **expected):
    try:
        believed(token, keys, **expected)
    except jwt.exceptions.PyJWTError:
        return
    raise AssertionError("something wrong was believed")


asked = json.load(sys.stdin)
own, foreign = (jwt.PyJWKClient(asked[name]) for name in ["jwks_uri", "foreign_jwks_uri"])
expected = {"issuer": asked["issuer"], "audience": asked["audience"]}
told = []
for token in asked["tokens"]:
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    claims = believed(token, own, **expected)
    assert "sub" not in claims and "exp" not in claims, claims
    told.append(claims)
    head, _, signature = token.split(".")
    changed = jwt.utils.base64url_encode(json.dumps({**claims, "txn": "another"}).encode()).decode()
    refuses(f"{head}.{changed}.{signature}", own, **expected)
    refuses(token, foreign, **expected)
    refuses(token, own, **{**expected, "audience": "another"})
    refuses(token, own, **{**expected, "issuer": asked["issuer"] + "-2"})
print(json.dumps(told))
