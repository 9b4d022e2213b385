"""Orchestrators: who proves that a task is running, and when an attempt is over."""
