"""Dagster resources: pipeline choice, compute device, IO managers, executors, instance."""
