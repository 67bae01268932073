"""Towers from open_clip: a local folder with open_clip_config.json, weights and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from laion_hpc.config.sections import ModelConfig
from laion_hpc.errors import InputError
from laion_hpc.models.packed import pack
from laion_hpc.models.pixels import geometry_of
from laion_hpc.models.runtime import Runtime
from laion_hpc.models.text_lengths import TextEncoder
from laion_hpc.models.torchvision_shim import ensure_torchvision
from laion_hpc.models.vectors import checked, normalise, unit

CONFIG = "open_clip_config.json"


class OpenClipTower:
    """An open_clip model with its own preprocessing and tokenizer."""

    def __init__(self, config: ModelConfig, folder: Path, runtime: Runtime) -> None:
        ensure_torchvision()
        import open_clip

        self.name = f"open_clip {config.name} {config.pretrained or folder}"
        self.device = runtime.device
        description = read_description(folder)
        self.width = int(description["model_cfg"]["embed_dim"])
        text, tokenizer = local_paths(description["model_cfg"]["text_cfg"], folder)
        source = f"local-dir:{folder}"
        self.tokenizer = (source, tokenizer)
        # open_clip's mixed precision leaves parts of a transformers tower in fp32, which then do
        # not fit together; its own towers are meant for it.
        pure = "hf_model_name" in text and runtime.precision != "fp32"
        precision = f"pure_{runtime.precision}" if pure else runtime.precision
        try:
            model = open_clip.create_model(
                source,
                precision=precision,
                device=runtime.device,
                require_pretrained=True,
                text_cfg=text,
            )
            self._tokenize = open_clip.get_tokenizer(source, **tokenizer)
        except Exception as error:  # of torch, safetensors, pickle, json, transformers …
            raise InputError(
                f"{folder}: the open_clip model is incomplete: {first_lines(error)}"
            ) from error
        _refuse_altered(model, folder)
        self._model = model.eval().requires_grad_(False)
        if runtime.device == "cpu":
            pack(self._model)
        self._dtype = open_clip.get_input_dtype(precision) or torch.float32
        preprocess = open_clip.transform.PreprocessCfg(**model.visual.preprocess_cfg)
        self._geometry = _geometry(open_clip.transform.image_transform_v2(preprocess, False))
        self.geometry = geometry_of(preprocess, self._geometry)
        size = preprocess.size
        self.side = int(size if isinstance(size, int) else min(size))
        self._texts = TextEncoder(model)
        self._copies = None if runtime.device == "cpu" else torch.cuda.Stream(runtime.device)  # type: ignore[no-untyped-call]
        # Threads that each have a shard send their batches one after the other.
        self._sending = Lock()
        self._compiled = runtime.compile
        self._largest = 0
        self._encode_image: Callable[[torch.Tensor], torch.Tensor] = self._normalise_and_encode
        if runtime.compile:
            self._encode_image = torch.compile(self._normalise_and_encode, dynamic=False)
        self._mean = self._channels(preprocess.mean)
        self._std = self._channels(preprocess.std)

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop as the model was trained: RGB, (3, height, width)."""
        return np.asarray(self._geometry(image.convert("RGB"))).transpose(2, 0, 1)

    def embed_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Preprocessed images (n, 3, height, width) -> (n, width)."""
        return self.begin_pixels(pixels)()

    def begin_pixels(self, pixels: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin `embed_pixels`; the function returned waits for its result."""
        return self._begin(torch.from_numpy(np.ascontiguousarray(pixels)), self._encode_pixels)

    def buffer(self, count: int) -> NDArray[np.uint8]:
        """Memory for `count` images (count, height, width, 3), pinned if there is a GPU."""
        assert self.geometry is not None
        shape = (count, self.geometry.height, self.geometry.width, 3)
        pinned = self.device != "cpu"
        frames: NDArray[np.uint8] = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned).numpy()
        return frames

    def begin_frames(self, frames: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        """Begin to embed a buffer's first images (n, height, width, 3) -> (n, width).

        The function returned waits for the result; until then the buffer must not change.
        """
        return self._begin(torch.from_numpy(frames), self._encode_frames)

    def embed_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Images of any size -> (n, width)."""
        if not images:
            return np.empty((0, self.width), np.float32)
        return self.embed_pixels(np.stack([self.preprocess(image) for image in images]))

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts -> (n, width); longer ones are cut at the context length, as open_clip does."""
        return self.begin_texts(texts)()

    def begin_texts(self, texts: Sequence[str]) -> Callable[[], NDArray[np.float32]]:
        """Begin `embed_texts`; the function returned waits for its result."""
        if not texts:
            return lambda: np.empty((0, self.width), np.float32)
        tokens = self._texts.trim(self._tokenize(list(texts)))
        return self._begin(tokens, self._texts.encode)

    def begin_tokens(self, tokens: NDArray[np.int32]) -> Callable[[], NDArray[np.float32]]:
        """`begin_texts` of tokens (n, context length) from the tokenizer."""
        trimmed = self._texts.trim(torch.from_numpy(tokens).long())
        return self._begin(trimmed, self._texts.encode)

    def _begin(
        self, inputs: torch.Tensor, encode: Callable[[torch.Tensor], torch.Tensor]
    ) -> Callable[[], NDArray[np.float32]]:
        """Start a batch; on a GPU copies and kernels are queued, and nothing waits."""
        if not len(inputs):
            return lambda: np.empty((0, self.width), np.float32)
        if self._copies is None:
            with torch.inference_mode():
                found = unit(encode(inputs), self.name)
            return lambda: found
        pinned = inputs if inputs.is_pinned() else inputs.pin_memory()
        compute = torch.cuda.current_stream(self.device)
        with self._sending, torch.inference_mode():
            # On a stream of its own, the copy of this batch goes beside the kernels of the last.
            with torch.cuda.stream(self._copies):
                batch = pinned.to(self.device, non_blocking=True)
            compute.wait_stream(self._copies)
            batch.record_stream(compute)
            rows = normalise(encode(batch))
            landed = torch.empty(rows.shape, dtype=rows.dtype).pin_memory()
            landed.copy_(rows, non_blocking=True)
            # An event that is not blocking spins, and takes a core from those who decode.
            arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            arrived.record(compute)

        alive = [pinned]  # until it has been copied

        def wait() -> NDArray[np.float32]:
            arrived.synchronize()
            alive.clear()
            return checked(landed.numpy(), self.name)

        return wait

    def _encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        # The same memory order as `_encode_pixels` gets: other kernels give other last bits.
        return self._encode_pixels(frames.permute(0, 3, 1, 2).contiguous())

    def _encode_pixels(self, batch: torch.Tensor) -> torch.Tensor:
        count = len(batch)
        if self._compiled:
            # A compiled network is made for one size; the last batch of a shard is smaller.
            self._largest = max(self._largest, count)
            batch = torch.nn.functional.pad(batch, (0,) * 7 + (self._largest - count,))
        return self._encode_image(batch)[:count]

    def _normalise_and_encode(self, batch: torch.Tensor) -> torch.Tensor:
        # Copies are of bytes, not floats. The same operations in the same order as torchvision's
        # ToTensor and Normalize: the same bits.
        pixels = batch.float().div(255).sub(self._mean).div(self._std)
        found: torch.Tensor = self._model.encode_image(pixels.to(self._dtype))
        return found

    def _channels(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, device=self.device).view(1, 3, 1, 1)


def read_description(folder: Path) -> dict[str, Any]:
    """open_clip_config.json; InputError if it is missing or has no mean and std.

    open_clip then takes OpenAI's mean and std without a warning: wrong for many LAION-2B weights.
    """
    path = folder / CONFIG
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        text = description["model_cfg"]["text_cfg"]
        complete = isinstance(text, dict) and int(description["model_cfg"]["embed_dim"]) > 0
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; an open_clip folder holds it, the weights and the tokenizer"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an open_clip config ({error!r})") from None
    normalisation = description.get("preprocess_cfg") or {}
    if not complete or not all(len(normalisation.get(k) or ()) == 3 for k in ("mean", "std")):
        raise InputError(
            f"{path}: preprocess_cfg must give mean and std of the training (three numbers each): "
            "OpenAI's differ from the 0.5 of some LAION-2B weights, and no other file has them"
        )
    return description


def local_paths(text_cfg: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the paths in a text_cfg absolute: (text_cfg, tokenizer's keyword arguments).

    `bpe_path` and a local `hf_model_name` are relative to the folder, so that it can move.
    """
    text = deepcopy(text_cfg)
    tokenizer = dict(text.get("tokenizer_kwargs") or {})
    bpe = tokenizer.get("bpe_path")
    if bpe:
        tokenizer["bpe_path"] = str(folder / str(bpe))
        text["tokenizer_kwargs"] = tokenizer
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False  # its weights are in the checkpoint
        if (folder / text["hf_model_name"]).is_dir():
            text["hf_model_name"] = str(folder / text["hf_model_name"])
    return text, tokenizer


def first_lines(error: BaseException, count: int = 4) -> str:
    """The beginning of a long message, such as a state dict's list of missing keys."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    shown = " ".join(line[:300] for line in lines[:count])
    return shown + (" …" if len(lines) > count else "")


def _geometry(transform: Any) -> Any:
    """open_clip's preprocessing without its last two steps, ToTensor and Normalize."""
    from torchvision.transforms import Compose, Normalize

    steps = transform.transforms
    if not isinstance(steps[-1], Normalize) or type(steps[-2]).__name__ != "MaybeToTensor":
        raise InputError(f"this open_clip preprocesses images in an unknown way: {transform}")
    return Compose(steps[:-2])


def _refuse_altered(model: Any, folder: Path) -> None:
    """Refuse weights that open_clip had to resize, or that are not finite."""
    mine = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    for name, shape in _stored_shapes(folder).items():
        # open_clip stretches position embeddings of another image size or context length.
        if "pos" in name and name in mine and mine[name] != shape:
            raise InputError(
                f"{folder}: {name} is {shape} in the weights but {mine[name]} in {CONFIG}: the "
                "weights are of another architecture"
            )
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{folder}: {name} holds values that are not finite; fetch it again")


def _stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    from open_clip.factory import _find_checkpoint_in_dir

    path = _find_checkpoint_in_dir(folder)
    if path is None or not path.endswith(".safetensors"):
        return {}
    from safetensors import safe_open

    with safe_open(path, "pt") as weights:
        return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
