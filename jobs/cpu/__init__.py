"""Pure, picklable functions for worker processes; they import no store."""
