"""A stand-in for BigQuery, for its real driver: REST for the query, gRPC for the rows, which are tables of Arrow."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pyarrow as pa
import sqlalchemy as sa
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1 import types as storage
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

URL = "bigquery://shop/sales?user_supplied_client=True"
BATCH_ROWS = 1_000
JOB = {"projectId": "shop", "jobId": "1", "location": "EU"}
RESULT = {"projectId": "shop", "datasetId": "sales", "tableId": "result"}


_TABLE = re.compile(r"/tables/(?P<name>\w+)(?P<data>/data)?(?:\?|$)")


def _write_value(value: object) -> object:
    """As BigQuery's REST writes it: texts, instants in microseconds."""
    if isinstance(value, list):
        return [{"v": _write_value(one)} for one in value]
    if isinstance(value, datetime):
        return value.isoformat() if value.tzinfo is None else str(int(value.timestamp()) * 10**6 + value.microsecond)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class RefusedError(Exception):
    """What BigQuery says instead of rows: a status of HTTP, a reason and a text."""


#: The rows of a query, the names of their types, and how many batches of them come before the stream breaks off.
Answer = Callable[[str, list[dict[str, Any]]], tuple[pa.Table, dict[str, str]]]


class _BigQuery:
    """One query at a time."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self._rows = answer, pa.table({})
        self._schema: dict[str, Any] = {}
        self.batches_before_cut = 10**6
        #: What was charged.
        self.queries: list[str] = []

    def answer(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if "jobs/" in path:
            query = {"destinationTable": RESULT, "query": ""}
            return 200, {"jobReference": JOB, "status": {"state": "DONE"}, "configuration": {"query": query}}
        try:
            if table := _TABLE.search(path):
                return 200, self._show_table(table["name"], lists_rows=table["data"] is not None)
            if asked:
                self.queries.append(asked["query"])
                self._rows, self._schema = self._ask(asked["query"], asked.get("queryParameters", []))
        except RefusedError as refused:
            status, reason, text = refused.args
            return status, {"error": {"code": status, "message": text, "errors": [{"reason": reason, "message": text}]}}
        common = {"jobComplete": True, "jobReference": JOB, "schema": self._schema}
        return 200, {
            **common,
            "totalRows": str(self._rows.num_rows),
            **({"pageToken": "1"} if self._rows.num_rows else {}),
        }

    def _ask(self, sql: str, parameters: list[dict[str, Any]]) -> tuple[pa.Table, dict[str, Any]]:
        rows, kinds = self._answer(sql, parameters)
        fields = [
            {
                "name": field.name,
                "type": kinds[field.name],
                "mode": "REPEATED" if pa.types.is_list(field.type) else "NULLABLE",
            }
            for field in rows.schema
        ]
        return rows, {"fields": fields}

    def _show_table(self, name: str, *, lists_rows: bool) -> dict[str, Any]:
        """What is free: a table's columns, and its rows as REST writes them. A view has none."""
        rows, schema = self._ask(f"SELECT * FROM {name}", [])
        if not lists_rows:
            reference = {**RESULT, "tableId": name}
            return {"tableReference": reference, "schema": schema, "type": "VIEW" if "view" in name else "TABLE"}
        if "view" in name:
            raise RefusedError(400, "invalid", f"Cannot list a table of type VIEW: {name}")
        return {
            "totalRows": str(rows.num_rows),
            "rows": [{"f": [{"v": _write_value(value)} for value in row.values()]} for row in rows.to_pylist()],
        }

    def create_read_session(self, request: Any, _: Any) -> Any:
        streams = [storage.ReadStream(name="streams/1")]
        return storage.ReadSession(name="sessions/1", streams=streams, arrow_schema=self._arrow_schema(), data_format=2)

    def _arrow_schema(self) -> Any:
        return storage.ArrowSchema(serialized_schema=self._rows.schema.serialize().to_pybytes())

    def read_rows(self, request: Any, context: Any) -> Iterator[Any]:
        for number, batch in enumerate(self._rows.to_batches(BATCH_ROWS)):
            if number == self.batches_before_cut:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")
            yield storage.ReadRowsResponse(
                arrow_record_batch=storage.ArrowRecordBatch(serialized_record_batch=batch.serialize().to_pybytes()),
                row_count=batch.num_rows,
                arrow_schema=None if number else self._arrow_schema(),
            )


@contextmanager
def running_stand_in(answer: Answer) -> Iterator[tuple[str, _BigQuery]]:
    """A URL, and BigQuery itself, to which the driver is led."""
    service = _BigQuery(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = service.answer(self.path, json.loads(asked or "{}"))
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    methods = {
        "CreateReadSession": grpc.unary_unary_rpc_method_handler(
            service.create_read_session, storage.CreateReadSessionRequest.deserialize, storage.ReadSession.serialize
        ),
        "ReadRows": grpc.unary_stream_rpc_method_handler(
            service.read_rows, storage.ReadRowsRequest.deserialize, storage.ReadRowsResponse.serialize
        ),
    }
    rows = grpc.server(ThreadPoolExecutor(2))
    rows.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.cloud.bigquery.storage.v1.BigQueryRead", methods)]
    )
    port = rows.add_insecure_port("127.0.0.1:0")
    rows.start()
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):

        def lead(dialect: sa.Dialect, record: Any, arguments: Any, options: dict[str, Any]) -> None:
            options["client"] = bigquery.Client(
                "shop",
                AnonymousCredentials(),
                client_options={"api_endpoint": f"http://127.0.0.1:{server.server_port}"},
            )
            options["bqstorage_client"] = BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        sa.event.listen(sa.Engine, "do_connect", lead)
        try:
            yield URL, service
        finally:
            sa.event.remove(sa.Engine, "do_connect", lead)
            server.shutdown()
            thread.join()
            rows.stop(0)
