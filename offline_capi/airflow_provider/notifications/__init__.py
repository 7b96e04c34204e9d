"""Notifiers for DAGs of a user's own."""
