"""The client's page: without outside address or script, readable by everybody, on a desk, a telephone and paper."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offline_capi.cli import app
from offline_capi.errors import UsageError
from offline_capi.ledger import Ledger, save_read_back
from offline_capi.model import Fate, ReadBack, Reason, Tally
from offline_capi.report.client_page import ChartFrame, format_name, format_share, render_client_page
from offline_capi.report.client_report import ClientReport
from offline_capi.report.client_words import FATE_WORDS
from offline_capi.report.pdf import print_to_pdf
from tests.airflow_provider.browser import find_accessibility_faults, find_browser, look_at
from tests.support.past import NOW, PIXELS, Past, books


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> ClientReport:
    """A month with everything that a page can show."""
    past = Past(tmp_path_factory.mktemp("full"))
    for n in range(30):
        day = date(2026, 10, 30) + timedelta(days=n)
        if n not in (11, 12):
            past.run(make_day(day, n), day)
    told = {
        "received": {"Purchase": 130, "Lead": 24},
        "offline": {"Purchase": {"score": 7.4, "keys": {"em": 62.0}, "parts": {}}},
        "web": {"Lead": {"score": 6.4, "keys": {"em": 62.0}, "gains": {"em": 4.0}}},
        "checks": {
            "x": {"title": "Events without an address", "result": "failed", "action_uri": "https://meta.example"}
        },
    }
    return _report_with(past, told)


def make_typical(home: Path) -> ClientReport:
    """A month of a client with two uploads: purchases and leads, four reasons for records that were not delivered."""
    past = Past(home)
    for n in range(30):
        day = date(2026, 10, 30) + timedelta(days=n)
        sent = 60 + 7 * n % 40
        unsent = {
            "invalid": {"bad_currency": 2, "no_identifier": n % 3},
            "suppressed": 4,
            "deferred": {"throttled": n // 29},
        }
        keys = {"em": sent * 2 // 3, "ph": sent // 3, "zp": sent // 2, "country": sent, "external_id": sent // 5}
        past.run(books(day, sent, values={"EUR": 34.5 * sent}, keys=keys, **unsent), day)
        past.run(books(day, 9, name="Lead", keys={"em": 9}), day, upload="leads")
    received = {
        "received": {"Purchase": 63, "Lead": 9},
        "offline": {"Purchase": {"score": 7.4, "keys": {}, "parts": {}}},
    }
    return _report_with(past, received)


def _report_with(past: Past, told: Mapping[str, Any]) -> ClientReport:
    """The report of the month with Meta's figures of its last day."""
    with Ledger(past.url) as ledger:
        day = date(2026, 11, 28)
        figures = [ReadBack("nordic_outlet", PIXELS["nordic_outlet"], kind, day, of, NOW) for kind, of in told.items()]
        save_read_back(ledger, figures, now=NOW)
    return past.report()


def make_day(day: date, n: int) -> Tally:
    sent = 60 + 7 * n % 40
    unsent = {fate: {reason: 1 + n % 3} for fate, reason in zip(("invalid", "deferred"), Reason, strict=False)}
    unsent |= {"suppressed": 4, "unconfirmed": {"lost_answer": 1}, "rejected_by_meta": {"100/2804019": 1}}
    unsent |= {"expired": {"too_old": 2}}
    money, keys = {"EUR": 34.5 * sent, "SEK": -10.0 * sent}, {"em": sent // 2, "fbc": sent, "client_user_agent": 3}
    return books(day, sent, values=money, keys=keys, **unsent) + books(day, 9, name="Lead")  # type: ignore[arg-type]


def in_browser() -> None:
    if find_browser() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no browser here: apt-get install chromium")


def test_it_needs_nothing_from_elsewhere_and_has_no_script(full: ClientReport) -> None:
    page = render_client_page(full)

    assert re.findall(r"https?:|//\w|<script|<link|<img|@import|url\(", page) == []
    assert "default-src 'none'" in page


def test_every_picture_has_a_title_a_description_and_a_table(full: ClientReport) -> None:
    page = render_client_page(full)

    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(pictures) == 3
    assert all(re.search(r"<title id=.+</title>\s*<desc id=.+</desc>", picture) for picture in pictures)
    rows = re.findall(r'<tr><th scope="row">(.+?)</th>', page[page.index("Events and value by day") :])
    assert rows[:2] == ["28 Nov", "27 Nov"]
    assert rows[29] == "30 Oct"
    assert page.count(">not processed</td>") == 2


def test_every_fate_stands_on_it_with_its_number(full: ClientReport) -> None:
    page = render_client_page(full)

    assert set(full.not_sent) == set(Fate) - {Fate.SENT, Fate.ALREADY_SENT}
    assert all(
        re.search(rf"</i>{n:,}</dt><dd>{re.escape(FATE_WORDS[fate]).replace(chr(39), '&#39;')}</dd>", page)
        for fate, n in {Fate.SENT: full.sent, **full.not_sent}.items()
    )
    assert f"</i>{full.records:,}</dt><dd>records in all" in page


def test_an_evil_name_of_an_event_is_text(tmp_path: Path) -> None:
    past, day = Past(tmp_path), date(2026, 11, 20)
    past.run(books(day, 1, name="<script>alert(1)</script>\u202e"), day)

    page = render_client_page(past.report())

    assert "&lt;script&gt;alert(1)" in page
    assert not any(text in page for text in ("<script", "\u202e"))


def test_axe_finds_nothing_serious(full: ClientReport, tmp_path: Path) -> None:
    in_browser()
    pages = {"full": render_client_page(full), "empty": render_client_page(Past(tmp_path / "empty").report())}

    for theme in ("light", "dark"):
        assert find_accessibility_faults(pages, tmp_path, theme=theme) == {"full": [], "empty": []}


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_on_a_telephone_and_on_a_desk(full: ClientReport, tmp_path: Path, width: int) -> None:
    """Also where a month is worth millions, in two currencies."""
    in_browser()
    past, day = Past(tmp_path / "rich"), date(2026, 11, 20)
    past.run(books(day, 9, values={"EUR": 43_900.0, "USD": 1_894_647.0}), day)
    pages = {"client": render_client_page(full), "rich": render_client_page(past.report())}

    for seen in look_at(pages, tmp_path, theme="light", width=width).values():
        assert (seen["too_wide"], seen["cut"], seen["loaded"], seen["outside"]) == (False, [], [], [])
        assert min(seen["plots"]) > 300


@pytest.mark.parametrize(("paper", "size"), [("a4", (595, 842)), ("letter", (612, 792))])
def test_paper_is_one_page_of_a_usual_month_and_two_of_a_full_one(
    full: ClientReport, tmp_path: Path, paper: str, size: tuple[int, int]
) -> None:
    """The full month has all that a page can show, three pictures among it: no legible print holds that on one page."""
    in_browser()

    for report, pages in ((make_typical(tmp_path), 1), (full, 2)):
        data = print_to_pdf(render_client_page(report), paper)
        boxes = [[float(n) for n in box.split()] for box in re.findall(rb"/MediaBox ?\[([^\]]+)\]", data)]
        assert data.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type ?/Page\b", data)) == pages
        assert boxes
        assert all(box == pytest.approx([0, 0, *size], abs=1) for box in boxes)


def test_print_is_legible(full: ClientReport) -> None:
    """No letter below 8.5 pt; of pictures by the narrowest that they get, on A4."""
    printed = re.search(r"@media print \{(.*?)\n\}", render_client_page(full), re.DOTALL)
    assert printed is not None
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)pt", printed[1])]
    page_mm, margin_mm = 210, float(re.findall(r"@page \{ margin: \S+ (\d+)mm", render_client_page(full))[0])
    column = ((page_mm - 2 * margin_mm) * 72 / 25.4 - 5 * 12) / 6
    picture = (4 * column + 3 * 12 - 10) / 2
    (letters,) = re.findall(r"svg text \{ font-size: ([\d.]+)px", printed[1])

    assert min(sizes) == 8.5
    assert float(letters) * picture / ChartFrame().width >= 8.5
    assert not re.search(r"font-size: [\d.]+r?em", printed[1])


def test_paper_has_the_advice_that_counts_most_and_names_the_rest(full: ClientReport) -> None:
    page = render_client_page(full)

    named = re.search(r'<p class="soft printed">(.*?)</p>', page)
    left_out = re.findall(r'<tr class="more"><th scope="row">(.*?)</th>', page)

    assert named is not None
    assert left_out == ["Town", "Country", "Click on the ad", "Browser&#39;s user agent"]
    assert all(name.lower() in named[1] for name in left_out)


def test_without_a_browser_one_sentence_says_to_print_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UsageError, match="Write the page with --html FILE, open it in any browser and print it"):
        print_to_pdf("<p>x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "client"], "--for client needs --client NAME"),
        (["--month", "2026-11"], "--month goes with --client NAME --for client"),
        (["some-run", "--for", "client", "--client", "nordic_outlet"], "so it takes no run"),
        (["--for", "client", "--client", "nordic_outle"], 'did you mean "nordic_outlet"'),
    ],
)
def test_options_that_do_not_fit_together_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    past = Past(tmp_path)
    for name, value in past.environment.items():
        monkeypatch.setenv(name, value)

    done = CliRunner().invoke(app, ["report", *options, "--config", str(past.home / "dags")])

    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0 %"), (0.001, "1 %"), (0.5, "50 %"), (0.9999, "99 %"), (1, "100 %")]
)
def test_100_per_cent_are_all_and_0_none(share: float, words: str) -> None:
    assert format_share(share) == words


@pytest.mark.parametrize(("name", "shown"), [("nordic_outlet", "Nordic Outlet"), ("H_and_M", "H and M")])
def test_a_client_has_a_name_that_people_read(name: str, shown: str) -> None:
    assert format_name(name) == shown
