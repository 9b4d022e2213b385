"""What a DAG processor's child does with a file, and a worker before it runs a task: settings (and with them cluster
policies), plugins and their listeners, providers, the file itself, the DAG made ready to be stored."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    from airflow import plugins_manager, settings
    from airflow.dag_processing.dagbag import DagBag
    from airflow.listeners.listener import get_listener_manager
    from airflow.providers_manager import ProvidersManager
    from airflow.serialization.serialized_objects import DagSerialization

    settings.initialize()
    plugins_manager.ensure_plugins_loaded()
    plugins_manager.integrate_listener_plugins(get_listener_manager())
    ProvidersManager().initialize_providers_list()
    file = Path(sys.argv[1])
    bag = DagBag(dag_folder=file, bundle_path=file.parent, bundle_name="bench")
    if bag.import_errors:
        raise SystemExit(str(bag.import_errors))
    for dag in bag.dags.values():
        DagSerialization.to_dict(dag)


if __name__ == "__main__":
    main()
