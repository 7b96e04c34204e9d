"""What a run remembers of its values: it saves work, and nobody can tell from what is sent."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.config.client import Client, ExternalIdPolicy
from offline_capi.config.types import SecretRef
from offline_capi.identity import PROFILES, HashCache, Readable, Usable, digest, hash_cache, inspect_identity, stage
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import IdentityColumn, MappedRows, Window
from offline_capi.pipeline import RunContext, stages
from tests.support.night import Night, yesterday
from tests.support.sandbox_server import Sandbox


def _client(country: str | None, profile: str | None = None, **policy: Any) -> Client:
    whole = Client(
        pixel_id="1234567890", token=SecretRef(env="T"), country=country, external_id=ExternalIdPolicy(**policy)
    )
    return whole.model_copy(update={"profile": profile})


CLIENTS = {
    "acme": _client("US"),
    "albion": _client("GB", send="raw", lower=True),
    "migrant": _client("DE", "sdk"),
    "nowhere": _client(None, "param_builder"),
}
WORDS: list[str | None] = [
    "Mary Ann", "mary  ann", "O'Brien", "İstanbul", "Zoë", "USA", "Germany", "California", "BY", "94035-1234", "501",
    "020 7946 0958", "+1 650 555 1212", "3/4/1997", "1997-02-16", "a1@b.co", "n/a", "", "User 1", "f", "192.0.2.1",
    "fb.1.1554763741205.Ab", "123456789012345", "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    None,
]  # fmt: skip


def _rows(rng: random.Random, count: int, words: list[str | None], **more: Any) -> MappedRows:
    def some(among: list[Any]) -> pa.Array:
        return pa.array(rng.choices(among, k=count), pa.string())

    identity = {key: [IdentityColumn(some(words), key, **more)] for key in USER_DATA_KEYS}
    identity["country"] = [IdentityColumn(some(["US", "uk", "Deutschland", "Atlantis", None]), "country")]
    identity["ph"].append(IdentityColumn(some(words), "second", country=some(["GB", "de", None])))
    return MappedRows(
        "memory", pa.array(range(count)), some([*CLIENTS, None]), {}, identity, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip


def _inspected(rows: MappedRows, memory: HashCache | None, **how: Any) -> list[tuple[str, str, list[Any], list[Any]]]:
    return [
        (one.key, one.label, one.values.to_pylist(), [None] * len(rows) if one.cause is None else one.cause.to_pylist())
        for one in inspect_identity(rows, clients=CLIENTS, cache=memory, **how)
    ]


@pytest.mark.parametrize("most", [hash_cache.MAX_TABLE_BYTES, 3_000])
def test_p11_what_a_run_remembers_changes_nothing(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Every key, four clients, three profiles, batches of any size, with room for all values and with little."""
    monkeypatch.setattr(hash_cache, "MAX_TABLE_BYTES", most)
    rng, memory = random.Random("memory"), HashCache()

    for number, count in enumerate([900, 0, 40, 1, 900, 300, 7, 900]):
        words = rng.sample(WORDS, 12)
        batch = _rows(rng, count, [*words, f"Mary {number}", f"{number}@b.co", f"+1650555{number}"])
        assert _inspected(batch, memory) == _inspected(batch, None)

    assert memory.nbytes > 0


def test_p11_what_was_read_in_one_way_is_no_answer_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """One memory for uploads with other profiles, date formats, junk, hashed columns, and a day later."""
    rng, memory = random.Random("ways"), HashCache()
    words = ["3/4/1997", "11/28/2026", "Mary Ann", "O'Brien", "+1 650 555 1212", digest(pa.array(["x"]))[0].as_py()]
    ways: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"formats": ("%d/%m/%Y",)}, {}),
        ({"formats": ("%m/%d/%Y",)}, {}),
        ({"hashed": True}, {}),
        ({}, {"profile": "sdk"}),
        ({}, {"junk": {"fn": digest(pa.array(["maryann"])).to_pylist()}}),
    ]

    for today in (date(2026, 11, 27), date(2026, 11, 28)):
        monkeypatch.setattr(stage, "get_today", lambda today=today: today)
        for column, how in ways:
            batch = _rows(rng, 500, list(words), **column)
            assert _inspected(batch, memory, **how) == _inspected(batch, None, **how)


def test_a_value_is_read_once_a_run(counted: Callable[[str], Counter[Any]]) -> None:
    """Whatever batch it comes in; one that is read by its country once a country."""
    names, codes = counted("fn"), counted("zp")
    memory = HashCache()
    rng = random.Random("once")

    for _ in range(10):
        _inspected(_rows(rng, 300, [f"{number:05}" for number in range(40)]), memory, profile="meta")

    assert set(names.values()) == {1}
    assert len(names) == 40
    assert set(codes.values()) == {1}
    assert len({text for text, _ in codes}) == 40 < len(codes)


def test_people_s_own_values_are_not_kept_because_of_one_that_stands_everywhere() -> None:
    """Every fifth address is the same: the others will not come again, and looking for them would cost a run dearly."""
    memory = HashCache()
    mails = pa.array(["n/a" if number % 5 == 0 else f"{number}@b.co" for number in range(20_000)])
    columns = {"em": [IdentityColumn(mails, "mail")], "ct": [IdentityColumn(pa.array(["Paris", "Rome"] * 10_000), "t")]}
    rows = MappedRows(
        "mails", pa.array(range(20_000)), pa.repeat("acme", 20_000), {}, columns, {}, pa.repeat(False, 20_000)
    )

    inspect_identity(rows, clients=CLIENTS, cache=memory)

    assert 0 < memory.nbytes < 1_000  # both towns, no address


def test_the_memory_of_a_run_is_bounded() -> None:
    """However many values come, in whatever length."""
    memory = HashCache()
    for start in range(12):
        few = [f"Mozilla/5.0 (number {start}-{number}) {'x' * 400}" for number in range(3_000)]
        columns = {"client_user_agent": [IdentityColumn(pa.array(few * 4), "agent")]}
        rows = MappedRows(
            "agents", pa.array(range(12_000)), pa.repeat("acme", 12_000), {}, columns, {}, pa.repeat(False, 12_000)
        )
        inspect_identity(rows, clients=CLIENTS, cache=memory)

    assert 0 < memory.nbytes <= hash_cache.MAX_TABLE_BYTES


def test_a_night_reads_each_place_once(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, counted: Callable[[str], Counter[Any]]
) -> None:
    """In many batches, as a large source has them."""
    monkeypatch.setattr(stages, "BATCH_ROWS_OF_RUN", 60)
    places = counted("ct")

    with Night(tmp_path, sandbox).fill().services() as services:
        upload = services.deployment.uploads["store_purchases"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)
        run = RunContext(upload, window, services, trigger="plan")
        with stages.prepare_run(run):
            batches = sum(1 for _ in stages.prepare_batches(run))

    assert batches > 3
    assert set(places.values()) == {1}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Counter[Any]]:
    """How often the rule of a key was given each value, with its country."""

    def count(key: str) -> Counter[Any]:
        asked, table = Counter[Any](), dict(PROFILES["meta"])
        own = table[key]

        def rule(readable: Readable) -> Usable:
            countries = readable.country.to_pylist() if key == "zp" else [None] * len(readable)
            asked.update(zip(readable.text.to_pylist(), countries, strict=True))
            return own(readable)

        monkeypatch.setitem(PROFILES, "meta", {**table, key: rule})
        return asked

    return count
