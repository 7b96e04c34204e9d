"""What every room stands on: HTTP, processes, what may be shown, how bugs are reported."""
