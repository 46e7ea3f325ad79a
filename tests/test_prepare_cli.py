"""Packed sets from what people have: folders, tars, tars of tars, and pictures of every kind of badness."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import gang
import numpy as np
import pytest
from PIL import Image

from remote.data import packed
from remote.data.packed import FULL, Contents, PackedSet
from remote.prepare import cli, pack
from remote.wire.events import StageProgressed

ROOT = Path(cli.__file__).parent.parent
TRAIN, VAL = 40, 21


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return gang.picture_folder(tmp_path_factory.mktemp("pictures"), TRAIN, VAL, side=90)


def packed_names(root: Path, split: str) -> list[str]:
    return [Path(line).name for line in (root / f"{split}.names").read_text().splitlines()]


def everything(root: Path) -> dict[str, bytes]:
    """All that a prepared data set says and holds, but for where it was made."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".names" and path.name not in (".lock", packed.CONTENTS)
    }


def test_a_folder_becomes_packed_sets_that_hold_the_same_pictures(folder, tmp_path):
    told: list[pack.Progress] = []
    contents, odd = pack.prepare(folder, tmp_path / "out", sides=(48, 80, FULL), workers=2, report=told.append)
    assert odd == []
    assert contents == Contents.read(tmp_path / "out")
    assert contents.images == {"train": TRAIN, "val": VAL}
    assert contents.classes == tuple(f"class-{number}" for number in range(gang.CLASSES))
    assert (told[-1].stage, told[-1].done, told[-1].total) == ("prepare", TRAIN + VAL, TRAIN + VAL)
    originals = sorted(folder.glob("train/*/*.jpg"))
    for side in contents.sides:
        one_set = PackedSet(tmp_path / "out", contents, "train", side)
        assert len(one_set) == TRAIN
        assert all(one_set.verified())
        for index, path in enumerate(originals):
            assert packed_names(tmp_path / "out", "train")[index] == path.name
            assert contents.classes[one_set.labels[index]] == path.parent.name
            with Image.open(path) as original, Image.open(io.BytesIO(one_set.read(index))) as stored:
                shorter = min(original.size)
                scale = 1 if side == FULL else min(1, side / shorter)
                size = tuple(round(length * scale) for length in original.size)
                assert one_set.size(index) == size
                pixels = np.asarray(stored, int)[: size[1], : size[0]]
                again = np.asarray(original.resize(size, Image.Resampling.BICUBIC), int)
                # Noise in full colour; what is lost is the colour's other half of the pixels, and a little rounding.
                assert np.abs(pixels.mean(2) - again.mean(2)).mean() < (1.5 if side == FULL else 4)
        one_set.close()
    assert not (tmp_path / "out" / ".prepare").exists()


def test_what_is_there_is_not_made_again(folder, tmp_path):
    first = pack.prepare(folder, tmp_path, sides=(48,), workers=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.data")}
    assert pack.prepare(folder, tmp_path, sides=(48,), workers=1) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.data")} == before
    with pytest.raises(ValueError, match="holds a data set with the sizes 48; choose another folder"):
        pack.prepare(folder, tmp_path, sides=(48, FULL), workers=1)


# --- what ImageNet may look like -------------------------------------------------------------------------------------


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def classes_of(folder: Path, split: str) -> dict[str, dict[str, bytes]]:
    return {
        one.name: {path.name: path.read_bytes() for path in sorted(one.iterdir())}
        for one in sorted((folder / split).iterdir())
    }


def in_tars(folder: Path, root: Path, kind: str) -> Path:
    """The folder's pictures in another layout."""
    root.mkdir()
    training, validation = classes_of(folder, "train"), classes_of(folder, "val")
    flat = {f"ILSVRC2012_{label}_{name}": content for label, of in validation.items() for name, content in of.items()}
    where = {f"ILSVRC2012_{label}_{name}": label for label, of in validation.items() for name in of}
    numbers = {label: number for number, label in enumerate(sorted(training))}
    if kind == "the archive's tars":
        inner = {}
        for label, of in training.items():
            inner[f"{label}.tar"] = tar_of(root / "one.tar", of).read_bytes()
        (root / "one.tar").unlink()
        tar_of(root / "ILSVRC2012_img_train.tar", inner)
        tar_of(root / "ILSVRC2012_img_val.tar", flat)
        lines = [f"{name.removesuffix('.jpg')},{label} 1 2 30 40" for name, label in where.items()]
        (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]))
    elif kind == "a tar a class, numbered validation":
        (root / "train").mkdir()
        for label, of in training.items():
            tar_of(root / "train" / f"{label}.tar", of)
        (root / "val").mkdir()
        for name, content in flat.items():
            (root / "val" / name).write_bytes(content)
        (root / "val.txt").write_text("".join(f"{name} {numbers[label]}\n" for name, label in where.items()))
    else:
        tar_of(root / "train.tar", {f"./train/{c}/{n}": data for c, of in training.items() for n, data in of.items()})
        tar_of(root / "val.tar", {f"{c}/{n}": data for c, of in validation.items() for n, data in of.items()})
    return root


@pytest.mark.parametrize(
    "kind", ["the archive's tars", "a tar a class, numbered validation", "class folders in two tars"]
)
def test_tars_are_read_where_they_are(folder, tmp_path, kind):
    plain, _ = pack.prepare(folder, tmp_path / "plain", sides=(48,), workers=1)
    contents, odd = pack.prepare(in_tars(folder, tmp_path / "in", kind), tmp_path / "out", sides=(48,), workers=2)
    assert odd == []
    assert (contents.classes, contents.images) == (plain.classes, plain.images)
    for split in ("train", "val"):
        ours, theirs = (PackedSet(tmp_path / name, contents, split, 48) for name in ("out", "plain"))
        assert ours.labels.tolist() == theirs.labels.tolist()
        assert [zlib.crc32(ours.read(i)) for i in range(len(ours))] == theirs.index["crc32"].tolist()


def test_a_layout_that_cannot_be_is_one_sentence(folder, tmp_path):
    def sentence() -> str:
        with pytest.raises((ValueError, OSError)) as caught:
            pack.prepare(tmp_path / "in", tmp_path / "out", sides=(48,), workers=1)
        assert not (tmp_path / "out" / packed.CONTENTS).exists()
        return str(caught.value)

    root = tmp_path / "in"
    root.mkdir()
    assert "holds none of train, train.tar, ILSVRC2012_img_train.tar" in sentence()
    shutil.copytree(folder / "train", root / "train")
    assert "holds none of val, validation" in sentence()
    shutil.copytree(folder / "val", root / "val")
    (root / "train" / "zebra").mkdir()
    assert f"{root / 'train'}: no picture is in the class folder zebra; fill it or remove it" in sentence()
    shutil.copy(next(root.glob("train/class-0/*")), root / "train" / "zebra")
    assert "the two sets have different classes: zebra is only in the training set (8 classes against 7)" in sentence()
    shutil.rmtree(root / "train" / "zebra")
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    shutil.copy(next(root.glob("train/class-0/*")), root / "val" / "flat.jpg")
    assert "the pictures are not in class folders" in sentence()
    (root / "val.txt").write_text("flat.jpg\n")
    assert "val.txt, line 1: 'flat.jpg' is not a picture's name and its class" in sentence()
    (root / "val.txt").write_text("other.jpg 3\n")
    assert "does not name the picture flat.jpg" in sentence()
    shutil.rmtree(root / "val")
    with tarfile.open(root / "val.tar", "w:gz") as tar:
        tar.add(folder / "val", "val")
    assert "val.tar cannot be read as a tar without compression" in sentence()


# --- bad pictures ----------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_bad_pictures_are_left_out_or_repaired_counted_and_named(folder, tmp_path, capsys):
    root = tmp_path / "in"
    shutil.copytree(folder, root)
    red = Image.new("RGB", (90, 60), (200, 30, 30))
    grey16 = np.full((60, 90), 200 * 257, np.uint16)
    alpha = Image.new("RGBA", (90, 60), (200, 30, 30, 128))
    good = sorted(root.glob("train/class-1/*.jpg"))[0].read_bytes()
    bad = {
        "zero.jpg": (b"", "left out", "the file is empty"),
        "text.jpg": (b"no picture at all", "left out", "it is not a picture that can be read"),
        "cut.jpg": (good[: len(good) // 2], "left out", "truncated"),
        "head.jpg": (good[:40], "left out", ""),
        "cmyk.jpg": (saved(red.convert("CMYK"), "JPEG", quality=95), "repaired", "CMYK"),
        "deep.png": (saved(Image.fromarray(grey16), "PNG"), "repaired", "16 bits"),
        "bomb.png": (saved(Image.new("1", (40_000, 40_000)), "PNG"), "left out", "40,000 x 40,000 pixels are too many"),
        "huge.jpg": (saved(Image.new("L", (9_000, 9_000), 200), "JPEG"), "repaired", "9,000 x 9,000 pixels were too"),
        "long.png": (saved(Image.new("L", (66_000, 20), 99), "PNG"), "left out", "66,000 x 20 pixels are too long"),
        "alpha.png": (saved(alpha, "PNG"), "", ""),
        "palette.jpg": (saved(red.convert("P"), "PNG"), "", ""),
        "tiny.png": (saved(Image.new("L", (1, 1), 99), "PNG"), "", ""),
    }
    for name, (content, _, _) in bad.items():
        (root / "train" / "class-3" / name).write_bytes(content)
    (root / "train" / "class-3" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "train" / "class-3" / "notes.txt").write_text("not a picture, and not meant as one")
    assert cli.main([str(root), str(tmp_path / "out"), "--sizes", "48,full", "--workers", "2"]) == 0

    said = capsys.readouterr()
    left_out = sum(what == "left out" for _, what, _ in bad.values())
    repaired = sum(what == "repaired" for _, what, _ in bad.values())
    assert f"left out: {left_out} (all in {tmp_path / 'out' / pack.REPORT})" in said.out
    assert f"repaired: {repaired} (all in" in said.out
    assert "Traceback" not in said.err
    report = {Path(row[1]).name: row for row in _report(tmp_path / "out")}
    assert set(report) == {name for name, (_, what, _) in bad.items() if what}
    for name, (_, what, why) in bad.items():
        if what:
            assert report[name][0] == what
            assert why in report[name][2]
            assert name in said.out

    contents = Contents.read(tmp_path / "out")
    assert contents.images["train"] == TRAIN + len(bad) - left_out
    small = PackedSet(tmp_path / "out", contents, "train", 48)
    names = packed_names(tmp_path / "out", "train")
    for name, colour in (
        ("cmyk.jpg", (200, 30, 30)), ("deep.png", (200, 200, 200)), ("huge.jpg", (200, 200, 200)),
        ("alpha.png", (200, 30, 30)), ("palette.jpg", None), ("tiny.png", (99, 99, 99)),
    ):  # fmt: skip
        with Image.open(io.BytesIO(small.read(names.index(name)))) as image:
            width, height = small.size(names.index(name))
            middle = image.convert("RGB").getpixel((width // 2, height // 2))
        if colour is not None:
            assert np.abs(np.subtract(middle, colour)).max() <= 12, name
    assert small.size(names.index("huge.jpg")) == (48, 48)
    assert small.size(names.index("tiny.png")) == (1, 1)


def _report(out: Path) -> list[list[str]]:
    return [line.split("\t") for line in (out / pack.REPORT).read_text().splitlines()[1:]]


# --- interruptions ---------------------------------------------------------------------------------------------------


def command(*arguments: object, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "remote.prepare", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Enough pictures for several shards."""
    return gang.picture_folder(tmp_path_factory.mktemp("many"), 420, 70, side=100)


@pytest.fixture(scope="module")
def prepared(many, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    pack.prepare(many, out, sides=(48, FULL), workers=1)
    return out


def test_killed_anywhere_it_goes_on_to_the_same_result(many, prepared, tmp_path):
    out = tmp_path / "out"
    kills = 0
    while kills < 12:
        process = command(many, out, "--sizes", "48,full", "--workers", "1")
        enough = time.monotonic() + 0.15 + 0.07 * kills
        while process.poll() is None and time.monotonic() < enough:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()
        kills += 1
        if not (out / packed.CONTENTS).exists():
            with pytest.raises(ValueError, match="holds no packed data set"):
                Contents.read(out)
    process = command(many, out, "--sizes", "48,full", "--workers", "1")
    assert process.wait(60) == 0, process.communicate()[1]
    process.communicate()
    assert kills > 2
    assert everything(out) == everything(prepared)
    assert Contents.read(out) == Contents.read(prepared)
    assert list(out.rglob("*.part")) == []


def test_nothing_that_is_done_is_done_again(many, prepared, tmp_path):
    """One shard's file is deleted: it is made again, and it alone."""
    out = tmp_path / "out"
    process = command(many, out, "--sizes", "48,full", "--workers", "1")
    deadline = time.monotonic() + 60
    while len(list(out.glob(".prepare/train-*.json"))) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    done = sorted(out.glob(".prepare/train-*.json"))
    kept = {path: path.stat().st_mtime_ns for path in done[1:]}
    lost = json.loads(done[0].read_text())
    next(iter(sorted((out / "train-48").glob("00000.data")))).write_bytes(b"cut off")
    assert pack.prepare(many, out, sides=(48, FULL), workers=2)[0] == Contents.read(prepared)
    assert lost["start"] == 0
    assert kept
    assert everything(out) == everything(prepared)


def test_a_process_that_is_killed_is_said_and_leaves_nobody(many, tmp_path):
    process = command(many, tmp_path / "out", "--sizes", "48,full", "--workers", "2")
    deadline = time.monotonic() + 60
    while len(children := _children(process.pid)) < 2 or not list(tmp_path.glob("out/train-*/*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(children[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert re.search(r"a process that prepared pictures was (killed|ended by signal 9)", err)
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_a_full_disk_is_one_sentence_and_goes_on_when_there_is_room(many, prepared, tmp_path):
    """A file may have 120 kB, as on a disk that is full after them; the pieces at full size have more."""

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))

    out = tmp_path / "out"
    process = command(many, out, "--sizes", "48,full", "--workers", "1", preexec_fn=small_disk)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{out} cannot take more (File too large); free some space and run the same command again" in err
    assert "Traceback" not in err
    assert not (out / packed.CONTENTS).exists()
    assert list(out.rglob("*.part")) == []
    assert pack.prepare(many, out, sides=(48, FULL), workers=2)[0] == Contents.read(prepared)


def test_two_at_once_and_other_settings_are_refused(many, tmp_path):
    out = tmp_path / "out"
    process = command(many, out, "--sizes", "48,full", "--workers", "1")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/train-*/*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    # It stands still meanwhile, or it might have ended.
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(ValueError, match="is being prepared by another process"):
        pack.prepare(many, out, sides=(48, FULL))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "stopped; run the same command again to continue" in err
    with pytest.raises(ValueError, match=r"was begun from .* with --sizes 48,full --quality 92; continue"):
        pack.prepare(many, out, sides=(48,))


# --- the command -----------------------------------------------------------------------------------------------------


def test_progress_is_said_in_the_journal_of_a_run_too(folder, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    journal = ["--journal", str(tmp_path / "run")]
    assert cli.main([str(folder), str(tmp_path / "out"), "--sizes", "48", "--workers", "1", *journal]) == 0
    stages = gang.said(tmp_path / "run", StageProgressed)
    assert {stage.stage for stage in stages} == {"list", "prepare"}
    assert (stages[-1].done, stages[-1].total) == (TRAIN + VAL, TRAIN + VAL)
    assert "/s" in stages[-1].detail
    out = capsys.readouterr().out
    assert f"{tmp_path / 'out'}: {TRAIN} for train, {VAL} for val, 7 classes, sizes 48" in out


def test_check_finds_a_bit_that_fell_over(folder, tmp_path, capsys):
    pack.prepare(folder, tmp_path, sides=(48,), workers=1)
    assert cli.main(["--check", str(tmp_path)]) == 0
    assert "every picture is as it was written" in capsys.readouterr().out
    path = tmp_path / "train-48" / "00000.data"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert cli.main(["--check", str(tmp_path)]) == 1
    assert "is damaged in picture" in capsys.readouterr().err
    (tmp_path / "val-48.npy").write_bytes(b"")
    assert cli.main(["--check", str(tmp_path)]) == 1
    assert "val-48.npy is not as it was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", "b", "--sizes", "big"], "'big' is not a list such as 160,352,full"),
        (["a", "b", "--sizes", "4"], "16 to 4096 px each"),
        (["a", "b", "--workers", "0"], "'0' is not a number of processes"),
        (["a"], "give SOURCE and DESTINATION"),
    ],
)
def test_wrong_usage(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_neither_torch_nor_the_console_is_needed(folder, tmp_path):
    code = (
        "import sys; from remote.prepare import cli\n"
        f"assert cli.main([{str(folder)!r}, {str(tmp_path)!r}, '--sizes', '48']) == 0\n"
        "assert not {'torch', 'console', 'textual'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
