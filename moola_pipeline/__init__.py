"""Moola learns a trader's eye for expansions from marked windows of one-minute bars."""

__version__ = "0.2.0"
