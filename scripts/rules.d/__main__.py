"""scripts/rules, behind its wrapper."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from load import MINUTE, Load
from stage import NODES, Stage, text
from windows import check_windows


class Claims:
    def __init__(self) -> None:
        self.broken = 0

    def __call__(self, holds: bool, what: str, otherwise: object = "") -> None:
        print(f"{'✓' if holds else '✗'} {what}" + ("" if holds else f": {otherwise}"), flush=True)
        self.broken += 0 if holds else 1


def standings(stage: Stage) -> list[str]:
    """What each node says of the second version."""
    said = []
    for node in NODES:
        rules = stage.get(node, "/v1/info")[1].get("rules", [])
        said.append(rules[1]["standing"] if len(rules) > 1 else "absent")
    return said


def restart(stage: Stage, claim: Claims, node: str, *rules: str) -> None:
    stage.stop(node)
    stage.configure(node, *rules)
    stage.start(node)
    claim(stage.wait_ready(node), f"{node} is ready again", stage.reasons(node))


def roll_out(stage: Stage, claim: Claims, rules: str) -> None:
    for node in NODES:
        restart(stage, claim, node, rules)
    end = time.monotonic() + 10
    while standings(stage) != ["confirmed"] * 3 and time.monotonic() < end:
        time.sleep(0.1)
    said = standings(stage)
    claim(said == ["confirmed"] * 3, "all nodes have the new version, and know that most do", said)


def come_late(stage: Stage, claim: Claims, rules: str, start: int) -> None:
    """n3 has the old file again when the time comes."""
    restart(stage, claim, "n3")
    stage.clock.forward_to(start - 10 * MINUTE + 1000)
    is_behind = stage.wait(
        "n3", lambda reasons: any("rules.2" in reason for reason in reasons))
    claim(is_behind, "ten minutes before, the node without it takes no batches", stage.reasons("n3"))
    for node in ("n1", "n2"):
        claim(stage.wait_ready(node), f"{node} goes on", stage.reasons(node))
    stage.stop("n1")
    stage.configure("n1")
    stage.start("n1")
    code = stage.processes["n1"].wait(20)
    stage.processes.pop("n1")
    last = (stage.directory / "n1.log").read_text().splitlines()[-1]
    claim(
        code == 1 and "version 2 is in force and was changed or removed" in last,
        "a node that had it does not start without it", f"exit {code}, {last}")
    stage.configure("n1", rules)
    stage.start("n1")
    claim(stage.wait_ready("n1"), "n1 is ready again", stage.reasons("n1"))
    restart(stage, claim, "n3", rules)
    claim(standings(stage)[2] == "confirmed", "it comes late and is told so by the others")


def come_too_near(stage: Stage, claim: Claims, rules: str) -> None:
    """n2 is given one more version that holds in five minutes."""
    near = (stage.clock.now() + 5 * MINUTE) // 10_000 * 10_000
    stage.stop("n2")
    stage.configure("n2", rules, f"{{from: {text(near)}, lateness: 2h}}")
    stage.start("n2")
    is_held = stage.wait(
        "n2", lambda reasons: any("version 3 begins" in reason for reason in reasons))
    claim(is_held, "an entry that comes too near holds back the node that has it",
          stage.reasons("n2"))
    for node in ("n1", "n3"):
        claim(stage.wait_ready(node), f"{node} goes on", stage.reasons(node))
    restart(stage, claim, "n2", rules)


def check(stage: Stage, claim: Claims, load: Load, start: int) -> None:
    load.send_all_again()
    claim(not load.wrong, "every batch is counted once, with one answer", load.wrong[:3])
    before = [batch for batch in load.batches if batch.created < start]
    after = [batch for batch in load.batches if batch.created >= start]
    claim(
        all((batch.counted, batch.dead) == (3, 0) for batch in before) and len(before) > 50,
        f"{len(before)} batches of before count all their events")
    claim(
        all((batch.counted, batch.dead) == (1, 2) for batch in after) and len(after) > 50,
        f"{len(after)} batches of after count what is neither late nor early")
    want = {"now": len(load.batches), "old": len(before), "new": len(before)}
    for node in NODES:
        have = {
            key: stage.get(node, f"/v1/counts/view/{key}?step=all")[1]["total"]["count"]
            for key in want
        }
        claim(have == want, f"{node} counts as the batches were judged: {want}", have)
    print(f"{load.refused} attempts were refused for the moment and sent again")


def run(stage: Stage, claim: Claims) -> None:
    for node in NODES:
        stage.configure(node)
        stage.start(node)
    for node in NODES:
        claim(stage.wait_ready(node), f"{node} is ready", stage.reasons(node))
    start = (stage.clock.now() + 20 * MINUTE) // 10_000 * 10_000
    rules = f"{{from: {text(start)}, future_limit: 10m, lateness: 1h}}"
    print(f"rules: {rules}", flush=True)
    load = Load(stage)
    try:
        load.start()
        time.sleep(1)
        roll_out(stage, claim, rules)
        if claim.broken:
            return
        come_late(stage, claim, rules, start)
        stage.clock.forward_to(start - 2000)
        time.sleep(4)
        come_too_near(stage, claim, rules)
        time.sleep(1)
    finally:
        load.stop()
    version = stage.get("n1", "/v1/info")[1].get("rule_version")
    claim(version == 2, "the new version holds", version)
    check(stage, claim, load, start)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/rules")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--port", type=int, default=28180)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="quipu-rules-"))
    library = directory / "clock.so"
    source = Path(__file__).parent / "clock.c"
    subprocess.run(["clang", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    claim = Claims()
    stage = Stage(directory, options.binary, options.port, library)
    try:
        run(stage, claim)
        stage.close()
        check_windows(directory, options.binary, options.port, library, claim)
    except BaseException:
        claim.broken += 1
        raise
    finally:
        stage.close()
        if claim.broken:
            print(f"kept for a look: {directory}")
        else:
            shutil.rmtree(directory)
    return 1 if claim.broken else 0


if __name__ == "__main__":
    sys.exit(main())
