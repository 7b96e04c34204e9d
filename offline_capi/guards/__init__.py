"""What may stop or defer events of a whole run: quality gates, quotas, drift, frequent values, known losses."""
