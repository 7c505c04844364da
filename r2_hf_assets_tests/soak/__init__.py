"""Killed anywhere: a harness that kills the parts of a running deployment, again and again, and then counts.

`python -m r2_hf_assets_tests.soak --kills 200 --seed 1` is the soak, `test_kills.py` the short form of it. The seed
fixes what is chosen, in which order and after which waits; what a victim is doing at that moment, the machine decides.

    site.py         a bucket, a Hub, a DAGSTER_HOME, a code server and a daemon, all of them real processes
    services.py     starts again what was killed, as systemd would
    victims.py      finds the processes of a site, and kills them
    points.py       named places in the product at which a process kills itself, or others
    definitions.py  the product's definitions with those points in them
    killer.py       what is killed next, and when, from a seed
    asker.py        asks for runs until nothing is due, as the sensors and an operator would
    promises.py     what must hold when all is calm again
    calm.py         a second pass over everything, which must change nothing
    soak.py         rounds of kills
    __main__.py     the command, and the summary
"""
