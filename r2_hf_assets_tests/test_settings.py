"""Settings: defaults, every problem in one line, and no secret in a repr or an error."""

from pathlib import Path

import pytest

from r2_hf_assets.errors import SettingsError
from r2_hf_assets.languages import LANGUAGES
from r2_hf_assets.parsers import MAX_ROWGROUP_BYTES
from r2_hf_assets.settings import (
    VARIABLES,
    AlertSettings,
    PartialSettings,
    data_home,
    load,
    load_alerts,
    load_for_scan,
    load_partial,
)

FULL = {
    "R2_ENDPOINT_URL": "https://account.r2.cloudflarestorage.com",
    "R2_ACCESS_KEY_ID": "key-id-to-hide",
    "R2_SECRET_ACCESS_KEY": "secret-to-hide",
    "R2_BUCKET": "podcasts",
    "R2_SESSION_TOKEN": "session-to-hide",
    "HF_REPO_ID": "me/speech",
    "HF_TOKEN": "hf_token-to-hide",
}
SECRETS = ("key-id-to-hide", "secret-to-hide", "hf_token-to-hide", "session-to-hide")


def problem(environ: dict[str, str], loader=load) -> str:
    with pytest.raises(SettingsError) as caught:
        loader(environ)
    return str(caught.value)


def test_defaults():
    loaded = load(FULL)
    assert (loaded.r2.prefix, loaded.r2.workers) == ("processed/", 128)
    assert (loaded.hub.endpoint, loaded.hub.private, loaded.hub.fast_transfer) == (
        "https://huggingface.co",
        False,
        False,
    )
    assert (loaded.plan.episodes_per_chunk, loaded.plan.languages) == (1000, LANGUAGES)
    assert (loaded.shards.max_bytes, loaded.shards.rowgroup_bytes) == (2147483648, 33554432)
    assert loaded.shards.keep is False


def test_every_value_is_read_from_the_environment():
    values = {
        "EPISODES_PER_CHUNK": "7",
        "DOWNLOAD_WORKERS": "3",
        "PARQUET_MAX_BYTES": "1000",
        "PARQUET_ROWGROUP_BYTES": "500",
        "HF_HUB_ENABLE_HF_TRANSFER": "1",
        "PROCESSED_PREFIX": "/some/where",
        "R2_REGION": "eu-central-1",
        "LANGUAGES": "de, EN-us",
        "STATE_URL": "s3://state/here",
        "SETTLE_MINUTES": "2.5",
        "PLAN_MAX_WAIT_HOURS": "0",
        "HF_PRIVATE": "true",
        "HF_ENDPOINT": "http://127.0.0.1:8080/",
        "KEEP_SHARDS": "yes",
    }
    loaded = load(FULL | values)
    assert (loaded.r2.workers, loaded.r2.prefix, loaded.r2.name) == (3, "some/where/", "podcasts")
    assert (loaded.r2.region, loaded.r2.session_token) == ("eu-central-1", "session-to-hide")
    assert (loaded.hub.repo_id, loaded.hub.endpoint) == ("me/speech", "http://127.0.0.1:8080")
    assert (loaded.hub.private, loaded.hub.fast_transfer) == (True, True)
    assert (loaded.plan.state_url, loaded.plan.episodes_per_chunk) == ("s3://state/here", 7)
    assert (loaded.plan.languages, loaded.plan.max_wait_hours) == (("de", "en"), 0.0)
    assert (loaded.shards.max_bytes, loaded.shards.rowgroup_bytes) == (1000, 500)
    assert (loaded.shards.settle_minutes, loaded.shards.keep) == (2.5, True)


def test_one_line_names_every_missing_and_every_wrong_variable():
    message = problem(
        {"R2_BUCKET": "podcasts", "EPISODES_PER_CHUNK": "many", "HF_PRIVATE": "maybe", "LANGUAGES": "en,xx"}
    )
    assert "\n" not in message
    for name in ("R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "HF_REPO_ID", "HF_TOKEN"):
        assert name in message.split(";")[0]
    for wrong in ("EPISODES_PER_CHUNK='many'", "HF_PRIVATE='maybe'", "LANGUAGES='en,xx'"):
        assert wrong in message
    assert "R2_BUCKET=" not in message and ".env" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("R2_BUCKET", value) for value in ("podcasts#x", "podcasts/processed", "p\u00f6d", "..")),
        *((name, "hidden\u200b") for name in ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY")),
        *(("R2_ENDPOINT_URL", f"https://{value}") for value in ("a/b", "a#b", "a?b", "\u00fc.de", "me:hidden@a.de")),
    ],
)
def test_an_invalid_value_is_reported_by_its_variable_without_a_secret(name: str, value: str) -> None:
    message = problem(FULL | {name: value})
    assert name in message and "hidden" not in message and "\n" not in message


def test_empty_and_blank_values_count_as_not_set():
    message = problem(FULL | {"HF_TOKEN": "  ", "R2_BUCKET": ""})
    assert "not set: R2_BUCKET, HF_TOKEN" in message
    assert load(FULL | {"DOWNLOAD_WORKERS": " "}).r2.workers == 128


def test_only_the_groups_that_are_needed_must_be_complete():
    bucket_only = {name: value for name, value in FULL.items() if name.startswith("R2_")}
    loaded = load_for_scan(bucket_only)
    assert (loaded.r2.name, loaded.hub) == ("podcasts", None)
    assert load_partial(bucket_only) == PartialSettings(loaded.plan, loaded.shards, loaded.r2, None)
    nothing = load_partial({})
    assert (nothing.r2, nothing.hub) == (None, None)
    assert "HF_REPO_ID, HF_TOKEN" in problem(bucket_only)


def test_an_error_names_the_missing_variables_of_every_group():
    """So that .env is completed in one step."""
    message = problem({"R2_BUCKET": "podcasts"}, load_for_scan)
    assert "R2_ENDPOINT_URL" in message and "HF_TOKEN" in message
    assert load_partial({"R2_BUCKET": "podcasts"}).r2 is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("R2_ENDPOINT_URL", "https://account.r2.cloudflarestorage.com/podcasts"),
        ("R2_ENDPOINT_URL", "account.r2.cloudflarestorage.com"),
        ("R2_ENDPOINT_URL", "ftp://account"),
        ("R2_ENDPOINT_URL", "http://[::1"),
        ("R2_REGION", "eu central"),
        ("R2_REGION", "-"),
        ("HF_REPO_ID", "speech"),
        ("HF_REPO_ID", "a/b/c"),
        ("EPISODES_PER_CHUNK", "0"),
        ("EPISODES_PER_CHUNK", "-1"),
        ("EPISODES_PER_CHUNK", "1e3"),
        ("DOWNLOAD_WORKERS", "1.5"),
        ("PARQUET_MAX_BYTES", "2GB"),
        ("PARQUET_ROWGROUP_BYTES", str(MAX_ROWGROUP_BYTES + 1)),
        ("SETTLE_MINUTES", "-5"),
        ("SETTLE_MINUTES", "nan"),
        ("PLAN_MAX_WAIT_HOURS", "a day"),
        ("HF_HUB_ENABLE_HF_TRANSFER", "2"),
        ("HF_ENDPOINT", "huggingface.co"),
        ("LANGUAGES", "en,klingon"),
        ("STATE_URL", "s3:///prefix"),
        ("STATE_URL", "gs://bucket/prefix"),
    ],
)
def test_a_wrong_value_is_rejected_with_its_name(name, value):
    message = problem(FULL | {name: value})
    assert f"{name}={value!r}: " in message
    assert "\n" not in message and "not set" not in message


def test_a_trailing_slash_is_removed():
    loaded = load(FULL | {"R2_ENDPOINT_URL": "https://account.r2.cloudflarestorage.com/"})
    assert loaded.r2.endpoint_url == "https://account.r2.cloudflarestorage.com"


def test_secrets_are_in_no_repr_and_no_error():
    loaded = load(FULL)
    shown = [repr(loaded), str(loaded.r2), f"{loaded.hub}", problem(FULL | {"HF_PRIVATE": "?", "R2_BUCKET": ""})]
    for secret in SECRETS:
        assert all(secret not in text for text in shown)
    assert loaded.r2.secret_access_key == "secret-to-hide"
    assert {variable.name for variable in VARIABLES if variable.secret} == {
        "R2_ACCESS_KEY_ID",
        "R2_SECRET_ACCESS_KEY",
        "R2_SESSION_TOKEN",
        "HF_TOKEN",
        "ALERT_SMTP_URL",
        "ALERT_SLACK_TOKEN",
    }


ALERTS = {
    "ALERT_EMAIL_TO": "a@b.de, c@d.de",
    "ALERT_SMTP_URL": "smtps://me%40b.de:to-hide@mail.b.de:465",
    "ALERT_EMAIL_FROM": "bot@b.de",
    "ALERT_SLACK_CHANNEL": "#speech",
    "ALERT_SLACK_TOKEN": "xoxb-to-hide",
    "ALERT_UI_URL": "https://dagster.b.de/",
}


def test_alerts_are_read_although_other_settings_are_wrong_or_missing() -> None:
    loaded = load_alerts({**ALERTS, "DOWNLOAD_WORKERS": "many"})
    assert (loaded.email_to, loaded.email_from) == (("a@b.de", "c@d.de"), "bot@b.de")
    assert (loaded.slack_channel, loaded.ui_url) == ("#speech", "https://dagster.b.de")
    assert "to-hide" in loaded.smtp_url and "to-hide" in loaded.slack_token and "to-hide" not in repr(loaded)
    assert load_alerts({}) == AlertSettings()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"ALERT_EMAIL_TO": "nobody"}, "ALERT_EMAIL_TO='nobody': must be mail addresses, separated by commas"),
        ({"ALERT_EMAIL_TO": "a@b.de c@d.de"}, "ALERT_EMAIL_TO: must be mail addresses"),
        ({"ALERT_SMTP_URL": "mail.b.de:to-hide"}, "ALERT_SMTP_URL: must be smtp[s]://[user:password@]host[:port]"),
        ({"ALERT_SMTP_URL": "smtp://me:to-hide@"}, "ALERT_SMTP_URL: must be smtp[s]://"),
        ({"ALERT_SMTP_URL": "smtp://me:to-hide#1@mail.b.de"}, "ALERT_SMTP_URL: must be smtp[s]://"),
        ({"ALERT_SMTP_URL": "smtp://me:25?to-hide@mail.b.de"}, "ALERT_SMTP_URL: must be smtp[s]://"),
        ({"ALERT_SMTP_URL": ""}, "ALERT_EMAIL_TO: it needs ALERT_SMTP_URL too"),
        ({"ALERT_SLACK_TOKEN": ""}, "ALERT_SLACK_CHANNEL: it needs ALERT_SLACK_TOKEN too"),
    ],
)
def test_wrong_settings_of_alerts_are_named_before_any_work(change: dict[str, str], line: str) -> None:
    for loader, others in ((load_alerts, {}), (load, FULL)):
        message = problem({**others, **ALERTS, **change}, loader)
        assert line in message and "to-hide" not in message and "not set" not in message


@pytest.mark.parametrize("token", ["session-to-hide\nX-Header: 1", "session-to-hide é"])
def test_a_session_token_that_breaks_a_header_is_rejected(token):
    message = problem(FULL | {"R2_SESSION_TOKEN": token})
    assert "R2_SESSION_TOKEN: must be printable ASCII" in message and "session-to-hide" not in message


def test_plan_and_files_are_in_dagster_home(tmp_path):
    loaded = load_partial({"DAGSTER_HOME": str(tmp_path)})
    assert data_home({"DAGSTER_HOME": str(tmp_path)}) == tmp_path / "r2_hf_assets"
    assert loaded.plan.state_url == str(tmp_path / "r2_hf_assets" / "state")
    assert loaded.shards.kept_folder == str(tmp_path / "r2_hf_assets" / "shards")
    assert loaded.shards.scratch == str(tmp_path / "r2_hf_assets" / "scratch")
    assert data_home({}) == data_home({"DAGSTER_HOME": ""}) == Path(".r2_hf_assets")
    assert data_home({"DAGSTER_HOME": "~/dagster"}) == Path.home() / "dagster" / "r2_hf_assets"


def test_state_url_replaces_the_default_folder(tmp_path):
    loaded = load_partial({"DAGSTER_HOME": str(tmp_path), "STATE_URL": "s3://b/p"})
    assert loaded.plan.state_url == "s3://b/p"
    assert loaded.shards.scratch.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", LANGUAGES),
        (" , ", LANGUAGES),
        ("en", ("en",)),
        ("unknown,de,en", ("de", "en", "unknown")),
        ("deu,de,ger", ("de",)),
        ("in,iw,jw", ("he", "id", "jv")),
    ],
)
def test_languages_are_normalized_and_in_grid_order(value, expected):
    assert load_partial({"LANGUAGES": value}).plan.languages == expected


def test_variables_of_an_earlier_release_are_ignored():
    assert load(FULL | {"SHARD_URL": "gs://nowhere", "CHUNKS_PER_COMMIT": "many"}) == load(FULL)
