"""The scripts that write docs/benchmark_staged_training.md."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tfbert.recipes.phases import learning_rate_schedule

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "benchmarks" / "staged_training.py"


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


def cell(form, seed, loss, sst2=None, budget=1, **options):
    """What a run is in the results."""
    found = {
        "form": form,
        "seed": seed,
        "budget": budget,
        "loss": loss,
        "rate": 0.01,
        "tuning_rate": 1e-4,
    }
    found |= {"labels": 10, "updates": 100, "seconds": 50.0, "operations": 12e6, "options": options}
    found |= {"machine": "a machine", "model": "4 layers", "batch": "8 x 16 tokens"}
    return found if sst2 is None else {**found, "sst2": sst2}


def test_the_page_counts_right(tmp_path):
    """Cells written by hand, numbers reckoned by hand."""
    from staged_report import write_report

    cells = [
        cell("full_depth", 7, 6.0, 0.70),
        cell("full_depth", 8, 6.2, 0.72),
        # Below by 0.5 and 0.52: 0.51 +- 12.706 x 0.01. SST-2: 0 and +0.02.
        cell("stack", 7, 5.5, 0.70, staging="stack", stage_shares=[0.5, 0.5]),
        cell("stack", 8, 5.68, 0.74, staging="stack", stage_shares=[0.5, 0.5]),
        # Above by 0.1 and 0.3: 0.2 +- 12.706 x 0.1; one seed of the other budget.
        cell("mslt", 7, 6.1, 0.5, staging="mslt"),
        cell("mslt", 8, 6.5, 0.3, staging="mslt"),
        cell("full_depth", 7, 5.0, 0.8, budget=2),
        cell("mslt", 7, 5.25, 0.7, budget=2, staging="mslt"),
        {**cell("stack", 1, 6.5), "rate": 0.01},
        {**cell("stack", 1, 6.4), "rate": 0.02},
    ]
    page = write_report(cells, tmp_path / "page.md")
    assert page == (tmp_path / "page.md").read_text()
    assert (tmp_path / "page.png").stat().st_size > 1_000
    row = "| 1x | stack | 100 | 50 | 5.590 ± 1.144 | -0.510 ± 0.127 "
    assert row + "| 0.720 ± 0.254 | +0.010 ± 0.127 |" in page
    assert "| 2x | mslt | 100 | 50 | 5.250 | +0.250 | 0.700 | -0.100 |" in page
    assert (
        "- **stack** against full depth: held-out loss better at 1x; SST-2 as good at 1x." in page
    )
    assert (
        "- **mslt** against full depth: held-out loss as good at 1x; SST-2 as good at 1x." in page
    )
    assert "| stack | `--staging stack --stage-shares 0.5 0.5` |" in page
    assert "| stack | 6.500 | **6.400** |" in page
    # What is not compared with anything yet: full depth is still on its way.
    assert "| 1x | mslt | 100 | 50 | 6.100 |  | 0.500 |  |" in write_report(
        [cell("mslt", 7, 6.1, 0.5)], tmp_path / "page.md"
    )
    with pytest.raises(SystemExit):
        write_report(cells[-2:], tmp_path / "page.md")


def test_no_form_spends_more_than_the_budget(tmp_path):
    """And none could have had one more update; its rate has risen and fallen within."""
    from staged_training import FORMS, FULL, Bench

    bench = Bench(None, tmp_path, tiny=True)
    bench.prepare()
    whole = bench.config(FULL, 2, 0.01)
    assert whole.phases[0].steps == 120
    budget = bench.operations(whole)
    for form in FORMS:
        config = bench.config(form, 2, 0.01)
        (phase,) = config.phases
        assert 0.98 * budget < bench.operations(config) <= budget, form
        phases = config.scaled_phases()
        assert sum(part.steps for part in phases) == phase.steps >= 120
        rates = learning_rate_schedule(phases)
        assert float(rates(phase.steps)) == 0
        highest = max(float(rates(step)) for step in range(0, phase.steps, 5))
        assert 0.009 < highest <= 0.01, form


def test_the_rate_is_that_of_the_lowest_loss(tmp_path, capsys):
    from shared.cells import Cells
    from staged_training import RATES, chosen_rate

    for rate, loss in zip(RATES, (6.0, 5.0, 5.5, 5.7), strict=True):
        path = tmp_path / f"search-mslt-{rate:g}.json"
        path.write_text(json.dumps({"loss": loss}))
    assert chosen_rate(Cells(tmp_path), "mslt") == RATES[1]
    with pytest.raises(SystemExit) as stopped:
        chosen_rate(Cells(tmp_path), "stack")
    assert stopped.value.code == 2
    assert "run with --search --forms stack first" in capsys.readouterr().err


@pytest.mark.slow
def test_it_writes_its_page_and_repeats_no_run(tmp_path):
    paths = ["--results", tmp_path / "results", "--work", tmp_path / "work"]
    paths += ["--output", tmp_path / "page.md"]
    command = [sys.executable, SCRIPT, "--tiny", "--forms", "full_depth", "one_shot", *paths]

    def run(*words):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, *words], check=True, env=environment, timeout=900)

    run("--search")
    assert not (tmp_path / "page.md").exists()
    run("--budgets", "1", "--seeds", "7")
    cells = {path: path.stat().st_mtime for path in (tmp_path / "results").iterdir()}
    assert len(cells) == 2 * 4 + 1 + 2
    assert "| 1x | one_shot | " in (tmp_path / "page.md").read_text()
    run("--budgets", "1", "--seeds", "7")
    assert cells == {path: path.stat().st_mtime for path in cells}
    assert not list((tmp_path / "work").glob("*/pretrained"))
