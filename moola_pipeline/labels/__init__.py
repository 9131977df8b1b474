"""Labels: schema, import, registry, placement on the bars, and splits."""
