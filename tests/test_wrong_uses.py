"""What people type wrong: each ends with an exit code and one line that says what to type, before any work.

`{data}` is an OPV2V folder of one moment, `{file}` a text file, `{empty}` an empty folder.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from robosac.cli import main
from robosac.simulation import SimConfig

USES = """
nothing | there is no command 'nothing'; there are demo, run, evaluate
evalute | did you mean 'evaluate'?
calibrat | did you mean 'calibrate'?
check_detector mean | did you mean 'check-detector'?
--versoin | there is no option --versoin; did you mean '--version'?
budget | missing option '--teammates'
budget --teammates | requires an argument
budget --teammates five | '--teammates'
budget --teammates -1 | expected --teammates >= 0
budget --teammtes 5 | did you mean '--teammates'?
budget --teammates 5 --attackers 9 --subset 1 | expected
budget --teammates 5 --attackers 1 --ratio 0.2 --subset 2 | expected --attackers or --ratio, got both
budget --teammates 5 --attackers 2 | add --subset S
budget --teammates 5 --subset 2 | expected the number of attackers
budget --teammates 5 --attackers 2 --subset 3 --confidence 2 | expected confidence
budget --teammates 5 --attackers 2 --subset 3 --confidence 99% | expected confidence
budget --teammates 5 --plot x.png | expected --attackers (or --ratio) and --subset for --plot
budget --teammates 5 --ratio 3/2 --subset 1 | expected ratio
budget 5 --teammates 5 | unexpected extra argument
attacks pdg | did you mean 'pgd'?
attacks PGD | did you mean 'pgd'?
attacks pgd --gallry x | did you mean '--gallery'?
attacks pgd:stps=2 | expected settings of Pgd among
attacks pgd:stps=2 | did you mean 'steps'?
attacks pgd:steps | expected an attack like pgd or pgd:steps=5
attacks noise --scene -1 --gallery x | invalid value for '--scene'
detectors maen | did you mean 'mean'?
defenses robsac | did you mean 'robosac'?
defenses nothing-like-it | expected a defence, one of
demo --attak pgd | did you mean '--attack'?
demo --attack pdg | did you mean 'pgd'?
demo --attack pgd:steps=x | expected
demo --preset mixd | did you mean 'mixed'?
demo --detector maen | did you mean 'mean'?
demo --epsilon x | expected --epsilon to be numbers
demo --epsilon -1 | expected epsilon
demo --epsilon 0.1,0.2 | expected --epsilon to be one budget
demo --scenes 0 | invalid value for '--scenes'
demo --scenes many | invalid value for '--scenes'
demo --jobs 0 | invalid value for '--jobs'
demo --seed -1 | invalid value for '--seed'
demo --device gpu | expected a device
demo --calibration {empty} | is a directory
demo --calibration nowhere.json | does not exist
demo --calibration {file} | expected
demo --out {file} | is a file
demo extra | unexpected extra argument
evaluate | expected what to evaluate, got nothing; name --data
evaluate --data mixed | did you mean 'sim:mixed'?
evaluate --data sim:mixd | did you mean 'mixed'?
evaluate --data sim: | expected a data set like sim:PRESET
evaluate --data opv2v:nowhere | nowhere, which does not exist
evaluate --data opv2v:~/nowhere-at-all | /nowhere-at-all, which does not exist
evaluate --data opv2: | expected a data set like
evaluate --data kitti:x | expected a data set like
evaluate --data dair:{data} | holds one of layout opv2v; name it data:
evaluate --data opv2v:{empty} | expected a data set in
evaluate --datset sim:mixed | did you mean '--dataset'?
evaluate --attack pdg | did you mean 'pgd'?
evaluate --attack pgd,pgd | expected each value once
evaluate --attack pgd:epsilon=big | expected
evaluate --attackers two | expected --attackers to be whole numbers
evaluate --attackers -1 | expected finite values >= 0
evaluate --attackers 1,1 | expected each value once
evaluate --defense robsac | did you mean 'robosac'?
evaluate --detector maen | did you mean 'mean'?
evaluate --detector late:maen | did you mean 'mean'?
evaluate --detector mean.safetensors | expected
evaluate --detector nowhere:thing | expected MODULE:NAME that can be imported
evaluate --trials x --attack noise | expected --trials to be whole numbers
evaluate --seeds 0 | invalid value for '--seeds'
evaluate --seed -1 | invalid value for '--seed'
evaluate --scenes 0 | invalid value for '--scenes'
evaluate --frames none | invalid value for '--frames'
evaluate --pose-noise much --data sim:mixed | expected --pose-noise
evaluate --ego each --data sim:mixed | expected --ego of a recording
evaluate --ego 99 --data opv2v:{data} | expected
evaluate --classes Car --data sim:mixed | expected --classes of a recording
evaluate --executor cloud --data sim:mixed | expected an executor, one of
evaluate --executor seriall --data sim:mixed | did you mean 'serial'?
evaluate --config nowhere.yaml | does not exist
evaluate --config {file} | expected
evaluate --device moon --data sim:mixed | expected a device
evaluate --out {file} --data sim:mixed | is a file
evaluate --calibration {file} --data sim:mixed | expected
evaluate --detector mean,max --calibration {file} | expected one --detector beside --calibration
evaluate --checkpoint x --detector mean | leave --checkpoint out
run | missing option '--data'
run --data sim:mixd | did you mean 'mixed'?
run --data nowhere | expected
run --data opv2v:nowhere | which does not exist
run --data sim:mixed --format nuscenes | expected --out FOLDER with --format
run --data sim:mixed --json | expected --out FOLDER
run --data sim:mixed --format nuscense --out {empty} | did you mean 'nuscenes'?
run --data sim:mixed --attackers 1 | expected --attack with --attackers
run --data sim:mixed --defense robsac | did you mean 'robosac'?
run --data sim:mixed --defense paper | is told the number of attackers
run --data sim:mixed --detector maen | did you mean 'mean'?
run --data sim:mixed --attack pdg | did you mean 'pgd'?
run --data sim:mixed --min-score 2 | invalid value for '--min-score'
run --data sim:mixed --out {file} | is a file
calibrate --data sim:mixd | did you mean 'mixed'?
calibrate --data mixed | did you mean 'sim:mixed'?
calibrate --data opv2v:nowhere | which does not exist
calibrate --data framework:nowhere | expected a detector whose framework has a reader
calibrate --data sim:mixed --ego 3 | got simulated frames, which have one ego
calibrate --detector maen | did you mean 'mean'?
calibrate --frames 3 | expected at least 49 frames
calibrate --alpha 2 | expected alpha
calibrate --alpha 0.5 --frames 0 | invalid value for '--frames'
calibrate --attack pdg | did you mean 'pgd'?
calibrate --defense robsac | did you mean 'robosac'?
calibrate --defense none | expected a defence that asks for thresholds
calibrate --out {empty} | is a directory
calibrate --data opv2v:{data} | has 1
calibrate --classes Car | got simulated frames, which hold vehicles
check-detector | missing argument 'detector'
check-detector maen | did you mean 'mean'?
check-detector mean --data sim:mixd | did you mean 'mixed'?
check-detector mean --data opv2v:{data} --frame 9 | expected --frame below 1
check-detector mean --data {empty} | expected a data set in
inspect | missing argument 'DATA'
inspect nowhere | expected a data set's folder, got nowhere, which does not exist
inspect {empty} | it holds nothing
inspect dair:{data} | holds one of layout opv2v
inspect sim:mixed | expected a recording, got 'sim:mixed', which is simulated
inspect {data} --layout kiti | expected a layout among
inspect {data} --layout opv2 | did you mean 'opv2v'?
inspect {data} --plot {empty} | is a directory
data inspct {data} | did you mean 'inspect'?
view sim:mixd --out x.png | expected
view kitti:x | expected a data set like
simulate | missing option '--out'
simulate --out {empty} | missing option '--scenes'
simulate --out {empty} --scenes 0 | invalid value for '--scenes'
simulate --out {empty} --scenes 1 --preset mixd | did you mean 'mixed'?
simulate --out {empty} --scenes 1 --split tset | did you mean 'test'?
simulate --out {empty} --scenes 1 --format kitti | expected a format among opv2v
simulate --out {empty} --scenes 1 --preset road --beams 8 | which draws its sensors
simulate --out {file} --scenes 1 | is a file
train | expected --config FILE or --data NAME
train --config nowhere.yaml | does not exist
train --config {file} | expected
train --data nowhere | expected a data set like
train --data sim:mixd | did you mean 'mixed'?
train --data opv2v:nowhere | which does not exist
train --data sim:mixed --from maen | did you mean 'mean'?
train --data sim:mixed --val a | expected --val and --test with a recording
train --data opv2v:{data} --val x | expected scenarios among
"""
ROWS = [tuple(part.strip() for part in line.split(" | ", 1)) for line in USES.strip().splitlines()]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from robosac.cli.simulate import Simulate, write

    folder = tmp_path_factory.mktemp("wrong")
    write(Simulate(out=folder / "data", scenes=1, frames=1, vehicles=2, beams=4, columns=16, jobs=1))
    (folder / "empty").mkdir()
    (folder / "file").write_text("just a text\n")
    assert SimConfig.preset("mixed")
    return {"data": folder / "data" / "test", "empty": folder / "empty", "file": folder / "file"}


@pytest.mark.parametrize(("typed", "said"), ROWS, ids=[typed for typed, _ in ROWS])
def test_it_is_one_line_and_exit_code_2(
    typed: str,
    said: str,
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(typed.format(**places)))
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, ""), err
    assert err.startswith("robosac: ") and err.count("\n") == 1 and said in err
    assert list(tmp_path.iterdir()) == [] and list(places["empty"].iterdir()) == []
