"""What the network reads of a bar: causal, price-relative, dense."""
