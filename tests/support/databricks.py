"""A stand-in for a Databricks warehouse, for its real driver: it speaks Thrift over HTTP, and its rows are Arrow.

As a warehouse does, it sends the first rows with the answer to the statement and the others when they are asked for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

URL = (
    "databricks://token:secret-token@warehouse.example.com?http_path=/sql/1.0/warehouses/1&catalog=main&schema=default"
)
OK = ttypes.TStatus(statusCode=ttypes.TStatusCode.SUCCESS_STATUS)
FINISHED = ttypes.TOperationState.FINISHED_STATE
FIRST_ROWS = 1_000
#: Arrow's type → the type that the warehouse names.
TYPES: dict[str, int] = {
    "bool": ttypes.TTypeId.BOOLEAN_TYPE, "int8": ttypes.TTypeId.TINYINT_TYPE, "int16": ttypes.TTypeId.SMALLINT_TYPE,
    "int32": ttypes.TTypeId.INT_TYPE, "int64": ttypes.TTypeId.BIGINT_TYPE, "float": ttypes.TTypeId.FLOAT_TYPE,
    "double": ttypes.TTypeId.DOUBLE_TYPE, "string": ttypes.TTypeId.STRING_TYPE, "binary": ttypes.TTypeId.BINARY_TYPE,
    "date32": ttypes.TTypeId.DATE_TYPE, "timestamp": ttypes.TTypeId.TIMESTAMP_TYPE, "list": ttypes.TTypeId.ARRAY_TYPE,
    "struct": ttypes.TTypeId.STRUCT_TYPE,
    "decimal128": ttypes.TTypeId.DECIMAL_TYPE, "null": ttypes.TTypeId.NULL_TYPE,
}  # fmt: skip


class RefusedError(Exception):
    """What the warehouse says instead of rows; its SQLSTATE is the first argument."""


Answer = Callable[[str, dict[str, str]], pa.Table]


class _Handler:
    """One statement at a time. ``answer`` gives the rows of a statement and its parameters."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self._rows, self._sent = answer, pa.table({}), 0

    def OpenSession(self, request: Any) -> Any:  # noqa: N802
        return ttypes.TOpenSessionResp(
            OK,
            ttypes.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V8,
            sessionHandle=ttypes.TSessionHandle(_identity()),
            initialNamespace=request.initialNamespace,
            canUseMultipleCatalogs=True,
        )

    def CloseSession(self, request: Any) -> Any:  # noqa: N802
        return ttypes.TCloseSessionResp(OK)

    def CloseOperation(self, request: Any) -> Any:  # noqa: N802
        return ttypes.TCloseOperationResp(OK)

    def ExecuteStatement(self, request: Any) -> Any:  # noqa: N802
        given = {one.name: one.value.stringValue for one in request.parameters or ()}
        try:
            self._rows, self._sent = self._answer(request.statement, given), 0
        except RefusedError as refused:
            state, text = refused.args
            return ttypes.TExecuteStatementResp(
                ttypes.TStatus(ttypes.TStatusCode.ERROR_STATUS, errorMessage=text, sqlState=state)
            )
        handle = ttypes.TOperationHandle(_identity(), ttypes.TOperationType.EXECUTE_STATEMENT, hasResultSet=True)
        direct = ttypes.TSparkDirectResults(
            ttypes.TGetOperationStatusResp(OK, FINISHED), self._describe(), self._fetch(FIRST_ROWS)
        )
        return ttypes.TExecuteStatementResp(OK, handle, directResults=direct)

    def FetchResults(self, request: Any) -> Any:  # noqa: N802
        if self._sent >= 30 * FIRST_ROWS and "cut" in self._rows.column_names:
            return ttypes.TFetchResultsResp(
                ttypes.TStatus(
                    ttypes.TStatusCode.ERROR_STATUS, errorMessage="Connection reset by peer", sqlState="08S01"
                )
            )
        return self._fetch(request.maxRows)

    def _describe(self) -> Any:
        columns = [
            ttypes.TColumnDesc(field.name, ttypes.TTypeDesc([ttypes.TTypeEntry(_primitive(field.type))]), at)
            for at, field in enumerate(self._rows.schema)
        ]
        return ttypes.TGetResultSetMetadataResp(
            OK,
            ttypes.TTableSchema(columns),
            ttypes.TSparkRowSetType.ARROW_BASED_SET,
            lz4Compressed=False,
            arrowSchema=self._rows.schema.serialize().to_pybytes(),
        )

    def _fetch(self, rows: int) -> Any:
        part = self._rows.slice(self._sent, min(rows, FIRST_ROWS)).combine_chunks()
        batches = [ttypes.TSparkArrowBatch(one.serialize().to_pybytes(), one.num_rows) for one in part.to_batches()]
        self._sent += part.num_rows
        more = self._sent < self._rows.num_rows
        found = ttypes.TRowSet(self._sent - part.num_rows, [], arrowBatches=batches)
        return ttypes.TFetchResultsResp(OK, more, found, self._describe())


def _identity() -> Any:
    return ttypes.THandleIdentifier(b"\1" * 16, b"\2" * 16)


def _primitive(kind: pa.DataType) -> Any:
    entry = ttypes.TPrimitiveTypeEntry(TYPES[re.split(r"[\[(<]", str(kind))[0]])
    if pa.types.is_decimal(kind):
        sizes = {"precision": kind.precision, "scale": kind.scale}
        entry.typeQualifiers = ttypes.TTypeQualifiers(
            {name: ttypes.TTypeQualifierValue(i32Value=size) for name, size in sizes.items()}
        )
    return entry


@contextmanager
def running_stand_in(answer: Answer) -> Iterator[str]:
    """URL of a warehouse that answers by ``answer``, and to which the driver is led wherever the URL says."""
    processor = TCLIService.Processor(_Handler(answer))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = TMemoryBuffer(self.rfile.read(int(self.headers["Content-Length"])))
            said = TMemoryBuffer()
            processor.process(TBinaryProtocol(asked), TBinaryProtocol(said))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-thrift")
            self.send_header("Content-Length", str(len(said.getvalue())))
            self.end_headers()
            self.wfile.write(said.getvalue())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:

        def lead(dialect: sa.Dialect, record: Any, arguments: Any, options: dict[str, Any]) -> None:
            options["_connection_uri"] = f"http://127.0.0.1:{server.server_port}/sql"
            options["enable_telemetry"] = False

        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        sa.event.listen(sa.Engine, "do_connect", lead)
        try:
            yield URL
        finally:
            sa.event.remove(sa.Engine, "do_connect", lead)
            server.shutdown()
            thread.join()
