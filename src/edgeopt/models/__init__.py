"""Model families: where their parts live, where they come from, how they are loaded and saved."""
