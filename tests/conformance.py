#!/usr/bin/env python3
"""Lets scim2-tester judge a SCIM service provider: `conformance.py BASE_URL TOKEN`.

Prints each finding. Ends with status 1 if the tester finds an error or a deviation which is not accepted below, if it
finds nothing, or if an accepted one is no longer found. It creates, changes and deletes users and groups: give it a
realm which nobody needs.
"""

import sys
from collections import Counter

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

FAILURES = {Status.DEVIATION, Status.ERROR, Status.CRITICAL}

MEMBERS = (
    "`members.display` is readOnly (RFC 7643 §2.2, announced in /Schemas): the service provider fills it in, and the "
    "tester compares the value which it wrote with all that it reads"
)

# What the tester objects to although the RFC has it so: (check, resource type, part of the reason) and why.
ACCEPTED = {
    ("check_remove_attribute", "User", "'active'"): (
        "RFC 7643 §4.1.1 leaves the meaning of `active` to the service provider. Without a value nobody could tell "
        "whether a leaver is let in, so its removal is refused (400 invalidValue), not guessed at"
    ),
    ("check_add_attribute", "Group", "'members'"): MEMBERS,
    ("check_replace_attribute", "Group", "'members'"): MEMBERS,
}


def accepted(result):
    """The entry of ACCEPTED which explains the finding, if one does."""
    for key in ACCEPTED:
        title, resource_type, part = key
        if (title, resource_type) == (result.title, result.resource_type) and part in (result.reason or ""):
            return key
    return None


def main(base_url, token):
    headers = {"Authorization": f"Bearer {token}"}
    # No proxy of the environment: the gateway is where the URL says.
    with Client(base_url=base_url, headers=headers, timeout=30, trust_env=False) as http:
        client = SyncSCIMClient(http)
        client.discover()
        results = check_server(client)

    counts, unused = Counter(), set(ACCEPTED)
    for result in results:
        key = accepted(result) if result.status in FAILURES else None
        unused.discard(key)
        word = "accepted" if key else result.status.name.lower()
        counts[word] += 1
        print(f"{word}: {result.title} {result.resource_type or ''}: {result.reason}")
        if result.status in FAILURES:
            print(f"    {ACCEPTED[key] if key else result.data}")

    for key in unused:
        print(f"never seen, take it off the list: {key}")
    print("scim2-tester:", ", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    failed = sum(counts[status.name.lower()] for status in FAILURES)
    passed = counts["success"] + counts["compliant"] + counts["acceptable"]
    return 1 if failed or unused or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) if len(sys.argv) == 3 else __doc__)
