"""Arrays in, scores with intervals out."""
