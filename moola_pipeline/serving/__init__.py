"""Bars in, expansions out."""
