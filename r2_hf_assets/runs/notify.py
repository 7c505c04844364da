"""Send a message by e-mail and to a Slack channel, each as far as it is configured.

E-mail is sent over TLS: from the start for smtps://, and by STARTTLS for smtp:// where the server offers it. A password
is never sent without TLS. Slack's client comes with the extra `slack`, and is imported only for a channel.
"""

import smtplib
import ssl
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from urllib.parse import unquote, urlsplit

from r2_hf_assets.errors import R2HfError, SettingsError
from r2_hf_assets.settings import AlertSettings

# Two deliveries and the rest of a tick must end within Dagster's 60 s.
TIMEOUT_S = 10


class NotDelivered(R2HfError):
    """A server does not take a message; the next tick tries again."""

    transient = True


@dataclass(frozen=True)
class Line:
    """One line of a message, and the page of Dagster's UI with more."""

    text: str
    link: str


Send = Callable[[str, Sequence[Line]], None]


def senders(settings: AlertSettings) -> dict[str, Send]:
    """Return a function for each configured way, which sends a subject and lines. It raises R2HfError."""
    ways: dict[str, Send] = {}
    if settings.email_to:
        ways["e-mail"] = partial(_send_mail, settings)
    if settings.slack_channel:
        ways["Slack"] = partial(_post_to_slack, settings)
    return ways


def _send_mail(settings: AlertSettings, subject: str, lines: Sequence[Line]) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["Date"], mail["Message-ID"] = subject, formatdate(), make_msgid("r2_hf_assets")
    mail["From"], mail["To"] = settings.email_from or settings.email_to[0], ", ".join(settings.email_to)
    mail.set_content("\n\n".join(f"{line.text}\n{line.link}" for line in lines))
    url = urlsplit(settings.smtp_url)
    where, tls = f"the mail server {url.hostname}", ssl.create_default_context()
    try:
        if url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(url.hostname or "", url.port or 465, timeout=TIMEOUT_S, context=tls)
        else:
            server = smtplib.SMTP(url.hostname or "", url.port or 587, timeout=TIMEOUT_S)
        with closing(server):
            server.ehlo()
            if url.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=tls)
            elif url.scheme == "smtp" and url.password:
                raise SettingsError(f"ALERT_SMTP_URL: {where} offers no TLS, so the password is not sent; use smtps://")
            if url.password:
                server.login(unquote(url.username or ""), unquote(url.password))
            server.send_message(mail)
            with suppress(OSError):  # the message is delivered
                server.quit()
    except smtplib.SMTPResponseException as error:
        reason = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode(errors="replace")
        raise NotDelivered(f"{where} answers {error.smtp_code} {' '.join(reason.split())}") from None
    except OSError as error:  # an SMTPException is one
        raise NotDelivered(f"{where}: {' '.join(str(error).split()) or type(error).__name__}") from None


def _post_to_slack(settings: AlertSettings, subject: str, lines: Sequence[Line]) -> None:
    try:
        from dagster_slack import SlackResource
        from slack_sdk.errors import SlackApiError, SlackClientError
    except ImportError:
        raise SettingsError("ALERT_SLACK_CHANNEL needs the extra slack: pip install dagster-slack") from None
    client = SlackResource(token=settings.slack_token).get_client()
    client.timeout = TIMEOUT_S
    body = "\n".join(f"• {_escape(line.text)} (<{line.link}|open>)" for line in lines)
    try:
        client.chat_postMessage(
            channel=settings.slack_channel, text=f"*{_escape(subject)}*\n{body}", unfurl_links=False
        )
    except SlackApiError as error:
        raise NotDelivered(f"Slack refuses the message: {error.response.get('error')}") from None
    except (SlackClientError, OSError) as error:
        raise NotDelivered(f"Slack: {' '.join(str(error).split()) or type(error).__name__}") from None


def _escape(text: str) -> str:
    """Escape what Slack reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
