"""What Airflow learns about this package from ``provider.yaml``: ``airflow providers get offline-capi`` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["get_provider_info"]

#: Keys of provider.yaml that concern building and the registry; Airflow's own build drops them as well.
_BUILD_KEYS = ("state", "lifecycle", "source-date-epoch")


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, by Airflow's ``provider_info.schema.json``; loads no module of the provider."""
    import yaml

    provider = yaml.safe_load(Path(__file__).with_name("provider.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in provider.items() if key not in _BUILD_KEYS}
