"""Documents for tests: small PDFs made by hand, forms to upload them, a server that has its engines."""
