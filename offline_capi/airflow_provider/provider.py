"""What Airflow learns about this package: ``airflow providers get offline-capi`` shows it."""

from __future__ import annotations

from typing import Any

__all__ = ["get_provider_info"]

_PACKAGE = "offline_capi.airflow_provider"
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_SECRET = {"type": ["string", "null"], "format": "password"}

_CONNECTION_FORM = {
    "pixel_id": {
        "label": "Pixel / dataset id",
        "schema": {"type": ["string", "null"], "pattern": r"^[1-9][0-9]{4,19}$"},
        "description": "Needed for the Test button alone: clients.yml names the pixel of each client.",
    },
    "app_secret": {
        "label": "App secret",
        "schema": _SECRET,
        "description": "Only if the app requires proof of the secret (Require App Secret); it signs each request.",
    },
    "partner_agent": {
        "label": "Partner agent",
        "schema": _OPTIONAL_TEXT,
        "description": "The name agreed with Meta for partners who send for others. Empty: as in clients.yml.",
    },
    "graph_url": {
        "label": "Graph URL",
        "schema": {**_OPTIONAL_TEXT, "default": "https://graph.facebook.com"},
        "description": "Leave it as it is, except for a sandbox on this machine. The token goes to no other host.",
    },
    "allow_http": {
        "label": "Allow http",
        "schema": {"type": ["boolean", "null"], "default": False},
        "description": "Permits a Graph URL with http, over which the token travels unencrypted.",
    },
    "graph_version": {
        "label": "Graph version",
        "schema": {"type": ["string", "null"], "pattern": r"^v\d+\.\d+$", "default": "v27.0"},
        "description": "Version of the Graph API, such as v27.0.",
    },
    "test_event_code": {
        "label": "Test event code",
        "schema": _OPTIONAL_TEXT,
        "description": "From Events Manager, for tests by hand. A scheduled run never uses it.",
    },
}


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, by Airflow's ``provider_info.schema.json``; loads nothing."""
    from offline_capi import __version__

    integration = "Meta Conversions API"
    return {
        "package-name": "offline-capi",
        "name": "Offline conversions for Meta",
        "description": "Send conversions that happened offline to Meta's Conversions API, nightly and in bulk.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://developers.facebook.com/docs/marketing-api/conversions-api",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": integration, "python-modules": [f"{_PACKAGE}.hooks.meta_capi"]}],
        "operators": [{"integration-name": integration, "python-modules": [f"{_PACKAGE}.operators.upload"]}],
        "asset-uris": [
            {
                "schemes": ["meta-capi"],
                "handler": None,
                "to_openlineage_converter": f"{_PACKAGE}.observability.lineage.convert_pixel_to_openlineage",
            }
        ],
        "extra-links": [f"{_PACKAGE}.operators.upload.EventsManagerLink"],
        "config": {
            "offline_capi": {
                "description": "The pages of offline_capi in Airflow's UI.",
                "options": {
                    "config_folder": {
                        "description": "Folder with clients.yml, which names the ledger. Default: the DAGs folder.",
                        "version_added": __version__,
                        "type": "string",
                        "example": "/opt/airflow/dags",
                        "default": "",
                    }
                },
            }
        },
        "connection-types": [
            {
                "connection-type": "meta_capi",
                "hook-class-name": f"{_PACKAGE}.hooks.meta_capi.MetaConversionsHook",
                "hook-name": "Meta Conversions API",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login"],
                    "relabeling": {"password": "Access token", "port": "Port (443)"},
                    "placeholders": {
                        "password": "token of a system user that may send events to the pixel",
                        "port": "443: Airflow 3.3's Test button refuses a stored connection without a port",
                    },
                },
                "conn-fields": _CONNECTION_FORM,
            }
        ],
    }
