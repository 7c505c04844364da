"""A message arrives by SMTP and at Slack's API; errors are one line, and a password is never sent without TLS."""

import sys
from pathlib import Path

import pytest

from r2_hf_assets.errors import R2HfError, SettingsError
from r2_hf_assets.runs.notify import Line, NotDelivered, senders
from r2_hf_assets.settings import AlertSettings
from r2_hf_assets_tests.support.mailbox import slack_server, smtp_server
from r2_hf_sandbox.processes import LOOPBACK, free_port

CERTIFICATES = Path(__file__).parents[1] / "bucket"
LINES = [
    Line("en|chunk_0007 is given up: <b> & é", "http://ui/runs/1"),
    Line("the check plan fails", "http://ui/runs/2"),
]


def mail(**settings: object) -> AlertSettings:
    return AlertSettings(email_to=("a@b.de", "c@d.de"), **settings)  # type: ignore[arg-type]


def error(settings: AlertSettings) -> str:
    (send,) = senders(settings).values()
    with pytest.raises(R2HfError) as caught:
        send("subject", LINES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_mail_has_a_line_and_a_link_for_each_problem() -> None:
    with smtp_server() as box:
        senders(mail(smtp_url=box.url))["e-mail"]("me/speech: 2 problems", LINES)
        senders(mail(smtp_url=box.url, email_from="bot@b.de"))["e-mail"]("again", LINES)
    first, second = box.mails
    assert (first["To"], first["From"], second["From"]) == ("a@b.de, c@d.de", "a@b.de", "bot@b.de")
    assert first["Subject"] == "me/speech: 2 problems" and first["Date"] and first["Message-ID"] != second["Message-ID"]
    text = f"{LINES[0].text}\n{LINES[0].link}\n\n{LINES[1].text}\n{LINES[1].link}\n"
    assert first.get_content() == text


def test_a_post_has_a_line_and_a_link_for_each_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with slack_server(monkeypatch) as box:
        settings = AlertSettings(slack_channel="#speech", slack_token="xoxb-to-hide")
        senders(settings)["Slack"]("me/speech: 2 problems", LINES)
    (post,) = box.posts
    assert (post["path"], post["channel"]) == ("/api/chat.postMessage", "#speech")
    assert post["authorization"] == "Bearer xoxb-to-hide"
    assert post["text"] == (
        "*me/speech: 2 problems*\n• en|chunk_0007 is given up: &lt;b&gt; &amp; é (<http://ui/runs/1|open>)\n"
        "• the check plan fails (<http://ui/runs/2|open>)"
    )


def test_nothing_is_sent_without_settings() -> None:
    assert senders(AlertSettings()) == {}


def test_a_refused_mail_is_one_line_with_the_servers_answer() -> None:
    with smtp_server() as box:
        box.refuse = "452 too many\tmails"
        assert error(mail(smtp_url=box.url)) == f"the mail server {LOOPBACK} answers 452 too many mails"
    assert box.mails == []


def test_an_absent_server_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"the mail server {LOOPBACK}: " in error(mail(smtp_url=f"smtp://{LOOPBACK}:{free_port()}"))
    assert f"the mail server {LOOPBACK}: " in error(mail(smtp_url=f"smtps://{LOOPBACK}:{free_port()}"))
    with slack_server(monkeypatch):
        pass
    assert error(AlertSettings(slack_channel="#s", slack_token="t")).startswith("Slack: ")


def test_a_password_is_sent_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
    with smtp_server(CERTIFICATES / "loopback.pem") as box:
        settings = mail(smtp_url=box.url.replace("//", "//me%40b.de:p%2Fword@"))
        senders(settings)["e-mail"]("subject", LINES)
    assert box.logins == ["\0me@b.de\0p/word"] and len(box.mails) == 1


def test_an_unknown_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with smtp_server(CERTIFICATES / "loopback.pem") as box:
        message = error(mail(smtp_url=box.url.replace("//", "//me:to-hide@")))
    assert "certificate verify failed" in message and "to-hide" not in message and not box.logins


def test_a_password_is_not_sent_without_tls() -> None:
    with smtp_server() as box:
        message = error(mail(smtp_url=box.url.replace("//", "//me:to-hide@")))
    assert "offers no TLS, so the password is not sent" in message and "to-hide" not in message
    assert box.mails == []


def test_slack_names_why_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with slack_server(monkeypatch) as box:
        box.refuse = "channel_not_found"
        message = error(AlertSettings(slack_channel="#nowhere", slack_token="xoxb-to-hide"))
    assert message == "Slack refuses the message: channel_not_found"


def test_slack_without_its_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_slack", None)
    (send,) = senders(AlertSettings(slack_channel="#s", slack_token="t")).values()
    with pytest.raises(SettingsError, match="extra slack"):
        send("subject", LINES)
    assert not issubclass(SettingsError, NotDelivered)
