"""Metrics with bootstrap intervals, computed from arrays."""
