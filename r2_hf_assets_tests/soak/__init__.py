"""A harness that kills the processes of a running deployment many times, and then checks the product's invariants.

`python -m r2_hf_assets_tests.soak --kills 200 --seed 1` is the soak, `test_kills.py` the short form of it. The seed
fixes what is chosen, in which order and after which waits, but not what a process does at that moment.

    site.py           a deployment of real processes: bucket, Hub, DAGSTER_HOME, code server, daemon
    services.py       restarts what was killed, as systemd would
    targets.py        finds the processes of a site, and kills them
    kill_points.py    named places in the product at which a process kills itself, or others
    points.py         these places
    command.py        `r2-hf` with the kill points
    amender.py        removes and refreshes content while runs are under way
    kill_schedule.py  what is killed next, and when, from a seed
    definitions.py    the product's definitions with the kill points in them
    requester.py      requests runs until nothing is due, as the sensors and an operator would
    rounds.py         rounds of kills
    invariants.py     what must hold when all runs have ended
    amended.py        what must hold after removals and refreshes; a restore from the Hub
    second_pass.py    a scan and a build of everything once more, which must change nothing
    __main__.py       the command, and the summary
"""
