"""Tasks: what runs in a worker."""
