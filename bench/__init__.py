"""The figures of docs/performance.md, measured: our runs beside what else a user would run, on one sandbox.

    arena.py    the sandbox, its buckets, a clean place for every run
    data.py     what lies in the buckets
    measure.py  one command in a process of its own: wall, CPU, peak memory; disk.py what it uses of the disk
    proxy.py    a slow line; line.py starts one
    static.py   a server of objects that costs nearly nothing
    baselines.py  commands of other tools
    compare.py  rounds that take turns, medians, figures to reach
    rows/       one module a row of the table
    jobs/       what runs in the processes that are measured: ours, and the baselines
    report.py   the table in docs/performance.md

`make bench` installs the baselines and runs all of it; `python -m bench --help` tells the rest. Linux only: memory is
read from /proc. What counts are ratios of medians within one run, never seconds of one machine against another's.
"""
