"""The nine Dagster assets with their checks."""
