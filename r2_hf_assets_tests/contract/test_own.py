"""`make contract` on a bucket and a repo of one's own: nothing is left behind, and nothing that exists is touched."""

import subprocess
import sys

from r2_hf_assets_tests.support.world import ROOT, World


def contract(world: World, module: str, *words: str, **own: str) -> subprocess.CompletedProcess[str]:
    """Run tests as `make contract` does, with the settings in a .env."""
    world.write_dotenv()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "r2_hf_assets_tests" / "contract")]
    command[-1] += f"/{module}"
    env = world.command_env(**own)
    return subprocess.run(
        [*command, *words], cwd=world.folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_bucket_is_left_as_it_was(world: World) -> None:
    world.sandbox.s3.client().put_object(Bucket=world.bucket, Key="processed/mine", Body=b"1")
    done = contract(world, "test_bucket.py", "-k", "age_of or created_once", CONTRACT_BUCKET=world.bucket)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout
    listed = world.sandbox.s3.client().list_objects_v2(Bucket=world.bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["processed/mine"]


def test_a_new_repo_is_deleted_and_an_existing_one_is_refused(world: World) -> None:
    api = world.api()
    done = contract(world, "test_hub_repo.py", "-k", "private", CONTRACT_REPO=world.repo_id)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout
    assert not api.repo_exists(world.repo_id, repo_type="dataset")
    api.create_repo(world.repo_id, repo_type="dataset")
    head = world.head()
    done = contract(world, "test_hub_repo.py", CONTRACT_REPO=world.repo_id)
    assert done.returncode == 2 and f"contract: {world.repo_id} exists; nothing was changed" in done.stdout
    assert world.head() == head


def test_a_refusal_is_one_line(world: World) -> None:
    world.env["R2_SECRET_ACCESS_KEY"] = "wrong"
    done = contract(world, "test_bucket.py", CONTRACT_BUCKET=world.bucket)
    assert done.returncode == 2 and "check R2_SECRET_ACCESS_KEY" in done.stdout
    assert "Traceback" not in done.stdout and "passed" not in done.stdout
