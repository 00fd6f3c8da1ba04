"""A bundle to where a team looks for models: MLflow's registry, or a repository of a hub."""
