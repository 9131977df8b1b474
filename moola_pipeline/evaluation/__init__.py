"""Scores on labeled windows: test set, baselines, ablations, live alarms, simulated truth, promotion."""
