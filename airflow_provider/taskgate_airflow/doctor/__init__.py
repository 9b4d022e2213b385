"""Checks whether this Airflow's tasks really go through the gateway, and through nothing else.

    python -m taskgate_airflow.doctor [--json]

Run it where Airflow is configured: on a worker, the API server and the triggerer, since each has a configuration of its
own. It changes nothing and shows no secret.
"""
