"""TODO district."""
