"""Features of each bar: causal, price-relative, dense."""
