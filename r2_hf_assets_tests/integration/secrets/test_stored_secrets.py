"""No secret is stored or shown: after failures of every kind, no file, log or response of the product has one."""

import json
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance

from r2_hf_assets.asset_keys import COMMIT, SHARDS, WORK_PLAN
from r2_hf_assets.assets import hub_commit, parquet_shards, work_plan
from r2_hf_assets.cli.in_process import execute
from r2_hf_assets.partitions import partition_key
from r2_hf_assets.settings import VARIABLES
from r2_hf_assets_tests.integration.secrets.find_secrets import SecretSearch
from r2_hf_assets_tests.integration.test_backfill import dagster_dev
from r2_hf_assets_tests.support.world import World, materializations
from r2_hf_sandbox.processes import wait_until

SECRET = [variable.name for variable in VARIABLES if variable.secret]
# Unlike the sandbox's own, these change when they are URL-encoded.
WRONG = {
    "R2_SECRET_ACCESS_KEY": "wrong/secret+of=the&house0123456789",
    "R2_SESSION_TOKEN": "wrong/session+token/0123456789==",
    "HF_TOKEN": "hf_wrong/token+0123456789==",
    "ALERT_SMTP_URL": "smtp://me:wrong+password=0123456789@127.0.0.1:9",
    "ALERT_SLACK_TOKEN": "xoxb-wrong/token+0123456789==",
}
MAIL_PASSWORD = {"the password of the mail server": "wrong+password=0123456789"}
SMALL = {"segments": (2, 2), "seconds": (0.3, 0.4)}


@pytest.fixture
def search(world: World) -> SecretSearch:
    hub = world.sandbox.hub
    right = {name: world.env[name] for name in SECRET if name in world.env} | {"the read token": hub.read_token}
    return SecretSearch(right | {f"the wrong {name}": value for name, value in WRONG.items()} | MAIL_PASSWORD)


def left_behind(world: World, search: SecretSearch) -> list[str]:
    """Search the instance, the state and the Hub client's home; only .env may have secrets."""
    return search.in_folder(world.folder, [world.folder / ".env"])


def fail(world: World, assets: list[Any], key: str | None = None) -> None:
    with DagsterInstance.get() as instance:
        assert not execute(instance, assets, key and partition_key("en", 0)).success


def crash(*arguments: Any, **named: Any) -> None:
    """Raise an unforeseen error with secrets in its frame."""
    settings = [value for value in (*arguments, *named.values()) if hasattr(value, "__dataclass_fields__")]
    raise RuntimeError(f"unforeseen, with {settings}, {arguments} and {named}")


def test_failures_of_every_kind_leave_no_secret(
    in_process: World, search: SecretSearch, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world, hub = in_process, in_process.sandbox.hub
    world.upload(episodes={"en": 1}, **SMALL)
    both = [SHARDS, COMMIT]

    def with_env(assets: list[Any], key: str | None = None, **env: str) -> None:
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            fail(world, assets, key)

    def with_fault(**fault: Any) -> None:
        hub.inject({"times": 100, **fault})
        try:
            fail(world, both, "en|chunk_0000")
        finally:
            hub.clear_faults()

    def with_crash(module: Any, name: str, assets: list[Any], key: str | None = None) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, crash)
            fail(world, assets, key)

    with_env([WORK_PLAN], **{"R2_SECRET_ACCESS_KEY": WRONG["R2_SECRET_ACCESS_KEY"]})
    with_env([WORK_PLAN], R2_SESSION_TOKEN=WRONG["R2_SESSION_TOKEN"])
    with_env([WORK_PLAN], R2_BUCKET="no-such-bucket")
    with_env([WORK_PLAN], EPISODES_PER_CHUNK="many", R2_ENDPOINT_URL="nowhere")
    with_crash(work_plan, "scan", [WORK_PLAN])
    with_crash(work_plan, "Bucket", [WORK_PLAN])
    assert world.scan() is None
    with_crash(parquet_shards, "build_on_hub", both, "en|chunk_0000")
    with_fault(method="GET", path_regex="/xet-write-token/", status=401)
    with_env(both, "en|chunk_0000", R2_SECRET_ACCESS_KEY=WRONG["R2_SECRET_ACCESS_KEY"])
    with_env(both, "en|chunk_0000", HF_TOKEN=WRONG["HF_TOKEN"])
    with_env(both, "en|chunk_0000", HF_TOKEN=hub.read_token)
    with_crash(hub_commit, "HubClient", both, "en|chunk_0000")
    with_crash(hub_commit, "commit_chunk", both, "en|chunk_0000")
    with_fault(method="POST", path_regex="/commit/", status=403)
    assert [run.error for run in world.build_due()] == [None]
    assert len(world.commits()) == 1
    out, err = capfd.readouterr()
    databases = [path.read_bytes() for path in (world.folder / "dagster_home").rglob("*.db*")]
    assert any(b"unforeseen" in data for data in databases), "the traces were stored, and searched"
    assert search.in_text("stdout", out) + search.in_text("stderr", err) == []
    assert left_behind(world, search) == []


def test_a_failing_signed_url_is_not_shown(
    in_process: World, search: SecretSearch, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Plain LFS uploads go to signed URLs, which the library quotes in its errors."""
    from huggingface_hub import constants

    world = in_process
    world.upload(episodes={"en": 1}, seed=7702, **SMALL)  # of this test alone: the Hub's content is not sent again
    assert world.scan() is None
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    world.sandbox.hub.inject({"method": "PUT", "path_regex": "/_lfs/", "status": 403, "times": 100})
    try:
        fail(world, [SHARDS, COMMIT], "en|chunk_0000")
    finally:
        world.sandbox.hub.clear_faults()
    out, err = capfd.readouterr()
    assert search.in_text("stdout", out) + search.in_text("stderr", err) + left_behind(world, search) == []


def test_the_repr_of_an_object_with_a_secret_does_not_show_it(in_process: World, search: SecretSearch) -> None:
    from r2_hf_assets.bucket.client import object_store
    from r2_hf_assets.hub.client import HubClient
    from r2_hf_assets.resources import settings_resource

    loaded = settings_resource.load()
    holders = [loaded, loaded.r2, loaded.hub, object_store(loaded.r2), HubClient(loaded.hub)]
    holders += [settings_resource, in_process.sandbox, in_process.sandbox.s3, in_process.sandbox.hub]
    for holder in holders:
        assert search.in_text(type(holder).__name__, f"{holder!r} {holder} {[holder]}") == []


def test_hf_home_has_no_token(in_process: World, search: SecretSearch) -> None:
    """huggingface_hub stores a token only at a login."""
    world = in_process
    world.upload(episodes={"en": 1}, **SMALL)
    world.scan()
    world.build_due()
    home = Path(world.env["HF_HOME"])
    assert not (home / "token").exists() and not (home / "stored_tokens").exists()
    assert search.in_folder(home) == []


LOCATION = "{ repositoriesOrError { ... on RepositoryConnection { nodes { location { name } } } } }"
RESOURCES = """query ($location: String!) { allTopLevelResourceDetailsOrError(repositorySelector: {
    repositoryName: "__repository__", repositoryLocationName: $location}) {
  __typename
  ... on ResourceDetailsList { results { name description
    configFields { name description isRequired defaultValueAsJson configTypeKey }
    configuredValues { key value type } } } } }"""
ASSETS = """{ assetNodes { assetKey { path } description opNames configField { name defaultValueAsJson }
  metadataEntries { label description __typename } requiredResources { resourceKey } jobNames
  assetMaterializations { runId metadataEntries { label description __typename
    ... on TextMetadataEntry { text } ... on JsonMetadataEntry { jsonString } ... on UrlMetadataEntry { url }
    ... on PathMetadataEntry { path } } } } }"""
SCHEMA = """query ($location: String!) { runConfigSchemaOrError(mode: "default", selector: {
    pipelineName: "__ASSET_JOB", repositoryName: "__repository__", repositoryLocationName: $location}) {
  __typename ... on RunConfigSchema { rootDefaultYaml
    allConfigTypes { key description ... on CompositeConfigType { fields { name defaultValueAsJson } } } } } }"""
WORKSPACE = """{ workspaceOrError { __typename ... on Workspace { locationEntries {
  name displayMetadata { key value } locationOrLoadError { __typename ... on PythonError { message stack } } } } }
  instance { info runLauncher { name } daemonHealth { allDaemonStatuses { daemonType healthy } } } }"""
RUNS = """{ runsOrError { __typename ... on Runs { results { runId status runConfigYaml tags { key value }
  executionPlan { steps { key metadata { key value } } }
  eventConnection(afterCursor: null) { events { __typename ... on MessageEvent { message level eventType }
    ... on ExecutionStepFailureEvent { error { message stack cause { message stack } }
      failureMetadata { description } } } } } } } }"""
LAUNCH = """mutation ($executionParams: ExecutionParams!) { launchRun(executionParams: $executionParams) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on InvalidSubsetError { message }
  ... on PythonError { message } } }"""


@pytest.mark.slow
def test_the_ui_shows_names_only(in_process: World, search: SecretSearch) -> None:
    """A real `dagster dev`, a run that fails for a wrong secret, and the UI's queries."""
    world = in_process
    world.upload(episodes={"en": 1}, **SMALL)
    world.scan()
    world.write_dotenv(**WRONG, ALERT_EMAIL_TO="a@b.de")
    with dagster_dev(world) as webserver:
        (repository,) = webserver.query(LOCATION)["repositoriesOrError"]["nodes"]
        where = repository["location"]["name"]
        selector = {"repositoryLocationName": where, "repositoryName": "__repository__", "jobName": "__ASSET_JOB"}
        selected = {**selector, "assetSelection": [{"path": ["work_plan"]}]}
        launched = webserver.query(LAUNCH, executionParams={"selector": selected, "mode": "default"})["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched

        def failed() -> bool:
            return any(run["status"] == "FAILURE" for run in webserver.query(RUNS)["runsOrError"]["results"])

        assert wait_until(failed, 90, 0.5)
        responses = {query: webserver.query(query, location=where) for query in (RESOURCES, SCHEMA)}
        responses |= {query: webserver.query(query) for query in (ASSETS, WORKSPACE, RUNS)}
    shown = json.dumps(responses)
    assert search.in_text("GraphQL", shown) == []
    assert "check R2_ACCESS_KEY_ID" in shown, "the failure is shown"
    resources = responses[RESOURCES]["allTopLevelResourceDetailsOrError"]["results"]
    (settings,) = (resource for resource in resources if resource["name"] == "settings")
    (configured,) = settings["configuredValues"]
    variables = json.loads(configured["value"])
    assert {name: variables[name] for name in SECRET} == {name: {"env": name} for name in SECRET}
    assert left_behind(world, search) == []
    # The same search of the same places finds a text that is there.
    known = SecretSearch({"the advice": "check R2_ACCESS_KEY_ID"})
    assert any("table event_logs" in place for place in known.in_folder(Path(world.env["DAGSTER_HOME"])))
    assert materializations(world, "work_plan")
