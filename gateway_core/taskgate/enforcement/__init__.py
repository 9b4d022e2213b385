"""The one place where protocols meet policy: judge, hold, obligations, record."""
