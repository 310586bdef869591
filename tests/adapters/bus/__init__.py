"""The bus adapters against the development broker, through the real SDK."""
