"""``offline-capi demo``: sample data, and one run of them against the sandbox."""
