"""Sensors: what waits for the ledger."""
