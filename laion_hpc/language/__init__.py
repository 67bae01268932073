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
| `oracle` | the same by CLD3's own binding: for tests, and where numba has no wheel |
| `loop` | the loop over texts |
| `letters` | what is read of a text: letters, lower case, repetitions left out |
| `runs` | the runs of characters in them |
| `features` | what the network is given |
| `network` | the network, for four texts at a time |
| `model` | weights and the table of characters, `cld3.npz` |

About 2.6 µs a text where CLD3 takes 15 to 30 (`benchmarks/language.py`): nothing is allocated per
text, the sums are the CPU's vectors, and four texts share the reading of the weights. Machine code
is made and kept by `runtime.compiled`: the first call of a process takes half a second to import
numba and load it; the first on a machine some 15 s to compile it.
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
