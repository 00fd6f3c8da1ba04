"""Plain text to pre-train on: documents read in a stream, tokenized once, kept in the store, read as rows."""
