"""Pretraining objectives behind one interface, one module each."""
