"""The report page: data, tables, figures and templates."""
