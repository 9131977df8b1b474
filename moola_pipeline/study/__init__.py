"""The pretraining study: what an encoder is worth at each number of labels, before any is spent on test."""
