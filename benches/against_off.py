"""What parts of the gateway cost, each switched on against off, and what a noisy realm costs a quiet one.

Started by `benches/run --parts`. Two gateways, one with the part and one without, answer in turn, ABAB, so that
whatever else the machine does disturbs both: of all pairs the middle of the ratios is told. The processor time of
gateway and PostgreSQL for each answer is the figure which stays still on a busy machine.
"""

import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from against_pgbench import Database, Gateway, processor_time, user

PAIRS = 8
CONNECTIONS = 16
# A part may cost so much of the rate.
AT_LEAST = 0.98
# The sequencer may cost so much of the rate of writes.
EVENTS_AT_LEAST = 0.90
# A quiet realm's 99 % beside a noisy one, by its own; the noisy one sends so many times its limit (SECURITY 2, row 12).
AT_MOST = 2.0
LIMIT = {"requests_per_second": 20, "burst": 40}
TIMES_THE_LIMIT = 100


def parts(redis):
    """Each part: its settings on, its settings off."""
    limit = {"REALMGATE_RATE_LIMIT_REQUESTS_PER_SECOND": "1000000", "REALMGATE_RATE_LIMIT_BURST": "1000000"}
    return {
        "limit": ({"REALMGATE_REDIS_URL": redis} | limit, {}),
        "log": ({"REALMGATE_REQUEST_LOG_ENABLED": "true"}, {"REALMGATE_REQUEST_LOG_ENABLED": "false"}),
    }


class Redis:
    """A server of its own behind a socket in the folder."""

    def __init__(self, folder):
        socket = folder / "redis"
        command = ["redis-server", "--port", "0", "--save", "", "--unixsocket", str(socket)]
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not socket.exists():
            if time.monotonic() > deadline:
                sys.exit("Redis did not start")
            time.sleep(0.05)
        self.url = f"redis+unix://{socket}"

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Side:
    """A gateway with settings of its own, and a user to ask for."""

    def __init__(self, binary, folder, settings):
        folder.mkdir()
        folder.chmod(0o755)
        self.gateway = Gateway(binary, folder, settings)
        self.database = Database(folder)
        try:
            self.gateway.found_realm()
            self.url = f"{self.gateway.url}{self.gateway.base}/Users/{self.gateway.scim('POST', '/Users', user('ada'))['id']}"
        except BaseException:
            self.gateway.stop()
            raise

    def spent(self):
        """Microseconds of processor time."""
        return processor_time(self.gateway.process.pid) + self.database.processor_time()


def oha(program, gateway, url, seconds, *options):
    """What oha tells of so many seconds of GET."""
    command = [program, "--no-tui", "--output-format", "json", "-z", f"{round(seconds * 1000)}ms", *options]
    done = subprocess.run([*command, "-H", f"Authorization: Bearer {gateway.token}", url], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"oha: {done.stderr}")
    return json.loads(done.stdout)


def rate(options, side):
    """Answers per second, and microseconds of processor time for each."""
    before = side.spent()
    told = oha(options.oha, side.gateway, side.url, options.seconds / PAIRS, "-c", str(CONNECTIONS), "-w")
    statuses = told["statusCodeDistribution"]
    if set(statuses) != {"200"}:
        sys.exit(f"the gateway answered {statuses}, {told['errorDistribution']}")
    return statuses["200"] / told["summary"]["total"], (side.spent() - before) / statuses["200"]


def on_against_off(options, folder, name, settings):
    """The middle of rates on and off, of their ratios, of processor times on and off."""
    sides = []
    try:
        for switched, more in zip(["on", "off"], settings):
            sides.append(Side(options.gateway, folder / f"{name}-{switched}", more))
        for side in sides:
            rate(options, side)
        pairs = [[rate(options, side) for side in sides] for _ in range(PAIRS)]
    finally:
        for side in sides:
            side.gateway.stop()
    middle = statistics.median
    rates = [middle(on[0] for on, _ in pairs), middle(off[0] for _, off in pairs)]
    times = [middle(on[1] for on, _ in pairs), middle(off[1] for _, off in pairs)]
    return *rates, middle(on[0] / off[0] for on, off in pairs), *times


def created(options, folder, side):
    """Users created per second, and microseconds of processor time for each."""
    # oha draws lines at random. From so many, few are drawn twice; those are refused (409) and not counted.
    path, mark = folder / "bodies", random.randrange(1 << 40)
    with open(path, "w") as file:
        file.writelines(json.dumps(user(f"made-{mark:x}-{n}")) + "\n" for n in range(100_000))
    before = side.spent()
    more = ["-c", str(CONNECTIONS), "-w", "-m", "POST", "-T", "application/scim+json", "-Z", str(path)]
    told = oha(options.oha, side.gateway, f"{side.gateway.url}{side.gateway.base}/Users", options.seconds / PAIRS, *more)
    statuses = told["statusCodeDistribution"]
    if set(statuses) - {"201", "409"}:
        sys.exit(f"the gateway answered {statuses}, {told['errorDistribution']}")
    return statuses["201"] / told["summary"]["total"], (side.spent() - before) / statuses["201"]


def with_events_against_without(options, folder):
    """As `on_against_off`, for users created while the sequencer works and while another holds all of its places."""
    side, pairs = Side(options.gateway, folder / "events", {}), []
    try:
        created(options, folder, side)
        for _ in range(PAIRS):
            on = created(options, folder, side)
            command = ["psql", "-XqAt", "-U", "postgres", "-c", "SELECT FROM realmgate.sequencers FOR UPDATE",
                       "-c", "SELECT 'held'", "-c", "SELECT pg_sleep(600)", "--single-transaction"]
            holder = subprocess.Popen(command, env=side.database.environment, stdout=subprocess.PIPE, text=True)
            while "held" not in holder.stdout.readline():
                pass
            off = created(options, folder, side)
            side.database.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'"
                               " AND pid <> pg_backend_pid()")
            holder.wait(10)
            pairs.append((on, off))
            while side.database.psql("SELECT count(*) FROM realmgate.outbox") != "0":
                time.sleep(0.1)
    finally:
        side.gateway.stop()
    middle = statistics.median
    rates = [middle(on[0] for on, _ in pairs), middle(off[0] for _, off in pairs)]
    times = [middle(on[1] for on, _ in pairs), middle(off[1] for _, off in pairs)]
    return *rates, middle(on[0] / off[0] for on, off in pairs), *times


def quiet_beside_noisy(options, folder):
    """Milliseconds: 99 % of a quiet realm alone and beside a noisy one, and the slowest deactivation in the noisy one."""
    folder.mkdir()
    folder.chmod(0o755)
    gateway = Gateway(options.gateway, folder, {})
    try:
        gateway.found_realm("noisy")
        gateway.operate("PATCH", "/admin/realms/noisy/scim/policy", {"rate_limit": LIMIT})
        leavers = [gateway.scim("POST", "/Users", user(f"leaver-{n}"))["id"] for n in range(8)]
        noisy, noisy_token = gateway.base, gateway.token
        gateway.found_realm("quiet")
        quiet = f"{gateway.url}{gateway.base}/Users/{gateway.scim('POST', '/Users', user('ada'))['id']}"
        calm = ["-c", "4", "-q", "100"]

        def p99():
            return oha(options.oha, gateway, quiet, options.seconds / PAIRS, *calm)["latencyPercentiles"]["p99"] * 1000

        def flood(seconds):
            per_second = str(LIMIT["requests_per_second"] * TIMES_THE_LIMIT)
            command = [options.oha, "--no-tui", "-z", f"{round(seconds * 1000)}ms", "-c", str(CONNECTIONS), "-q", per_second]
            command += ["-H", f"Authorization: Bearer {noisy_token}", f"{gateway.url}{noisy}/Users?count=10"]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def leave(slowest):
            change = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}
            change |= {"Operations": [{"op": "replace", "path": "active", "value": False}]}
            headers = {"Authorization": f"Bearer {noisy_token}", "Content-Type": "application/scim+json"}
            for leaver in leavers:
                begin = time.perf_counter()
                gateway.ask("PATCH", f"{noisy}/Users/{leaver}", json.dumps(change), headers)
                slowest.append((time.perf_counter() - begin) * 1000)
                time.sleep(0.3)

        alone, beside, left = [], [], []
        for pair in range(PAIRS):
            alone.append(p99())
            flooding = flood(options.seconds / PAIRS + 1)
            time.sleep(0.5)
            leaving = threading.Thread(target=leave, args=[left]) if pair == 0 else None
            if leaving:
                leaving.start()
            beside.append(p99())
            flooding.wait()
            if leaving:
                leaving.join()
        return statistics.median(alone), statistics.median(beside), max(left)
    finally:
        gateway.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--oha", required=True)
    parser.add_argument("--seconds", type=int, default=24, help="for each side of each measurement")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["limit", "log", "events", "fairness"])
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="realmgate-bench-"))
    folder.chmod(0o755)
    redis, held = Redis(folder), True
    try:
        names = {"limit": "rate limit and Redis", "log": "request log"}
        for name, settings in parts(redis.url).items():
            if name in options.only:
                on, off, ratio, time_on, time_off = on_against_off(options, folder, name, settings)
                held &= ratio >= AT_LEAST
                verdict = "ok" if ratio >= AT_LEAST else f"< {AT_LEAST:.0%}"
                print(f"{names[name]:24} GET by id, {CONNECTIONS} connections: {on:7.0f} on, {off:7.0f} off per s,"
                      f" ratio {ratio:.1%} {verdict}; processor time of an answer {time_on:.0f} on, {time_off:.0f} µs off",
                      flush=True)
        if "events" in options.only:
            on, off, ratio, time_on, time_off = with_events_against_without(options, folder)
            held &= ratio >= EVENTS_AT_LEAST
            verdict = "ok" if ratio >= EVENTS_AT_LEAST else f"< {EVENTS_AT_LEAST:.0%}"
            print(f"{'events':24} create, {CONNECTIONS} connections: {on:7.0f} on, {off:7.0f} off per s, ratio"
                  f" {ratio:.1%} {verdict}; processor time of an answer {time_on:.0f} on, {time_off:.0f} µs off", flush=True)
        if "fairness" in options.only:
            alone, beside, left = quiet_beside_noisy(options, folder / "fairness")
            held &= beside <= AT_MOST * alone
            verdict = "ok" if beside <= AT_MOST * alone else f"> {AT_MOST:g} times"
            print(f"{'quiet beside noisy':24} p99 of GET by id: {alone:.1f} ms alone, {beside:.1f} ms beside a realm at"
                  f" {TIMES_THE_LIMIT} times its limit {verdict}; slowest deactivation there {left:.0f} ms")
    finally:
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
