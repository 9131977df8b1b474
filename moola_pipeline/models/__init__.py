"""The networks, the span proposer, and the model built of them."""
