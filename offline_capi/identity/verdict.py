"""What a rule is given and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.client import ExternalIdPolicy
from offline_capi.identity.text import blank_where

__all__ = ["Cause", "Profile", "Readable", "Rule", "Usable"]


class Cause(StrEnum):
    """Why an identity value was dropped; the row goes on without it."""

    PLACEHOLDER = "placeholder"
    NOT_AN_EMAIL = "not_an_email"
    LOOKS_HASHED = "looks_hashed"
    NOT_A_NUMBER = "not_a_phone_number"
    NO_COUNTRY = "no_country_for_phone"
    TOO_SHORT = "phone_too_short"
    TOO_LONG = "phone_too_long"
    NOT_VALID = "phone_not_valid_in_country"
    NO_LETTERS = "no_letters"
    NOT_A_POSTAL_CODE = "not_a_postal_code"
    UNKNOWN_COUNTRY = "unknown_country"
    UNKNOWN_STATE = "unknown_state"
    UNKNOWN_WORD = "unknown_word"
    NOT_A_DATE = "not_a_date"
    AMBIGUOUS_DATE = "ambiguous_date"
    OUT_OF_RANGE = "out_of_range"
    WRONG_SHAPE = "wrong_shape"
    NOT_SHA256 = "not_sha256"
    MD5 = "md5_instead_of_sha256"
    SHA1 = "sha1_instead_of_sha256"
    HASH_OF_PLACEHOLDER = "hash_of_placeholder"
    BROKEN_TEXT = "broken_text"
    TEST_LEAD = "test_lead"
    UNDER_13 = "under_13"
    NO_ZONE = "instant_without_zone"
    NOT_PUBLIC = "address_not_public"
    READABLE_EMAIL = "readable_email"
    READABLE_PHONE = "readable_phone"
    LISTED_AS_JUNK = "listed_as_junk"
    REFUSED_BY_SDK = "refused_by_sdk"
    REFUSED_BY_BUILDER = "refused_by_param_builder"


_DEFAULT_POLICY = ExternalIdPolicy()


@dataclass(frozen=True, slots=True)
class Readable:
    """Values of one key as the source writes them.

    ``country`` holds ISO 3166-1 alpha-2 codes in lower case beside the text, null where unknown; ``formats`` are the
    declared date formats; ``today`` ends the range of birth dates; ``policy`` is the client's for ``external_id``;
    ``zone`` is the IANA zone in which a birth date that is an instant is read.
    """

    text: pa.Array
    country: pa.Array
    formats: tuple[str, ...] = ()
    today: date = date.max
    policy: ExternalIdPolicy = _DEFAULT_POLICY
    zone: str | None = None

    def __len__(self) -> int:
        return len(self.text)

    def at(self, where: pa.BooleanArray) -> Readable:
        """The values at ``where``."""
        return replace(self, text=self.text.filter(where), country=self.country.filter(where))


@dataclass(frozen=True, slots=True)
class Usable:
    """Normal forms beside the values, null where unusable; ``cause`` says why a value that was there is gone.

    ``final`` is true where a text of a hashed key must go out as it is.
    """

    text: pa.Array
    cause: pa.Array | None = None
    final: pa.BooleanArray | None = None

    def refuse(self, cause: Cause, where: pa.BooleanArray) -> Usable:
        """Drop the values at ``where``; those gone already keep their first cause."""
        hit = pc.and_(pc.fill_null(where, False), pc.is_valid(self.text))
        if not pc.any(hit).as_py():
            return self
        named = pc.if_else(hit, pa.scalar(cause.value), pa.scalar(None, pa.string()))
        return replace(
            self,
            text=blank_where(self.text, hit),
            cause=named if self.cause is None else pc.coalesce(self.cause, named),
        )

    def keep(self, cause: Cause, where: pa.BooleanArray) -> Usable:
        """Drop the values where ``where`` is not true."""
        return self.refuse(cause, pc.invert(pc.fill_null(where, False)))

    def become(self, text: pa.Array, cause: Cause) -> Usable:
        """Take ``text`` instead; a value for which it is null is dropped with ``cause``."""
        return replace(self.keep(cause, pc.is_valid(text)), text=blank_where(text, pc.is_null(self.text)))

    def also(self, cause: pa.Array) -> Usable:
        """Name ``cause`` where a value was gone before this rule looked."""
        return replace(self, cause=cause if self.cause is None else pc.coalesce(self.cause, cause))

    def patched(self, where: pa.BooleanArray, part: Usable) -> Usable:
        """Take the answers of ``part`` for the rows at ``where``."""
        causes = pa.nulls(len(self.text), pa.string()) if self.cause is None else self.cause
        new = pa.nulls(len(part.text), pa.string()) if part.cause is None else part.cause
        return replace(
            self,
            text=pc.replace_with_mask(self.text, where, part.text),
            cause=pc.replace_with_mask(causes, where, new),
        )


Rule = Callable[[Readable], Usable]
Profile = Mapping[str, Rule]
