"""`SequenceModel`: what the models of all tasks share: parts, parameters, saving and loading.

    SequenceModel(Classify("risk"))        is a LabelledModel   (one answer for a whole sequence, labels in a table)
    SequenceModel(NextEvent("item_id"))    is a NextEventModel  (the sequence itself says what came next)

The task decides which: a leaf names its tasks in its class statement and knows how they are prepared, trained, judged
and asked. `load` opens a saved model without running any code from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from habitus.backbones import Transformer
from habitus.backbones.pretrained import Pretrained
from habitus.bundle import Bundle, read_bundle, write_bundle
from habitus.config import build
from habitus.data.encode import Encoder
from habitus.data.options import Data
from habitus.errors import BundleError, ConfigError, HabitusError, did_you_mean
from habitus.model.backbone_names import BACKBONES, NAMES, backbone_from
from habitus.tasks import Backbone
from habitus.training import Training, TrainingResult


class AnyTask(Protocol):
    """What every task has."""

    name: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the bundle."""


class SequenceModel:
    """Predict from sequences of events.

    Args:
        task: what to predict, e.g. `Classify("risk")` or `NextEvent("item_id")`.
        backbone: config of the network's body.
        data: how logs are read and cut.
        split: which examples or events train, choose and judge.
        training: options of the loop.
        options: of this kind of model: inputs, calibration, rivals.
        seed: of initial weights, shuffling and dropout.

    >>> from habitus.backbones import GRU
    >>> from habitus.tasks import Classify
    >>> model = SequenceModel(Classify("risk"), backbone=GRU(hidden_size=32))
    >>> type(model).__name__, model.get_params()["backbone__hidden_size"]
    ('LabelledModel', 32)
    """

    kinds: ClassVar[dict[str, type[SequenceModel]]] = {}
    sources: ClassVar[tuple[str, ...]] = ("events",)  # what `fit` and `evaluate` read, also options of the CLI
    data_kind: ClassVar[type] = Data
    encoder_kind: ClassVar[Any] = Encoder  # learned from training data; has to_json and from_json
    split_kind: ClassVar[type]
    options_kind: ClassVar[type]
    task_kinds: ClassVar[dict[str, Any]] = {}
    reads_text: ClassVar[bool] = False  # so that a pretrained encoder can be its backbone

    task: Any
    split: Any
    options: Any
    network_: nn.Module
    encoder_: Any
    result_: TrainingResult
    history_: list[dict[str, Any]]

    def __init_subclass__(cls, *, tasks: tuple[Any, ...] = (), **rest: Any) -> None:
        super().__init_subclass__(**rest)
        for task in tasks:
            SequenceModel.kinds[task.name] = cls
            SequenceModel.task_kinds[task.name] = task

    def __new__(cls, task: Any = None, *args: Any, **kwargs: Any) -> SequenceModel:
        """Return the kind of model that the task needs."""
        if cls is not SequenceModel:  # a leaf was named, or an instance is being copied
            return object.__new__(cls)
        kind = SequenceModel.kinds.get(getattr(task, "name", ""))
        if kind is None:
            known = ", ".join(sorted(task.__name__ for task in SequenceModel.task_kinds.values()))
            raise ConfigError(f"task={task!r} is no task; give one of {known}.")
        return object.__new__(kind)

    def __init__(
        self,
        task: Any,
        backbone: Backbone | None = None,
        *,
        data: Any | None = None,
        split: Any | None = None,
        training: Training | None = None,
        options: Any | None = None,
        seed: int = 0,
    ) -> None:
        self.task = task
        backbone = backbone or self.default_backbone()
        self.backbone = backbone.resolved() if isinstance(backbone, Pretrained) else backbone
        self.data = data or self.data_kind()
        self.split = split or self.split_kind(seed=seed)
        self.training = training or Training()
        self.options = options or self.options_kind()
        self.seed = seed
        self._refuse_parts_of_others()
        self._saved_card = ""
        self.hash_: str | None = None  # of the bundle it was loaded from or saved to

    @classmethod
    def default_backbone(cls) -> Backbone:
        """Return the backbone that is taken when none is given."""
        return Transformer()

    @classmethod
    def backbone_from(cls, options: Mapping[str, Any]) -> Any:
        """Build a backbone from plain options with its `name`."""
        return backbone_from(options)

    @classmethod
    def backbone_options(cls, backbone: Any) -> dict[str, Any]:
        """Return plain options, from which `backbone_from` builds the same backbone."""
        return {"name": NAMES[type(backbone)], **asdict(backbone)}

    @classmethod
    def backbone_defaults(cls, task: Any, name: str, data: Any = None) -> Mapping[str, Any]:
        """Return what the task wants of the backbone `name`, reading such data, where the user says nothing."""
        return {}

    @property
    def name(self) -> str:
        """How tables call it, e.g. "Transformer"."""
        return type(self.backbone).__name__

    # -- what a leaf says; not abstract to Python, because users write SequenceModel(...) and get a leaf (`__new__`)

    def fit(self, events: Any, *args: Any, **kwargs: Any) -> SequenceModel:
        """Train on a log; returns self."""
        raise NotImplementedError

    def predict(self, events: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer for every example or entity."""
        raise NotImplementedError

    def evaluate(self, events: Any, *args: Any, **kwargs: Any) -> Any:
        """Judge the model beside its counting rivals."""
        raise NotImplementedError

    def _build_network(self) -> nn.Module:
        raise NotImplementedError

    def _own_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Return the leaf's tensors, documents and additions to the config."""
        raise NotImplementedError

    def _restore(self, bundle: Bundle) -> None:
        """Take the leaf's own state from a bundle."""
        raise NotImplementedError

    def _write_card(self) -> str:
        raise NotImplementedError

    # -- saving

    def save(self, path: str | Path) -> str:
        """Write the model as a bundle (a folder) and return its hash; see `docs/bundle.md`."""
        self._require_fitted()
        own_tensors, own_documents, more = self._own_state()
        tensors = {f"network/{name}": value.numpy() for name, value in self.network_.state_dict().items()}
        documents = {
            "model": self.config() | more,
            "encoder": self.encoder_.to_json(),
            "training": asdict(self.result_),
            **own_documents,
        }
        card = self._saved_card or self._write_card()
        self.hash_ = write_bundle(path, tensors=tensors | own_tensors, documents=documents, texts={"README.md": card})
        return self.hash_

    # -- scikit-learn manners

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return parameters by name; nested ones as `backbone__n_layers`."""
        names = ("task", "backbone", "data", "split", "training", "options", "seed")
        own: dict[str, Any] = {name: getattr(self, name) for name in names}
        nested: dict[str, Any] = {}
        for name, part in own.items():
            if deep and is_dataclass(part) and not isinstance(part, type):
                nested |= {f"{name}__{item.name}": getattr(part, item.name) for item in fields(part)}
        return own | nested

    def set_params(self, **params: Any) -> SequenceModel:
        """Set parameters by name; nested ones as `backbone__n_layers=3`. Returns self."""
        for name, value in params.items():
            valid = self.get_params()  # a new backbone has other parameters
            if name not in valid:
                raise ConfigError(f"There is no parameter '{name}'; {did_you_mean(name, valid)}")
            part, _, inner = name.partition("__")
            setattr(self, part, replace(getattr(self, part), **{inner: value}) if inner else value)
        return self

    # -- inside

    def config(self) -> dict[str, Any]:
        """Return all parameters as plain data, from which `configured` builds the same model."""
        data = asdict(self.data)
        data |= {"fields": {}} if "fields" in data else {}  # what the fields mean is in the encoder
        return {
            "task": self.task.to_json(),
            "backbone": self.backbone_options(self.backbone),
            "data": data,
            "split": asdict(self.split),
            "training": asdict(self.training),
            "options": asdict(self.options),
            "seed": self.seed,
        }

    def _refuse_parts_of_others(self) -> None:
        for name, kind in (("data", self.data_kind), ("split", self.split_kind), ("options", self.options_kind)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is not for the task '{self.task.name}'; "
                    f"give a {kind.__name__}(...)."
                )
        if getattr(self.data, "reads_text", False) and not self.reads_text:
            raise ConfigError(f"text= and words= mean nothing to the task '{self.task.name}'; leave them out.")
        if isinstance(self.backbone, Pretrained) and not self.reads_text:
            raise ConfigError(
                f"backbone 'pretrained' reads texts, and the task '{self.task.name}' reads other sequences; use "
                f"{', '.join(BACKBONES)}."
            )

    def _refuse_rows_without_positions(self) -> None:
        if isinstance(self.backbone, Transformer | Pretrained):  # now, not after an hour of training
            self.backbone.refuse_rows_of(getattr(self.data, "max_length", 0))

    def _require_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise HabitusError("This model is not fitted yet; call fit(...) first, or load a saved one.")


def load(path: str | Path) -> SequenceModel:
    """Open a saved model; every file's hash is verified before it is read.

    Args:
        path: a bundle, or a run folder that holds one in `model/`.

    Raises:
        BundleError: if the bundle is absent, damaged, hostile, or from a future version.
    """
    bundle = read_bundle(path)
    try:
        return _from_bundle(bundle)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise BundleError(
            f"The bundle '{path}' is whole but cannot be read as a model ({type(error).__name__}: {error}); "
            "save it again."
        ) from error


def tensors_below(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tensors whose names start with a prefix, without it.

    >>> list(tensors_below("a/", {"a/x": np.zeros(1), "b/x": np.zeros(1)}))
    ['x']
    """
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def configured(config: Mapping[str, Any], encoder: Mapping[str, Any]) -> SequenceModel:
    """Return a model with its network, not trained.

    Args:
        config: of `SequenceModel.config`.
        encoder: what `to_json` of its encoder gives.
    """
    name = config["task"]["name"]
    kind = SequenceModel.kinds[name]
    model = SequenceModel(
        SequenceModel.task_kinds[name].from_json(config["task"]),
        kind.backbone_from(config["backbone"]),
        data=build(kind.data_kind, config["data"], "[data]"),
        split=build(kind.split_kind, config["split"], "[split]"),
        training=build(Training, config["training"], "[training]"),
        options=build(kind.options_kind, config["options"], "[options]"),
        seed=config["seed"],
    )
    model.encoder_ = kind.encoder_kind.from_json(encoder)
    model.network_ = model._build_network()
    return model


def _from_bundle(bundle: Bundle) -> SequenceModel:
    model = configured(bundle.documents["model"], bundle.documents["encoder"])
    weights = tensors_below("network/", bundle.tensors)
    model.network_.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    model.network_.eval()
    model.result_ = TrainingResult(**bundle.documents["training"])
    model.history_ = model.result_.history
    model._restore(bundle)
    model._saved_card = bundle.texts["README.md"]
    model.hash_ = bundle.hash
    return model
