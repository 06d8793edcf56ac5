#!/usr/bin/env python3
"""Lets scim2-tester judge a SCIM service provider: `conformance.py BASE_URL TOKEN`.

Prints each finding. Ends with status 1 if the tester finds an error or a deviation, or if it finds nothing at all. It
creates, changes and deletes users and groups: give it a realm which nobody needs.
"""

import sys
from collections import Counter

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

FAILURES = {Status.DEVIATION, Status.ERROR, Status.CRITICAL}


def main(base_url, token):
    headers = {"Authorization": f"Bearer {token}"}
    # No proxy of the environment: the gateway is where the URL says.
    with Client(base_url=base_url, headers=headers, timeout=30, trust_env=False) as http:
        client = SyncSCIMClient(http)
        client.discover()
        results = check_server(client)

    counts = Counter(result.status for result in results)
    for result in results:
        print(f"{result.status.name.lower()}: {result.title} {result.resource_type or ''}: {result.reason}")
        if result.status in FAILURES:
            print(f"    {result.data}")
    print("scim2-tester:", ", ".join(f"{count} {status.name.lower()}" for status, count in counts.items()))
    failed = sum(counts[status] for status in FAILURES)
    passed = counts[Status.SUCCESS] + counts[Status.COMPLIANT] + counts[Status.ACCEPTABLE]
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]) if len(sys.argv) == 3 else __doc__)
