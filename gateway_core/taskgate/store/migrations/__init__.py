"""Alembic's scripts for the store's schema."""
