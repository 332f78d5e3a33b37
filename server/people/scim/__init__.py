"""Our own users and groups, as other identity systems see and drive them by SCIM 2.0."""
