"""A queue worker: takes jobs from a socket, classifies together what has piled up, and sends the verdicts back.

Run: python queue_worker.py 127.0.0.1:5000
A job is {"id": ..., "text": ...} and its answer {"id": ..., "label": ..., "score": ...}, as JSON.
"""

import json
import sys
from multiprocessing.connection import Client, Connection

from runtime import SpamClassifier

MOST_AT_ONCE = 256


def serve(queue: Connection, classifier: SpamClassifier) -> None:
    """Work until the other side closes the connection."""
    while True:
        try:
            jobs = [json.loads(queue.recv_bytes())]
            while len(jobs) < MOST_AT_ONCE and queue.poll():
                jobs.append(json.loads(queue.recv_bytes()))
        except EOFError:
            return
        for job, verdict in zip(jobs, classifier.verdicts(job["text"] for job in jobs), strict=True):
            answer = {"id": job["id"], "label": verdict.label, "score": verdict.score}
            queue.send_bytes(json.dumps(answer).encode())


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    with Client((host, int(port))) as connection:
        serve(connection, SpamClassifier(*sys.argv[2:]))
