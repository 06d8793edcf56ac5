"""Verifies recorded webhooks with the library `standardwebhooks` of PyPI: stdin is a JSON array of objects with `secret`,
`headers` and `body`. Ends with an exception at the first which is not believed, or is believed though it was changed."""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def refuses(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return
    raise AssertionError("something wrong was believed")


recorded = json.load(sys.stdin)
for one in recorded:
    secret, headers, body = one["secret"], one["headers"], one["body"]
    assert Webhook(secret).verify(body, headers) == json.loads(body)
    refuses(secret, headers, body + " ")
    refuses("whsec_" + "A" * 32, headers, body)
    refuses(secret, {**headers, "webhook-id": "another"}, body)
print(f"{len(recorded)} verified")
