"""The image of deploy/Dockerfile, built and run on this machine without a registry of images: `make image`.

buildah.py    Debian's buildah: a base image by debootstrap, the Dockerfile's steps on it, commands in a container
compose.py    the services of deploy/celery/compose.yaml: commands, environment, volumes
checks.py     one machine (doctor, scan, a chunk), then the services of compose with a backfill
__main__.py   builds, and runs the checks in namespaces of their own
"""
