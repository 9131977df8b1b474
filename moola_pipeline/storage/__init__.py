"""The home on disk: layout, atomic writes, checksums, databases, and stores elsewhere."""
