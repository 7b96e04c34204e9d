"""Whatever comes in, what comes out is rows, a value, or an error of ours: never a traceback, never endless.

Seconds here; for longer, ``make fuzz`` (``FUZZ=20000``: as many examples of each). What was found is an ``example``.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from offline_capi.config import load_config
from offline_capi.config.source import FileSource
from offline_capi.errors import ConfigError, OfflineCapiError, Problem, UsageError
from offline_capi.meta.graph.response import classify_response, parse_response
from tests.config.good_folder import CLIENTS, UPLOAD
from tests.sources.reading import WINDOW, open_at

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def joined(*pieces: bytes) -> st.SearchStrategy[bytes]:
    """Texts of a grammar's pieces, and of anything."""
    some = st.one_of(st.sampled_from(pieces), st.sampled_from(pieces), st.binary(max_size=6))
    return st.lists(some, max_size=60).map(b"".join)


def read(path: Path, content: bytes, columns: list[str] | None, **options: object) -> tuple[int, str]:
    """How many rows, and what was said instead of them."""
    path.write_bytes(content)
    source = FileSource.model_validate({"path": str(path), **options})
    try:
        parts = open_at(source).read(WINDOW, batch_rows=7, columns=columns)
        return sum(len(part.batch.to_pylist()) for part in parts), ""
    except OfflineCapiError as error:
        return 0, str(error)


COLUMNS = st.sampled_from([None, ["id"], ["id", "name"]])


@FUZZ
@given(
    joined(
        b"id,name\n", b"id", b",", b";", b'"', b'""', b"\n", b"\r\n", b"\r", b"\\", b"\0", b"x", b"\xef\xbb\xbf", b"1"
    ),
    COLUMNS,
    st.fixed_dictionaries(
        {},
        optional={
            "quoting": st.sampled_from(["standard", "loose", "none"]),
            "escape": st.just("backslash"),
            "header_row": st.integers(1, 3),
            "footer_rows": st.integers(0, 3),
            "trailing_delimiter": st.booleans(),
            "delimiter": st.sampled_from([",", ";", "\t", "|"]),
            "encoding": st.sampled_from(["utf-8", ["utf-8", "cp1252"], "utf-16"]),
        },
    ),
)
def test_any_bytes_are_a_csv_or_a_sentence(tmp_path_factory, content, columns, options):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"

    rows, said = read(path, content, columns, format="csv", **options)

    assert rows <= content.count(b"\n") + content.count(b"\r") + 1
    assert not said or "fuzz.csv" in said or "source." in said


@FUZZ
@given(
    joined(
        b'{"id": 1}', b'{"id":', b'"a"', b"{", b"}", b"[", b"]", b",", b"\n", b"1.5", b"1e999", b"null", b'"\\ud800"'
    ),
    st.sampled_from([None, ["id"], ["id", "id.a"], ["a.b.c"]]),
)
@example(b'{"id": "\\ud800"}\n', ["id"])
@example(b"[" * 3000, None)
@example(b'{"id":' * 3000 + b"\n", ["id"])
@example(b'{"id": 1}\n' + b"[" * 100_000 + b"\n", ["id"])
@example(b'{"id": 123456789012345678901234567890}\n', ["id"])
def test_any_bytes_are_json_lines_or_a_sentence(tmp_path_factory, content, columns):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"

    rows, said = read(path, content, columns, format="jsonl")

    assert rows <= content.count(b"{") + content.count(b"\n") + 1
    assert not said or "fuzz.jsonl" in said or "source." in said


WORDS = [
    *("client", "source", "window", "event", "user_data", "custom_data", "airflow", "limits", "gates", "platform"),
    *(
        "clients",
        "acme_bank",
        "pixel_id",
        "token",
        "env",
        "column",
        "template",
        "path",
        "connection",
        "sql",
        "name",
        "id",
    ),
    *(
        "notify",
        "failure",
        "call",
        "transform",
        "python",
        "2d",
        "2%",
        "{date}",
        "${X}",
        "{{ 1 }}",
        "a:b",
        "no",
        "~",
        "1e400",
    ),
]
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=8), st.dates()
)
NODES = st.recursive(
    SCALARS,
    lambda node: st.one_of(
        st.lists(node, max_size=3), st.dictionaries(st.one_of(st.sampled_from(WORDS), SCALARS), node, max_size=4)
    ),
    max_leaves=12,
)


def yaml_of(node: object) -> str:
    import yaml

    return str(yaml.safe_dump(node, allow_unicode=True))


def load(folder: Path, clients: bytes, upload: bytes) -> None:
    """Valid, or every problem with its file."""
    (folder / "uploads").mkdir(exist_ok=True)
    (folder / "clients.yml").write_bytes(clients)
    (folder / "uploads" / "approvals.yml").write_bytes(upload)
    problems: tuple[Problem, ...] = ()
    try:
        load_config(folder, environ={})
    except ConfigError as error:
        problems = error.problems or (Problem("", None, "", ""),)
    assert all(problem.file for problem in problems)


@FUZZ
@given(st.sampled_from([*UPLOAD.split("\n"), "transform: a", "airflow: x", "delivery: y"]), NODES)
def test_any_node_in_an_upload_is_valid_or_a_problem_at_its_line(tmp_path_factory, replaced, node):
    folder = tmp_path_factory.getbasetemp()
    kept = [line for line in UPLOAD.split("\n") if line != replaced]
    text = "\n".join([*kept, yaml_of({replaced.partition(":")[0] or "odd": node})])

    load(folder, CLIENTS.encode(), text.encode())


@FUZZ
@given(st.sampled_from(["platform", "clients", "odd"]), NODES)
def test_any_node_in_clients_yml_is_too(tmp_path_factory, section, node):
    folder = tmp_path_factory.getbasetemp()

    load(folder, yaml_of({section: node}).encode(), UPLOAD.encode())
    load(folder, f"{CLIENTS}\n{yaml_of({section: node})}".encode(), UPLOAD.encode())


@FUZZ
@given(
    joined(
        b"client: a", b": ", b"- ", b"{", b"}", b"[", b"\n", b"  ", b"&a ", b"*a", b"<<: ", b"!!python/x ", b"|", b"#"
    )
)
@example(b"a: &a [*a]")
@example(b"? {a: b}\n: c")
@example(b"\xff\xfe")
@example(b"[" * 5000)
def test_any_bytes_are_a_file_of_problems(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()

    load(folder, CLIENTS.encode(), content)
    load(folder, content, UPLOAD.encode())


NAMES = [
    *("error", "code", "error_subcode", "message", "error_user_msg", "error_data", "is_transient", "fbtrace_id"),
    *("events_received", "data", "messages", "call_count", "total_time", "acc_id_util_pct"),
    *("estimated_time_to_regain_access", "reset_time_duration"),
]
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["data[3]", '$["data"][7]', "event_index: 2", "190", "OAuthException"]),
    ),
    lambda node: st.one_of(
        st.lists(node, max_size=3),
        st.dictionaries(
            st.sampled_from(NAMES),
            node,
            max_size=5,
        ),
    ),
    max_leaves=15,
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "Age", "X-App-Usage", "x-business-use-case-usage", "facebook-api-version"]),
    st.one_of(
        st.text(max_size=20),
        JSON.map(json.dumps),
        st.sampled_from(["Sun, 29 Nov 2026 12:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "v26.0", "9" * 40, "-1"]),
    ),
    max_size=4,
)


@FUZZ
@given(
    st.integers(100, 599), HEADERS, st.one_of(JSON.map(lambda node: json.dumps(node).encode()), st.binary(max_size=50))
)
@example(500, {"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, b"")
@example(200, {"Date": "Fri, 31 Dec 9999 23:59:59 -2359", "Age": "999999999"}, b'{"events_received": 1}')
@example(400, {}, b'{"error": {"code": ' + b"9" * 5000 + b"}}")
@example(400, {}, b'{"error": {"error_data": ' + b"[" * 900 + b"]" * 900 + b"}}")
@example(400, {"X-App-Usage": "[" * 100_000}, b"")
def test_any_answer_of_meta_is_judged(status, headers, body):
    answer = parse_response(status, headers, body, now=lambda: 1.8e9, sent=[b'{"em": "x"}'])
    verdict = classify_response(answer, 1)

    assert verdict.accepted or verdict.action is not None
    assert answer.wait_s is None or answer.wait_s >= 0
    call = parse_response(status, headers, body, keep_data=True)
    assert call.after is None or call.ok or call.data
    assert all(isinstance(row, dict) for row in call.rows)


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(["since", "until", "clients", "limit"]),
        st.one_of(JSON, st.datetimes().map(str), st.dates().map(str), st.sampled_from(["2026-11-22T00:00:00+23:59"])),
    ),
    st.one_of(st.none(), st.text(max_size=12), st.dates().map(str)),
    st.one_of(st.none(), st.tuples(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))),
    st.sampled_from(["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati"]),
)
@example({"since": "9999-12-31"}, None, None, "UTC")
@example({"since": "0001-01-01", "until": "0001-01-02"}, None, None, "Asia/Tokyo")
@example({"since": "9999-12-31T23:00:00", "until": "9999-12-31T23:30:00"}, None, None, "America/New_York")
@example({}, "9999-12-31", None, "UTC")
@example({}, "0001-01-01", None, "Asia/Tokyo")
@example({}, None, (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)), "America/New_York")
def test_any_conf_of_a_run_is_a_window_or_a_sentence(params, partition_key, interval, zone):
    from offline_capi.airflow_provider.dags import windows

    try:
        window = windows.resolve_window(params, partition_key, interval, zone)
    except UsageError:
        return
    assert window.since.astimezone(UTC) < window.until.astimezone(UTC)
