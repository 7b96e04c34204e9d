"""Every error this package raises, grouped by who has to act.

```
OfflineCapiError
├── ConfigError             the author of the YAML
│   └── UsageError          the person at the command line or the trigger form
├── SourceError             the owner of the table or the files
│   ├── SourceSchemaError     … a column is missing or of another type
│   └── SourceUnavailableError  … the database cannot serve now: a TemporaryError as well, we wait and repeat
├── LedgerError             the owner of the ledger's database
│   └── LedgerBusyError       … another process holds it: safe to repeat
├── DeliveryError           see below; what was recorded stays recorded
│   ├── TemporaryError        nobody: we wait and repeat
│   └── AccessDeniedError     the owner of the token or pixel
├── WrongClockError         the owner of the machine: its clock is not Meta's
├── PartialLossError        the owner of the upload: the run is not green
├── BalanceError            us: rows and fates do not add up, a bug worth a report
└── InternalError           us: an exception that nobody foresaw, a bug worth a report
```

A bad *row* is never an exception: it becomes a rejection with a row number and a reason, and the run goes on.
Messages say what happened, where, what to do now, and whether repeating is safe. They never hold a value of a row
or a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AccessDeniedError",
    "BalanceError",
    "ConfigError",
    "DeliveryError",
    "InternalError",
    "LedgerBusyError",
    "LedgerError",
    "OfflineCapiError",
    "PartialLossError",
    "Problem",
    "SourceError",
    "SourceSchemaError",
    "SourceUnavailableError",
    "TemporaryError",
    "UsageError",
    "WrongClockError",
]


class OfflineCapiError(Exception):
    """The root: catch this to catch everything a user, a table, a token or the network can cause."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration file: where it stands and what would be right.

    ``line`` counts from 1; it is ``None`` where the fault is the absence of something.
    """

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}  {self.path}  {self.message}" if self.path else f"{place}  {self.message}"


class ConfigError(OfflineCapiError):
    """The configuration cannot be used as written; every problem found is in ``problems``."""

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        lines = [message, *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class UsageError(ConfigError):
    """A command, option or parameter that cannot be carried out as given."""


class SourceError(OfflineCapiError):
    """Rows cannot be read: an unreadable file, a failing query, an unreachable warehouse."""


class SourceSchemaError(SourceError):
    """The source answers, but not with the columns or types that the upload names."""


class LedgerError(OfflineCapiError):
    """The ledger cannot be used. Nothing is sent without it."""


class LedgerBusyError(LedgerError):
    """Another process holds the ledger for longer than we wait. Safe to repeat."""


class DeliveryError(OfflineCapiError):
    """A request was not accepted."""


class TemporaryError(DeliveryError):
    """A fault that passes: timeouts, cut connections, throttling, 5xx."""


class SourceUnavailableError(SourceError, TemporaryError):
    """The database cannot serve now: a lock, a time limit, a restart, a cut connection. Safe to repeat."""


class AccessDeniedError(DeliveryError):
    """Meta refused the token, the pixel or a permission. Other clients go on."""


class WrongClockError(OfflineCapiError):
    """This machine's clock is wrong: by it, events would be called expired that are not, or sent that Meta refuses."""


class PartialLossError(OfflineCapiError):
    """The run ended, its books balance, but rows were refused, left unconfirmed or invalid beyond the limit."""


class BalanceError(OfflineCapiError):
    """Rows read and fates do not add up. Nothing is hidden: the run fails and names both numbers."""


class InternalError(OfflineCapiError):
    """An exception that is not ours, without its message: see ``bugs``."""
