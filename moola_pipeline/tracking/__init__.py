"""All use of MLflow: runs, registered versions, the promotion log, the served model."""
