"""Task logs, alerts, metrics, lineage."""
