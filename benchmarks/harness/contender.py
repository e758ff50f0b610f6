"""What is compared: each contender's environment, handler, models and variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import environments, images, pagecache
from benchmarks.harness.artefacts import EMBEDDER, RERANKER
from benchmarks.harness.environments import RUNTIME
from benchmarks.harness.paths import BENCHMARKS, cache
from lambda_app.bundle import Bundle
from scripts.image.build import docker_program
from scripts.paths import ROOT

OUR_HANDLER = "lambda_app.handler.handler"
# In place of an environment: the function's own image, in a container with Lambda's CPU share.
IMAGE = "image"
IMAGE_NAME = "int8"
SINGLE_FILES = (f"onnx/{EMBEDDER}", f"onnx/{RERANKER}")
TORCH_MODELS = (f"models/{EMBEDDER}", f"models/{RERANKER}")


@dataclass(frozen=True, slots=True)
class Contender:
    """One function to measure.

    ``artefacts`` are names of ``benchmarks.harness.artefacts``. ``source`` is where its events come from:
    ``http``, ``direct`` (no web layer) or ``none`` (a plain process). ``about`` is for the tables' legend.
    """

    name: str
    about: str
    environment: str
    artefacts: tuple[str, ...]
    handler: str = OUR_HANDLER
    source: str = "http"
    reranks: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    batch_sizes: tuple[int | None, ...] = (None,)

    @property
    def ours(self) -> bool:
        """Whether it is this function."""
        return self.handler == OUR_HANDLER and self.source != "none"

    @property
    def task(self) -> Path:
        """The directory that stands for /var/task: the contender's own code and nothing else."""
        return cache() / "task" / ("ours" if self.ours else "contenders")

    @property
    def contained(self) -> bool:
        """Returns whether it runs in a container."""
        return self.environment == IMAGE

    @property
    def model_paths(self) -> list[Path]:
        """Returns the directories that hold its models."""
        if self.contained:
            return [path for layer in self._layers()[0] if (path := layer / "var/task/models").is_dir()]
        return [cache() / name for name in self.artefacts]

    def interpreter_files(self) -> list[Path]:
        """Returns files of the base that a start reads too: the interpreter's modules, or a whole base."""
        return pagecache.files_below(self._layers()[1]) if self.contained else pagecache.standard_library()

    def _layers(self) -> tuple[list[Path], list[Path]]:
        docker = docker_program(os.environ)
        return images.layer_directories(docker, images.image_of(IMAGE_NAME))

    def image_paths(self) -> list[Path]:
        """Returns what its image would add to its base: packages, code, models."""
        if self.contained:
            return self._layers()[0]
        code = [] if self.source == "none" else [self.task]
        pack = [import_pack()] if self.ours else []
        return [environments.site_packages(self.environment), *code, *pack, *self.model_paths]

    def environ(self) -> dict[str, str]:
        """Returns the function's variables, with which no library fetches or reports anything."""
        common = {
            "HOME": str(cache() / "home"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "ORT_DISABLE_TELEMETRY": "1", "BENCH_HANDLER": self.handler,
        }  # fmt: skip
        if self.contained:
            return common | {"HOME": "/tmp"} | dict(self.variables)
        common |= {"BENCH_MODELS": str(self.model_paths[0].parent)}
        if self.ours:
            common |= {"MODEL_DIR": str(self.model_paths[0]), "IMPORT_PACK": str(import_pack())}
        return common | dict(self.variables)


CONTENDERS = (
    Contender("ours", "this function, INT8, over HTTP", RUNTIME, ("bundles/int8",)),
    Contender(
        "ours-pipeline", "this function with PRELOAD=embedding, direct events, no web layer", RUNTIME,
        ("bundles/int8",), source="direct", reranks=False, variables={"PRELOAD": "embedding"},
    ),
    Contender(
        "ours-image", "its image in a read-only container, 1,769 MB for each CPU as on Lambda", IMAGE,
        ("bundles/int8",),
    ),
    Contender(
        "ort-plain", "onnxruntime and tokenizers with their defaults, single-file INT8", RUNTIME,
        SINGLE_FILES, "benchmarks.contenders.ort_plain.handler", batch_sizes=(None, 4, 1),
    ),
    Contender(
        "fastembed", "fastembed with custom models, single-file INT8", "fastembed", SINGLE_FILES,
        "benchmarks.contenders.fastembed_app.handler", batch_sizes=(None, 4, 1),
    ),
    Contender(
        "optimum", "optimum's ORTModel classes, single-file INT8", "optimum", SINGLE_FILES,
        "benchmarks.contenders.optimum_onnx.handler", batch_sizes=(None, 4, 1),
    ),
    Contender(
        "pytorch-int8", "sentence-transformers, quantized when it starts", "pytorch", TORCH_MODELS,
        "benchmarks.contenders.pytorch_int8.handler",
    ),
    Contender(
        "pytorch-fp32", "sentence-transformers, FP32 from disk", "pytorch", TORCH_MODELS,
        "benchmarks.contenders.pytorch_fp32.handler",
    ),
    Contender(
        "floor", "a plain process: onnxruntime, mapped INT8 embedder, one inference, no tokenizer", RUNTIME,
        ("bundles/int8",), source="none", reranks=False,
    ),
)  # fmt: skip
# Only for warm figures: the same function on FP32 weights.
OURS_FP32 = Contender("ours-fp32", "this function on an FP32 bundle", RUNTIME, ("bundles/none",))


def import_pack() -> Path:
    """Returns the path of the import pack that our image carries."""
    return cache() / "task" / "imports.pack"


def floor_plan(contender: Contender) -> Path:
    """Returns the path of what the floor's process reads instead of a manifest."""
    return cache() / "task" / f"floor-{contender.model_paths[0].name}.json"


def lay_out(contender: Contender) -> None:
    """Puts a contender's code where its image would have it, compiled.

    Ours is copied: an edit of the source meanwhile does not change a run.
    """
    python = environments.python(contender.environment)
    (cache() / "home").mkdir(parents=True, exist_ok=True)
    fresh = contender.task.with_name(f".{contender.task.name}-{os.getpid()}")
    package = fresh / "benchmarks"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(BENCHMARKS / "contenders", package / "contenders", ignore=ignore)
    shutil.copyfile(BENCHMARKS / "__init__.py", package / "__init__.py")
    if contender.ours:
        shutil.copytree(ROOT / "lambda_app", fresh / "lambda_app", ignore=ignore)
    shutil.rmtree(contender.task, ignore_errors=True)
    fresh.rename(contender.task)
    environments.compile_tree(python, contender.task)
    if contender.ours:
        command = [str(python), str(ROOT / "scripts" / "image" / "pack_imports.py"), str(import_pack())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if contender.source == "none":
        _write_floor_plan(contender)


def _write_floor_plan(contender: Contender) -> None:
    model = Bundle.open(contender.model_paths[0]).embedding
    if model is None:
        raise SystemExit("the floor needs a bundle with an embedding model")
    tensors = [
        (tensor.name, tensor.dtype, tensor.shape, tensor.offset, tensor.bytes) for tensor in model.tensors
    ]
    plan = {"graph": str(model.graph_path), "weights": str(model.weights_path), "tensors": tensors}
    floor_plan(contender).write_text(json.dumps(plan), encoding="ascii")
