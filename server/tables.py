"""Every table of the system, gathered for migrations."""

from server.dispatch import tables as dispatch
from server.engines import documents_sql
from server.engines.schema import metadata
from server.knowledge import tables as knowledge
from server.people import tables as people
from server.people.hr import tables as hr
from server.people.scim import tables as scim
from server.platform import tables as platform
from server.projects import tables as projects

__all__ = ["dispatch", "documents_sql", "hr", "knowledge", "metadata", "people", "platform", "projects", "scim"]
