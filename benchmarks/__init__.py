"""Measurements against peers, side by side in one run: `./manage.sh bench dispatch` and `bench rest`."""
