"""Benchmarks on demand: realism of the simulated market, and speed of the pipeline."""
