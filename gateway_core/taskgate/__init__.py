"""Taskgate: a gateway on the data path between orchestrated tasks and what they touch."""

__version__ = "0.1.0"
