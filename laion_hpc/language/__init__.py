"""The language of texts: CLD3's model, for many texts at a time.

`detect` takes strings, `detect_column` a column of Arrow, `detect_utf8` bytes and offsets; each
text gets a language, its probability and whether CLD3 calls that reliable. The answers are those
of CLD3 (`FindLanguage` of the package cld3-py, which the tests compare with): the same language
and reliability, and a probability that differs in the last bits of a float32, because sums are
taken in another order. That order is fixed: the same text gives the same bits, whatever comes
before or after it, on every CPU.

| file | what |
|---|---|
| `identify` | the interface |
| `loop` | the loop over texts |
| `letters` | what is read of a text: letters, lower case, repetitions left out |
| `network` | features, and the network on them |
| `model` | weights and the table of characters, `cld3.npz` |
| `compiled` | machine code by numba, and where it is kept |

About 4 µs a text where CLD3 takes 15 to 30 (`benchmarks/language.py`), mostly because nothing is
allocated per text and the network's loops use the CPU's vectors. The first call of a process takes
half a second to import numba and load the machine code; the first on a machine some 10 s to
compile it.
"""

from laion_hpc.language.identify import (
    CODES,
    UNDETERMINED,
    Detections,
    detect,
    detect_column,
    detect_utf8,
)

__all__ = ["CODES", "UNDETERMINED", "Detections", "detect", "detect_column", "detect_utf8"]
