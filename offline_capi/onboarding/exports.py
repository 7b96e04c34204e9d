"""Exports that are known by their columns: what Meta's Lead Ads, shops, tills and CRMs call what an event needs.

Headers are those of the programs' own exports, as public samples and importers show them (November 2026). What a person
says by flag counts before anything here, and every line still carries what was counted in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow.compute as pc

from offline_capi.onboarding.lines import Answers, Line, format_percent, refer_to_column
from offline_capi.onboarding.sample import Column, Sample

__all__ = ["EXPORTS", "Export", "fill_in_answers", "propose_constants", "propose_filter", "recognise_export"]


@dataclass(frozen=True, slots=True)
class Export:
    """What is known of an export: ``marks`` are the columns by which it is recognised.

    ``time``, ``id`` and ``value`` are a column, or a template of columns; where there are several, the first that the
    file has counts. ``keep`` is a column with the values of the rows to send: all others are refunds, open orders
    or the further lines of an order. ``keys`` is column -> key of ``user_data``; ``said`` are constants of
    ``custom_data``. ``zones`` is a column that names the time zone of the row. ``mail`` are columns that tell, by the
    program's own documentation, who agreed to its mails, which is no consent to ads.
    """

    title: str
    marks: tuple[str, ...]
    time: tuple[str, ...]
    id: str
    event: str | None = None
    action_source: str | None = None
    value: tuple[str, ...] = ()
    timezone: str | None = None
    zones: str | None = None
    formats: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, tuple[str, ...]] | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    mail: tuple[str, ...] = ()


_US_CLOCKS = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%y %H:%M:%S", "%m/%d/%y %I:%M:%S %p")

EXPORTS: tuple[Export, ...] = (
    Export(
        title="Meta's Lead Ads export",
        marks=("id", "created_time", "ad_id", "form_id", "platform"),
        time=("created_time",),
        id="id",
        event="Lead",
        action_source="system_generated",
        keys={"id": "lead_id", "email": "em", "work_email": "em", "phone_number": "ph", "phone": "ph",
              "first_name": "fn", "last_name": "ln", "city": "ct", "state": "st", "province": "st", "zip_code": "zp",
              "post_code": "zp", "country": "country", "date_of_birth": "db", "gender": "ge"},
        # D:conversion-leads-integration: every stage of a lead has both, the raw lead included.
        said={"event_source": "crm", "lead_event_source": "Meta Lead Ads"},
    ),
    Export(
        title="Shopify's export of orders",
        marks=("Name", "Email", "Financial Status", "Created at", "Lineitem name", "Total"),
        time=("Created at",),
        id="Name",
        event="Purchase",
        action_source="website",
        value=("Total",),
        keys={"Email": "em", "Phone": "ph", "Billing Phone": "ph", "Billing City": "ct", "Billing Province": "st",
              "Billing Zip": "zp", "Billing Country": "country"},
        # The further lines of an order repeat Name, Email and Created at, and leave all else of the order empty.
        keep=("Financial Status", ("paid",)),
        mail=("Accepts Marketing",),  # help.shopify.com, "Exporting orders": whether marketing e-mails were agreed to
    ),
    Export(
        title="Square's export of transactions",
        marks=("Date", "Time", "Time Zone", "Total Collected", "Transaction ID", "Event Type"),
        time=("{Date} {Time}",),
        id="Transaction ID",
        event="Purchase",
        action_source="physical_store",
        value=("Net Sales", "Total Collected"),
        zones="Time Zone",
        formats=_US_CLOCKS,
        keys={"Customer ID": "external_id", "Customer Email": "em", "Customer Phone": "ph"},
        keep=("Event Type", ("Payment",)),
    ),
    Export(
        title="a WooCommerce export of orders (Advanced Order Export)",
        marks=("Order Number", "Order Status", "Order Date", "Email (Billing)", "Order Total Amount"),
        time=("Order Date",),
        id="Order Number",
        event="Purchase",
        action_source="website",
        value=("Order Total Amount",),
        keys={"Email (Billing)": "em", "Phone (Billing)": "ph", "First Name (Billing)": "fn",
              "Last Name (Billing)": "ln", "City (Billing)": "ct", "State Code (Billing)": "st",
              "Postcode (Billing)": "zp", "Country Code (Billing)": "country"},
        keep=("Order Status", ("Completed", "Processing")),
    ),
    Export(
        title="Stripe's export of payments",
        marks=("id", "Amount", "Amount Refunded", "Currency", "Status", "Customer Email"),
        time=("Created (UTC)", "Created date (UTC)"),
        id="id",
        event="Purchase",
        value=("Amount",),
        timezone="UTC",
        keys={"Customer Email": "em", "Customer Phone": "ph", "Card Address City": "ct", "Card Address State": "st",
              "Card Address Zip": "zp", "Card Address Country": "country"},
        keep=("Status", ("Paid",)),
    ),
    Export(
        title="a Salesforce report of opportunities",
        marks=("Opportunity ID", "Stage", "Amount", "Close Date"),
        time=("Close Date",),
        id="Opportunity ID",
        action_source="system_generated",
        value=("Amount",),
        keys={"Email": "em", "Phone": "ph", "Mobile": "ph", "First Name": "fn", "Last Name": "ln",
              "Mailing City": "ct", "Mailing State/Province": "st", "Mailing Zip/Postal Code": "zp",
              "Mailing Country": "country", "Contact ID": "external_id"},
        keep=("Stage", ("Closed Won",)),
    ),
    Export(
        title="HubSpot's export of contacts",
        marks=("Record ID", "Email", "Lifecycle Stage", "Became a Customer Date"),
        time=("Became a Customer Date",),
        id="customer-{Record ID}",
        action_source="system_generated",
        keys={"Record ID": "external_id", "Email": "em", "Phone Number": "ph", "Mobile Phone Number": "ph",
              "First Name": "fn", "Last Name": "ln", "City": "ct", "State/Region": "st", "Postal Code": "zp",
              "Country/Region": "country"},
        keep=("Lifecycle Stage", ("Customer",)),
    ),
)  # fmt: skip

#: What Square calls the zones of the USA (the names of Rails) -> IANA.
_ZONES = {
    "Eastern Time (US & Canada)": "America/New_York",
    "Central Time (US & Canada)": "America/Chicago",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "Arizona": "America/Phoenix",
    "Alaska": "America/Anchorage",
    "Hawaii": "Pacific/Honolulu",
}


def recognise_export(sample: Sample) -> Export | None:
    """The export whose columns these are."""
    return next((one for one in EXPORTS if set(one.marks) <= set(sample.columns)), None)


def fill_in_answers(answers: Answers, export: Export, sample: Sample) -> Answers:
    """Missing answers, filled in from the export; only columns that hold values."""
    there = {name for name, column in sample.columns.items() if column.filled}
    keys = {name: key for name, key in export.keys.items() if name in there and name not in answers.keys}
    known = {
        "event": export.event,
        "action_source": export.action_source,
        "time": next((one for one in export.time if one in there or "{" in one), None),
        "id": export.id,
        "value": next((one for one in export.value if one in there), None),
        "timezone": export.timezone or _find_zone(export, sample),
    }
    unsaid: dict[str, Any] = {
        name: word for name, word in known.items() if getattr(answers, name) is None and word is not None
    }
    by_export = frozenset(unsaid) | frozenset(keys)
    return replace(answers, **unsaid, keys={**keys, **answers.keys}, by_export=by_export, export=export.title)


def _find_zone(export: Export, sample: Sample) -> str | None:
    """The zone of all rows; ``None`` where there are several, for the user to decide."""
    if export.zones is None:
        return None
    named = sample.columns[export.zones].given.unique().to_pylist()
    return _ZONES.get(named[0]) if len(named) == 1 else None


def propose_constants(export: Export, answers: Answers) -> Iterator[Line]:
    """What such events have in ``custom_data`` besides their value: the order's number, and constants."""
    if export.value and "id" in answers.by_export:
        said = "Meta distinguishes offline events by it"
        yield Line("custom_data", "order_id", refer_to_column(export.id), said, columns=(export.id,))
    for key, word in export.said.items():
        yield Line("custom_data", key, word, f"as in events of {export.title}")


def propose_filter(export: Export, sample: Sample) -> Iterator[Line]:
    """Which rows are meant: refunds, open orders and the further lines of an order are left out and counted."""
    if export.keep is None or export.keep[0] not in sample.columns:
        return
    name, words = export.keep
    column = sample.columns[name]
    share = format_percent(_count_equal(column, words), len(sample))
    because = f"{share} of {len(sample):,} rows; all others are left out, counted"
    equals: object = list(words) if len(words) > 1 else words[0]
    yield Line("filter", "", {name: equals}, because, columns=(name,))


def _count_equal(column: Column, words: tuple[str, ...]) -> int:
    return sum(int(pc.sum(pc.equal(column.given, word)).as_py() or 0) for word in words)
