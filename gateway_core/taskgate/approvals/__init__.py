"""Asking a human about one action, and letting through exactly what that human saw, once."""
