"""Routes of documents, search, tags, the assistant and evaluation."""
