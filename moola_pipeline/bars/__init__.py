"""What a bar is, where bars come from, and which of them may be trusted."""
