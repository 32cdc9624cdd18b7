"""Settings of a repository: `[tool.lossdoctor]` in pyproject.toml, or lossdoctor.toml."""
