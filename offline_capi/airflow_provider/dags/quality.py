"""The daily query of Meta's counts, so that the morning's reports show them."""

from __future__ import annotations

from typing import Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.operators.task_context import open_client_services, refuse_unknown_conf
from offline_capi.errors import PartialLossError

__all__ = ["pull_clients_quality"]

_log = structlog.get_logger(__name__)


def pull_clients_quality(folder: str) -> dict[str, int]:
    """Ask about every active client and keep the answers in the ledger; fail where Meta did not answer some of it.

    Nothing is changed at Meta, and asking again replaces its answers for the same days.
    """
    from offline_capi.airflow_provider.observability.task_logging import log_quality
    from offline_capi.operations.quality import pull_quality

    context: Any = get_current_context()
    refuse_unknown_conf(context)
    with open_client_services(folder) as services:
        pulled = pull_quality(services)
    log_quality(pulled.quality)
    for words in pulled.warnings:
        _log.warning(words)
    for one in pulled.unread:
        what = f"{one.kind} was not answered" if one.kind else "nothing was asked"
        _log.warning(f"{what}: {one.words}", client=one.client)
    if pulled.unread:
        names = ", ".join(sorted({one.client for one in pulled.unread})[:20])
        raise PartialLossError(
            f"Meta did not answer everything for {names}: the log says what, and why. Its answers are kept, and the "
            f"next run asks again; repeating is safe."
        )
    return {"days": len({line.day for line in pulled.quality.lines}), "remarks": len(pulled.quality.remarks)}
