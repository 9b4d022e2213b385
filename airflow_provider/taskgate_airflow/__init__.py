"""Taskgate for Apache Airflow. Inert until configured: importing this package imports nothing of Airflow."""

from __future__ import annotations

from taskgate_airflow.provider_info import get_provider_info

__all__ = ["get_provider_info"]
