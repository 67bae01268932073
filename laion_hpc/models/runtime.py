"""Device and precision of a model, and the settings that make torch reproducible."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, replace

from laion_hpc.errors import UsageError
from laion_hpc.runtime import console

# Variables with a rank's number on the node: SLURM, Hydra (MPICH), Open MPI.
_LOCAL_RANK_VARIABLES = ("SLURM_LOCALID", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK")


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs."""

    device: str
    """cpu or cuda:N."""
    precision: str
    """fp32, bf16 or fp16."""
    compile: bool = False
    """Fuse kernels with torch.compile; only on a GPU."""


def prepare(device: str, precision: str, *, compile: bool = False) -> Runtime:
    """Choose device and precision, and set torch up for reproducible results.

    UsageError if the machine lacks the device or precision.
    """
    # Results must not depend on a network.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ[name] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # cuBLAS is reproducible only with a fixed workspace, and reads this when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    chosen = choose(device, precision, gpus=gpus, rank=local_rank())
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Deterministic mode would also fill every new tensor with NaN: some 13 kernels a block.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # fp32 means fp32: by default cuDNN rounds the inputs of convolutions to TF32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(1)
    if chosen == Runtime("cpu", "bf16") and not computes_bf16():
        console.warn("precision: bf16: this CPU has neither AVX512_BF16 nor AMX: fp32 is faster")
    return replace(chosen, compile=compile and chosen.device != "cpu")


def computes_bf16() -> bool:
    """Whether this CPU multiplies bf16 numbers itself, about 4 times as fast as fp32."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def packs_bf16() -> bool:
    """Whether oneDNN takes packed bf16 weights here: for example not on x86-64 without AVX-512.

    A product of two small matrices tests it. The answer depends on the processor, on the build of
    torch and on DNNL_MAX_CPU_ISA; a list of instruction sets can miss one.
    """
    import torch

    ones = torch.ones(16, 16, dtype=torch.bfloat16)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(ones)
        torch.ops.mkldnn._linear_pointwise(ones, packed, None, "none", [], "")
    except RuntimeError:
        return False
    return True


def choose(device: str, precision: str, *, gpus: int, rank: int) -> Runtime:
    """The runtime for a config, on a machine with `gpus` GPUs, as its rank `rank`."""
    if device == "cuda" and not gpus:
        raise UsageError(
            "device: cuda, but torch sees no GPU here; ask the scheduler for one, or set "
            "device: auto"
        )
    on_gpu = gpus > 0 and device != "cpu"
    if precision == "auto":
        precision = "fp16" if on_gpu else "fp32"
    if precision == "fp16" and not on_gpu:
        raise UsageError("precision: fp16 needs a GPU; on a CPU use auto, fp32 or bf16")
    return Runtime(f"cuda:{rank % gpus}" if on_gpu else "cpu", precision)


def local_rank() -> int:
    """This process's number among those of the job on this node, from 0."""
    for name in _LOCAL_RANK_VARIABLES:
        if os.environ.get(name, "").isdigit():
            # A lone task of a job array has local rank 0, and may still start processes.
            rank = int(os.environ[name])
            if rank:
                return rank
    identity = multiprocessing.current_process()._identity
    return identity[0] - 1 if identity else 0
