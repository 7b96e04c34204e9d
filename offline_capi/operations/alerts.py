"""Alerts: one when a fault begins, and one when it is over, however many runs lie between.

What was sent is remembered in the stage, where every worker sees it: of an upload and of the versions of the Graph API
in ``alerts/``, of a client's access in the file that its health checks write as well. It is remembered after it was
sent: a message that cannot be delivered is tried again with the next run.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC
from typing import Any, Literal
from urllib.parse import urlsplit

from offline_capi.clients import RUN_REFUSED, AccessChange, StatusBook, mark_refusal_reported, remove_run_refusal
from offline_capi.config import Platform, SecretResolver
from offline_capi.config.types import is_loopback
from offline_capi.errors import OfflineCapiError, UsageError
from offline_capi.meta.versions import version_warnings
from offline_capi.model import DayReason, DayState, Fate, Reason, format_utc
from offline_capi.model.incidents import find_changes, get_subject
from offline_capi.pipeline import Services
from offline_capi.pipeline.open_days import list_days
from offline_capi.report import RunReport, Status
from offline_capi.runtime.http import HttpClient, HttpRequest
from offline_capi.storage.filesystem import JsonFolder

__all__ = ["Alert", "Notify", "alert_of_notice", "alert_on_error", "make_notifier", "raise_alerts", "raise_failure"]

#: How long a command of ``platform.notify`` may take, and a webhook to answer.
NOTIFY_TIMEOUT_S = 60
#: Reasons that one message lists.
MAX_REASONS = 10
_LOST_FATES = (Fate.REJECTED_BY_META, Fate.UNCONFIRMED, Fate.DEFERRED)
LOSS, _VERSIONS = "loss", "graph versions"

Notify = Callable[["Alert"], None]


@dataclass(frozen=True, slots=True)
class Alert:
    """A fault that began or ended, as its alert reports it: no value of a row and no token stands in it.

    ``key`` says which fault it is, the text before its colon what it is about. A fault with several ``causes`` is sent
    again when one comes to them, not when one of several ends. ``text`` says what happened, why, and what to do;
    ``balance`` is that of the run, ``contacts`` are the client's.
    """

    key: str
    title: str
    text: str
    causes: tuple[str, ...] = ()
    change: Literal["began", "ended"] = "began"
    upload: str | None = None
    run: str | None = None
    client: str | None = None
    balance: str | None = None
    contacts: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """By what it is remembered: one key a cause."""
        return tuple(f"{self.key}: {cause}" for cause in self.causes) or (self.key,)

    @property
    def message(self) -> str:
        """Title and text."""
        return f"{self.title}\n{self.text}".strip()

    def to_json(self) -> dict[str, Any]:
        """All of it; ``message`` is title and text."""
        return {**asdict(self), "causes": list(self.causes), "contacts": list(self.contacts), "message": self.message}


# ---------------------------------------------------------------------------------------------- what is sent


def raise_alerts(
    report: RunReport, services: Services, *, notify: Notify | None = None, more: Sequence[Alert] = ()
) -> list[Alert]:
    """Send what began and ended with this run, by ``notify`` or else by ``platform.notify``; returns what was sent.

    ``more`` are faults of the upload that the report does not show, such as days that are open; all of them, each time:
    one that is left out has ended. Plans and test events send nothing, a replay or a run of some clients ends nothing.
    Where nobody is named, nothing is remembered. Raises ``OfflineCapiError`` where an alert could not be delivered.
    """
    notify = notify or make_notifier(services.deployment.platform, services.secrets)
    if notify is None or report.planned or report.trigger == "test":
        return []
    whole = not report.tally.narrowed and report.trigger != "replay"
    outbox = _Outbox(services, notify)
    outbox.notify_access(report)
    open_days = _open_days(report.upload, services) if whole else []
    outbox.notify_scope(report.upload, [*_list_losses(report), *open_days, *more], ends=whole, report=report)
    versions = version_warnings(services.deployment.platform.versions, services.clock().astimezone(UTC).date())
    outbox.notify_scope(_VERSIONS, map(_make_version_alert, versions))
    return outbox.finish()


def raise_failure(
    upload: str, error: Exception, services: Services, *, notify: Notify | None = None, run: str | None = None
) -> list[Alert]:
    """Alert that a run failed before it had a report; the next run that has one reports that it is over."""
    notify = notify or make_notifier(services.deployment.platform, services.secrets)
    if notify is None:
        return []
    ours = isinstance(error, OfflineCapiError)
    text = str(error) if ours else "An error that nobody foresaw: its log shows where. Please report it."
    alert = Alert(f"failed: {type(error).__name__}", f"{upload}: the run failed", text, upload=upload, run=run)
    outbox = _Outbox(services, notify)
    outbox.notify_scope(upload, [alert], ends=False)
    return outbox.finish()


@contextmanager
def alert_on_error(upload: str, services: Services) -> Iterator[None]:
    """Alert on an error that ends the run inside, and re-raise it; not on a usage error at the command line."""
    try:
        yield
    except OfflineCapiError as error:
        if not isinstance(error, UsageError):
            raise_failure(upload, error, services)
        raise


def alert_of_notice(notice: AccessChange) -> Alert:
    """What a check of the clients found, which ensures itself that it is sent once."""
    verb = "is over" if notice.change == "ended" else "cannot be sent for" if notice.stops else "needs attention"
    return Alert(
        notice.key,
        f"{notice.client}: {'a fault ' if notice.change == 'ended' else ''}{verb}",
        notice.words,
        change=notice.change,
        client=notice.client,
        contacts=notice.contacts,
    )


def _list_losses(report: RunReport) -> Iterator[Alert]:
    """The fault of a run that is not complete; refusals are sent per client."""
    causes = [*_list_causes(report)]
    if report.status is Status.COMPLETE or not causes:
        return
    lines = [line for line in report.reasons() if line.reason != Reason.CLIENT_STOPPED]
    reasons = [f"{line.rows:,} {line.fate.words}: {line.what}. What now: {line.fix}" for line in lines[:MAX_REASONS]]
    left = [f"and {len(lines) - MAX_REASONS} more reasons"] if len(lines) > MAX_REASONS else []
    receipt = (
        f"offline-capi report {report.run_id} shows all of it; running again is safe and sends only what is missing"
    )
    yield Alert(
        LOSS,
        f"{report.upload}, {report.window}: {'; '.join(report.problems)}",
        "\n".join([report.balance, *report.gate_lines(), *reasons, *left, receipt]),
        causes=tuple(causes),
        upload=report.upload,
        run=report.run_id,
        balance=report.balance,
    )


def _open_days(upload: str, services: Services) -> list[Alert]:
    """Days that no run covered or whose run was killed, and that no run has taken up yet.

    Other open days are reported as the loss of the run that left them, or as the fault of a client.
    """
    one = services.deployment.uploads.get(upload)
    if one is None:
        return []
    days = [
        day
        for day in list_days(one, services.deployment, services.ledger, services.clock())
        if day.state is DayState.OPEN and _NOT_REPORTED_BY_RUNS & set(day.reasons)
    ]
    if not days:
        return []
    lines = [
        f"{day.day}: {day.why}; Meta takes it until {format_utc(day.closes_at)}"
        for day in days[:MAX_REASONS]
        if day.closes_at
    ]
    lines += [f"and {len(days) - MAX_REASONS} more days"] if len(days) > MAX_REASONS else []
    advice = f"The next nightly run takes them up; offline-capi settle {upload} does it now."
    title = f"{upload}: {'a day is' if len(days) == 1 else f'{len(days)} days are'} open"
    causes = tuple(day.day.isoformat() for day in days)
    return [Alert("open", title, "\n".join([*lines, advice]), causes, upload=upload)]


#: Reasons for which a day is open without a report that says so.
_NOT_REPORTED_BY_RUNS = {DayReason.NEVER_RAN, DayReason.RUN_KILLED}


def _list_causes(report: RunReport) -> Iterator[str]:
    """What is wrong with a run, without its numbers, which differ from run to run."""
    without_numbers = dict.fromkeys(re.sub(r"\d[\d,.]*", "#", problem) for problem in report.problems)
    by_reason = {f"# {fate.words}" for fate in _LOST_FATES}
    yield from (problem for problem in without_numbers if problem not in by_reason)
    for line in report.reasons():
        if line.fate in _LOST_FATES and line.reason not in (Reason.CLIENT_STOPPED, Reason.GATE_CLOSED, *_CLIENTLESS):
            yield f"{line.fate.value} {line.reason}"


#: Counted among the invalid rows: a loss only beyond their limit, which then is a problem of its own.
_CLIENTLESS = (Reason.UNKNOWN_CLIENT, Reason.PAUSED_CLIENT)


def _make_version_alert(words: str) -> Alert:
    version = re.search(r"v\d+\.\d+ \([^)]*\) (may end|ends|ended|may have ended)", words)
    which = version[0] if version else re.sub(r"\d+ days?", "", words)
    return Alert(f"version: {which}", "A version of the Graph API ends", words)


# ---------------------------------------------------------------------------------------------- sent once


class _Outbox:
    """Sends what is new and remembers it. A message that fails keeps none of the others back."""

    def __init__(self, services: Services, notify: Notify) -> None:
        self._services, self._notify = services, notify
        stage = services.deployment.platform.stage
        self._remembered, self._statuses = JsonFolder(stage, "alerts"), StatusBook(stage)
        self._now = services.clock().astimezone(UTC).isoformat(timespec="seconds")
        self._sent: list[Alert] = []
        self._failed: list[str] = []

    def finish(self) -> list[Alert]:
        if self._failed:
            raise OfflineCapiError(
                f"{len(self._failed)} messages could not be delivered ({'; '.join(dict.fromkeys(self._failed))}). "
                f"The run itself is not changed by it; they are tried again with the next run."
            )
        return self._sent

    def notify_scope(
        self, scope: str, faults: Iterable[Alert], *, ends: bool = True, report: RunReport | None = None
    ) -> None:
        """Send the faults of an upload, or of the versions, that were not sent yet, and those that are over.

        The loss of a run is not over because an earlier day, of a backfill for instance, was delivered.
        """
        before: dict[str, dict[str, str]] = self._remembered.read(scope) or {}
        present = {key: fault for fault in faults for key in fault.keys}
        until = report.window.until.astimezone(UTC).isoformat() if report else ""
        began, over = find_changes(before, present)
        staying = {key for key, alerted in before.items() if not ends or alerted.get("until", "") > until}
        over = [key for key in over if key not in staying]
        after = {key: alerted for key, alerted in before.items() if key in present or key in staying}
        for key in present:
            if key in after and get_subject(key) == LOSS:
                after[key] = {**after[key], "until": max(after[key].get("until", ""), until)}
        for fault in dict.fromkeys(present[key] for key in began):
            if self._deliver(fault):
                alerted = {"title": fault.title, "since": self._now, **({"until": until} if fault.key == LOSS else {})}
                after |= {key: alerted for key in fault.keys if key in began}
        for key in {get_subject(key): key for key in over}.values():
            if not self._deliver(_make_end_alert(key, scope, before[key], report)):
                after[key] = before[key]
        if after != before:
            self._remembered.write(scope, after)

    def notify_access(self, report: RunReport) -> None:
        """Send clients that Meta refused, if neither a check nor a run has; and that they receive events again."""
        stopped, sent = set[str](), set[str]()
        for count in report.tally.fates:
            if count.client and count.fate is Fate.DEFERRED and count.reason == Reason.CLIENT_STOPPED:
                stopped.add(count.client)
            elif count.client and count.fate is Fate.SENT:
                sent.add(count.client)
        for client in sorted(stopped | sent):
            status = self._statuses.read(client)
            refused = any(fault.key == RUN_REFUSED and fault.reported for fault in status.faults)
            known = refused or any(fault.stops for fault in status.faults)
            if client in stopped and not known and self._deliver(self._make_refused_alert(client, report)):
                self._statuses.write(mark_refusal_reported(status))
            elif client not in stopped and refused and self._deliver(self._make_accepted_alert(client, report)):
                self._statuses.write(remove_run_refusal(status))

    def _make_refused_alert(self, client: str, report: RunReport) -> Alert:
        failed = self._services.ledger.runs.list_failed_requests(report.run_id, client, 1)
        code = f"{failed[0].code}/{failed[0].subcode}".removesuffix("/None") if failed and failed[0].code else None
        answer = f"Meta answered {code} (offline-capi explain {code}). " if code else ""
        deferred = sum(
            rows
            for (reason, _), rows in report.tally.select_client(client).count_reasons(Fate.DEFERRED).items()
            if reason == Reason.CLIENT_STOPPED
        )
        return Alert(
            RUN_REFUSED,
            f"{client}: Meta refused its token or pixel",
            f"{answer}{deferred:,} events of {report.upload} wait. Renew the token or the pixel's permission; then "
            f"they go out with the next run. Other clients are sent as usual.",
            upload=report.upload,
            run=report.run_id,
            client=client,
            balance=report.of_client(client).balance,
            contacts=self._list_contacts(client),
        )

    def _make_accepted_alert(self, client: str, report: RunReport) -> Alert:
        words = f"Meta takes its events again: {report.of_client(client).balance}."
        ended: Alert = replace(
            self._make_refused_alert(client, report), title=f"{client}: is sent for again", text=words
        )
        return replace(ended, change="ended")

    def _list_contacts(self, client: str) -> tuple[str, ...]:
        found = self._services.deployment.recipients.get(client)
        return found.contacts if found else ()

    def _deliver(self, alert: Alert) -> bool:
        try:
            self._notify(alert)
        except Exception as error:  # noqa: BLE001  a notifier may raise anything; the run goes on
            self._failed.append(str(error) if isinstance(error, OfflineCapiError) else type(error).__name__)
            return False
        self._sent.append(alert)
        return True


def _make_end_alert(key: str, scope: str, alerted: Mapping[str, str], report: RunReport | None) -> Alert:
    upload, run, balance = (report.upload, report.run_id, report.balance) if report else (None, None, None)
    text = f"It began {alerted['since']}: {alerted['title']}\n{balance or ''}".strip()
    return Alert(key, f"{scope}: a fault is over", text, change="ended", upload=upload, balance=balance, run=run)


# ---------------------------------------------------------------------------------------------- platform.notify


def make_notifier(platform: Platform, secrets: SecretResolver) -> Notify | None:
    """Sends to the targets of ``platform.notify``; ``None`` where it names none."""
    targets = platform.notify
    senders: list[Notify] = []
    if targets.command is not None:
        command = targets.command
        senders.append(lambda alert: _run_command(command, alert))
    if targets.webhook is not None:
        reference = targets.webhook
        senders.append(lambda alert: _post(secrets.token(reference).reveal(), alert, allow_http=platform.allow_http))
    if not senders:
        return None

    def notify(alert: Alert) -> None:
        for one in senders:
            one(alert)

    return notify


def _run_command(command: Sequence[str], alert: Alert) -> None:
    """Start the program with the alert as JSON on its standard input. What it prints is not ours to repeat."""
    target = f"platform.notify.command: {command[0]}"
    try:
        subprocess.run(  # noqa: S603  the operator's own program, without a shell
            command, input=_as_json(alert), capture_output=True, timeout=NOTIFY_TIMEOUT_S, check=True
        )
    except subprocess.CalledProcessError as error:
        raise OfflineCapiError(f"{target} ended with {error.returncode}") from None
    except subprocess.TimeoutExpired:
        raise OfflineCapiError(f"{target} took longer than {NOTIFY_TIMEOUT_S} s") from None
    except OSError as error:
        raise OfflineCapiError(f"{target} cannot be started: {error.strerror or type(error).__name__}") from None


def _post(url: str, alert: Alert, *, allow_http: bool) -> None:
    """POST the alert to a webhook; its address is a secret and stands in no message."""
    parts = urlsplit(url.strip())
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise OfflineCapiError(
            "platform.notify.webhook: what it gives is an http URL, which would go out in clear text with the alert;"
            " use https, or set platform.allow_http"
        )
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise OfflineCapiError("platform.notify.webhook: what it gives is not an http(s) URL")
    path = parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
    client = HttpClient(f"{parts.scheme}://{parts.netloc}", timeout=NOTIFY_TIMEOUT_S, connections=1)
    try:
        answer = client.post(HttpRequest(path, {"Content-Type": "application/json"}, [_as_json(alert)]))
    except OfflineCapiError:
        raise OfflineCapiError("platform.notify.webhook: no connection, or no answer") from None
    finally:
        client.close()
    if answer.status >= 300:
        raise OfflineCapiError(f"platform.notify.webhook: answered {answer.status}")


def _as_json(alert: Alert) -> bytes:
    """``text`` is the whole message: that is what incoming webhooks show."""
    found = alert.to_json()
    return json.dumps({**found, "reason": found["text"], "text": found.pop("message")}, ensure_ascii=False).encode()
