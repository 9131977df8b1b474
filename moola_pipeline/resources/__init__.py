"""The outside world: MLflow, the registry, stored artifacts, the device."""
