"""Handlers of the SCIM 2.0 server under /scim/v2."""
