"""What people do around runs: check before one, trace an event, compare with what Meta counted, send alerts."""
