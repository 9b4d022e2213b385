"""What `taskgate demo` runs: a real PostgreSQL, the gateway, the dashboard and an Airflow DAG, narrated."""
