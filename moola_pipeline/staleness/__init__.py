"""What decides an asset: digests of code, data and settings, and the plan of a run."""
