"""DAGs: made from the YAML of uploads, and the small ones of the platform."""
