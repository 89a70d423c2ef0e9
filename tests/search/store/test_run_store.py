"""The checkpoints in a run's folder."""

from __future__ import annotations

from nas.accuracy.evaluator import checkpoint_name


def test_removing_checkpoints_keeps_files_that_the_run_did_not_write(run):
    folder = run.store.checkpoint_folder
    folder.mkdir(parents=True)
    ids = [run.evaluate(0.5).architecture.id for _ in range(2)]
    for one in ids:
        (folder / checkpoint_name(one)).write_text("")
        (folder / f"{checkpoint_name(one)}.optimizer").write_text("")
        (folder / f".{checkpoint_name(one)}.123.part").write_text("left by a kill")
    (folder / "epoch90.pth").write_text("mine")
    assert run.store.with_checkpoint() == set(ids)
    run.store.remove_checkpoint(ids[0])
    assert run.store.with_checkpoint() == {ids[1]}
    run.store.remove_checkpoints()
    assert [path.name for path in folder.iterdir()] == ["epoch90.pth"]
    (folder / "epoch90.pth").unlink()
    run.store.remove_checkpoints()
    assert not folder.exists()
