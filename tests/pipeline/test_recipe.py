"""A batch is prepared by a recipe alone: another process makes the same bytes of it, and it carries no secret."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Window
from offline_capi.pipeline import Recipe, read_lookups, read_rows
from tests.support.night import ROOT, Night, yesterday
from tests.support.sandbox_server import Sandbox

_PREPARE = """
import pickle, sys
recipe, rows, now = pickle.load(sys.stdin.buffer)
built = list(recipe.prepare_batch(rows, now))
pickle.dump(
    ([body for one in built for body in one.events.table.column("body").to_pylist()], [one.rows for one in built]),
    sys.stdout.buffer,
)
"""


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox)


@pytest.mark.parametrize("upload", ["credit_approvals", "store_purchases"])
def test_another_process_prepares_a_batch_to_the_same_bytes(upload: str, night: Night) -> None:
    night.fill()
    now = datetime.now(UTC)
    with night.services() as services:
        one = services.deployment.uploads[upload]
        window = Window.of_day(yesterday(one.window.timezone), one.window.timezone)
        recipe = Recipe.of_upload(one, window, services.deployment, lookups=read_lookups(one, window, services))
        rows = next(read_rows(one, window, services))
        here = list(recipe.prepare_batch(rows, now))
        pickled = pickle.dumps((recipe, rows, now))

    done = subprocess.run(
        [sys.executable, "-c", _PREPARE],
        input=pickled,
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )

    bodies, counts = pickle.loads(done.stdout)
    assert bodies == [body for part in here for body in part.events.table.column("body").to_pylist()] != []
    assert counts == [part.rows for part in here]


def test_a_recipe_carries_neither_environment_nor_token(night: Night) -> None:
    night.env["UNRELATED"] = "only-in-the-environment"
    with night.services() as services:
        for one in services.deployment.uploads.values():
            window = Window.of_day(yesterday(one.window.timezone), one.window.timezone)
            pickled = pickle.dumps(Recipe.of_upload(one, window, services.deployment))

            assert b"ACME_BANK_TOKEN" in pickled, "clients are there, with the names of their secrets"
            for secret in (*SAMPLE_TOKENS.values(), "only-in-the-environment"):
                assert secret.encode() not in pickled
