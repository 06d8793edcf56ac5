"""What one request costs as realms and groups grow (DESIGN 15): one client, one request after the other.

Started by `benches/run --sizes`. Prints a table, and draws it into a file of SVG where one is named.
"""

import argparse
import concurrent.futures
import http.client
import math
import pathlib
import re
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
CLIENTS = 4


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
        "first page of 100, counted": lambda realm: realm.page(""),
        "last page of 100, by cursor": lambda realm: realm.page(realm.end),
    }
    for realm in realms:
        # The gateway has closed what was idle while the others were filled; the next request connects anew.
        realm.connection.close()
        realm.end = realm.walk_to_the_end() if realm.size >= 1000 else ""
    taken = {(work, realm.size): [] for work in works for realm in realms}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for realm in realms:
                taken[name, realm.size].append(milliseconds(work(realm)))
    return {name: [statistics.median(taken[name, realm.size]) for realm in realms] for name in works}


def streamed(realm):
    """Reads the whole group by several clients at once: seconds, MB of an answer, MiB of the gateway before and at most."""
    def status(name):
        text = pathlib.Path(f"/proc/{realm.gateway.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024

    def read(_):
        connection = http.client.HTTPConnection(realm.gateway.address, timeout=300)
        connection.request("GET", f"{realm.base}/Groups/{realm.group}", headers={"Authorization": f"Bearer {realm.token}"})
        reply, size, tail = connection.getresponse(), 0, b""
        while part := reply.read(1 << 16):
            size, tail = size + len(part), part
        if not tail.endswith(b"}"):
            sys.exit("the answer was broken off")
        return size

    before, begin = status("VmRSS"), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        sizes = list(pool.map(read, range(CLIENTS)))
    return time.perf_counter() - begin, sizes[0] / 1e6, before, status("VmHWM")


def drawn(sizes, costs):
    """The table as a plot, in steps of ten times both ways: size from left to right, milliseconds upwards."""
    width, height, left, right, top, bottom = 720, 320, 60, 210, 20, 50
    least, most = 0.1, 10 ** math.ceil(math.log10(max(max(row) for row in costs.values())))
    colours = ["#0b6e4f", "#c8553d", "#2f5d8a", "#8a5a9e"]

    def x(size):
        return left + (width - left - right) * math.log10(size / sizes[0]) / math.log10(sizes[-1] / sizes[0])

    def y(cost):
        return height - bottom - (height - top - bottom) * math.log10(cost / least) / math.log10(most / least)

    def text(across, down, words, **more):
        more = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        return f'<text x="{across:.1f}" y="{down:.1f}"{more}>{words}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    mark = least
    while mark <= most * 1.01:
        parts.append(f'<line x1="{left}" x2="{width - right}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="#dddddd"/>')
        parts.append(text(left - 8, y(mark) + 4, f"{mark:g} ms", text_anchor="end"))
        mark *= 10
    for size in sizes:
        parts.append(text(x(size), height - bottom + 18, f"{size:,}", text_anchor="middle"))
    parts.append(text((left + width - right) / 2, height - 10, "users in the realm, members of the group", text_anchor="middle"))
    lowest = height
    names = {}
    for cost, name in sorted((row[-1], name) for name, row in costs.items()):
        names[name] = lowest = min(y(cost), lowest - 15)
    for (name, row), colour in zip(costs.items(), colours):
        points = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in zip(sizes, row))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(cost):.1f}" r="3" fill="{colour}"/>' for size, cost in zip(sizes, row)]
        parts.append(text(width - right + 10, names[name] + 4, name, fill=colour))
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
        print(f"{'milliseconds':30}" + "".join(f"{size:>12,}" for size in options.sizes))
        for name, row in costs.items():
            print(f"{name:30}" + "".join(f"{cost:12.2f}" for cost in row))
        member, first, last = (costs[name] for name in costs if "userName" not in name)
        for what, ratio in [
            (f"one member, {options.sizes[-1]:,} : {options.sizes[0]:,}", member[-1] / member[0]),
            (f"last page : first page, at {options.sizes[-1]:,}", last[-1] / first[-1]),
        ]:
            held &= ratio <= WITHIN
            print(f"{what:40} {ratio:.2f} {'ok' if ratio <= WITHIN else f'> {WITHIN:g}'}")
        seconds, size, before, most = streamed(realms[-1])
        print(f"{CLIENTS} clients read the group of {options.sizes[-1]:,} at once, {size:.0f} MB each, in {seconds:.1f} s; "
              f"resident memory of the gateway: {before:.0f} MiB before, {most:.0f} MiB at most")
        if options.plot:
            options.plot.write_text(drawn(options.sizes, costs))
    finally:
        if gateway:
            gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
