"""The report page: its data, tables, pictures and template."""
