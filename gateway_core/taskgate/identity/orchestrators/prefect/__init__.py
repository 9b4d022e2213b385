"""Prefect: its flow runs, as its REST API tells of them and as its workers make them known."""
