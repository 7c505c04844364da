"""What the Celery workers are told. `celery -A dagster_celery.app` imports this by its name, so its folder belongs on
PYTHONPATH.

Start the worker with `celery` itself and not with `dagster-celery worker start`: that one starts the real worker as a
child and, when it is stopped, leaves it running.
"""

import os

broker_url = os.environ["CLUSTER_REDIS_URL"]
result_backend = broker_url
task_default_queue = "dagster"

# As in dagster.yaml, with the reasons there.
broker_transport_options = {"visibility_timeout": 86400}
result_expires = 1209600

# A worker takes a run when it is free for it, and none in advance: a run that waits in the hands of a busy worker could
# be worked on elsewhere, and one in the hands of a dead worker would not be seen for a day.
worker_prefetch_multiplier = 1
worker_disable_prefetch = True

# Keep trying while Redis is away, at the start as later on.
broker_connection_retry_on_startup = True

# The imports of the first run serve the next ones (a run starts in 0.1 s); a fresh process now and then costs seconds.
worker_max_tasks_per_child = 100

# Dagster's own log lines go to its event log, and the task's output is one number.
# What a run prints belongs into its own logs, and not into the worker's.
worker_redirect_stdouts = False
worker_hijack_root_logger = False
task_ignore_result = False
