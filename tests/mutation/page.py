"""Write docs/mutation.md from the results of a run.

python -m tests.mutation.page
"""

import json
from collections import Counter
from math import sqrt
from pathlib import Path
from typing import Any

from .mutants import ROOT

RESULTS = ROOT / "tests" / "mutation" / "results.json"
PAGE = ROOT / "docs" / "mutation.md"

TEXT = """# What the tests notice

`python -m tests.mutation.run --mutants {sample} --minutes {minutes:g} --seed {seed}` changes the code of the method
(`core/`, `recipe.py`) in one place at a time, and runs the tests that execute this line: a number is replaced by its
neighbour, a condition negated, a sum becomes a difference, a loop runs zero times. A change that no test notices
*survives*. Each change meets tests of `tests/core`, `tests/dit` and `tests/test_recipe.py`, no slow ones and at most
{most}: first those of the module's own test file and those that execute the fewest lines, then others drawn at random.
A line that runs only when its module is imported meets tests of the module's other lines. This run was of commit
{commit}.

| | |
|---|---|
| possible changes | {mutants:,} |
| tested, drawn at random | {tested} |
| noticed | {killed} ({share:.0%}, 95 % interval {low:.0%}–{high:.0%}) |
| survived | {survived} |
| in lines that none of these tests execute | {unexecuted} |

Some survivors change nothing that can be seen, such as the size of a cache; the others show where a test is missing.

| place | survived | executed |
|---|---|---|
{rows}
"""


def compute_interval(count: int, total: int) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a share."""
    z, share = 1.96, count / total
    centre, width = share + z**2 / (2 * total), z * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return (centre - width) / (1 + z**2 / total), (centre + width) / (1 + z**2 / total)


def format_row(row: dict[str, Any]) -> str:
    """Format a change that was not noticed as a row of the table."""
    code = " → ".join(f"`{line[1:].strip()}`" for line in row["diff"]).replace("|", "\\|")
    return f"| {row['place']} | {code} | {'no' if row['outcome'] == 'not executed' else 'yes'} |"


def render_page(results: dict[str, Any], most: int) -> str:
    """Render the page from the results of a run whose mutants met at most `most` tests."""
    tested = results["tested"]
    outcomes = Counter(row["outcome"] for row in tested)
    low, high = compute_interval(outcomes["killed"], len(tested))
    rows = [format_row(row) for row in sorted(tested, key=lambda row: row["place"]) if row["outcome"] != "killed"]
    return TEXT.format(
        sample=results["sample"],
        minutes=results["minutes"],
        seed=results["seed"],
        commit=results["commit"],
        mutants=results["mutants"],
        tested=len(tested),
        most=most,
        killed=outcomes["killed"],
        share=outcomes["killed"] / len(tested),
        low=low,
        high=high,
        survived=outcomes["survived"],
        unexecuted=outcomes["not executed"],
        rows="\n".join(rows),
    )


if __name__ == "__main__":
    found = json.loads(Path(RESULTS).read_text())
    PAGE.write_text(render_page(found, found["most_tests"]))
    print(PAGE.relative_to(ROOT))
