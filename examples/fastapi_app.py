"""A web service that says of messages whether they are spam.

Run: uvicorn fastapi_app:app
Ask: curl -H 'content-type: application/json' -d '{"messages": ["WIN a prize now"]}' localhost:8000/classify
"""

import asyncio
import os

from fastapi import FastAPI
from pydantic import BaseModel

from runtime import SpamClassifier, Verdict

app = FastAPI(title="spam-edge")
classifier = SpamClassifier(os.environ.get("SPAM_EDGE_MODEL"))


class Batch(BaseModel):
    """What a client sends."""

    messages: list[str]


@app.post("/classify")
async def classify(batch: Batch) -> list[Verdict]:
    """One verdict a message. The work is done in a thread, so the event loop stays free for other requests."""
    return await asyncio.to_thread(classifier.verdicts, batch.messages)
