"""Pretraining, pseudo-labels and distillation, fine-tuning, calibration and thresholds."""
