"""A mail filter: refuses spam, passes the rest on. Run: python smtp_filter.py HOST:PORT NEXT_HOST:PORT"""

import asyncio
import smtplib
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from runtime import SpamClassifier
from runtime.mail import readable_text


class Filter:
    """What aiosmtpd calls for each mail."""

    def __init__(self, next_server: str, *model: str) -> None:
        self.classifier, self.next_server = SpamClassifier(*model), next_server

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Answer the sender; threads do the work, so that other mails come in meanwhile."""
        verdict = await asyncio.to_thread(self.classifier.verdict, readable_text(envelope.content)[0])
        if verdict.label == self.classifier.spam_label:
            return f"550 5.7.1 refused as {verdict.label}, {verdict.score:.2f}"
        await asyncio.to_thread(self.pass_on, envelope)
        return "250 2.0.0 passed on"

    def pass_on(self, envelope: Envelope) -> None:
        """Hand the mail to the next server as it is."""
        with smtplib.SMTP(self.next_server) as relay:
            relay.sendmail(envelope.mail_from, envelope.rcpt_tos, envelope.content)


if __name__ == "__main__":
    host, port = sys.argv[1].split(":")
    Controller(Filter(*sys.argv[2:]), hostname=host, port=int(port)).start()
    threading.Event().wait()
