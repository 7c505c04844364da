"""A cluster on one machine: PostgreSQL, Redis, workers that have a network of their own, Dagster's processes.

`make cluster-demo` shows it at work and at the death of a machine; `test_celery.py` is the short form.

    installed.py    Debian's postgresql and redis-server, and the Python packages of deploy/celery/requirements.lock
    databases.py    a PostgreSQL and a Redis of the cluster's own
    network.py      a bridge, and a network namespace for each machine
    relay.py        carries connections to what listens on loopback alone: the S3 server and the Hub
    cluster.py      all of it together, as deploy/celery/ says
    graphql.py      what is asked of the webserver
    kill.py         a backfill during which a machine dies, and what came of it
    definitions.py, daemon.py    the product's, with shorter waits
    __main__.py     the demo
"""
