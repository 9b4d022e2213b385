"""What becomes of sensitive values before they leave: which cells (plan), what is found in them, what it becomes."""
