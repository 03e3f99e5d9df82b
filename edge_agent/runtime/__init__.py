"""The concurrency runtime: pools, the core ledger, scheduler, channels, limits, pressure, metrics."""
