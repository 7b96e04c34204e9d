"""Tokens and warehouse URLs from Airflow connections, and with them from any secrets backend; inside a task only.

What no connection holds is looked up as on the command line: environment variables and files.
"""

from __future__ import annotations
