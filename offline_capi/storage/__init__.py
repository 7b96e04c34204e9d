"""Files: staged events and rejects of a run, on a disk or an object store, readable by their owner only."""
