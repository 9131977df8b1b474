"""Which windows to label next, which labels to look at again, and what more labels would bring."""
