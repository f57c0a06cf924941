"""Reruns: a script as a function of the arrays in it, run again with other numbers in them.

This is for scripts that cannot be lifted: their gradients are compared with differences of their loss.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import random
import re
import string
import time
import traceback
import types
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeAlias

from indexprop import keeping, naming, numerics, rewriting, variation
from indexprop.claims import LOSS, Asked, loss_call, meanings, parts_of, plain
from indexprop.errors import Problem, did_you_mean
from indexprop.judging import DATA_SETS, Judgement, Misshapen, as_in_code
from indexprop.keeping import HOLDS
from indexprop.rewriting import LiftError
from indexprop.suppositions import DERIVATIVE

Array: TypeAlias = Any
Arrays: TypeAlias = dict[str, Array]
"""Arrays by the expressions that give them: `W1`, `params["W1"]`."""

Outcome: TypeAlias = tuple[float, Arrays]
"""The loss, and the gradients by their parameters."""

HOOK = "_indexprop_after"
PATIENCE = 120.0
"""Seconds that all runs may take together."""


def judged(asked: Asked, reason: str) -> Judgement:
    """The gradients of a script against differences of its loss, on its own data and on perturbed data.

    Raises LiftError where the script cannot be run as a function of its arrays, and says why.
    """
    script = Script(asked)
    own = script.arrays
    count = sum(min(array.size, numerics.MAX_ENTRIES) for array in own.values())
    if script.seconds * count * 8 * DATA_SETS > PATIENCE:
        raise LiftError(
            Problem(
                f"a run takes {script.seconds:.1f} s, and differences need {count * 8 * DATA_SETS:,}",
                way_out="Make the data or the network smaller: a few rows and units are enough for an audit.",
            )
        )
    letters = (f"{letter}{mark}" for mark in ("", *range(2, 99)) for letter in string.ascii_lowercase[8:])
    axes = {name: " ".join(itertools.islice(letters, array.ndim)) for name, array in own.items()}
    draws = [(seed, variation.perturbed(own, seed) if seed else own) for seed in range(DATA_SETS)]
    for seed, arrays in draws:
        script.needs_to_react(arrays, seed)
    data = f"on the script's own data and on {DATA_SETS - 1} perturbed data sets"

    def judgement(sign: int, data: str) -> Judgement:
        checks = [
            numerics.check_functions(
                partial(script.forward, seed), partial(script.backward, seed, sign), axes, seed=seed, arrays=arrays
            )
            for seed, arrays in draws
        ]
        gradients = tuple((name, script.pairs[name]) for name in own)
        checks = [replace(check, gradients=gradients) for check in checks]
        return Judgement(script.name, reason, data, tuple(checks), tuple(script.notes), tuple(script.misshapen))

    def directed() -> Judgement:
        """As gradients, or as the direction of descent."""
        found = judgement(1, data)
        words = [word_of(grad) for grad in script.pairs.values()]
        named = any(HOLDS.fullmatch(word) or any(meanings(word)) for word in words)
        added = script.first.added
        if found.ok or added is False or (named and added is None):
            return found
        other = judgement(-1, f"{data}, with the opposite sign: they are the direction of descent")
        fewer = len(found.wrong) - len(other.wrong)
        return other if fewer > 0 or (added and fewer == 0) else found

    found = directed()
    numbers = [name for name, _ in script.data if not is_labels(eval(name, script.space))]
    script.held = [name for name in numbers if variation.is_special(script.first.before[name])]
    if not found.wrong or not script.held:
        return found
    kept = replace(directed(), provisos=(as_in_code(script.held),))
    return kept if len(kept.wrong) < len(found.wrong) else found


def is_text(statement: ast.stmt) -> bool:
    """Whether a statement is only a text, such as the docstring of a file."""
    match statement:
        case ast.Expr(ast.Constant(str())):
            return True
        case _:
            return False


class _Done(Exception):
    """The part of the script that counts has been run."""


@dataclass
class Run:
    """One run of a script, up to where a parameter changes after its gradient is known.

    What is put in: `planned` arrays and `redrawn` data, by how many statements were done before; all other numbers are
    those of the script. What is found: after how many statements the parameters were `made` and data was `drawn`, the
    values `before`, what is computed from no array (`leaves`, which have `starts`) and what is (`others`), whether
    gradients are `added` to their parameters or subtracted, and the `result`.
    """

    planned: Mapping[int, Arrays] = field(default_factory=dict)
    redrawn: Mapping[int, Sequence[str]] = field(default_factory=dict)
    seed: int = 0
    end: tuple[int, int] | None = None
    count: int = 0
    number: int = 0
    made: dict[str, int] = field(default_factory=dict)
    drawn: dict[str, int] = field(default_factory=dict)
    before: Arrays = field(default_factory=dict)
    leaves: set[str] = field(default_factory=set)
    starts: Arrays = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    added: bool | None = None
    result: Outcome | None = None


class Script:
    """A script with the names of its loss, its parameters and their gradients."""

    def __init__(self, asked: Asked) -> None:
        text, filename = rewriting.read(asked.subject)
        self.name = "the code" if filename == "<script>" else filename
        self.tree = rewriting.tree_of(text, filename)
        self.statements: list[ast.stmt] = []
        self.code = compile(self.hooked(), filename, "exec")
        self.space: dict[str, Any] = {}
        self.loss = ""
        self.pairs: dict[str, str] = {}
        self.misshapen: list[Misshapen] = []
        self.held: Sequence[str] = ()
        whole = self.execute(Run())
        self.loss = asked.loss if isinstance(asked.loss, str) else found_loss(self.space)
        self.pairs = self.found_pairs(asked.grads, asked.wrt, whole)
        self.notes = list(self.left_out(whole)) if asked.wrt is None else []
        start = time.process_time()
        self.first = self.execute(Run())
        self.seconds = time.process_time() - start
        again = self.execute(Run())
        self.lengths = self.looked_up() if self.first.result is not None else {}
        if self.first.result is None:
            raise LiftError(Problem("its loss and its gradients are never known together"))
        if unknown := [name for name in self.pairs if name not in self.first.before]:
            arrays = [name for name, value in self.space.items() if is_numbers(value)]
            raise LiftError(
                *(Problem(f"{name!r} holds no numbers", way_out=did_you_mean(name, arrays)) for name in unknown)
            )
        if again.result is None or again.result[0] != self.first.result[0]:
            raise LiftError(
                Problem("it computes something else in every run", way_out="Give its random numbers a seed.")
            )
        for name, grad in self.first.result[1].items():
            one, other = self.first.before[name].shape, grad.shape
            if [size for size in one if size != 1] != [size for size in other if size != 1]:
                self.misshapen.append(Misshapen(name, self.pairs.pop(name), one, other))
        if not self.pairs:
            raise LiftError(
                *(
                    Problem(f"{one.grad} has shape {one.got}, and {one.tensor} has {one.expected}")
                    for one in self.misshapen
                )
            )

    # running

    def hooked(self) -> ast.Module:
        """The tree, with a call behind every statement outside functions; imports and docstrings change no array."""

        def behind(body: Sequence[ast.stmt]) -> list[ast.stmt]:
            found: list[ast.stmt] = []
            for one in body:
                found.append(one)
                if isinstance(one, (ast.Import, ast.ImportFrom)) or is_text(one):
                    continue
                for name in ("body", "orelse", "finalbody"):
                    inner = getattr(one, name, None)
                    if inner and not isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                        setattr(one, name, behind(inner))
                call = ast.Call(ast.Name(HOOK, ast.Load()), [ast.Constant(len(self.statements))], [])
                found.append(ast.copy_location(ast.Expr(call), one))
                self.statements.append(one)
            return found

        return ast.fix_missing_locations(ast.Module(behind(self.tree.body), []))

    def execute(self, run: Run) -> Run:
        """The script, up to the end of a run; its output is kept from the terminal."""
        import numpy as np

        state, other = np.random.get_state(), random.getstate()
        np.random.seed(0)
        random.seed(0)
        self.space = {"__name__": "__main__", "__file__": self.name, HOOK: partial(self.after, run)}
        try:
            with np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
                exec(self.code, self.space)
        except (_Done, SystemExit):
            pass
        except Exception as error:  # whatever the script raises
            rows = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == self.code.co_filename]
            place = f"line {rows[-1].lineno}: {rows[-1].line}" if rows else ""
            raise LiftError(Problem(f"the code raises {type(error).__name__}: {error}", place)) from error
        finally:
            np.random.set_state(state)
            random.setstate(other)
        if self.loss and run.result is None:
            run.result = self.outcome()
        return run

    def after(self, run: Run, number: int) -> None:
        """What is done behind a statement."""
        import numpy as np

        run.count += 1
        for name, array in run.planned.get(run.count, {}).items():
            self.put(name, array)
        for name in run.redrawn.get(run.count, ()):
            self.redraw(name, run)
        if run.end is not None:
            if run.count < run.end[0]:
                return
            run.result = self.outcome() if number == run.end[1] else None
            raise _Done
        names, free = self.written(self.statements[number])
        (run.leaves if free else run.others).update(names)
        if not self.loss:
            made = {name: self.space[name] for name in names if free and name in self.space}
            starts = keeping.of_names(made).items()
            run.starts |= {keeping.spelled(path): np.array(value) for path, value in starts if is_numbers(value)}
            return
        now = {name: array for name in {**self.pairs, **run.drawn} if (array := self.value(name)) is not None}
        changed = [name for name, array in now.items() if not same(array, run.before.get(name))]
        if run.result is not None and run.before.keys() & changed:
            run.count -= 1
            steps = {name: now[name] - run.before[name] for name in changed if name in run.before}
            run.added = is_along(steps, run.result[1])
            raise _Done
        for name in names if free else ():
            array = eval(name, self.space)
            if name not in self.pairs and (is_data(array) or is_labels(array)):
                run.drawn[name] = run.count
                now[name] = np.array(array)
        run.made |= dict.fromkeys(changed, run.count)
        run.before, run.number = now, number
        run.result = self.outcome()

    def written(self, statement: ast.stmt) -> tuple[list[str], bool]:
        """What a statement gives a value to, and whether it reads no numbers for it but sizes; an update by a gradient
        is no new value.
        """
        match statement:
            case ast.Assign(targets, value):
                pass
            case ast.AnnAssign(target, _, ast.expr() as value) | ast.AugAssign(target, _, value):
                targets = [target]
            case _:
                return [], True
        parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        names = [ast.unparse(part) for part in parts]
        read = list(names_read(value))
        words = {plain(rest) for name in read for rest in meanings(name)}
        by_gradients = any(HOLDS.fullmatch(name) for name in read)
        updated = [name for name in names if by_gradients or plain(word_of(name)) in words]
        free = not isinstance(statement, ast.AugAssign) and not any(holds_numbers(self.space.get(one)) for one in read)
        return [name for name in names if name not in updated], free

    def outcome(self) -> Outcome | None:
        """The loss and the gradients, where all of them are known."""
        loss = self.value(self.loss)
        grads = {name: self.value(grad) for name, grad in self.pairs.items()}
        if loss is None or loss.size != 1 or any(grad is None for grad in grads.values()):
            return None
        return float(loss.reshape(())), {name: grad for name, grad in grads.items() if grad is not None}

    def value(self, expression: str) -> Array | None:
        """The numbers that an expression has now, if it has any."""
        import numpy as np

        try:
            value = np.asarray(eval(expression, self.space))
            return np.array(value, dtype=float) if value.dtype.kind in "fiu" else None
        except Exception:  # not known yet
            return None

    def put(self, name: str, array: Array) -> None:
        """Gives a tensor other numbers: in place where that goes, for whoever holds the same array, or else wherever
        it is held, as single precision is too coarse for differences.
        """
        import numpy as np

        old = eval(name, self.space)
        if isinstance(old, np.ndarray) and old.dtype == float and old.flags.writeable:
            old[...] = array
        elif isinstance(old, np.ndarray) and old.dtype.kind == "f":
            held = [keeping.spelled(path) for path, value in keeping.everything(self.space) if value is old]
            for place in dict.fromkeys([name, *held]):
                exec(f"{place} = _value", {"_value": np.array(array)}, self.space)
        else:
            value = np.array(array) if isinstance(old, np.ndarray) else float(array)
            exec(f"{name} = _value", {"_value": value}, self.space)

    def redraw(self, name: str, run: Run) -> None:
        """Fresh data of the same kind in an array that the script has just made."""
        import numpy as np

        old = self.value(name)
        if old is None:
            return
        rng = np.random.default_rng([run.seed, run.count])
        labels = is_labels(eval(name, self.space))
        self.put(
            name, self.other_labels(name, old, rng) if labels else variation.similar(old, old.shape, rng, truths=True)
        )

    def other_labels(self, name: str, old: Array, rng: Any) -> Array:
        """Whole numbers of the same kind, among them those that are missing below the length of what they look up."""
        import numpy as np

        numbers = np.arange(old.min(), max(old.max() + 1, self.lengths.get(name, 0))).astype(int)
        mixed = rng.permutation(np.resize(rng.permutation(numbers), old.size))
        once = len(np.unique(old)) == old.size and old.max() - old.min() == old.size - 1
        return rng.permutation(old.astype(int)) if once else mixed.reshape(old.shape)

    # as two functions

    @cached_property
    def arrays(self) -> Arrays:
        """The parameters of the first run."""
        return {name: self.first.before[name] for name in self.pairs}

    def again(self, arrays: Arrays, seed: int) -> Outcome:
        """The loss and the gradients with other numbers; data is drawn anew unless it is held, or the seed is 0."""
        planned: dict[int, Arrays] = {}
        for name, array in arrays.items():
            planned.setdefault(self.first.made[name], {})[name] = array
        redrawn: dict[int, list[str]] = {}
        for name, count in self.data if seed else ():
            if name not in self.held:
                redrawn.setdefault(count, []).append(name)
        run = self.execute(Run(planned, redrawn, seed, (self.first.count, self.first.number)))
        if run.result is None:
            raise LiftError(Problem("with other numbers the script takes other steps"))
        return run.result

    @cached_property
    def data(self) -> list[tuple[str, int]]:
        """Arrays of numbers that are no parameters, and how many statements made them."""
        return [(name, count) for name, count in self.first.drawn.items() if name in self.first.before]

    def forward(self, seed: int, **arrays: Array) -> float:
        if any(array.dtype.kind == "c" for array in arrays.values()):
            raise TypeError("a script is run on real numbers")
        return self.again(arrays, seed)[0]

    def backward(self, seed: int, sign: int, **arrays: Array) -> Arrays:
        _, grads = self.again(arrays, seed)
        return {name: sign * grad.reshape(arrays[name].shape) for name, grad in grads.items()}

    def needs_to_react(self, arrays: Arrays, seed: int) -> None:
        """Raises LiftError for a tensor whose numbers do not enter the loss, although its gradient is not zero."""
        import numpy as np

        loss, grads = self.again(arrays, seed)
        rng = np.random.default_rng(seed)
        moved = {name: array + 1e-3 * rng.normal(size=array.shape) for name, array in arrays.items()}
        still = [name for name in arrays if self.again({**arrays, name: moved[name]}, seed)[0] == loss]
        for name in still:
            if len(still) == len(arrays) or np.any(grads[name]):
                line = self.statements[self.first.number].lineno
                raise LiftError(Problem(f"other numbers in {name} do not change the loss {self.loss} of line {line}"))

    def looked_up(self) -> dict[str, int]:
        """For labels the length of the axis that they look up: the first number that is too large for the script."""
        import numpy as np

        found: dict[str, int] = {}
        axes = sorted({size for array in self.first.before.values() for size in np.shape(array)})
        for name, count in self.first.drawn.items():
            old = self.first.before.get(name)
            if old is None or not is_labels(eval(name, self.space)):
                continue
            for size in (size for size in axes if size > old.max()):
                most, beyond = (np.where(old == old.max(), top, old).astype(int) for top in (size - 1, size))
                if self.runs_with(name, count, most) and not self.runs_with(name, count, beyond):
                    found[name] = size
                    break
        return found

    def runs_with(self, name: str, count: int, array: Array) -> bool:
        """Whether the script runs with another array."""
        try:
            return (
                self.execute(Run({count: {name: array}}, end=(self.first.count, self.first.number))).result is not None
            )
        except LiftError:
            return False

    # names

    def found_pairs(
        self, grads: str | Sequence[str] | None, wrt: str | Sequence[str] | None, whole: Run
    ) -> dict[str, str]:
        """For every parameter the expression of its gradient."""

        asked = parts_of(wrt) if wrt is not None else None
        claimed = parts_of(grads) if grads is not None else None
        if asked is not None and claimed is not None:
            if len(asked) != len(claimed):
                raise LiftError(Problem(f"{len(claimed)} gradients are named for {len(asked)} tensors"))
            return dict(zip(asked, claimed, strict=True))
        places = {
            path: keeping.spelled(path) for path, value in keeping.of_names(self.space).items() if is_numbers(value)
        }
        known = {name: array for name in places.values() if (array := self.value(name)) is not None}
        leaves = {name for name in known if whole.leaves & {name, re.split(r"\W", name)[0]}} - whole.others
        state = {path: name if name in leaves else None for path, name in places.items()}
        pairs: dict[str, str] = {}
        for name in asked if asked is not None else leaves:
            said = keeping.claiming(state, name, leaves, meanings, HOLDS) if name in leaves else ()
            found = [places[path] for path in said] + [grad for grad in known if self.means(grad, name, known, leaves)]
            fitting = [grad for grad in dict.fromkeys(found) if self.shape(grad) == self.shape(name)]
            fitting = [grad for grad in fitting if claimed is None or grad in claimed]
            if any(not same(known[grad], known[fitting[0]]) for grad in fitting):
                words = " and ".join(fitting)
                raise LiftError(
                    Problem(
                        f"{words} are not the same, and each is called the gradient of {name}",
                        way_out=f'Say which is meant: audit(file, wrt="{name}", grads="{fitting[-1]}").',
                    )
                )
            word = word_of(name)
            if fitting:
                pairs[name] = fitting[-1]
            elif found and claimed is None and not naming.DATA.fullmatch(word) and not naming.STATE.fullmatch(word):
                pairs[name] = found[0]
        if not pairs:
            raise LiftError(
                Problem(
                    "no gradient is named after a parameter",
                    way_out='Name them: audit(file, wrt="W, b", grads="my_gW, my_gb").',
                )
            )
        order = [*known]
        return {name: pairs[name] for name in sorted(pairs, key=lambda name: order.index(pairs[name]))}

    def left_out(self, whole: Run) -> Iterator[str]:
        """What the script starts with and changes, and has no gradient by its name."""
        known = {self.loss, *self.pairs, *self.pairs.values()}
        names = [name for name in whole.starts if name not in known and not LOSS.fullmatch(word_of(name))]
        changed = [
            name for name in names if (now := self.value(name)) is not None and not same(now, whole.starts[name])
        ]
        if changed:
            yield f"{', '.join(changed)}: changed by the code, and no gradient has that name, so it was not judged"
        stepped = {name: whole.starts[name] for name in self.pairs if name in whole.starts}
        if any(not same(start, self.value(name)) for name, start in stepped.items()):
            yield "the steps are not judged"

    def shape(self, expression: str) -> tuple[int, ...] | None:
        found = self.value(expression)
        return None if found is None else found.shape

    def means(self, grad: str, name: str, known: Arrays, leaves: Container[str]) -> bool:
        """Whether the name of a gradient says one tensor, and no other of its shape."""
        words = {plain(rest) for rest in meanings(word_of(grad))}
        said = [
            other
            for other, array in known.items()
            if plain(word_of(other)) in words and other in leaves and other != grad and array.shape == known[grad].shape
        ]
        return said == [name]


def found_loss(space: Mapping[str, Any]) -> str:
    """A number named like a loss, or a function named like one on arguments of the same names."""

    named = [
        name
        for name, value in space.items()
        if LOSS.fullmatch(name)
        and not DERIVATIVE.fullmatch(name)
        and is_numbers(value)
        and not getattr(value, "shape", ())
    ]
    if len(named) == 1:
        return named[0]
    call = loss_call(space, space.keys())
    if named or not call:
        raise LiftError(
            Problem(
                f"it is not clear which is the loss: {', '.join(named)}" if named else "no loss was found",
                way_out='Say what the loss is: audit(file, loss="np.mean((A - Y) ** 2)").',
            )
        )
    return call


def word_of(expression: str) -> str:
    """The name in an expression that says what it is: `dW1` of `grads['dW1']`."""
    return str(re.findall(r"\w+", expression)[-1])


def is_numbers(value: Any) -> bool:
    """Whether a value is an array of numbers, or a number."""
    import numpy as np

    return isinstance(value, (np.ndarray, np.generic, float)) and np.asarray(value).dtype.kind in "fiu"


def holds_numbers(value: Any) -> bool:
    """Whether a value holds arrays of numbers, also in lists, dictionaries and objects of the script's own classes."""
    import numpy as np

    match value:
        case np.ndarray():
            return True
        case list() if any(isinstance(part, float) for part in value):
            return True
        case dict() | list() | tuple():
            return any(map(holds_numbers, value.values() if isinstance(value, dict) else value))
        case _:
            return type(value).__module__ == "__main__" and not isinstance(value, type | types.FunctionType)


def names_read(node: ast.AST) -> Iterator[str]:
    """The names that an expression reads, but for their sizes."""
    match node:
        case ast.Attribute(_, "shape" | "size" | "ndim" | "dtype") | ast.Call(ast.Name("len")):
            return
        case ast.Name(name):
            yield name
    for part in ast.iter_child_nodes(node):
        yield from names_read(part)


def is_data(value: Any) -> bool:
    """Whether a value is an array of several numbers that are no positions; what starts as a constant is no data."""
    import numpy as np

    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1 and value.min() < value.max()


def is_labels(value: Any) -> bool:
    """Whether a value is a row of whole numbers, and not all of them are equal."""
    import numpy as np

    row = isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size == max(value.shape, default=0) > 1
    return bool(row and value.min() >= 0 and value.min() < value.max())


def same(one: Array, other: Array | None) -> bool:
    import numpy as np

    return other is not None and np.array_equal(one, other, equal_nan=True)


def is_along(steps: Arrays, grads: Arrays) -> bool | None:
    """Whether steps lead where gradients do, and not against them, however long they are; None where neither is so."""
    import numpy as np

    pairs = [(step, grads[name]) for name, step in steps.items() if name in grads and grads[name].size == step.size]
    way = sum(float(np.vdot(step, grad)) for step, grad in pairs)
    return way > 0 if way else None
