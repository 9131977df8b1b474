"""The Dagster face of each stage, its checks beside it."""
