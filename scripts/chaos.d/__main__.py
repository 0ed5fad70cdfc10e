"""scripts/chaos, behind its wrapper: arguments, the mode, what is left behind, the exit status."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from typing import Any, Protocol

import nemesis
import terminal
from absence import run_absence
from availability import run_availability
from chaos_round import run_round
from cluster import NodeError
from hostile import run_hostile
from hostile_acts import ACTS as HOSTILE_ACTS
from options import Options, read_options


class Result(Protocol):
    @property
    def is_clean(self) -> bool: ...

    def show(self) -> None: ...

    def json(self) -> dict[str, Any]: ...


async def run(options: Options) -> Result:
    task = asyncio.current_task()
    assert task is not None
    # Ctrl-C and SIGTERM unwind like an error, so that all that was started is stopped.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    if options.mode == "availability":
        return await run_availability(options, options.directory)
    if options.mode == "absence":
        return await run_absence(options, options.directory)
    if options.mode == "hostile":
        return await run_hostile(options, options.directory)
    return await run_round(options, options.directory)


def main() -> int:
    options = read_options(
        sys.argv[1:],
        [act.name for act in nemesis.ACTS if act.is_default],
        [act.name for act in nemesis.ACTS],
        list(HOSTILE_ACTS),
    )
    options.directory.mkdir(parents=True, exist_ok=True)
    terminal.title(f"Chaos: {options.mode} (seed {options.seed})")
    try:
        result = asyncio.run(run(options))
    except asyncio.CancelledError:
        terminal.fail(f"interrupted; kept for a look: {options.directory}")
        return 130
    except NodeError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return 1
    result.show()
    if options.json is not None:
        options.json.write_text(json.dumps(result.json(), indent=2) + "\n")
    if not result.is_clean:
        terminal.say(f"kept for a look: {options.directory}")
        if options.mode == "chaos":
            terminal.say(f"again: {options.replay}")
        return 1
    if options.keep:
        terminal.say(f"kept: {options.directory}")
    else:
        shutil.rmtree(options.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
