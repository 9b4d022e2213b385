"""Taskgate for Apache Airflow. Inert until configured."""
