"""Exporters that come with dagflow: what sends metrics somewhere."""
