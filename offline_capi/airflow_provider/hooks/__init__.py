"""Connections and tokens from Airflow."""
