from typing import Any

Column = tuple[Any, Any, Any, int, int]
Tables = tuple[Any, Any, Any, bytes, bytes]

def rewrite(column: Column, tables: Tables, out_offsets: Any, out_validity: Any, out: Any, /) -> int: ...
