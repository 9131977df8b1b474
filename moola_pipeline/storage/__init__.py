"""The home on disk: layout, atomic writes, checksums, databases, backup, and remote stores."""
