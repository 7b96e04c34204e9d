"""The samples of ``data_samples/exports`` as the programs write them: their days made real, in their own encodings."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path

import openpyxl

from offline_capi.demo.samples import dated
from tests.support.night import ROOT

EXPORTS = ROOT / "data_samples" / "exports"


def _workbook(text: str) -> bytes:
    """A sheet as somebody keeps it by hand: order numbers, phones and postal codes are numbers, days are serials."""
    sheet = openpyxl.Workbook()
    rows = list(csv.reader(io.StringIO(text)))
    page = sheet.worksheets[0]
    page.append(rows[0])
    for order, sold, mail, phone, postal, total, currency in rows[1:]:
        page.append([int(order), datetime.fromisoformat(sold), mail, int(phone), int(postal), float(total), currency])
    stored = io.BytesIO()
    sheet.save(stored)
    return stored.getvalue()


def _with_mark(text: str) -> bytes:
    return text.encode("utf-8-sig")


#: File -> how its program writes it. Meta's is called CSV, too, and is UTF-16 with tabs.
_WRITERS: Mapping[str, tuple[str, Callable[[str], bytes]]] = {
    "meta_leads": (".csv", lambda text: text.encode("utf-16")),
    "shopify_orders": (".csv", str.encode),
    "square_transactions": (".csv", lambda text: text.replace("\n", "\r\n").encode()),
    "woocommerce_orders": (".csv", _with_mark),
    "stripe_payments": (".csv", str.encode),
    "salesforce_opportunities": (".csv", lambda text: text.encode("cp1252")),
    "hubspot_contacts": (".csv", _with_mark),
    "excel_sheet": (".xlsx", _workbook),
}


def write_export(name: str, folder: Path, day: date) -> str:
    """Write the export of a day; the name of its file."""
    suffix, write = _WRITERS[name]
    text = dated((EXPORTS / f"{name}.csv").read_text(encoding="utf-8"), day)
    (folder / f"{name}{suffix}").write_bytes(write(text))
    return f"{name}{suffix}"
