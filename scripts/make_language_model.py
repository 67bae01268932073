"""laion_hpc/language/cld3.npz out of CLD3's source, the package gcld3 (Apache-2.0).

  pip download --no-binary :all: --no-deps gcld3==3.0.13
  python scripts/make_language_model.py gcld3-3.0.13.tar.gz laion_hpc/language/cld3.npz

Takes the network's weights as they are, and unrolls the state machines by which CLD3 tells
letters from other characters into one table over all code points. The same source gives the same
bytes.
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZES = ("bigrams", "quadgrams", "relevant_scripts", "scripts", "trigrams", "unigrams")
"""What CLD3's six embeddings are of, in its order."""

EXITS = {
    "X__": 240, "RJ_": 242, "S1_": 243, "S2_": 244, "S3_": 245, "S21": 246, "S31": 247,
    "S32": 248, "T1_": 249, "T2_": 250, "S11": 251, "SP_": 252, "D__": 253, "RJA": 254,
}  # fmt: skip
"""The actions of a state machine, by their names in the source; smaller values are states."""

DO_AGAIN = 253
CODE_POINTS = 0x110000
INVALID = 255


class Source:
    """The files of the sdist."""

    def __init__(self, sdist: Path) -> None:
        with tarfile.open(sdist) as archive:
            self._files = {
                Path(member.name).name: stream.read().decode()
                for member in archive
                if "/src/" in member.name and (stream := archive.extractfile(member))
            }

    def array(self, file: str, name: str) -> list[float]:
        """The numbers of `name[] = {…};`."""
        found = re.search(rf"\b{name}\[\d*\] = \{{(.*?)\}};", self._files[file], re.DOTALL)
        if found is None:
            raise SystemExit(f"{file}: holds no array {name}; is this gcld3 3.0.13?")
        body = re.sub(r"//[^\n]*", "", found[1])
        words = re.findall(r"[^\s,{}]+", body)
        return [EXITS[w] if w in EXITS else _number(w) for w in words]

    def strings(self, file: str, name: str) -> list[str]:
        """The string literals of `name[] = {…};`."""
        found = re.search(rf"\b{name}\[\] = \{{(.*?)\}};", self._files[file], re.DOTALL)
        assert found is not None
        return re.findall(r'"([^"]*)"', found[1])


def _number(word: str) -> float:
    if word.startswith("0x"):
        return int(word.rstrip("u"), 16)
    word = word.rstrip("uf")
    return float(word) if re.search("[.e]", word) else int(word)


def network(source: Source) -> dict[str, NDArray[np.generic]]:
    """Weights and biases; the embeddings' quantised weights and the scale of each row."""
    file = "lang_id_nn_params.cc"

    def array(name: str, dtype: type) -> NDArray[np.generic]:
        return np.array(source.array(file, f"LangIdNNParams::k{name}"), dtype)

    rows, cols = array("EmbeddingsNumRows", int), array("EmbeddingsNumCols", int)
    arrays: dict[str, NDArray[np.generic]] = {}
    for n, name in enumerate(SIZES):
        weights = array(f"EmbeddingsWeights{n}", np.uint8)
        arrays[name] = weights.reshape(rows[n], cols[n])
        # bfloat16: the upper half of a float32
        scales = array(f"EmbeddingsQuantScales{n}", np.uint16).astype(np.uint32) << 16
        arrays[f"{name}_scales"] = scales.astype(np.uint32).view(np.float32)
    assert list(array("ConcatOffsetValues", int)) == [0, 16, 32, 40, 48, 64]
    arrays["hidden"] = array("HiddenWeights0", np.float32).reshape(80, 208)
    arrays["hidden_bias"] = array("HiddenBiasWeights0", np.float32)
    arrays["output"] = array("SoftmaxWeights0", np.float32).reshape(208, 109)
    arrays["output_bias"] = array("SoftmaxBiasWeights0", np.float32)
    codes = source.strings("task_context_params.cc", "TaskContextParams::kLanguageNames")
    arrays["codes"] = np.array(codes)
    return arrays


class Machine:
    """A state machine over the bytes of UTF-8."""

    def __init__(self, source: Source, name: str) -> None:
        file = f"{name}.h"
        self.table = [int(value) for value in source.array(file, name)]
        self.shift = 8 if name == "utf8acceptinterchange" else 6
        self.remap = [int(value) for value in source.array(file, f"{name}_remap_base")]
        self.text = bytes(int(value) for value in source.array(file, f"{name}_remap_string"))

    def follow(self, data: bytes) -> tuple[int, int]:
        """The last entry and the place in the table of its state, for a character's bytes."""
        place = entry = 0
        for n, byte in enumerate(data):
            entry = self.table[place + byte]
            if entry >= 240 or n == len(data) - 1:
                break
            place = entry << self.shift
        return entry, place

    def value(self, data: bytes) -> int:
        """The property of a character: such a machine has states only, more than 240 of them."""
        entry = 0
        for byte in data:
            entry = self.table[(entry << self.shift) + byte]
        return entry

    def rejects(self, data: bytes) -> bool:
        """Whether the character stops a scan."""
        entry, _ = self.follow(data)
        return entry >= 240 and entry != DO_AGAIN

    def replaced(self, data: bytes) -> bytes:
        """What the character becomes."""
        entry, place = self.follow(data)
        if entry < 240:
            return data
        width = 256 if place == 0 else 64

        def operand(n: int) -> int:
            return self.table[place + data[-1] + n * width]

        if entry == EXITS["S11"]:
            return bytes([operand(1)])
        kept = {
            "S1_": (1, 1),
            "S2_": (2, 2),
            "S3_": (3, 3),
            "S21": (2, 1),
            "S31": (3, 1),
            "S32": (3, 2),
        }
        for name, (gone, new) in kept.items():
            if entry == EXITS[name]:
                return data[: len(data) - gone] + bytes(operand(n) for n in range(new, 0, -1))
        assert entry in (EXITS["T1_"], EXITS["T2_"]), entry
        offset = operand(1) + (operand(2) << 8 if entry == EXITS["T2_"] else 0)
        gone, new, begin = self.remap[3 * offset : 3 * offset + 3]
        assert gone < 128 and new < 128, "a replacement that depends on what follows"
        return data[: len(data) - gone] + self.text[begin : begin + new]


def characters(source: Source) -> dict[str, NDArray[np.generic]]:
    """What CLD3 knows of code points.

    `script_of`, (0x110000,) uint8: the number of its script, 0 if it is no letter or mark; 255 if
    it may not be interchanged (control characters, surrogates, non-characters), where CLD3 stops.
    `lower`, (n, 2) uint32: letters and what they become in lower case.
    """
    valid = Machine(source, "utf8acceptinterchange")
    letter = Machine(source, "utf8scannot_lettermarkspecial")
    script = Machine(source, "utf8prop_lettermarkscriptnum")
    lower = Machine(source, "utf8repl_lettermarklower")
    script_of = np.zeros(CODE_POINTS, np.uint8)
    pairs = []
    for code in range(CODE_POINTS):
        data = chr(code).encode("utf-8", "surrogatepass")
        number = script.value(data)
        # So a scan for letters may look at scripts alone, and one for scripts at valid ones only.
        assert not number or (letter.rejects(data) and not valid.rejects(data)), f"U+{code:04X}"
        script_of[code] = INVALID if valid.rejects(data) else number
        small = lower.replaced(data)
        if small != data:
            assert number and len(small.decode()) == 1, f"U+{code:04X} becomes {small!r}"
            pairs.append((code, ord(small.decode())))
    return {"script_of": script_of, "lower": np.array(pairs, np.uint32)}


def write(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """An npz without times, so that the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.save(data, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), data.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    sdist, output = map(Path, sys.argv[1:])
    source = Source(sdist)
    write(output, {**network(source), **characters(source)})
