"""Settings of the Celery workers. `celery -A dagster_celery.app` imports this module by name, so its folder must be on
PYTHONPATH.

Start the worker with `celery`: `dagster-celery worker start` leaves its child, the worker, running when it is stopped.
"""

import os

broker_url = os.environ["CLUSTER_REDIS_URL"]
result_backend = broker_url
task_default_queue = "dagster"

# As in dagster.yaml, for the reasons there.
broker_transport_options = {"visibility_timeout": 86400}
result_expires = 1209600

# No prefetch: a run prefetched by a busy worker could run elsewhere, and one prefetched by a dead worker would be
# delivered again after a day.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# Reconnect to Redis at the start as well.
broker_connection_retry_on_startup = True

# Later runs of a process start in 0.1 s, because its imports are loaded; a new process costs seconds.
worker_max_tasks_per_child = 100

# Dagster's log lines go to its event log, and a run's output to its compute logs.
worker_redirect_stdouts = False
worker_hijack_root_logger = False
task_ignore_result = False
