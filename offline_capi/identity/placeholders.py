"""What people and exports write where they have nothing: never hashed, or thousands of rows would share one person."""

from __future__ import annotations

import re
from hashlib import sha256

__all__ = ["DATES", "DIGITS", "EMAILS", "HASHES", "NAMES", "TEST_LEAD", "TEST_LEAD_EMAILS", "TEXTS", "is_placeholder"]

# "na" and "blank" are missing on purpose: Na and Blank are surnames, NA is Namibia.
_PLAIN = frozenset(
    {
        "null", r"\n", "none", "nan", "n/a", "n.a", "n/d", "n.d", "n/v", "n\\a", "n-a", "n/a/", "undefined",
        "unknown", "not available", "not applicable", "not provided", "not given", "not specified", "not set", "notset",
        "tbd", "test", "testing", "none given", "no data", "missing", "empty", "dummy",
        "anonymous", "redacted", "deleted", "undisclosed", "unspecified",
        "unbekannt", "keine angabe", "k.a", "inconnu", "non renseigné", "desconocido", "desconhecido", "sconosciuto",
        "onbekend", "nieznany", "okänd", "ukjent", "ukendt", "bilinmiyor", "неизвестно", "нет данных", "不明", "未知",
        "null null", "undefined undefined", "none none", "nan nan", "object object",
    }
)  # fmt: skip

# What spreadsheets and programs print for a value that they failed to compute, in the languages they speak.
_ERRORS = frozenset(
    {
        "#n/a", "#n/d", "#nv", "#n/a n/a", "#ref!", "#name?", "#value!", "#null!", "#num!", "#div/0!", "#spill!",
        "#calc!", "#field!", "#blocked!", "#connect!", "#error!", "#getting_data", "#unknown!", "#busy!", "#####",
        "#bezug!", "#wert!", "#zahl!", "#überlauf!", "#nom?", "#valeur!", "#nombre!", "#nul!", "#¡ref!", "#¿nombre?",
        "#¡valor!", "#¡num!", "#¡nulo!", "#¡div/0!", "#rif!", "#nome?", "#valore!", "#valor!", "#núm!", "#verw!",
        "#naam?", "#waarde!", "#getal!", "#adr!", "#nazwa?", "#arg!",
    }
)  # fmt: skip

_MARKS = frozenset({*"-–—.…?*0/_\\", "--", "---", "..", "...", "??", "???", "**", "***"})
_AROUND = ("{}", "({})", "<{}>", "[{}]", "{{{}}}", '"{}"', "'{}'", "-{}-", "- {} -", "{}.", "*{}*", "#{}")

TEXTS = frozenset({around.format(word) for word in _PLAIN for around in _AROUND} | _ERRORS | _MARKS) | {
    "(na)", "<na>", "[na]", '"na"', "#na", "[object object]", "[object undefined]", "[]", "{}", "()", "<>", "(blank)",
}  # fmt: skip


def is_placeholder(text: str) -> bool:
    """Whether a text in lower case means that there is none, with blanks inside or not: ``n / a``, ``N. A.``."""
    return text in TEXTS or re.sub(r"\s+", "", text) in TEXTS or bool(re.fullmatch(r"#\S*[!?]", text))


#: Meta's Lead Ads testing tool fills a lead with these (meta-capi.md 15, to 4).
TEST_LEAD = r"(?i)^\s*<test lead: ?dummy data"
TEST_LEAD_EMAILS = frozenset({"test@fb.com", "test@meta.com", "test@facebook.com"})

NAMES = frozenset(
    {
        "xx", "xxx", "xxxx", "xxxxx", "aaa", "asdf", "asdfg", "qwerty", "noname", "no name", "notavailable",
        "notapplicable", "notprovided", "notspecified", "firstname", "first name", "lastname", "last name", "surname",
        "testuser", "customer", "objectobject", "nullnull", "undefinedundefined",
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

# Without that of user@example.com, the address in the examples of the parameter builder: senders of it are testing.
HASHES = frozenset(
    sha256(text.encode()).hexdigest()
    for text in TEXTS
    | NAMES
    | (EMAILS - {"user@example.com"})
    | {"", " ", "na", "N/A", "NULL", "None", "NaN", "0000000000", "00000"}
)
