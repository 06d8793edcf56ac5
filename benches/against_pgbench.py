"""Rates and processor times of the gateway and of pgbench, side by side. Started by `benches/run`.

The statements are not written down here. The gateway is asked once for each kind of work while PostgreSQL logs what it
executes; what stands in the log, texts and values, is what pgbench then runs: in the same order, as the same role, in
one flight as the gateway sends it.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

SETTINGS = {"REALMGATE_BOOTSTRAP_ADMIN_USERNAME": "bench", "REALMGATE_BOOTSTRAP_ADMIN_PASSWORD": "bench of realmgate"}
REALM = "bench"
# So many users are asked for in turn, by both sides.
ASKED_FOR = 64
AT_LEAST = 0.70
ROUNDS = 5
TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")


def user(name):
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "externalId": f"00u{name}",
        "name": {"givenName": "Barbara", "familyName": "Jensen"},
        "displayName": "Barbara Jensen",
        "emails": [{"value": f"{name}@example.com", "type": "work", "primary": True}],
        "active": True,
    }


class Gateway:
    """The binary on a data folder of its own, with a realm and its token."""

    def __init__(self, binary, folder, more=None):
        ready = folder / "ready.json"
        settings = SETTINGS | {
            "REALMGATE_LISTEN": "127.0.0.1:0",
            "REALMGATE_MANAGEMENT_LISTEN": "127.0.0.1:0",
            "REALMGATE_DATA_DIR": str(folder / "data"),
            "REALMGATE_LOG": "warn",
        } | (more or {})
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REALMGATE_")} | settings
        with open(folder / "gateway.log", "w") as log:
            command = [binary, "serve", "--ready-file", str(ready)]
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the gateway did not start:\n{(folder / 'gateway.log').read_text()}")
            time.sleep(0.05)
        self.url = json.loads(ready.read_text())["public_url"].rstrip("/")
        self.address = urllib.parse.urlsplit(self.url).netloc

    def operate(self, method, path, body):
        """As an operator."""
        form = {"grant_type": "password", "client_id": "admin-cli"}
        form |= {"username": SETTINGS["REALMGATE_BOOTSTRAP_ADMIN_USERNAME"]}
        form |= {"password": SETTINGS["REALMGATE_BOOTSTRAP_ADMIN_PASSWORD"]}
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        token = "/realms/master/protocol/openid-connect/token"
        admin = self.ask("POST", token, urllib.parse.urlencode(form), kind)["access_token"]
        headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
        return self.ask(method, path, json.dumps(body), headers)

    def found_realm(self, realm=REALM):
        self.operate("POST", "/admin/realms", {"realm": realm})
        self.token = self.operate("POST", f"/admin/realms/{realm}/scim/enable", {})["token"]
        self.base = f"/realms/{realm}/scim/v2"

    def ask(self, method, path, body=None, headers=None, connection=None):
        connection = connection or http.client.HTTPConnection(self.address, timeout=30)
        connection.request(method, path, body, headers or {})
        reply = connection.getresponse()
        content = reply.read()
        if reply.status >= 300:
            sys.exit(f"{method} {path}: {reply.status} {content.decode()}")
        return json.loads(content) if content else None

    def scim(self, method, path, body=None, connection=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/scim+json"}
        return self.ask(method, self.base + path, body and json.dumps(body), headers, connection)

    def seed(self, count):
        """Creates users over HTTP; answers the ids by name."""

        def some(names):
            connection = http.client.HTTPConnection(self.address, timeout=30)
            return {name: self.scim("POST", "/Users", user(name), connection)["id"] for name in names}

        names = [f"seed-{n:04}" for n in range(count)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            made = pool.map(some, [names[n::8] for n in range(8)])
            return {name: id for part in made for name, id in part.items()}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Database:
    """The gateway's embedded PostgreSQL, seen from outside."""

    def __init__(self, folder):
        self.folder = folder / "data" / "postgres"
        self.postmaster = int(next(self.folder.glob("**/postmaster.pid")).read_text().split()[0])
        password = (self.folder / "password").read_text().strip()
        self.environment = os.environ | {"PGHOST": str(self.folder), "PGPASSWORD": password, "PGDATABASE": "realmgate"}
        self.log = self.folder / "log"

    def psql(self, script, role="postgres"):
        command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", role]
        done = subprocess.run(command, input=script, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def multiply(self, count, realm=REALM):
        """Copies a seeded user until the realm has `count` more of them, past the gateway: only the size matters. All
        become members of the realm's group, if it has one."""
        self.psql(f"""
            SET search_path = realmgate;
            CREATE TEMP TABLE seed AS SELECT u.* FROM users u JOIN realms r ON r.id = u.realm_id
             WHERE r.name = '{realm}' AND user_name_key = 'seed-0000';
            INSERT INTO users (realm_id, id, version, created_at, updated_at, active, user_name_key, external_id,
                               display_name_key, display_name, attributes)
            SELECT realm_id, md5('{realm}' || n)::uuid, 1, created_at, created_at, true, 'copy-' || n, '00ucopy-' || n,
                   display_name_key, display_name, attributes FROM seed, generate_series(1, {count}) n;
            INSERT INTO user_emails SELECT realm_id, 'copy-' || n || '@example.com', md5('{realm}' || n)::uuid
              FROM seed, generate_series(1, {count}) n;
            INSERT INTO group_members (realm_id, group_id, member_id, user_id, created_at)
            SELECT g.realm_id, g.id, u.id, u.id, u.created_at FROM groups g JOIN seed s ON s.realm_id = g.realm_id
              JOIN users u ON u.realm_id = g.realm_id AND u.user_name_key LIKE 'copy-%';
            VACUUM ANALYZE users, user_emails, group_members, groups""")

    def statements_of(self, work):
        """What the gateway executes during `work`, from its last entry into the realm on: texts with their values."""
        work()
        self.log_statements("all")
        begin = self.log.stat().st_size
        work()
        time.sleep(0.2)
        self.log_statements("none")
        with open(self.log) as log:
            log.seek(begin)
            text = log.read()
        found = []
        for entry in re.split(r"(?m)^(?=\d{4}-\d\d-\d\d )", text):
            kind = r"(?:LOG:  execute [^:]*: |(DETAIL):  parameters: )"
            match = re.match(rf"\S+ \S+ \S+ \[(\d+)\] {kind}(.*)", entry, re.S)
            if not match:
                continue
            process, detail, said = match[1], match[2], match[3].replace("\n\t", "\n").strip()
            if not detail and "enter(" in said:
                found, entered = [(said, [])], process
            elif not detail and found and process == entered:
                found.append((said, []))
            elif detail and found and process == entered:
                values = re.findall(r"\$\d+ = (NULL|'(?:[^']|'')*')", said)
                found[-1][1].extend(None if v == "NULL" else v[1:-1].replace("''", "'") for v in values)
        if len(found) < 2:
            sys.exit(f"the log does not show what the gateway executes:\n{text}")
        return found

    def log_statements(self, which):
        self.psql(f"ALTER SYSTEM SET log_statement = '{which}'")
        self.psql("SELECT pg_reload_conf()")
        time.sleep(0.5)

    def processor_time(self):
        """Microseconds spent by the server and all of its processes, the ended ones too."""
        spent = 0
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat.parent.name == str(self.postmaster):
                spent += sum(map(int, fields[11:15]))
            elif int(fields[1]) == self.postmaster:
                spent += sum(map(int, fields[11:13]))
        return spent * TICK


def processor_time(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) * TICK


class Work:
    """One kind of work: arguments for oha, and what the gateway executes."""

    def __init__(self, name, oha, statements):
        self.name, self.oha, self.statements = name, oha, statements


class Bench:
    def __init__(self, options, folder, gateway, database):
        self.options, self.folder, self.gateway, self.database = options, folder, gateway, database

    def measured(self, run):
        """Rate, and microseconds of processor time for each answer: of the gateway, of PostgreSQL."""
        gateway, postgres = processor_time(self.gateway.process.pid), self.database.processor_time()
        rate, answers = run()
        gateway = processor_time(self.gateway.process.pid) - gateway
        return rate, gateway / answers, (self.database.processor_time() - postgres) / answers

    def side_by_side(self, work, connections):
        """Both sides in turn, so that whatever else the machine does disturbs both; of all rounds the middle."""
        seconds = self.options.seconds / ROUNDS
        self.oha(work, connections, 1)
        rounds = []
        for _ in range(ROUNDS):
            own = self.measured(lambda: self.oha(work, connections, seconds))
            limit = self.measured(lambda: self.pgbench(work, connections, seconds))
            rounds.append((own[0] / limit[0], *own, limit[0], limit[2]))
        return [statistics.median(column) for column in zip(*rounds)]

    def oha(self, work, connections, seconds):
        command = [self.options.oha, "--no-tui", "--output-format", "json", "-z", f"{round(seconds * 1000)}ms", "-c", str(connections)]
        command += ["-w", "-H", f"Authorization: Bearer {self.gateway.token}", *work.oha()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"oha: {done.stderr}")
        told = json.loads(done.stdout)
        statuses = told["statusCodeDistribution"]
        good = sum(count for status, count in statuses.items() if status.startswith("2"))
        refused = {s: n for s, n in statuses.items() if not s.startswith("2") and s != "409"}
        if refused or not good:
            sys.exit(f"{work.name}: the gateway answered {statuses}, {told['errorDistribution']}")
        return good / told["summary"]["total"], good

    def pgbench(self, work, connections, seconds):
        options = "-c role=realmgate_app -c search_path=realmgate -c plan_cache_mode=force_generic_plan -c timezone=UTC"
        command = [self.options.pgbench, "-n", "-M", "prepared", "-T", str(max(1, round(seconds))), "-c", str(connections)]
        command += ["-j", str(min(connections, os.cpu_count())), "-U", "realmgate"]
        script, variables = pgbench_script(work.statements)
        path = self.folder / f"{work.name}.sql"
        path.write_text(script)
        command += [item for name, value in variables.items() for item in ("-D", f"{name}={value}")]
        command += ["-f", str(path)]
        environment = self.database.environment | {"PGOPTIONS": options}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        rate = re.search(r"tps = ([\d.]+) \(without", done.stdout)
        answers = re.search(r"transactions actually processed: (\d+)", done.stdout)
        if done.returncode or not rate or re.search(r"failed transactions: [1-9]", done.stdout):
            sys.exit(f"pgbench: {done.stdout}\n{done.stderr}")
        return float(rate[1]), int(answers[1])

    def run(self, works):
        print(f"{'':22} {'gateway':>9} {'pgbench':>9} {'ratio':>6}        processor time, µs each")
        print(f"{'work':10} {'connections':>11} {'1/s':>9} {'1/s':>9} {'':6}        gateway + postgres   pgbench's postgres")
        held = True
        for work in works:
            for connections in self.options.connections:
                ratio, rate, own, postgres, limit, alone = self.side_by_side(work, connections)
                held &= ratio >= AT_LEAST
                verdict = "ok" if ratio >= AT_LEAST else f"< {AT_LEAST:.0%}"
                print(f"{work.name:10} {connections:11} {rate:9.0f} {limit:9.0f} {ratio:6.0%} {verdict:6} "
                      f"{own:8.0f} + {postgres:<8.0f} {alone:12.0f}", flush=True)
        return held


class Varying(str):
    """SQL in place of a value, another for each transaction."""


UNIQUE_ID = Varying("lpad(:unique::text, 32, '0')::uuid")
UNIQUE_NAME = Varying("('pgbench-' || :unique::text)")


def one_of(values, kind):
    return Varying(f"('{{{','.join(values)}}}'::{kind}[])[:pick]")


def pgbench_script(statements):
    """The gateway's flight as a script, and the variables in it."""
    lines = ["\\set unique random(1, 9223372036854775807)", f"\\set pick random(1, {ASKED_FOR})"]
    lines += ["\\startpipeline", "BEGIN;"]
    variables = {}
    for at, (text, values) in enumerate(statements):
        def bound(match):
            value = values[int(match[1]) - 1]
            if value is None:
                return "NULL"
            if isinstance(value, Varying):
                return value
            name = f"v{at}_{match[1]}"
            variables[name] = value
            return f":{name}"

        lines.append(re.sub(r"\$(\d+)", bound, text) + ";")
    return "\n".join([*lines, "COMMIT;", "\\endpipeline", ""]), variables


def with_value(statements, old, new):
    """The same statements with another value."""
    return [(text, [new if value == old else value for value in values]) for text, values in statements]


def works(folder, gateway, database, ids):
    """What is measured. `ids` are those of the seeded users by name."""
    names = random.Random(7).sample(sorted(ids), ASKED_FOR)
    name = names[0]

    def regex(path):
        # oha itself takes dots for dots.
        return lambda: ["--rand-regex-url", gateway.url + gateway.base + path.replace("?", "\\?")]

    found = database.statements_of(lambda: gateway.scim("GET", f"/Users/{ids[name]}"))
    yield Work("find", regex(f"/Users/({'|'.join(ids[n] for n in names)})"),
               with_value(found, ids[name], one_of([ids[n] for n in names], "uuid")))

    def by_name(name):
        return "?filter=" + urllib.parse.quote(f'userName eq "{name}"')

    found = database.statements_of(lambda: gateway.scim("GET", "/Users" + by_name(name)))
    yield Work("filter", regex("/Users" + by_name("NAME").replace("NAME", f"({'|'.join(names)})")),
               with_value(found, name, one_of(names, "text")))

    made = []
    found = database.statements_of(lambda: made.append(gateway.scim("POST", "/Users", user(f"made-{len(made)}"))))
    unique = with_value(with_value(found, made[-1]["id"], UNIQUE_ID), made[-1]["userName"], UNIQUE_NAME)

    def bodies():
        # oha draws lines at random. From so many, few are drawn twice; those are refused (409) and not counted.
        # A file is for one measurement: the next must not meet the names of the last.
        path, mark = folder / "bodies", random.randrange(1 << 40)
        with open(path, "w") as file:
            file.writelines(json.dumps(user(f"made-{mark:x}-{n}")) + "\n" for n in range(100_000))
        url = gateway.url + gateway.base + "/Users"
        return ["-m", "POST", "-T", "application/scim+json", "-Z", str(path), url]

    yield Work("create", bodies, unique)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--oha", required=True)
    parser.add_argument("--pgbench", required=True)
    parser.add_argument("--big", action="store_true", help="1,000,000 users rather than 1,000")
    parser.add_argument("--seconds", type=int, default=10, help="for each measurement of each side")
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[16, 64])
    parser.add_argument("--only", type=lambda text: text.split(","), default=["find", "filter", "create"])
    parser.add_argument("--keep", action="store_true", help="leave the folder with scripts, logs and data")
    options = parser.parse_args()

    # PostgreSQL's socket wants a short path, and its user a folder that it may enter.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="realmgate-bench-"))
    folder.chmod(0o755)
    gateway, held = None, False
    try:
        gateway = Gateway(options.gateway, folder)
        gateway.found_realm()
        database = Database(folder)
        ids = gateway.seed(1_000)
        if options.big:
            database.multiply(999_000)
        bench = Bench(options, folder, gateway, database)
        held = bench.run([work for work in works(folder, gateway, database, ids) if work.name in options.only])
    finally:
        if gateway:
            gateway.stop()
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
