"""Checks of an installation (self-test) and of a home (verify)."""
