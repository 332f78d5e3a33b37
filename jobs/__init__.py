"""What runs without a request: the schedule loop, queue workers, job functions."""
