"""What is known of a whole run and may stop, defer or reject its events: gates, quotas, duplicates, drift, losses."""
