"""By which name the ledger and the books know a pixel: its client's, or for a further pixel ``client@pixel``.

A module of its own, for the settings may import nothing that imports Arrow.
"""

from __future__ import annotations

__all__ = ["get_client_name", "make_recipient_name"]


def make_recipient_name(client: str, pixel: str) -> str:
    """The name of a client's further pixel; no client has an ``@`` in its own."""
    return f"{client}@{pixel}"


def get_client_name(recipient: str) -> str:
    """The client of a recipient: of itself, or of one of its further pixels."""
    return recipient.partition("@")[0]
