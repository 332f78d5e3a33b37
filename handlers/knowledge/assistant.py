"""/api/assistant: a question, answered in one piece or as it comes."""

from __future__ import annotations

from handlers.event_stream import EventStreamHandler
from handlers.operation import operation
from server.knowledge import assistant
from server.knowledge.assistant_schemas import Ask, AskAnswer, Event


class AskHandler(EventStreamHandler):
    @operation(
        "assistant:use",
        "An answer from the documents that the caller may see, with checked citations. With `Accept: text/event-stream` it comes as "
        "events: started, delta, citation, done, error.",
        raw=True,
    )
    async def post(self, body: Ask) -> AskAnswer | None:
        if self.wants_events:
            await self.stream(assistant.ask(self.ctx, self.actor, body), name_of)
            return None
        answered = await self.while_connected(assistant.answer(self.ctx, self.actor, body))
        self.answer(answered)
        return answered


def name_of(event: Event) -> str:
    """The name of an event in the stream: delta, citation, done, started."""
    return type(event).__name__.lower()


routes = [(r"/api/assistant/ask", AskHandler)]
