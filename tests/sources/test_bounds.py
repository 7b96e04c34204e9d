"""Small files that stand for gigabytes: each is refused in one sentence, in the memory of a usual run.

Each file is read by a process of its own, which says how much memory it took at most.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import random
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from offline_capi.model import SourceRows
from offline_capi.sources.sql.query import joined

MIB = 1 << 20
#: A usual run of a million rows takes this much; nothing here may take more.
MOST_MIB = 600
#: Where a bound does not hold, the process ends here rather than the machine.
GUARD_BYTES = 6 << 30

READ = """
import resource, sys
from pathlib import Path
from offline_capi.runtime.process import set_up_process
set_up_process()
from offline_capi.config.source import FileSource
from offline_capi.errors import OfflineCapiError
from tests.sources.reading import WINDOW, open_at

resource.setrlimit(resource.RLIMIT_AS, (GUARD, GUARD))
source = FileSource.model_validate({"path": sys.argv[1], **eval(sys.argv[2])})
columns = None if sys.argv[3] == "all" else ["id"]
try:
    rows = sum(map(len, open_at(source).read(WINDOW, batch_rows=32768, columns=columns)))
    print(rows, "rows")
except OfflineCapiError as error:
    print("refused:", " ".join(str(error).split()))
# Not ru_maxrss of this process: Linux counts the process that started it as well, until exec.
own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(max(int(own.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) >> 10)
"""


def read(path: Path, columns: str = "all", **settings: object) -> tuple[str, int]:
    """What became of reading the file, and how much memory it took, in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", READ.replace("GUARD", str(GUARD_BYTES)), str(path), repr(settings), columns],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, used = done.stdout.splitlines()
    return said, int(used)


def gzipped(path: Path, *parts: tuple[bytes, int]) -> Path:
    """A gzip file of each text so many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for text, times in parts:
            block = text * max(1, MIB // len(text))
            whole, rest = divmod(times * len(text), len(block))
            for _ in range(whole):
                file.write(packer.compress(block))
            file.write(packer.compress(block[:rest]))
        file.write(packer.flush())
    return path


# ---------------------------------------------------------------------------------------------- one long value


def endless_line(path: Path) -> Path:
    return gzipped(path / "a.jsonl.gz", (b'{"id": "1"}\n', 3), (b'{"id": "', 1), (b"x", 700 * MIB), (b'"}\n', 1))


def endless_line_unpacked(path: Path) -> Path:
    with (path / "a.jsonl").open("wb") as file:
        file.write(b'{"id": "1"}\n{"id": "')
        file.truncate(1300 * MIB)  # a hole of zeros, which takes no room on the disk
    return path / "a.jsonl"


def endless_member(path: Path) -> Path:
    return gzipped(path / "a.json.gz", (b'[{"id": "1"},\n{"id": "', 1), (b"x", 700 * MIB), (b'"}]', 1))


def endless_array_in_line(path: Path) -> Path:
    return gzipped(path / "a.jsonl.gz", (b'{"id": "1"}\n{"id": [', 1), (b"{},", 300 * MIB), (b"1]}", 1))


def endless_cell(path: Path) -> Path:
    return gzipped(path / "a.csv.gz", (b'id,name\n1,"', 1), (b"x", 700 * MIB), (b'"\n', 1))


def endless_row(path: Path) -> Path:
    return gzipped(path / "a.csv.gz", (b"id,name\n", 1), (b"1,", 300 * MIB))


def endless_header(path: Path) -> Path:
    return gzipped(path / "a.csv.gz", (b"id,", 1), (b"x", 300 * MIB))


@pytest.mark.parametrize(
    ("make", "settings", "why"),
    [
        (endless_line, {}, "line, or an object, is longer than 16 MiB"),
        (endless_line_unpacked, {}, "line, or an object, is longer than 16 MiB"),
        (endless_member, {}, "line, or an object, is longer than 16 MiB"),
        (endless_array_in_line, {}, "line, or an object, is longer than 16 MiB"),
        (endless_cell, {}, "a row is longer than 1 MB"),
        (endless_cell, {"footer_rows": 2}, "a row is longer than 1 MB"),
        (endless_cell, {"quoting": "none"}, "a row is longer than 1 MB"),
        (endless_row, {}, "a row is longer than 1 MB"),
        (endless_header, {}, "in the header"),
    ],
)
def test_p23_a_value_without_an_end_is_refused(tmp_path: Path, make, settings, why):
    """A file of 6.5 MB with one line of 1.5 GB took 3.1 GiB and ended in a MemoryError (S12)."""
    path = make(tmp_path)

    said, used = read(path, max_ratio=2000, **settings)

    assert said.startswith(f"refused: file {path.name}: ")
    assert why in said
    assert used < MOST_MIB


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz"])
def test_nor_does_looking_for_the_encoding_keep_it(tmp_path: Path, name):
    """Whether a file is UTF-8 was asked of whole lines: all were kept up to the next line end."""
    path = gzipped(tmp_path / name, (b"id\n1\n" if "csv" in name else b'{"id": "1"}\n', 1), (b"x", 700 * MIB))

    said, used = read(path, encoding=["utf-8", "cp1252"], max_ratio=2000)

    assert said.startswith("refused: ")
    assert used < MOST_MIB


DENSE = {
    "objects": (b"[", b"{},", b"1]"),
    "lists": (b"[", b"[],", b"1]"),
    "numbers": (b"[", b"1,", b"1]"),
    "members": (b"{", b'"":1,', b'"a":1}'),
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("kind", DENSE)
@pytest.mark.parametrize("columns", ["all", "id"])
def test_a_line_that_is_all_structure_is_refused(tmp_path: Path, name: str, kind: str, columns: str):
    """Five million `{}` in 16 MiB took 1.1 GB."""
    begin, member, end = DENSE[kind]
    long = b'{"id":"1","x":' + begin + member * (15 * MIB // len(member)) + end + b"}"
    (tmp_path / name).write_bytes(long + b'\n{"id":"2"}\n' if "jsonl" in name else b"[" + long + b',\n{"id":"2"}]')

    said, used = read(tmp_path / name, columns=columns)

    assert "a line, or an object, of several MiB has over 2,000,000 members" in said
    assert used < MOST_MIB


@pytest.mark.parametrize("keys", [1, 10, 100_000])
def test_keys_that_are_no_columns_are_refused(tmp_path: Path, keys: int):
    """Each was a column with a cell in each row: a few MiB ended the process for want of memory."""
    names = [f"k{number}" for number in range(100_000)]
    lines = ["{" + ",".join(f'"{name}":1' for name in names[at : at + keys]) + "}" for at in range(0, len(names), keys)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")

    said, used = read(tmp_path / "a.jsonl")

    assert said.startswith("refused: file a.jsonl: its objects have ")
    assert "different keys, so that they are no columns" in said
    assert used < MOST_MIB


def test_many_columns_are_read(tmp_path: Path):
    row = json.dumps({f"column_{number}": number for number in range(500)})
    (tmp_path / "a.jsonl").write_text(f"{row}\n" * 3_000)

    assert read(tmp_path / "a.jsonl")[0] == "3000 rows"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize(("opened", "closed"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_a_deep_value_costs_no_more_than_a_run(tmp_path: Path, name: str, opened: bytes, closed: bytes):
    depth = 15 * MIB // len(opened + closed)
    deep = b'{"id":"1","x":' + opened * depth + b"1" + closed * depth + b"}"
    (tmp_path / name).write_bytes(deep + b'\n{"id":"2"}\n' if "jsonl" in name else b"[" + deep + b',\n{"id":"2"}]')

    said, used = read(tmp_path / name)

    assert said.startswith("refused: ") or said == "2 rows"
    assert used < MOST_MIB


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 4 * MIB - 1, 4 * MIB])
@pytest.mark.parametrize("text", ["a", "é", "€", "😀", "a😀é€"])
def test_a_character_that_lies_across_two_chunks_is_utf_8(text, size):
    from offline_capi.sources.files.streams import _is_utf8

    whole = (text * 20 if size < 10 else text * (9 * MIB // len(text.encode()))).encode()
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]

    assert _is_utf8(iter(chunks))
    assert not _is_utf8(iter([*chunks, b"\xe2\x82"]))
    assert not _is_utf8(iter([*chunks[:1], b"\xff", *chunks[1:]]))


def test_a_line_of_allowed_length_is_read_and_the_setting_allows_longer_ones(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": "x" * length}) + "\n" for length in (3, 15 * MIB, 4)))
    longer = tmp_path / "b.jsonl"
    longer.write_text("".join(json.dumps({"id": "x" * length}) + "\n" for length in (3, 30 * MIB, 4)))

    assert read(path)[0] == "3 rows"
    assert read(longer)[0].startswith("refused: ")
    assert read(longer, max_line_mib=32)[0] == "3 rows"


# ---------------------------------------------------------------------------------------------- compression


def gzip_of_rows(path: Path) -> Path:
    return gzipped(path / "a.csv.gz", (b"id\n", 1), (b"1\n", 60 * MIB))


def gzip_of_gzip(path: Path) -> Path:
    inner = gzipped(path / "inner", (b"id\n", 1), (b"1\n", 60 * MIB))
    (path / "a.csv.gz").write_bytes(gzip.compress(inner.read_bytes()))
    return path / "a.csv.gz"


def bzip2(path: Path) -> Path:
    (path / "a.csv.bz2").write_bytes(bz2.compress(b"id\n" + (b"0" * 1000 + b"\n") * 80_000))
    return path / "a.csv.bz2"


def zstd(path: Path) -> Path:
    with pa.CompressedOutputStream(str(path / "a.csv.zst"), "zstd") as file:
        file.write(b"id\n")
        for _ in range(60):
            file.write(b"1\n" * MIB)
    return path / "a.csv.zst"


def zip_of_rows(path: Path) -> Path:
    with zipfile.ZipFile(path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.csv", "w") as file:
        file.write(b"id\n")
        for _ in range(60):
            file.write(b"1\n" * MIB)
    return path / "a.zip"


@pytest.mark.parametrize("make", [gzip_of_rows, gzip_of_gzip, bzip2, zstd, zip_of_rows])
def test_p23_what_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path: Path, make):
    path = make(tmp_path)

    said, used = read(path)

    assert said.startswith(f"refused: file {path.name}: it has over 200 times its size unpacked")
    assert "source.max_ratio" in said
    assert used < MOST_MIB


def test_a_file_has_a_size_at_which_reading_ends(tmp_path: Path):
    path = gzipped(tmp_path / "a.csv.gz", (b"id\n", 1), (b"1\n", 540 * MIB))

    said, _ = read(path, max_ratio=2000, max_unpacked_gib=1)

    assert "it has over 1 GiB unpacked" in said
    assert "source.max_unpacked_gib" in said


def test_a_short_file_of_one_repeated_row_is_read(tmp_path: Path):
    path = gzipped(tmp_path / "a.csv.gz", (b"id\n", 1), (b"1\n", 4 * MIB))

    assert read(path)[0] == f"{4 * MIB} rows"


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_python_unpacks_without_a_bound_is_refused(tmp_path: Path, kind):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", kind) as archive, archive.open("a.csv", "w") as file:
        file.write(b"id\n")
        for _ in range(20_000):
            file.write(b"0" * 1000 + b"\n")

    said, used = read(tmp_path / "a.zip")

    assert "it is a damaged zip archive, or packed in a way that cannot be read" in said
    assert used < MOST_MIB


def test_a_zip_that_lies_about_its_size_ends_at_what_it_says(tmp_path: Path):
    path = zip_of_rows(tmp_path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)

    said, used = read(path)

    assert said.startswith("refused: ")
    assert used < MOST_MIB


# ---------------------------------------------------------------------------------------------- workbooks

_TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(path: Path, write_rows: Callable[[io.RawIOBase], None], text: str = "") -> Path:
    """A workbook with one sheet and one shared string."""
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType='
        f'"application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relation'
        f'ships+xml"/><Override PartName="/xl/workbook.xml" ContentType="{_TYPES}.sheet.main+xml"/><Override PartName='
        f'"/xl/worksheets/sheet1.xml" ContentType="{_TYPES}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type="{_RELATIONS}/'
        'officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets><sheet name="s" sheetId="1"'
        ' r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" Type='
        f'"{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{_RELATIONS}/shared'
        'Strings" Target="sharedStrings.xml"/></Relationships>',
        "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}" count="1" uniqueCount="1"><si><t>{escape(text)}</t></si></sst>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w") as sheet:
            sheet.write(f'<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            sheet.write(b'<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>')
            write_rows(sheet)
            sheet.write(b"</sheetData></worksheet>")
    return path


def corners(sheet) -> None:
    sheet.write(b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')


def blanks(sheet) -> None:
    for _ in range(400):
        sheet.write(b" " * MIB)


def repeated_text(sheet) -> None:
    for number in range(2, 30_000):
        sheet.write(b'<row r="%d"><c r="A%d" t="s"><v>0</v></c></row>' % (number, number))


def many_cells(sheet) -> None:
    for number in range(2, 300_000):
        sheet.write(b'<row r="%d">' % number + b"<c><v>1</v></c>" * 30 + b"</row>")


@pytest.mark.parametrize(
    ("make", "text", "why"),
    [
        (corners, "", "needs more than 400 MiB of memory"),
        (blanks, "", "MiB in 3"),
        (repeated_text, "x" * 32_767, "needs more than 400 MiB of memory"),
        (many_cells, "", "needs more than 400 MiB of memory"),
    ],
)
def test_p23_a_workbook_made_to_fill_memory_is_refused(tmp_path: Path, make, text, why):
    """Two cells in opposite corners ended the whole process, without a word."""
    path = workbook(tmp_path / "a.xlsx", make, text)

    said, used = read(path)

    assert said.startswith("refused: file a.xlsx: the workbook ")
    assert why in said
    assert used < MOST_MIB


def test_so_is_one_that_lies_about_its_sizes(tmp_path: Path):
    path = workbook(tmp_path / "a.xlsx", blanks)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)

    said, used = read(path)

    assert said.startswith("refused: file a.xlsx: the workbook ")
    assert used < MOST_MIB


def test_a_workbook_in_an_archive_is_unpacked_up_to_a_bound(tmp_path: Path):
    (tmp_path / "a.xlsx.gz").write_bytes(gzip.compress(b"PK\x03\x04" + b"\0" * 200 * MIB))

    said, used = read(tmp_path / "a.xlsx.gz", max_ratio=2000)

    assert "it is a zip archive of over 128 MiB inside another file" in said
    assert used < MOST_MIB


def test_a_large_honest_workbook_is_read(tmp_path: Path):
    def rows(sheet) -> None:
        for number in range(2, 100_002):
            cells = "".join(f"<c><v>{number * 7919 % 1_000_003}</v></c>" for _ in range(10))
            sheet.write(f'<row r="{number}">{cells}</row>'.encode())

    assert read(workbook(tmp_path / "a.xlsx", rows), "id")[0] == "100000 rows"


def test_no_core_file_holds_the_rows_of_a_reader_that_ends_badly():
    from offline_capi.sources.subprocess_reader import read_in_subprocess

    assert list(read_in_subprocess(limit_of_core_files)) == [(0, 0)]


def limit_of_core_files():
    yield resource.getrlimit(resource.RLIMIT_CORE)


# ---------------------------------------------------------------------------------------------- Parquet

ROWS = 200_000


def repeated(path: Path, value: pa.Scalar, *, first: object = "x", rows: int = ROWS) -> Path:
    """One value for all rows but the first, by a dictionary."""
    item = pa.array([first, value], type=value.type if isinstance(value, pa.Scalar) else None)
    indices = pa.array([0] + [1] * (rows - 1), pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, item)
    table = pa.table({"id": pa.array(map(str, range(rows))), "text": column})
    parquet.write_table(table, path / "a.parquet", dictionary_pagesize_limit=1 << 30, store_schema=False)
    return path / "a.parquet"


def long_text(path: Path) -> Path:
    return repeated(path, "x" * 16 * MIB)


def longish_text(path: Path) -> Path:
    return repeated(path, "x" * 100_000)


def long_item(path: Path) -> Path:
    """Lists are written value by value; the first has none."""
    items = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 4 * MIB]))
    offsets = pa.array([0, *range(50_001)], pa.int32())
    table = pa.table({"id": pa.array(map(str, range(50_001))), "list": pa.ListArray.from_arrays(offsets, items)})
    parquet.write_table(table, path / "a.parquet", dictionary_pagesize_limit=1 << 30, store_schema=False)
    return path / "a.parquet"


def long_member(path: Path) -> Path:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["x" * 4 * MIB]))
    table = pa.table({"id": pa.array(map(str, range(ROWS))), "member": pa.StructArray.from_arrays([texts], ["text"])})
    parquet.write_table(table, path / "a.parquet", dictionary_pagesize_limit=1 << 30, store_schema=False)
    return path / "a.parquet"


def long_prefix(path: Path) -> Path:
    """Of each value only what differs from the one before is written."""
    texts = pa.array(["x" * 200_000 + str(number) for number in range(1_500)])
    table = pa.table({"id": pa.array(map(str, range(1_500))), "text": texts})
    parquet.write_table(
        table, path / "a.parquet", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY", "id": "PLAIN"}
    )
    return path / "a.parquet"


def packed_page(path: Path) -> Path:
    texts = pa.array(["x" * 100_000] * 4_000)
    table = pa.table({"id": pa.array(map(str, range(4_000))), "text": texts})
    parquet.write_table(table, path / "a.parquet", use_dictionary=False, compression="zstd")
    return path / "a.parquet"


def endless_list(path: Path) -> Path:
    items = pa.array(np.zeros(60_000_000, np.int8))
    offsets = pa.array([0, 1, len(items)], pa.int32())
    table = pa.table({"id": ["1", "2"], "list": pa.ListArray.from_arrays(offsets, items)})
    parquet.write_table(table, path / "a.parquet", use_dictionary=False, compression="zstd")
    return path / "a.parquet"


@pytest.mark.parametrize(
    "make", [long_text, longish_text, long_item, long_member, long_prefix, packed_page, endless_list]
)
def test_a_parquet_file_that_stands_for_gigabytes_is_refused(tmp_path: Path, make):
    """One value of 16 MiB for 32,768 rows was half a terabyte."""
    path = make(tmp_path)

    said, used = read(path)

    assert said.startswith("refused: file a.parquet: it")
    assert "400 MiB of memory" in said or "over 200 times its size" in said
    assert used < MOST_MIB


@pytest.mark.parametrize("make", [long_text, long_prefix])
def test_columns_that_nobody_reads_do_not_count(tmp_path: Path, make):
    said, used = read(make(tmp_path), columns="id")

    assert said.endswith(" rows")
    assert used < MOST_MIB


@pytest.mark.parametrize("size", [5_000, 50_000])
def test_honest_long_values_are_read(tmp_path: Path, size: int):
    texts = ["".join(random.Random(number).choices("abcdefgh", k=size)) for number in range(2_000)]
    parquet.write_table(pa.table({"id": list(map(str, range(2_000))), "text": texts}), tmp_path / "a.parquet")

    said, used = read(tmp_path / "a.parquet")

    assert said == "2000 rows"
    assert used < MOST_MIB


@pytest.mark.parametrize("seed", range(40))
def test_a_footer_that_lies_ends_in_one_sentence(tmp_path: Path, seed: int):
    """Single bytes of it are changed: numbers of rows, sizes, offsets, encodings."""
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"id": list(map(str, range(5_000))), "text": ["abc", "def"] * 2_500}), path)
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    length = struct.unpack("<I", content[-8:-4])[0]
    for _ in range(2):
        content[chance.randrange(len(content) - 8 - length, len(content) - 8)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)

    said, used = read(path)

    assert said.startswith("refused: ") or said.endswith(" rows")
    assert used < MOST_MIB


def test_rows_of_a_query_are_put_together_while_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide rows in smaller batches, however many a batch may have."""
    parts = [SourceRows(pa.record_batch({"a": pa.array(["x" * 100] * 10)}), "query", 10 * at + 1) for at in range(6)]
    bytes_of_two = 2 * parts[0].batch.nbytes
    monkeypatch.setattr("offline_capi.sources.sql.query.MAX_JOINED_BYTES", bytes_of_two + 10)

    assert [(len(one), one.first_row) for one in joined(parts, 1_000)] == [(20, 1), (20, 21), (20, 41)]
    assert [len(one) for one in joined(parts, 10)] == [10] * 6
    monkeypatch.undo()
    assert [len(one) for one in joined(parts, 1_000)] == [60]
