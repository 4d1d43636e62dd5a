"""The evaluation on a Ray cluster of two nodes on this machine."""

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

from purifier.cli.main import main
from purifier.evaluation.grid import Work, parts
from purifier.evaluation.settings import Grid
from tests.helpers.runs import OPTIONS, TIMES

module = pytest.importorskip("purifier.evaluation.cluster")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own processes, files and sockets


@pytest.fixture
def two_nodes(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")  # whatever else this machine does
    cores = torch.get_num_threads()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False})
    second = cluster.add_node(num_cpus=cores)
    cluster.wait_for_nodes()
    yield cluster, second
    module.ray.shutdown()
    cluster.shutdown()


def test_a_lost_node_loses_nothing_and_the_rows_are_those_of_one_machine(
    small_isic2019, two_nodes, tmp_path, monkeypatch
):
    cluster, second = two_nodes
    command = ["evaluate", *OPTIONS, "--data", str(small_isic2019), "--out"]
    used, finished = set(), []
    real = module.ray.wait

    def wait(running, **options):
        found = real(running, **options)
        finished.append(found[0])
        if len(finished) == 1:  # some are done, some are running there, some wait
            used.update(node["NodeID"] for node in module.ray.nodes() if node["Alive"])
            cluster.remove_node(second, allow_graceful=False)
        return found

    monkeypatch.setattr(module.ray, "wait", wait)
    assert main([*command, str(tmp_path / "ray"), "--engine", "ray", "--address", cluster.address]) == 0
    assert len(used) == 2 and len(finished) > 2
    monkeypatch.undo()
    assert main([*command, str(tmp_path / "local")]) == 0
    rows = [pd.read_parquet(tmp_path / name / "results.parquet").drop(columns=TIMES) for name in ("local", "ray")]
    assert_frame_equal(*rows, check_exact=True)


def test_no_cluster_there(small_isic2019, tmp_path, capsys):
    command = ["evaluate", *OPTIONS, "--data", str(small_isic2019), "--out", str(tmp_path)]
    assert main([*command, "--engine", "ray", "--address", "127.0.0.1:1"]) == 2
    error = capsys.readouterr().err
    assert "127.0.0.1:1" in error and "Traceback" not in error
    assert main([*command, "--address", "127.0.0.1:1"]) == 2
    assert "needs --engine ray" in capsys.readouterr().err


def test_a_machine_with_other_weights_ends_the_run():
    grid = Grid(attacks=(), defences=("none",))
    (part,) = parts(grid, batches=1)
    work = Work(part=part, grid=grid, device=torch.device("cpu"), pixels=torch.zeros(0, 3, 8, 8), samples=[])
    with pytest.raises(ValueError, match=r"other weights \(weights differ\)"):
        module.measure_there(work, torch.get_num_threads(), {**module.provenance(grid), "weights": {}})
