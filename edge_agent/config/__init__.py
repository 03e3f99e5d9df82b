"""Configuration: frozen schema, loading with every error at once."""
