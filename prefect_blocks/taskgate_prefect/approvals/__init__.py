"""What becomes of a flow run while a human decides about a statement of it."""
