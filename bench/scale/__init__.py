"""The cost of thousands of partitions, simulated on a real Dagster instance: the size of its database, query times,
and the size and reading of the plan.

    __main__.py   the command: a PostgreSQL of its own (or SQLite), and the job in an environment for it
    job.py        makes the plan and the history, runs the queries, and prints the measurements
    history.py    one real run on the sandbox, and copies of it through Dagster's storage, event by event
    copies.py     further copies, made by PostgreSQL
    queries.py    the product's and the UI's queries of the instance, timed
    plan.py       a plan of full-sized chunks in a folder: its bytes, reading, checking and scanning it again
    rows.py       the rows of full-sized chunks, compared with each other: memory, time and scratch space

`make scale` runs 5,000 partitions; ARGS="--partitions 500 --sqlite" and others: see --help. docs/scale.md has the
figures.
"""
