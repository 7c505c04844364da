"""A sandbox to develop and test against: a real S3 server, a local Hugging Face Hub, sample episodes.

Everything runs on loopback. Production needs none of it. In a test:

    with start_sandbox() as sandbox:
        expected = upload_samples(sandbox.s3, sandbox.bucket, seed=1, awkward=True)
        ...  # run the product with sandbox.env()

At a terminal: `r2-hf sandbox up`, later `r2-hf sandbox down`.
"""

from importlib.util import find_spec

if find_spec("boto3") is None:
    raise ImportError("the sandbox needs more packages: pip install 'r2_hf_assets[sandbox]'")

from r2_hf_sandbox.hub.server import HubServer, start_hub
from r2_hf_sandbox.processes import SandboxError
from r2_hf_sandbox.s3.server import S3Server, start_s3
from r2_hf_sandbox.samples.bucket import SampleSummary, sample_bucket, upload_samples
from r2_hf_sandbox.sandbox import Sandbox, start_sandbox

__all__ = [
    "HubServer",
    "S3Server",
    "SampleSummary",
    "Sandbox",
    "SandboxError",
    "sample_bucket",
    "start_hub",
    "start_s3",
    "start_sandbox",
    "upload_samples",
]
