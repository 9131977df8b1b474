"""Whether an installation finds what is there, nothing where nothing is, and catches planted faults."""
