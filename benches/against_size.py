"""What one request costs as realms and groups grow (DESIGN 15): one client, one request after the other.

Started by `benches/run --sizes`. Prints a table, and draws it into a file of SVG where one is named.
"""

import argparse
import http.client
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import urllib.parse

from against_pgbench import Database, Gateway, user

# The same, whatever the size (DESIGN 15).
WITHIN = 1.20
ROUNDS = 5
TIMES = 60


class Realm:
    """A realm of `size` users, and a group of all of them."""

    def __init__(self, gateway, database, size):
        self.gateway, self.size = gateway, size
        gateway.found_realm(f"size-{size}")
        self.base, self.token = gateway.base, gateway.token
        self.connection = http.client.HTTPConnection(gateway.address, timeout=60)
        self.joiner = self.ask("POST", "/Users", user("joiner"))["id"]
        self.ask("POST", "/Users", user("seed-0000"))
        self.group = self.ask("POST", "/Groups", {"displayName": "All"})["id"]
        database.multiply(size, f"size-{size}")
        self.names = [f"copy-{1 + n * size // TIMES}" for n in range(TIMES)]

    def ask(self, method, path, body=None):
        self.gateway.base, self.gateway.token = self.base, self.token
        return self.gateway.scim(method, path, body, self.connection)

    def join_and_leave(self, round):
        path, member = f"/Groups/{self.group}", {"value": self.joiner}
        change = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}
        if round % 2 == 0:
            self.ask("PATCH", path, change | {"Operations": [{"op": "add", "path": "members", "value": [member]}]})
        else:
            gone = f'members[value eq "{self.joiner}"]'
            self.ask("PATCH", path, change | {"Operations": [{"op": "remove", "path": gone}]})

    def find(self, round):
        name = urllib.parse.quote(f'userName eq "{self.names[round % TIMES]}"')
        if self.ask("GET", f"/Users?filter={name}")["totalResults"] != 1:
            sys.exit(f"{name}: not found")

    def walk_to_the_end(self):
        """The cursor of the last full page of 100."""
        cursor, step = "", 1000 if self.size > 1000 else 100
        seen = 0
        while True:
            page = self.ask("GET", f"/Users?attributes=id&count={step}&cursor={cursor}")
            seen += page["itemsPerPage"]
            if page["totalResults"] - seen <= step:
                return cursor
            cursor = page["nextCursor"]

    def page(self, cursor):
        return lambda round: self.ask("GET", f"/Users?count=100&cursor={cursor}")


def milliseconds(work):
    taken = []
    for round in range(TIMES):
        begin = time.perf_counter()
        work(round)
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def measure(realms):
    """Milliseconds by kind of work and size: the middle of rounds in which all take turns."""
    works = {
        "add or remove one member": lambda realm: realm.join_and_leave,
        "find by userName": lambda realm: realm.find,
        "first page of 100": lambda realm: realm.page(""),
        "last page of 100, by cursor": lambda realm: realm.page(realm.end),
    }
    for realm in realms:
        realm.end = realm.walk_to_the_end() if realm.size >= 1000 else ""
    taken = {(work, realm.size): [] for work in works for realm in realms}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for realm in realms:
                taken[name, realm.size].append(milliseconds(work(realm)))
    return {name: [statistics.median(taken[name, realm.size]) for realm in realms] for name in works}


def drawn(sizes, costs):
    """The table as a plot: size from left to right, in steps of ten times; milliseconds upwards, from nought."""
    width, height, left, right, top, bottom = 720, 360, 60, 220, 20, 50
    most = max(max(row) for row in costs.values()) * 1.1
    colours = ["#0b6e4f", "#c8553d", "#2f5d8a", "#8a5a9e", "#b58900"]

    def x(at):
        return left + (width - left - right) * at / (len(sizes) - 1)

    def y(cost):
        return height - bottom - (height - top - bottom) * cost / most

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    step = 10 ** len(str(int(most))) / 10 if most >= 1 else 0.1
    step = step if most / step >= 3 else step / 4
    mark = 0.0
    while mark <= most:
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g} ms</text>')
        mark += step
    for at, size in enumerate(sizes):
        parts.append(f'<text x="{x(at):.1f}" y="{height - bottom + 18}" text-anchor="middle">{size:,}</text>')
    middle = (left + width - right) / 2
    parts.append(f'<text x="{middle}" y="{height - 10}" text-anchor="middle">users in the realm, members of the group</text>')
    ends = sorted((row[-1], name) for name, row in costs.items())
    places = {}
    for cost, name in ends:
        places[name] = min(y(cost), min(places.values(), default=height) - 15)
    for (name, row), colour in zip(costs.items(), colours):
        points = " ".join(f"{x(at):.1f},{y(cost):.1f}" for at, cost in enumerate(row))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(at):.1f}" cy="{y(cost):.1f}" r="3" fill="{colour}"/>' for at, cost in enumerate(row)]
        parts.append(f'<text x="{width - right + 10}" y="{places[name] + 4:.1f}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[10, 1_000, 100_000, 1_000_000])
    parser.add_argument("--plot", type=pathlib.Path, help="file of SVG")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="realmgate-bench-"))
    folder.chmod(0o755)
    gateway, held = None, True
    try:
        gateway = Gateway(options.gateway, folder)
        database = Database(folder)
        realms = [Realm(gateway, database, size) for size in options.sizes]
        costs = measure(realms)
        print(f"{'milliseconds':30}" + "".join(f"{size:>12,}" for size in options.sizes) + f"{'last : first':>14}")
        for name, row in costs.items():
            ratio = row[-1] / row[0]
            # A page of a realm of ten is no page of a hundred.
            whole = "page" not in name
            ratio = ratio if whole else row[-1] / row[1]
            held &= ratio <= WITHIN
            print(f"{name:30}" + "".join(f"{cost:12.2f}" for cost in row) + f"{ratio:14.2f}")
        first, last = costs["first page of 100"][-1], costs["last page of 100, by cursor"][-1]
        held &= last / first <= WITHIN
        print(f"last page : first page, at {options.sizes[-1]:,}: {last / first:.2f}")
        if options.plot:
            options.plot.write_text(drawn(options.sizes, costs))
    finally:
        if gateway:
            gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
