"""`make audit`: checks the locked packages for known vulnerabilities, by pip-audit.

    python scripts/audit.py requirements.lock bench/requirements.lock

A vulnerability fails, with the list. An unreachable service is reported in one line and passes, because the audit also
runs without a network. pip-audit's exit code does not distinguish these (1 for both, 0 where a mirror of the package
index responds with 404 for every package). So a pin with a known vulnerability is queried first.

pip-audit's own variables choose the service: PIP_AUDIT_VULNERABILITY_SERVICE (pypi or osv) and PIP_AUDIT_OSV_URL.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN_BAD = "jinja2==2.4.1"  # CVE-2014-1402
# A query takes a second a hundred packages; pip-audit's own timeout is 15 s.
_LIMIT_S = 300


def main(locks: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        known_bad = Path(folder) / "known-bad.txt"
        known_bad.write_text(KNOWN_BAD + "\n")
        if not _findings(_packages(_pip_audit([str(known_bad)], "--no-deps"))):
            _log(f"audit: not done, the vulnerability service can't be reached (it does not report {KNOWN_BAD})")
            return 0
    packages = _packages(_pip_audit(locks, "--require-hashes"))
    if not packages:
        collected = _pip_audit(locks, "--require-hashes", "--dry-run")
        if collected.returncode:
            _log(f"audit: the locks can't be read: {_error_line(collected.stderr)}")
            return 1
        _log("audit: not done, the vulnerability service stopped responding")
        return 0
    findings = _findings(packages)
    print("\n".join(findings) or "audit: nothing known", flush=True)
    unknown = sum("skip_reason" in package for package in packages)
    _log(f"audit: {len(findings)} vulnerabilities; {len(packages)} packages queried, {unknown} unknown")
    return bool(findings)


def _pip_audit(files: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off", "-f", "json", *options]
    command += [argument for file in files for argument in ("-r", file)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no result in {_LIMIT_S} s")


def _packages(audited: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return pip-audit's report of each package; nothing when it failed."""
    try:
        return json.loads(audited.stdout)["dependencies"]
    except ValueError:
        return []


def _findings(packages: list[dict[str, Any]]) -> list[str]:
    return sorted(
        f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    )


def _error_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if "ERROR" in line), text.strip()[-200:])


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or sys.exit("audit: name the lock files")))
