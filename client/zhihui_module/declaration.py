"""What a module says of itself when it registers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zhihui_module.requirements import Requirement, parse_requirements


@dataclass(frozen=True, slots=True)
class Declaration:
    """Name, description and model version, with the inputs needed and the outputs given."""

    name: str
    description: str
    model_hash: str
    inputs: tuple[Requirement, ...]
    outputs: tuple[Requirement, ...]

    def as_json(self) -> dict[str, Any]:
        """The body of a registration."""
        return {
            "name": self.name,
            "description": self.description,
            "input_data": [requirement.as_json() for requirement in self.inputs],
            "output_data": [requirement.as_json() for requirement in self.outputs],
            "modelHash": self.model_hash,
        }


def declare(
    name: str,
    description: str,
    model_hash: str,
    inputs: Iterable[Requirement | Mapping[str, Any]],
    outputs: Iterable[Requirement | Mapping[str, Any]],
) -> Declaration:
    """A checked declaration. Raises ValueError naming the field that is wrong."""
    for field, value in (("name", name), ("model_hash", model_hash)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{field}: must be a string that is not empty")
    if not isinstance(description, str):
        raise ValueError("description: must be a string")
    return Declaration(name, description, model_hash, parse_requirements("inputs", inputs), parse_requirements("outputs", outputs))
