"""How fast webhooks are sent: a backlog of events to many endpoints at once, and the time from a change to its receipt.

Started by `benches/run --webhooks`. The endpoints are served by processes of this program, which do as little as one may
with a request: they find its end and say 200. They cost about as much processor time as the gateway itself.
"""

import argparse
import asyncio
import calendar
import concurrent.futures
import http.client
import json
import multiprocessing
import pathlib
import statistics
import sys
import tempfile
import time

from against_pgbench import REALM, Database, Gateway, processor_time, user

HEADS = b"\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LENGTH = b"content-length: "


class Endpoint(asyncio.Protocol):
    """A connection, which takes requests one after the other."""

    def __init__(self, received):
        self.received, self.rest = received, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rest += data
        while (head := self.rest.find(HEADS)) >= 0:
            at = self.rest.find(LENGTH, 0, head)
            end = head + 4 + int(self.rest[at + len(LENGTH) : self.rest.find(b"\r", at)])
            if len(self.rest) < end:
                return
            request, self.rest = self.rest[:end], self.rest[end:]
            self.received(request[head + 4 :])
            self.transport.write(ANSWER)


def serve(pipe, total):
    """Counts requests into `total`; once told to watch, remembers how late each came. Answers what it knows when asked."""
    late, watches = [], False

    def received(body):
        with total.get_lock():
            total.value += 1
        if watches:
            at = body.index(b'"created_at":"') + len(b'"created_at":"')
            made = body[at : body.index(b'"', at)].decode().rstrip("Z")
            late.append(time.time() - instant(made))

    async def run():
        nonlocal watches
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Endpoint(received), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            asked = await loop.run_in_executor(None, pipe.recv)
            if asked == "watch":
                watches = True
            else:
                pipe.send(late)
                return

    asyncio.run(run())


def instant(text):
    """Seconds since 1970 of `2026-11-22T15:04:05.123`."""
    whole, _, part = text.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{part or 0}")


class Endpoints:
    """Processes which serve endpoints, all of them on a few ports: what tells them apart is the path."""

    def __init__(self, processes):
        self.total = multiprocessing.Value("q", 0)
        self.pipes, self.ports, self.processes = [], [], []
        for _ in range(processes):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=serve, args=(theirs, self.total), daemon=True)
            process.start()
            self.processes.append(process)
            self.pipes.append(ours)
            self.ports.append(ours.recv())

    def url(self, n):
        return f"http://127.0.0.1:{self.ports[n % len(self.ports)]}/endpoint/{n}"

    def watch(self):
        for pipe in self.pipes:
            pipe.send("watch")

    def lateness(self):
        for pipe in self.pipes:
            pipe.send("tell")
        return [late for pipe in self.pipes for late in pipe.recv()]

    def wait_for(self, count, limit):
        """Waits until so many requests have come; answers how long that took."""
        begun = time.monotonic()
        while self.total.value < count:
            if time.monotonic() - begun > limit:
                sys.exit(f"{self.total.value} of {count} requests came within {limit} s")
            time.sleep(0.05)
        return time.monotonic() - begun

    def processor_time(self):
        return sum(processor_time(process.pid) for process in self.processes)


def make_users(gateway, names):
    def some(names):
        connection = http.client.HTTPConnection(gateway.address, timeout=30)
        for name in names:
            gateway.scim("POST", "/Users", user(name), connection)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(some, [names[n::8] for n in range(8)]))


def head(gateway):
    return gateway.operate("GET", f"/admin/realms/{REALM}/events?limit=1", None)["head"]


def run(options, folder):
    gateway = Gateway(options.gateway, folder, {"REALMGATE_OUTBOUND_ALLOW": "127.0.0.1"})
    endpoints = Endpoints(options.processes)
    webhooks = f"/admin/realms/{REALM}/webhooks"
    try:
        gateway.found_realm()
        make_users(gateway, [f"user-{n}" for n in range(options.events)])
        while (events := head(gateway)) < options.events:
            time.sleep(0.1)
        database = Database(folder)
        made = [
            gateway.operate("POST", webhooks, {"url": endpoints.url(n), "from": 1, "enabled": False})["id"]
            for n in range(options.endpoints)
        ]
        spent = [lambda: processor_time(gateway.process.pid), database.processor_time, endpoints.processor_time]
        before = [of() for of in spent]
        begun = time.monotonic()
        for id in made:
            gateway.operate("PUT", f"{webhooks}/{id}", {"enabled": True})
        count = events * options.endpoints
        endpoints.wait_for(count, options.limit)
        took = time.monotonic() - begun
        times = [(of() - was) / count for of, was in zip(spent, before)]
        while any(one["behind"] for one in gateway.operate("GET", webhooks, None)):
            time.sleep(0.1)
        written = time.monotonic() - begun
        print(f"backlog    {events:,} events to {options.endpoints} endpoints: {took:.1f} s, {count / took:,.0f} deliveries/s")
        print(f"           written down after {written:.1f} s; {endpoints.total.value - count:,} were sent twice")
        names = ["gateway", "PostgreSQL", "endpoints"]
        print("           " + ", ".join(f"{name} {spent:.0f}" for name, spent in zip(names, times)) + " µs of processor time each")

        # One after the other, as an identity provider sends them when somebody joins.
        endpoints.watch()
        for n in range(options.live):
            gateway.scim("POST", "/Users", user(f"live-{n}"))
            time.sleep(options.every)
        endpoints.wait_for(count + options.live * options.endpoints, 60)
        late = sorted(endpoints.lateness())
        centiles = statistics.quantiles(late, n=100)
        print(
            f"live       {options.live} changes to {options.endpoints} endpoints, each: p50 {centiles[49] * 1000:.0f} ms, "
            f"p99 {centiles[98] * 1000:.0f} ms, latest {late[-1] * 1000:.0f} ms from the request to its receipt"
        )
    finally:
        gateway.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=100)
    parser.add_argument("--live", type=int, default=200, help="changes whose time to receipt is measured")
    parser.add_argument("--every", type=float, default=0.05, help="seconds between them")
    parser.add_argument("--processes", type=int, default=2, help="which serve the endpoints")
    parser.add_argument("--limit", type=float, default=1200, help="seconds for the backlog")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="realmgate-bench-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        run(options, path)


if __name__ == "__main__":
    main()
