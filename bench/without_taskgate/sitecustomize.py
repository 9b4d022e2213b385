"""With this folder on PYTHONPATH, an interpreter that does not see Taskgate installed: no plugin, no provider and
no policy of it is announced to Airflow. It can still be imported, and is not by anybody."""

import importlib.metadata

import importlib_metadata  # what Airflow asks before Python 3.12


def _hide(module):
    everything = module.distributions

    def distributions(**options):
        return (one for one in everything(**options) if one.metadata["Name"] != "taskgate")

    module.distributions = distributions


_hide(importlib.metadata)
_hide(importlib_metadata)
