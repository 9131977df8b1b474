"""Dense 105-bar views of the feature table."""
