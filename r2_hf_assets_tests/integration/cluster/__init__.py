"""A cluster on one machine: PostgreSQL, Redis, workers in network namespaces, Dagster's processes.

`make cluster-demo` runs a backfill during which a machine crashes; `test_celery.py` is the short form.

    installed.py    Debian's postgresql and redis-server, and the Python packages of deploy/celery/requirements.lock
    databases.py    a PostgreSQL and a Redis for the cluster
    network.py      a bridge, and a network namespace for each machine
    relay.py        forwards connections to servers that listen on loopback alone: the S3 server and the Hub
    cluster.py      all processes, started with the files of deploy/celery/
    kill.py         a backfill during which a machine crashes, and its outcome
    __main__.py     the demo
"""
