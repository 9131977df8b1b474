"""Inference: expansions from bars, in hindsight and live."""
