"""Rows around task boundaries: where they are, and how they are drawn."""

import json

import numpy as np
import pytest

from configs.supervised import boundaries as study
from plasticity_jax.statistics import mean_interval


@pytest.mark.parametrize(("scale", "wanted"), [("", (2, 4, 6)), ("cpu", (2, 5, 9))])
def test_rows_are_dense_around_the_boundaries_looked_at(scale, wanted):
    config = study.get_config(scale)
    task = config.learner.updates_per_task
    times = config.probes.representation.at
    starts = [(number - 1) * task for number in wanted]
    assert set(starts) <= set(times) and list(times) == sorted(set(times))
    for start in starts:
        assert {start - 20, start + 1, start + 2, start + 200} <= set(times)
    assert config.total_updates == wanted[-1] * task  # what the last one comes to
    assert (
        config.learner.log_update_norm and config.total_updates % config.log_every == 0
    )


def test_the_figure_is_relative_to_each_boundary(tmp_path):
    pytest.importorskip("matplotlib")
    from matplotlib import rc_context

    from experiments.figures import boundaries
    from experiments.figures.style import RC
    from experiments.runs import find_runs

    config = json.loads(study.get_config("quick").to_json())
    times = sorted({*config["probes"]["representation"]["at"], *range(0, 61, 3)})
    generator = np.random.default_rng(0)
    for name in ("default", "tuned"):
        (tmp_path / name).mkdir()
        rows = [
            {"updates": time, "seed": seed, "failed_at": None}
            | {metric: generator.uniform(0.1, 1) for metric in boundaries.PANELS}
            for time in times
            for seed in (0, 1, 2)
        ]
        lines = "\n".join(map(json.dumps, rows))
        (tmp_path / name / "metrics.jsonl").write_text(f"{lines}\n")
        (tmp_path / name / "config.json").write_text(
            json.dumps(config | {"label": name})
        )
    runs = boundaries.select(find_runs([tmp_path]))
    assert [boundaries.boundaries(run) for run in runs] == [[15, 30, 45]] * 2
    with rc_context(RC):
        figure = boundaries.FIGURE.draw(runs)
    figure.draw_without_rendering()
    titles = [axes.get_title(loc="left") for axes in figure.axes[:3]]
    assert titles == [f"task {number} begins" for number in (2, 3, 4)]
    line = figure.axes[4].lines[1]  # dead units about the second boundary, of `tuned`
    updates, values = runs[1].series("representation/dead_fraction")
    near = (updates >= 25) & (updates <= 35)
    assert line.get_xdata().tolist() == [-5, -3, -1, 0, 1, 2, 3, 5]
    np.testing.assert_allclose(line.get_ydata(), mean_interval(values[:, near])[0])
