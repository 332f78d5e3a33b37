"""Documents, chunks, search, tags, the assistant and how good they are."""
