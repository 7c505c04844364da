"""The named places of kill_points.py: in a scan, in a chunk's build and commit, and in an amendment."""

from dataclasses import dataclass

from r2_hf_assets_tests.soak.targets import CODE_SERVER, COMMAND, DAEMON, HOST, HUB, RUN

_SELF = (RUN, RUN, RUN, RUN, HOST)
_HUB_TOO = (RUN, HUB, HUB, HOST)
# Of a `r2-hf remove` or `refresh`.
_COMMAND = (COMMAND, COMMAND, COMMAND, HOST)


@dataclass(frozen=True)
class KillPoint:
    """`functions`: module:attribute below the package, one or several; `only`: a filter on the call's arguments."""

    name: str
    functions: str
    when: str
    targets: tuple[str, ...] = _SELF
    only: str = ""


PLAN_POINTS = (
    KillPoint("before the first manifest", "plan.store:PlanStore.check_identity", "after"),
    KillPoint("in the middle of a manifest", "plan.store:PlanStore.create", "torn", (RUN,)),
    KillPoint("between manifests", "plan.store:PlanStore.create", "after"),
    KillPoint("between manifests and index", "plan.store:PlanStore.write_index", "before"),
    KillPoint("in the middle of the index", "plan.files:StateFiles.overwrite", "torn", (RUN,), "an_index"),
    KillPoint("between index and partitions", "plan.store:PlanStore.write_index", "after"),
    KillPoint("between partitions and event", "assets.work_plan:scan_metadata", "before"),
    # Reached once, soon after a site's first scan.
    KillPoint("while the repo is made", "hub.client:HubClient.create_repo", "during", (HUB, HUB, RUN)),
)
_PART = "hub.upload_xet:_XetPart.{0} hub.upload_files:_FilePart.{0}"  # over Xet, over LFS
CHUNK_POINTS = (
    KillPoint("before the build", "assets.parquet_shards:build_on_hub", "before"),
    KillPoint("in the middle of a row group", "shards.writer:_Sink.write", "before"),
    KillPoint("between row groups", "shards.writer:PartWriter.write", "after"),
    KillPoint("during the upload", _PART.format("write"), "during", _HUB_TOO),
    KillPoint("while a part is finished", _PART.format("finish"), "during", _HUB_TOO),
    KillPoint("before a part is finished", _PART.format("finish"), "before", _HUB_TOO),
    KillPoint("between finish and the end of the upload", _PART.format("finish"), "after", _HUB_TOO),
    KillPoint("between upload and record", "shards.builds:BuildStore.write", "before", (*_SELF, CODE_SERVER, DAEMON)),
    KillPoint("in the middle of the record", "plan.files:StateFiles.overwrite", "torn", (RUN,), "a_record"),
    KillPoint("after the record", "shards.builds:BuildStore.write", "after"),
    KillPoint("between record and event", "assets.parquet_shards:result_for", "before"),
    KillPoint("after the shards event", "dagster:DagsterInstance.handle_new_event", "after", only="shards_event"),
    KillPoint("between the two assets", "assets.hub_commit:open_plan", "before"),
    KillPoint("during the commit", "hub.client:HubClient.commit", "during", _HUB_TOO, "a_chunk"),
    KillPoint("between record and commit", "hub.client:HubClient.commit", "before", _HUB_TOO, "a_chunk"),
    KillPoint("after the commit", "hub.client:HubClient.commit", "after", _HUB_TOO, "a_chunk"),
    KillPoint("between commit and the event", "assets.hub_commit:result_for", "before", (*_SELF, CODE_SERVER, DAEMON)),
    KillPoint("after the commit event", "dagster:DagsterInstance.handle_new_event", "after", only="commit_event"),
)
_PUBLISH = "amend.remove:publish_amendments amend.refresh:publish_amendments"
AMEND_POINTS = (
    KillPoint("in the middle of an amendment", "plan.store:PlanStore.add_amendment", "torn", (COMMAND,)),
    KillPoint("after the amendment is stored", "plan.store:PlanStore.add_amendment", "after", _COMMAND),
    KillPoint(
        "in the middle of the amendments' cache", "plan.files:StateFiles.overwrite", "torn", (COMMAND,), "the_log"
    ),
    KillPoint("between amendment and new chunks", "amend.remove:amend_planned", "before", _COMMAND),
    KillPoint("before the amendment's copy", _PUBLISH, "before", _COMMAND),
    KillPoint("during the copy's commit", "hub.client:HubClient.commit", "during", (COMMAND, HUB, HUB), "an_amendment"),
    KillPoint("before the copy's commit", "hub.client:HubClient.commit", "before", (COMMAND, HUB), "an_amendment"),
    KillPoint("after the copy's commit", "hub.client:HubClient.commit", "after", (COMMAND, HUB), "an_amendment"),
    KillPoint("after the amendment's copy", _PUBLISH, "after", _COMMAND),
)
# A run has read the head and the plan, and its commit is next.
HELD = KillPoint("held before the commit", "hub.client:HubClient.commit", "held", (RUN,), "a_chunk")
POINTS = {point.name: point for point in (*PLAN_POINTS, *CHUNK_POINTS, *AMEND_POINTS, HELD)}
