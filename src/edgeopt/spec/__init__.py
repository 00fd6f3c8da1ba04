"""What a recipe may say: pydantic models."""
