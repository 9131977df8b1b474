"""How any model is judged: arrays in, scores with intervals out."""
