"""Staleness: digests of the code, data and settings behind each asset, and the plan of a run."""
