"""From policy files to a PolicySet, or to every problem in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from taskgate.policy import document, lint, model
from taskgate.policy.document import Document
from taskgate.policy.entries import EntryReader
from taskgate.policy.masks import Mask, compile_mask
from taskgate.policy.policy_set import PolicySet
from taskgate.policy.principals import PrincipalMatch, compile_principals
from taskgate.policy.problems import Problem, as_error, did_you_mean
from taskgate.policy.rule import Rule, compile_rule

BUILTIN = "builtin.yaml"
BUILTIN_PREFIX = "builtin-"
_SUFFIXES = (".yaml", ".yml")
_TEST_SUFFIXES = (".test.yaml", ".test.yml")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: the set, unless there is a problem, and everything there is to say about the files."""

    policy: PolicySet | None
    problems: tuple[Problem, ...]
    files: tuple[Path, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if not problem.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.warning)


def detector_names() -> frozenset[str]:
    """Every detector a mask may name."""
    from taskgate.masking.detectors import NAMES  # masking is large, and most callers have it loaded already

    return frozenset(NAMES)


def load(paths: Iterable[Path | str], *, detectors: Iterable[str] | None = None) -> PolicySet:
    """Load files and folders (all `*.yaml` and `*.yml` below them, except table tests and hidden ones).

    Raises PolicyError with every problem and its place."""
    reading = read(paths, detectors=detectors)
    if reading.policy is None:
        raise as_error(reading.errors)
    return reading.policy


def read(paths: Iterable[Path | str], *, detectors: Iterable[str] | None = None) -> Reading:
    """The same, raising nothing."""
    problems: list[Problem] = []
    files = policy_files(paths, problems)
    reader = _SetReader(problems, frozenset(detectors) if detectors is not None else detector_names())
    for path in files:
        reader.file(path)
    policy = reader.finish()
    return Reading(policy, tuple(sorted(set(problems))), tuple(files))


def policy_files(paths: Iterable[Path | str], problems: list[Problem]) -> list[Path]:
    """The policy files that these paths mean, each once, in the order of their names."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if _is_policy(file, path)]
            if not inside:
                problems.append(Problem(str(path), 0, "there is no policy file in this folder"))
            found.update((file.resolve(), file) for file in inside)
        else:
            found[path.resolve()] = path
    return sorted(found.values())


def _is_policy(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and file.suffix in _SUFFIXES and not file.name.endswith(_TEST_SUFFIXES) and file.is_file()


class _SetReader:
    def __init__(self, problems: list[Problem], detectors: frozenset[str]) -> None:
        self._problems = problems
        self._detectors = detectors
        self._sources: dict[str, str] = {}
        self._rules: dict[str, Rule] = {}
        self._places: dict[str, str] = {}
        self._masks: list[tuple[Document, int, model.Mask, str]] = []
        self._mask_places: dict[str, str] = {}
        self._warnings: list[Problem] = []
        self._builtin = True
        self._interned: dict[PrincipalMatch, PrincipalMatch] = {}

    def file(self, path: Path) -> None:
        text, found = document.read(path, self._problems)
        self._sources[str(path)] = text
        if found is None or not self._is_policy_file(found):
            return
        for index in range(self._entries(found, "rules")):
            self._rule(found, index, builtin=False)
        for index in range(self._entries(found, "masks")):
            self._mask(found, index)

    def _is_policy_file(self, found: Document) -> bool:
        data = found.data
        if not isinstance(data, dict):
            self._problems.append(Problem(found.path, found.line(()), "must be a mapping with version, rules, masks"))
            return False
        for key in data:
            if key not in model.FILE_KEYS:
                line = found.line((key,))
                message = f'unknown key "{key}"{did_you_mean(key, model.FILE_KEYS)}'
                self._problems.append(Problem(found.path, line, message))
        if data.get("version") != 1 or isinstance(data.get("version"), bool):
            self._problems.append(Problem(found.path, found.line(("version",)), "version: 1 is missing"))
        builtin = data.get("builtin", True)
        if not isinstance(builtin, bool):
            self._problems.append(Problem(found.path, found.line(("builtin",)), "builtin: must be true or false"))
        self._builtin = self._builtin and builtin is not False
        return True

    def _entries(self, found: Document, key: str) -> int:
        entries = found.data.get(key)
        if entries is not None and not isinstance(entries, list):
            self._problems.append(Problem(found.path, found.line((key,)), f"{key}: must be a list"))
            return 0
        return len(entries or ())

    def _rule(self, found: Document, index: int, *, builtin: bool) -> None:
        before = len(self._problems)
        reader = EntryReader(found, ("rules", index), self._problems)
        spec = reader.shape(model.Rule)
        reader.rule_demands()
        condition = reader.condition()
        name = reader.raw.get("id") if isinstance(reader.raw, dict) else None
        place = f"{found.path}:{reader.line}"
        if isinstance(name, str):
            if name in self._places:
                reader.problem(("id",), f"there is already a rule of this name at {self._places[name]}")
            self._places.setdefault(name, place)
        if spec is None or len(self._problems) > before:
            return
        rule = compile_rule(spec, condition, place, builtin=builtin, principals=self._principals(spec))
        self._rules.setdefault(rule.id, rule)
        if not builtin:
            for doubt in lint.doubts(rule):
                self._warnings.append(Problem(found.path, reader.line, f"{reader.title}: {doubt}", warning=True))

    def _principals(self, spec: model.Rule) -> PrincipalMatch:
        """Equal ones are the same object, so that an index asks each of them once."""
        compiled = compile_principals(spec.match.principals, verdict=spec.verdict)
        return self._interned.setdefault(compiled, compiled)

    def _mask(self, found: Document, index: int) -> None:
        before = len(self._problems)
        reader = EntryReader(found, ("masks", index), self._problems)
        spec = reader.shape(model.Mask)
        reader.mask_demands(spec, self._detectors)
        if spec is None or len(self._problems) > before:
            return
        place = f"{found.path}:{reader.line}"
        if spec.id is not None and spec.id in self._mask_places:
            reader.problem(("id",), f"there is already a mask of this name at {self._mask_places[spec.id]}")
        self._mask_places.setdefault(spec.id or place, place)
        self._masks.append((found, index, spec, place))

    def _add_builtin(self) -> None:
        """The built-in rules that no file has replaced."""
        text = resources.files(__package__).joinpath(BUILTIN).read_text(encoding="utf-8")
        found = document.parse(text, BUILTIN, self._problems)
        assert found is not None
        names = [rule["id"] for rule in found.data["rules"]]
        for name, place in self._places.items():
            if name.startswith(BUILTIN_PREFIX) and name not in names:
                path, _, line = place.rpartition(":")
                message = f'rule "{name}": there is no built-in rule of this name{did_you_mean(name, names)}'
                self._problems.append(Problem(path, int(line), message))
        if self._builtin:
            self._sources[BUILTIN] = text
            for index, name in enumerate(names):
                if name not in self._places:
                    self._rule(found, index, builtin=True)

    def finish(self) -> PolicySet | None:
        self._add_builtin()
        masks = self._compiled_masks()
        self._problems += self._warnings
        if any(not problem.warning for problem in self._problems):
            return None
        texts = [f"{Path(path).name}\n{text}" for path, text in self._sources.items()]
        return PolicySet(self._rules.values(), masks, self._sources, texts, self._warnings)

    def _compiled_masks(self) -> list[Mask]:
        """Masks without an id are called by their place in the file; where several files have masks, by file too."""
        several = len({found.path for found, *_ in self._masks}) > 1
        return [
            compile_mask(
                spec,
                f"{Path(found.path).stem}/masks[{index}]" if several else f"masks[{index}]",
                self._detectors,
                place,
            )
            for found, index, spec, place in self._masks
        ]
