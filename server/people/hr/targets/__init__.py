"""Where accounts are made: our own users, LDAP, SCIM, and whoever listens at a web address."""
