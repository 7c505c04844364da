"""What thousands of partitions cost, simulated on a real Dagster instance: rows and bytes of its database, how long
it takes to answer, how large the plan is and what it costs to read.

    __main__.py   the command: a PostgreSQL of its own (or SQLite), and the job below in an environment that can use it
    job.py        makes the plan and the history, asks, and prints what it measured
    history.py    one real run on the sandbox, and copies of it through Dagster's storage, event by event
    copies.py     further copies, made by PostgreSQL
    questions.py  what the product and the UI ask of the instance, timed
    plan.py       a plan of full-sized chunks in a folder: its bytes, reading, checking and scanning it again

`make scale` runs 5,000 partitions; ARGS="--partitions 500 --sqlite" and others: see --help. docs/scale.md has the
figures.
"""
