"""The control API (FastAPI): how people, services and tools manage the gateway. Never in the data path."""
