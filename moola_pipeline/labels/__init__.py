"""What a labeled expansion is, how labels come in, and how they are split."""
