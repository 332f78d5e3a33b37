"""Real engines that tests start for themselves."""
