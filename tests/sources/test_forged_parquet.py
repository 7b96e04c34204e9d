"""Parquet files forged by hand: what the footer or a page header says is a lie, and each ends in one sentence.

Every file is read by a process of its own with a limit on its memory, as in ``test_bounds``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.sources.test_bounds import MIB, MOST_MIB, long_prefix, packed_page, read, repeated
from tests.sources.thrift import BINARY, I32, I64, LIST, STRUCT, Field, decode, encode

Fields = dict[int, Field]
MOST_I32, MOST_I64 = 2**31 - 1, 2**63 - 1
#: Numbers of fields in parquet.thrift.
SCHEMA, NUM_ROWS, ROW_GROUPS = 2, 3, 4
COLUMNS, BYTES_OF_GROUP, ROWS_OF_GROUP = 1, 2, 3
METADATA = 3
ENCODINGS, NUM_VALUES, UNPACKED, PACKED, DATA_OFFSET, DICTIONARY_OFFSET, ENCODING_STATS = 2, 5, 6, 7, 9, 11, 13
PAGE_UNPACKED, PAGE_PACKED, DATA_PAGE, DICTIONARY_PAGE = 2, 3, 5, 7
PLAIN, RLE = 0, 3


def long_dictionary(path: Path) -> Path:
    """One value of a MiB for 200,000 rows: 200 GB of text in a file of 2 MB."""
    return repeated(path, "x" * MIB)


def short_dictionary(path: Path) -> Path:
    """An honest file."""
    return repeated(path, "y", rows=50_000)


def footer_of(content: bytes) -> tuple[Fields, int]:
    """The footer of a file, and where it begins."""
    start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
    return decode(content, start)[0], start


def with_footer(content: bytes, start: int, footer: bytes) -> bytes:
    return content[:start] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def groups(footer: Fields) -> list[Fields]:
    return list(footer[ROW_GROUPS].value[1])


def column(footer: Fields, number: int = 1, group: int = 0) -> Fields:
    """What the footer says of a column; the second has the texts."""
    chunk: Fields = groups(footer)[group][COLUMNS].value[1][number][METADATA].value
    return chunk


def put(fields: Fields, number: int, value: Any, kind: int | None = None) -> None:
    fields[number] = Field(fields[number].kind if kind is None else kind, value)


# ---------------------------------------------------------------------------------------------- lies of the footer


def hide_encodings(footer: Fields) -> None:
    """No dictionary, says the footer, and no encoding but the plainest."""
    for group in range(len(groups(footer))):
        chunk = column(footer, group=group)
        put(chunk, ENCODINGS, (I32, [PLAIN, RLE]))
        chunk.pop(ENCODING_STATS, None)
        if DICTIONARY_OFFSET in chunk:
            put(chunk, DATA_OFFSET, chunk.pop(DICTIONARY_OFFSET).value)


def hide_sizes(footer: Fields) -> None:
    for group in range(len(groups(footer))):
        put(column(footer, group=group), UNPACKED, 100)
        put(groups(footer)[group], BYTES_OF_GROUP, 100)


def hide_both(footer: Fields) -> None:
    hide_encodings(footer)
    hide_sizes(footer)


def many_rows(footer: Fields) -> None:
    """So many that any size seems small beside them."""
    hide_encodings(footer)
    put(footer, NUM_ROWS, MOST_I64)
    for group in groups(footer):
        put(group, ROWS_OF_GROUP, MOST_I64)


def more_rows(footer: Fields) -> None:
    put(footer, NUM_ROWS, 10**9)
    put(groups(footer)[0], ROWS_OF_GROUP, 10**9)


def more_values(footer: Fields) -> None:
    put(column(footer), NUM_VALUES, MOST_I64)


def negative_values(footer: Fields) -> None:
    put(column(footer), NUM_VALUES, -1)


def negative_rows(footer: Fields) -> None:
    put(groups(footer)[0], ROWS_OF_GROUP, -5)


def outside(footer: Fields) -> None:
    put(column(footer), DATA_OFFSET, 1 << 40)
    column(footer).pop(DICTIONARY_OFFSET, None)


def before_the_start(footer: Fields) -> None:
    put(column(footer), DATA_OFFSET, -4096)


def longer_than_the_file(footer: Fields) -> None:
    put(column(footer), PACKED, 1 << 40)


def in_the_middle_of_a_page(footer: Fields) -> None:
    chunk = column(footer)
    put(chunk, DATA_OFFSET, chunk[DATA_OFFSET].value + 7)
    chunk.pop(DICTIONARY_OFFSET, None)


def of_fixed_length(footer: Fields) -> None:
    """FIXED_LEN_BYTE_ARRAY (7) of two gigabytes a value."""
    element = footer[SCHEMA].value[1][2]
    put(element, 1, 7)
    element[2] = Field(I32, MOST_I32)
    element.pop(6, None)
    element.pop(10, None)
    put(column(footer), 1, 7)


def of_many_children(footer: Fields) -> None:
    put(footer[SCHEMA].value[1][0], 5, MOST_I32)


def without_columns(footer: Fields) -> None:
    put(groups(footer)[0], COLUMNS, (STRUCT, []))


def with_a_codec_that_is_none(footer: Fields) -> None:
    put(column(footer), 4, 99)


FOOTERS: list[tuple[Callable[[Path], Path], Callable[[Fields], None]]] = [
    *((long_dictionary, lie) for lie in (hide_encodings, hide_sizes, hide_both, many_rows)),
    *((long_prefix, lie) for lie in (hide_encodings, hide_both)),
    *((packed_page, lie) for lie in (hide_sizes, many_rows)),
    *(
        (short_dictionary, lie)
        for lie in (
            more_rows,
            more_values,
            negative_values,
            negative_rows,
            outside,
            before_the_start,
            longer_than_the_file,
            in_the_middle_of_a_page,
            of_fixed_length,
            of_many_children,
            without_columns,
            with_a_codec_that_is_none,
        )
    ),
]


@pytest.mark.parametrize(("make", "lie"), FOOTERS, ids=[f"{make.__name__} {lie.__name__}" for make, lie in FOOTERS])
def test_p23_a_forged_footer_is_refused_in_one_sentence(tmp_path: Path, make, lie) -> None:
    """The footer was believed: one that hid its dictionary made a batch of 32,768 values of a MiB each."""
    path = make(tmp_path)
    footer, start = footer_of(content := path.read_bytes())
    lie(footer)
    path.write_bytes(with_footer(content, start, encode(footer)))

    said, used = read(path)

    assert said.startswith("refused: file a.parquet: "), said
    assert used < MOST_MIB


# ---------------------------------------------------------------------------------------------- lies of a page


def forge_page(path: Path, *, dictionary: bool, lie: Callable[[Fields], None]) -> None:
    """Change the header of the text column's dictionary or first data page; what comes after it moves along."""
    content = path.read_bytes()
    footer, start = footer_of(content)
    chunk = column(footer)
    at = chunk[DICTIONARY_OFFSET if dictionary else DATA_OFFSET].value
    header, end = decode(content, at)
    lie(header)
    forged = encode(header)
    grown = len(forged) - (end - at)
    put(chunk, PACKED, chunk[PACKED].value + grown)
    for group in groups(footer):
        for one in (column_chunk[METADATA].value for column_chunk in group[COLUMNS].value[1]):
            for offset in {DATA_OFFSET, DICTIONARY_OFFSET} & one.keys():
                if one[offset].value > at:
                    put(one, offset, one[offset].value + grown)
    path.write_bytes(with_footer(content[:at] + forged + content[end:start], start + grown, encode(footer)))


def many_values(header: Fields) -> None:
    """2³¹-1 of them."""
    of_kind = header[DICTIONARY_PAGE if DICTIONARY_PAGE in header else DATA_PAGE].value
    put(of_kind, 1, MOST_I32)


def no_values(header: Fields) -> None:
    put(header[DATA_PAGE if DATA_PAGE in header else DICTIONARY_PAGE].value, 1, -1)


def unpacks_to_two_gigabytes(header: Fields) -> None:
    put(header, PAGE_UNPACKED, MOST_I32)


def is_two_gigabytes(header: Fields) -> None:
    put(header, PAGE_PACKED, MOST_I32)


def is_less_than_nothing(header: Fields) -> None:
    put(header, PAGE_PACKED, -1)


def is_of_no_kind(header: Fields) -> None:
    put(header, 1, 77)


def is_written_in_no_encoding(header: Fields) -> None:
    put(header[DICTIONARY_PAGE if DICTIONARY_PAGE in header else DATA_PAGE].value, 2, 77)


@pytest.mark.parametrize("dictionary", [True, False], ids=["dictionary", "data"])
@pytest.mark.parametrize(
    "lie",
    [
        many_values,
        no_values,
        unpacks_to_two_gigabytes,
        is_two_gigabytes,
        is_less_than_nothing,
        is_of_no_kind,
        is_written_in_no_encoding,
    ],
)
def test_p23_a_forged_page_is_refused_in_one_sentence(tmp_path: Path, lie, dictionary: bool) -> None:
    path = short_dictionary(tmp_path)
    forge_page(path, dictionary=dictionary, lie=lie)

    said, used = read(path)

    assert said.startswith("refused: file a.parquet: "), said
    assert used < MOST_MIB


# ---------------------------------------------------------------------------------------------- the file itself


def footer_longer_than_the_file(content: bytes) -> bytes:
    return content[:-8] + struct.pack("<I", 2**32 - 1) + b"PAR1"


def footer_cut(content: bytes) -> bytes:
    return content[:-200]


def footer_empty(content: bytes) -> bytes:
    return with_footer(content, footer_of(content)[1], b"")


def pages_cut(content: bytes) -> bytes:
    start = footer_of(content)[1]
    return with_footer(content[: start // 2], start // 2, content[start:-8])


def endless_list(content: bytes) -> bytes:
    """2³¹-1 elements of a schema, says the footer."""
    _, start = footer_of(content)
    return with_footer(content, start, b"\x15\x02\x19\xfc" + b"\xff\xff\xff\xff\x07" + b"\0" * 64)


def endless_text(content: bytes) -> bytes:
    footer, start = footer_of(content)
    footer[6] = Field(BINARY, b"by hand")
    forged = encode(footer).replace(b"\x07by hand", b"\xff\xff\xff\xff\x07by hand")
    return with_footer(content, start, forged)


def deep(content: bytes) -> bytes:
    _, start = footer_of(content)
    return with_footer(content, start, b"\x1c" * 100_000 + b"\0" * 8)


@pytest.mark.parametrize(
    "lie", [footer_longer_than_the_file, footer_cut, footer_empty, pages_cut, endless_list, endless_text, deep]
)
def test_p23_a_file_that_is_cut_or_without_an_end_is_refused_in_one_sentence(tmp_path: Path, lie) -> None:
    path = short_dictionary(tmp_path)
    path.write_bytes(lie(path.read_bytes()))

    said, used = read(path)

    assert said.startswith("refused: file a.parquet: "), said
    assert used < MOST_MIB


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip"])
def test_what_is_written_again_without_a_lie_is_read(tmp_path: Path, codec: str, version: str) -> None:
    """So that the forgeries above are refused for what they say, and not for how they are written."""
    texts = ["Anna", None, "Bob"] * 20_000
    table = pa.table({"id": list(map(str, range(60_000))), "text": texts, "list": [[1, 2]] * 60_000})
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, compression=codec, data_page_version=version, row_group_size=25_000)
    footer, start = footer_of(content := path.read_bytes())
    assert footer[NUM_ROWS] == Field(I64, 60_000)
    assert footer[ROW_GROUPS].kind == LIST
    path.write_bytes(with_footer(content, start, encode(footer)))

    assert read(path)[0] == "60000 rows"
