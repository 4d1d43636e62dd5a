"""Whose turn it is, of those who wait for the page: each visitor's after the others', one computation of a visitor
after another, and no more waiting than a person asks for.

Gradio's own queue takes what came first: who asks twenty times keeps all others waiting, and two clicks of one visitor
would be computed side by side, the second without what came of the first.
"""

import fastapi
import gradio as gr
from gradio.queueing import Event, Queue

from purifier.ui.components import COMPUTE, LOAD

MOST_WAITING = 20  # requests of one visitor
MOST_WAITING_OF_ALL = 200
OF_THE_PAGE = {COMPUTE["concurrency_id"], LOAD["concurrency_id"]}  # queues


class FairQueue(Queue):
    """Gradio's queue, in turns."""

    served: list[str]  # who is here, by the time when something of theirs was begun last

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The request that is computed next, whether it is a batch (never), and in which queue it waited."""
        running = [event for job in self.active_jobs if job for event in job]
        here = {event.session_hash for event in [*self.waiting(), *running]}
        self.served = [visitor for visitor in self.served if visitor in here]
        busy = {event.session_hash for event in running if event.concurrency_id in OF_THE_PAGE}
        for name, queue in self.event_queue_per_concurrency_id.items():
            if queue.concurrency_limit is not None and queue.current_concurrency >= queue.concurrency_limit:
                continue
            queue.queue.sort(key=self._turn)  # by which visitors are told their place
            for event in queue.queue:
                if name not in OF_THE_PAGE or event.session_hash not in busy:
                    queue.queue.remove(event)
                    self.served = [visitor for visitor in self.served if visitor != event.session_hash]
                    self.served.append(event.session_hash)
                    return [event], False, name
        return None

    def _turn(self, event: Event) -> int:
        return self.served.index(event.session_hash) if event.session_hash in self.served else -1

    def waiting(self) -> list[Event]:
        """In all queues."""
        return [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]

    async def push(self, body: gr.routes.PredictBodyInternal, request: fastapi.Request, username: str | None) -> tuple:
        """As Gradio has it; refuses, with status 503, a visitor of whom too much waits already."""
        if sum(event.session_hash == body.session_hash for event in self.waiting()) >= MOST_WAITING:
            return False, f"{MOST_WAITING} requests of yours are waiting already. Wait for them.", "queue_full"
        return await super().push(body, request, username)


def take_turns(page: gr.Blocks) -> None:
    """Have ``page`` use a ``FairQueue``; before it is launched."""
    page._queue.__class__, page._queue.served = FairQueue, []  # Gradio makes it itself, and asks nobody of which class
    page._queue.max_size = MOST_WAITING_OF_ALL
