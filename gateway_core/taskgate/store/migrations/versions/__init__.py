"""One file a version of the schema, oldest first. A released one never changes."""
