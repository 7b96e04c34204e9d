"""A notifier that reports a failed upload the way ``clients.yml`` asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseNotifier

__all__ = ["UploadFailureNotifier"]


class UploadFailureNotifier(BaseNotifier):
    """For ``on_failure_callback`` of a task that works for one upload: raise one alert per fault, with its reason.

    Who gets it is configured once: ``airflow.notify.alert`` of the upload or the platform, else ``platform.notify``.
    Repeated failures with the same fault send nothing; the next complete run sends that it is over.
    """

    template_fields: Sequence[str] = ("folder", "upload")

    def __init__(self, *, folder: str, upload: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder, self.upload = folder, upload

    def notify(self, context: Any) -> None:
        """Raise the alert for the exception that the task's context carries."""
        from offline_capi.airflow_provider.observability.alerting import FailureAlert

        FailureAlert(self.folder, self.upload)(context)
