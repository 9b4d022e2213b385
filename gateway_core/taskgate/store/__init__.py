"""What outlives a connection: credentials, keys, approvals, the index of sessions, signals. SQLite or PostgreSQL."""
