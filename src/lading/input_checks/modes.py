"""What is done about values that fail a check, by model. Checks nothing."""

from __future__ import annotations

from typing import Literal, get_args

from lading.errors import InvalidSetting
from lading.ref import check_name

Mode = Literal["off", "count", "warn", "reject"]
MODES: tuple[Mode, ...] = get_args(Mode)


class Modes:
    """The modes that a setting such as ``count,iris=reject`` states: one for all models, and some for one.

    Raises `InvalidSetting`, `InvalidName`.
    """

    def __init__(self, text: str) -> None:
        self._default: Mode = "count"
        self._by_model: dict[str, Mode] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, equals, mode = part.rpartition("=")
            if mode not in MODES:
                expected = f"one of {', '.join(f'`{mode}`' for mode in MODES)}, or `MODEL=` and one of them"
                raise InvalidSetting("`LADING_INPUT_CHECKS`", expected=expected, found=f"`{part}`")
            if equals:
                check_name(name)
                self._by_model[name] = mode
            else:
                self._default = mode

    def of(self, model: str) -> Mode:
        """Return the mode of a model."""
        return self._by_model.get(model, self._default)

    def has(self, *modes: Mode) -> bool:
        """Return whether some model may have one of `modes`."""
        return self._default in modes or any(mode in modes for mode in self._by_model.values())
