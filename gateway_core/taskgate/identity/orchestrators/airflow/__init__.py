"""Airflow: the tokens that it gives its task instances, and what its REST API says of them."""
