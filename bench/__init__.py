"""The measurements of docs/performance.md: our runs beside other tools', on one sandbox.

    testbed.py    the sandbox, its buckets, a clean workspace for every run
    data.py       the objects in the buckets
    measure.py    one command in a process of its own: wall, CPU, peak memory; disk.py its disk usage
    proxy.py      a slow line; line.py starts one
    static.py     an HTTP server of minimal CPU cost
    baselines.py  commands of other tools
    compare.py    alternating rounds, medians, targets
    rows/         one module for each row of the table
    jobs/         the measured processes: ours, and the baselines
    report.py     the table in docs/performance.md

`make bench` installs the baselines and runs all rows; see `python -m bench --help`. Linux only: memory is read from
/proc. Only ratios of medians within one run are compared, never seconds of different machines.
"""
