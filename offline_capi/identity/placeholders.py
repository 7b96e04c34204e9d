"""What people and exports write where they have nothing: never hashed, or thousands of rows would share one person."""

from __future__ import annotations

from hashlib import sha256

__all__ = ["DATES", "DIGITS", "EMAILS", "HASHES", "NAMES", "WORDS"]

# "na" and "blank" are missing on purpose: Na and Blank are surnames, NA is Namibia.
WORDS = frozenset(
    {
        "null", "(null)", "<null>", "[null]", r"\n", "none", "nan", "n/a", "n.a.", "#n/a", "n\\a", "undefined",
        "unknown", "not available", "not applicable", "not provided", "not given", "tbd",
        "test", "testing", "-", "--", "---", ".", "..", "...", "?", "??", "???", "*", "0", "none given",
        "anonymous", "redacted", "deleted", "unbekannt", "inconnu", "desconocido", "desconhecido", "sconosciuto",
    }
)  # fmt: skip

NAMES = frozenset(
    {
        "xx", "xxx", "xxxx", "xxxxx", "aaa", "asdf", "asdfg", "qwerty", "noname", "no name", "notavailable",
        "notapplicable", "notprovided", "firstname", "first name", "lastname", "last name", "surname", "testuser",
        "customer",
    }
)  # fmt: skip

_LOCAL_PARTS = (
    "test", "none", "null", "na", "noemail", "no-email", "nomail", "unknown", "email", "mail", "user", "a", "x", "xxx",
    "asdf", "abc", "no", "noreply", "example",
)  # fmt: skip
EMAILS = frozenset(
    [f"{part}@{part}.{end}" for part in _LOCAL_PARTS for end in ("com", "net", "org")]
    + [f"{part}@example.{end}" for part in _LOCAL_PARTS for end in ("com", "org")]
    + ["no@email.com", "none@email.com", "test@email.com", "test@gmail.com", "noemail@gmail.com", "none@gmail.com"]
    + ["a@b.com", "a@b.c", "no@mail.com", "no@no.no", "na@na.na"]
)

# One digit throughout, or the keys of a keypad in their order: as national numbers, and as people type them.
DIGITS = frozenset(
    [digit * length for digit in "0123456789" for length in range(1, 18)]
    + ["1234", "12345", "123456", "1234567", "12345678", "123456789", "1234567890", "0123456789", "01234567890"]
    + ["12345678901", "987654321", "9876543210", "1231231234", "11234567890"]
)

DATES = frozenset({"19000101"})  # what spreadsheets and SQL Server make of an empty date

HASHES = frozenset(
    sha256(text.encode()).hexdigest()
    for text in WORDS | NAMES | EMAILS | {"", " ", "na", "N/A", "NULL", "None", "NaN", "0000000000", "00000"}
)
