"""A model asked about labeled windows: test set, baselines, ablations, live alarms, simulated truth."""
