"""People from HR: sources, snapshots, plans, accounts in the systems that we drive, and the proof of their end."""
