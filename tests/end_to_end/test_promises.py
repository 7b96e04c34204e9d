"""What we promise of whole runs; promises of one stage are proven beside it, as ``test_pNN_...`` too."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from pyarrow import parquet

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import Fate, Reason, Window
from offline_capi.pipeline import begin_run, open_services, reconcile, run_upload, send_staged, stage_upload
from offline_capi.report import Status
from tests.support.night import NOBODY, Night, yesterday
from tests.support.sales import OUTLET, SHOP, ZONE, Row, noon, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

Trouble = Callable[[Night], None]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The sample clients and one upload of our own, whose rows a test writes."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    return sales_night(tmp_path, sandbox)


# ---------------------------------------------------------------------------------------------- P1, P2

FAULTS = (
    "unavailable",
    "store_then_fail",
    "html",
    "malformed",
    "cut_before_body",
    "cut_before_store",
    "cut_after_store",
    "cut_amid_answer",
    "short_answer",
    "revoked_token",
)


def some_rows(chance: random.Random, run: str) -> list[Row]:
    """Good rows, and some that are invalid, suppressed, expired, or of no client."""
    kinds: list[Row] = [{}] * 6 + [
        {"amount": "much"},
        {"currency": "money"},
        {"consent": "no"},
        {"email": ""},
        {"sold_at": "at noon"},
        {"brand": "Nobody's"},
    ]
    brands = ("Shop", "Outlet")
    return [
        sale(f"{run}-{i}", **{"brand": chance.choice(brands), **chance.choice(kinds)})
        for i in range(chance.randint(1, 40))
    ]


def cause_trouble(chance: random.Random, sandbox: Sandbox) -> None:
    for kind in chance.sample(FAULTS, chance.randint(0, 2)):
        marks = {"event_share": 0.2} if kind == "short_answer" else {"share": chance.choice((0.3, 1.0))}
        sandbox.fault(kind, seed=chance.randint(0, 99), **marks)
    if chance.random() < 0.3:
        sandbox.fault("refuse_events", event_share=0.1, seed=chance.randint(0, 99))


def test_p01_no_row_is_lost_without_a_word_whatever_fails(night: Night) -> None:
    """Thirty random nights: the books balance amid faults, and one healthy run later everything has arrived once."""
    ends = set()
    for seed in range(30):
        chance = random.Random(seed)
        rows = some_rows(chance, f"r{seed}")
        write(night, rows)
        cause_trouble(chance, night.sandbox)

        troubled = night.send("sales")
        night.sandbox.heal()
        healthy = night.send("sales")

        ends.update(fate for fate, n in troubled.tally.count_by_fate().items() if n)
        assert (troubled.complete, troubled.tally.read) == (True, len(rows)), (seed, troubled.balance)
        assert (healthy.complete, healthy.tally.read) == (True, len(rows)), (seed, healthy.balance)
        assert healthy.tally.count_reasons(Fate.DEFERRED).keys() <= {(Reason.UNKNOWN_CLIENT, "client")}, (
            seed,
            healthy.balance,
        )
        assert healthy.tally.count(Fate.UNCONFIRMED) == 0, (seed, healthy.balance)
        arrived = [times for name, times in night.counted.items() if f"/r{seed}-" in name]
        done = healthy.tally.count(Fate.SENT) + healthy.tally.count(Fate.ALREADY_SENT)
        assert (len(arrived), set(arrived) <= {1}) == (done, True), (seed, troubled.balance, healthy.balance)
        assert healthy.tally.count(Fate.REJECTED_BY_META) == troubled.tally.count(Fate.REJECTED_BY_META), (
            seed,
            healthy.balance,
        )
    assert ends >= {Fate.SENT, Fate.INVALID, Fate.SUPPRESSED, Fate.REJECTED_BY_META, Fate.UNCONFIRMED, Fate.DEFERRED}


def test_p02_the_same_rows_in_another_shape_send_nothing(night: Night) -> None:
    """Columns and rows in another order, two files for one, requests of another size."""
    rows = some_rows(random.Random(2), "once") + [sale(f"again-{i}") for i in range(20)]
    write(night, rows)
    first = night.send("sales")
    requests = len(night.sandbox.requests)

    same = night.send("sales")
    turned = [dict(reversed(row.items())) for row in reversed(rows)]
    write(night, turned[:9])
    write(night, turned[9:], "more.csv")
    night.edit("dags/uploads/sales.yml", ("max_events: 7", "max_events: 5"))
    reshaped = night.send("sales")

    assert first.tally.count(Fate.SENT) >= 20
    for again in (same, reshaped):
        assert (again.tally.count(Fate.SENT), again.tally.count(Fate.ALREADY_SENT)) == (0, first.tally.count(Fate.SENT))
    assert len(night.sandbox.requests) == requests


def test_p02_the_same_query_in_another_shape_sends_nothing(night: Night) -> None:
    """Twice as it is, then with its columns and rows turned round and requests of another size."""
    night.fill()
    first = night.send("credit_approvals")
    requests = len(night.sandbox.requests)

    same = night.send("credit_approvals")
    query = (night.home / "sql/extract/credit_approvals.sql").read_text(encoding="utf-8")
    columns = query.split("SELECT")[1].split("FROM")[0]
    turned = ", ".join(reversed([column.strip() for column in columns.split(",")]))
    night.edit(
        "sql/extract/credit_approvals.sql", (columns, f" {turned} "), (":until AS TEXT)", ":until AS TEXT) ORDER BY 2")
    )
    night.edit("dags/uploads/credit_approvals.yml", ("limits:", "delivery: {max_events: 3}\nlimits:"))
    reshaped = night.send("credit_approvals")

    assert first.tally.count(Fate.SENT) > 0
    for again in (same, reshaped):
        assert (again.tally.count(Fate.SENT), again.tally.count(Fate.ALREADY_SENT)) == (0, first.tally.count(Fate.SENT))
    assert len(night.sandbox.requests) == requests


# ---------------------------------------------------------------------------------------------- P5

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
AGED = """
client: corner_shop
source: {path: "${OFFLINE_CAPI_DATA}/aged.csv"}
window: {column: at, timezone: UTC}
event: {name: CreditApproval, id: "{id}", action_source: {column: source}}
user_data: {em: email}
custom_data: {order_id: id}
delivery: {max_wait: 0s, timeout: 1s}
"""
OLDEST = {"system_generated": 7 * DAY, "phone_call": 7 * DAY, "physical_store": 62 * DAY}


@pytest.mark.parametrize(
    ("settings", "margin", "skew"),
    [("", HOUR, 60 * SECOND), ("age_margin: 0s", 0 * SECOND, 60 * SECOND), ("clock_skew: 0s", HOUR, 0 * SECOND)],
)
def test_p05_a_second_before_the_edge_goes_out_and_a_second_behind_it_does_not(
    night: Night, settings: str, margin: timedelta, skew: timedelta
) -> None:
    """Seven days, 62 for a store, less the margin; the clock skew ahead. The clock stands, here and at Meta."""
    night.write("dags/uploads/aged.yml", AGED)
    night.edit("dags/clients.yml", ("platform:\n", f"platform:\n  {settings}\n"))
    times = {
        **{f"{source} in": (source, NOW - oldest + margin + SECOND) for source, oldest in OLDEST.items()},
        **{f"{source} out": (source, NOW - oldest + margin - SECOND) for source, oldest in OLDEST.items()},
        "ahead in": ("chat", NOW + skew - SECOND),
        "ahead out": ("chat", NOW + skew + SECOND),
    }
    rows = [f"{id_},{at:%Y-%m-%dT%H:%M:%SZ},{source},{id_[-3:]}@example.com" for id_, (source, at) in times.items()]
    night.write("aged.csv", "\n".join(["id,at,source,email", *rows]))
    night.sandbox.clock = NOW.timestamp()
    deployment = load_config(night.home / "dags", environ=night.env)

    with open_services(deployment, EnvironmentSecrets(night.env), clock=lambda: NOW) as services:
        report = run_upload(deployment.uploads["aged"], Window(NOW - 99 * DAY, NOW + 99 * DAY), services)

    assert set(night.sandbox.accepted_ids) == {id_ for id_ in times if id_.endswith(" in")}
    assert report.tally.count_by_fate() == dict.fromkeys(Fate, 0) | {Fate.SENT: 4, Fate.EXPIRED: 3, Fate.INVALID: 1}
    assert [request["code"] for request in night.sandbox.requests] == [None]


# ---------------------------------------------------------------------------------------------- P9

TOKEN = "EAAcanarytokenofthecornershop"
CANARY: Row = {
    "email": "Canary.Mail@Example.com",
    "phone": "+44 7700 900461",
    "first": "Canaryfirst",
    "last": "Canarylast",
    "born": "1971-03-09",
    "city": "Canarycity",
    "state": "Canarystate",
    "zip": "QX9 7ZZ",
    "number": "CANARYNUMBER7",
}
BAD: list[Row] = [
    {"email": "canary at nowhere"},
    {"phone": "canary 12"},
    {"born": "canary day"},
    {"amount": "canary amount"},
    {"currency": "canary coins"},
    {"sold_at": "canary noon"},
]
#: As written, and as the rules normalise it.
SIGHTS = [
    *(value.lower() for value in CANARY.values()),
    *("7700900461", "07700 900461", "19710309", "09031971", "qx97zz", "canary"),
]


@pytest.fixture
def wire(sandbox: Sandbox) -> Iterator[Wire]:
    with Wire(sandbox.url) as wire:
        yield wire


class Wire:
    """A listener between us and the sandbox: every request as it was on the wire."""

    def __init__(self, target: str) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        wire = self

        class Listener(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wire.heard.append((self.path, dict(self.headers), body))
                kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]}
                answer = httpx.post(target + self.path, headers=kept, content=body)
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.send_header("Content-Type", answer.headers["content-type"])
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Requests are kept, not printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Wire:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def healthy(night: Night) -> None:
    """Nothing goes wrong."""


def refusing(night: Night) -> None:
    night.sandbox.refuse("c-0")


def token_revoked(night: Night) -> None:
    night.sandbox.fault("revoked_token")


def ragged(night: Night) -> None:
    """A line with a cell too many: readers like to quote it."""
    path = night.home / "sales/sales.csv"
    path.write_text(path.read_text(encoding="utf-8") + ",".join([*CANARY.values()] * 2) + "\n", encoding="utf-8")


def undecodable(night: Night) -> None:
    path = night.home / "sales/sales.csv"
    path.write_bytes(path.read_bytes() + "Canaryfirst Ä,".encode("latin-1") + b"," * 20 + b"\n")


@pytest.mark.parametrize(
    ("trouble", "code"), [(healthy, 0), (refusing, 1), (token_revoked, 1), (ragged, 0), (undecodable, 1)]
)
def test_p09_no_identity_and_no_token_is_readable_anywhere(
    night: Night, wire: Wire, trouble: Callable[[Night], None], code: int
) -> None:
    """Neither in what is said, nor in what is kept, nor in what goes out, save the token's own header."""
    rows = [sale(f"c-{i}", **{**CANARY, **one}) for i, one in enumerate([{}, *BAD, {"consent": "no"}])]
    write(night, rows)
    trouble(night)
    night.sandbox.grant(TOKEN, [SHOP])
    night.env |= {"CORNER_SHOP_TOKEN": TOKEN, "OFFLINE_CAPI_GRAPH_URL": wire.url}

    told = [night.run("upload", "sales")]
    if trouble is not undecodable:
        told += [night.run("report", "last", "--html", "report.html", "--json")]
        assert hashlib.sha256(b"canary.mail@example.com").hexdigest().encode() in wire.heard[0][2]

    assert told[0].code == code, told[0]
    sent = {f"request {i}": path.encode() + body for i, (path, _, body) in enumerate(wire.heard)}
    assert_unseen({"said": "".join(one.out + one.err for one in told).encode(), **kept_in(night), **sent})
    for _, headers, _ in wire.heard:
        assert [name.lower() for name, value in headers.items() if TOKEN in value] == ["authorization"]


def test_p09_no_identity_and_no_token_is_readable_in_staged_files(night: Night) -> None:
    """Three tasks instead of one process: hashed files lie between them, with the rejects and the ledger."""
    write(night, [sale(f"c-{i}", **{**CANARY, **one}) for i, one in enumerate([{}, *BAD])])
    night.sandbox.grant(TOKEN, [SHOP])
    night.env["CORNER_SHOP_TOKEN"] = TOKEN

    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)
        tallies = [send_staged(unit, upload, services) for unit in units]
        report = reconcile(run, upload, services)

    kept = kept_in(night)
    assert any("events-" in place for place in kept)
    assert any("rejects" in place for place in kept)
    assert report.tally.count(Fate.SENT) == len(night.counted) > 0
    assert_unseen({**kept, "report": str(report.to_json()).encode(), "returned": repr((units, tallies)).encode()})


def kept_in(night: Night) -> dict[str, bytes]:
    """Everything that lies in the night's folder, but its source; Parquet, which is compressed, as its values."""
    files = [path for path in night.home.rglob("*") if path.is_file() and path.parent.name != "sales"]
    assert any(path.name == "ledger.db" for path in files)
    return {
        str(path.relative_to(night.home)): str(parquet.read_table(path).to_pylist()).encode()
        if path.suffix == ".parquet"
        else path.read_bytes()
        for path in files
    }


def assert_unseen(places: dict[str, bytes]) -> None:
    for place, data in places.items():
        seen = [sight for sight in (*SIGHTS, TOKEN.lower()) if sight.encode() in data.lower()]
        assert not seen, (place, seen)


# ---------------------------------------------------------------------------------------------- P14


@pytest.mark.parametrize("fate", ["rejected by Meta", "deferred", "unconfirmed"])
def test_p14_a_loss_is_never_a_green_run(night: Night, fate: str) -> None:
    """The exit code, the report and the ledger all say so."""
    write(night, [sale(f"s-{i}") for i in range(5)])
    if fate == "rejected by Meta":
        night.sandbox.refuse("s-3")
    elif fate == "unconfirmed":
        night.sandbox.fault("cut_after_store")
    elif fate == "deferred":
        night.env["OFFLINE_CAPI_GRAPH_URL"] = NOBODY

    said = night.run("upload", "sales")
    with night.services() as services:
        listed = services.ledger.runs.list_newest(10)

    assert said.code == 1
    assert f" {fate}" in said.out
    assert [run.status for run in listed] == [Status.PARTIAL]


@pytest.mark.parametrize(
    ("limits", "days_late", "other", "code", "said"),
    [
        ("max_invalid: 20%", 0, {"amount": "much"}, 0, "complete"),
        ("max_invalid: 10%", 0, {"amount": "much"}, 1, "1 invalid (20.0%; limits.max_invalid is 10.0%)"),
        ("max_expired: 20%", 70, {}, 0, "complete"),
        ("max_expired: 10%", 70, {}, 1, "1 expired (20.0%; limits.max_expired is 10.0%)"),
    ],
)
def test_p14_what_a_run_may_lose_is_the_uploads_own_limit(
    night: Night, limits: str, days_late: int, other: Row, code: int, said: str
) -> None:
    """Below it the run is green, above it the exit code, the report, its page and the list of runs say so."""
    last = yesterday(ZONE)
    first = last - timedelta(days=70)
    bad = sale("bad", sold_at=noon(last - timedelta(days=days_late)), **other)
    write(night, [bad, *(sale(f"s-{i}", sold_at=noon(last)) for i in range(4))])
    night.edit("dags/uploads/sales.yml", ("max_invalid: 100%", limits))

    sent = night.run("upload", "sales", "--since", str(first), "--until", str(last + timedelta(days=1)))
    page = night.run("report", "--html", "report.html", "--json")
    listed = night.run("status", "--json").json["runs"]

    status = "partial" if code else "complete"
    assert (sent.code, said in sent.out) == (code, True), sent.out
    assert (page.json["status"], listed[0]["status"]) == (status, status)
    assert said in (night.home / "report.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------- P15


def days_before(last: date, count: int) -> list[date]:
    """So many days before ``last``, and it; oldest first."""
    return [last - timedelta(days=ago) for ago in range(count, -1, -1)]


def test_p15_the_plan_of_a_backfill_is_what_it_then_does_to_the_row(night: Night) -> None:
    """Per fate, client, day and reason, over days of which one was sent before and one lies too far back."""
    chance = random.Random(15)
    kinds: list[Row] = [{}, {}, {}, {"amount": "much"}, {"consent": "no"}, {"brand": "Outlet"}, {"brand": "Nobody's"}]
    last = yesterday(ZONE)
    late = last - timedelta(days=70)
    when = [*days_before(last, 4), late]
    write(night, [sale(f"{day}-{i}", sold_at=noon(day), **chance.choice(kinds)) for day in when for i in range(20)])
    night.send("sales", last - timedelta(days=2))
    backfill = ("sales", "--since", str(late), "--until", str(last + timedelta(days=1)), "--json")

    before = len(night.sandbox.requests)
    planned, asked = night.run("plan", *backfill), len(night.sandbox.requests)
    done = night.run("upload", *backfill)

    assert asked == before
    assert planned.json["tally"]["fates"] == done.json["tally"]["fates"]
    assert {fate for fate, *_ in done.json["tally"]["fates"]} == {
        *("already_sent", "expired", "deferred", "invalid", "sent", "suppressed")
    }


def test_p15_a_backfill_beside_the_nightly_run_counts_nothing_twice(night: Night) -> None:
    """Two processes at the same time on one ledger and one client; the night that follows finds nothing to send."""
    days = days_before(yesterday(ZONE), 5)
    write(night, [sale(f"{day}-{i}", sold_at=noon(day)) for day in days for i in range(60)])
    span = ("--since", str(days[0]), "--until", str(days[-1] + timedelta(days=1)))

    with ThreadPoolExecutor() as both:
        backfill = both.submit(night.run, "upload", "sales", *span, "--json")
        nightly = both.submit(night.run, "upload", "sales", "--scheduled", "--json")
    after = night.run("upload", "sales", *span, "--json").json
    sent = backfill.result().json["rows"]["sent"] + nightly.result().json["rows"]["sent"]

    assert set(night.counted.values()) == {1}
    assert night.sandbox.totals[SHOP]["duplicates"] == 0
    assert sent + after["rows"]["sent"] == len(night.counted) == 6 * 60
    assert after["rows"]["already_sent"] == sent


def test_p15_a_backfill_does_not_move_the_next_night(night: Night) -> None:
    """There is no watermark to move: a run without dates covers yesterday, whatever ran before it."""
    days = days_before(yesterday(ZONE), 3)
    write(night, [sale(f"{day}-{i}", sold_at=noon(day)) for day in days for i in range(4)])
    night.run("upload", "sales", "--since", str(days[0]), "--until", str(days[2]))

    nightly = night.run("upload", "sales", "--json").json

    assert nightly["window"] == Window.of_day(days[-1], ZONE).to_json()
    assert nightly["balance"] == "4 read = 4 sent"


# ---------------------------------------------------------------------------------------------- P18


def test_p18_no_event_reaches_the_pixel_of_another_client(night: Night) -> None:
    """Twelve random mixes of two clients' rows, amid faults and repetitions: also in requests that failed."""
    for seed in range(12):
        chance = random.Random(1800 + seed)
        rows = [
            sale(f"{brand}-{seed}-{i}", brand=brand)
            for i, brand in enumerate(chance.choices(("Shop", "Outlet"), k=chance.randint(2, 40)))
        ]
        write(night, rows)
        cause_trouble(chance, night.sandbox)
        night.send("sales")
        night.sandbox.heal()
        night.send("sales")

    for pixel, brand in ((SHOP, "Shop-"), (OUTLET, "Outlet-")):
        tried = [name for request in night.sandbox.requests_to(pixel) for name in request["event_ids"]]
        assert len(tried) > 100
        assert all(name.startswith(brand) for name in tried)
    assert set(night.sandbox.totals) == {SHOP, OUTLET}
