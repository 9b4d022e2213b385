"""Prefect blocks whose connections go through Taskgate, and what makes a flow run known there (docs/prefect.md)."""
