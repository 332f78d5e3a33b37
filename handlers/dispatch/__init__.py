"""Routes of modules, workflows, runs and the scheduler."""
