"""Running code so that every operation is recorded: what the rewritten code calls.

Every operation of the code has become a call of a method of `Tracer`, with the place where it stands: operators,
subscripts, calls, names that are given, loops and branches. Functions of the author are rewritten when they are called.
"""

from __future__ import annotations

import ast
import itertools
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from indexprop import keeping
from indexprop.calling import Calling
from indexprop.ir import Access, Sum, split_number
from indexprop.operands import Selection, Traced
from indexprop.records import Branch
from indexprop.rewriting import TRACER, Code, LiftError, stored_names, tree_of
from indexprop.suppositions import Supposed
from indexprop.training import KEPT, PASS
from indexprop.values import flatten, plain


class Tracer(Calling):
    """Runs rewritten code and records what it computes."""

    # branches, loops, subscripts

    def branch(self, place: int, test: Any) -> Any:
        self.at(place)
        if isinstance(test, Traced):
            return self.decided(test)
        if isinstance(test, bool):
            self.path.setdefault((self.line().number, test), Branch(self.line(), test, data=False))
        return test

    def decided(self, test: Traced) -> bool:
        """What the code does next depends on an array: it is followed, and said."""
        if test.data.ndim and self.ways is not None:
            if self.taken == len(self.ways):
                self.ways.append((test, True))
            self.taken += 1
            return self.ways[self.taken - 1][1]
        if test.data.size != 1:
            raise self.stop("an array decides a branch", way_out="Use np.where.")
        taken = bool(test.data)
        self.path[self.line().number, taken] = Branch(self.line(), taken, data=True)
        return taken

    def loop(self, place: int, values: Any) -> Iterator[Any]:
        """What a loop runs over, with a count of its passes; a generator of the code counts those of its own loops."""
        self.at(place)
        if isinstance(values, types.GeneratorType):
            yield from values
            return
        if isinstance(values, Traced):
            values = self.counted_out(values)
        if isinstance(values, range):
            known = self.ranges.get(id(values))
            ends = known[1] if known is not None else (values.start, values.stop, values.step)
            self.trips[self.now(), place] = ends
        if self.plan is not None and (count := self.plan.skipped.get(self.line().number)):
            values = itertools.islice(values, count, None)
        frame, line, rest = [place, 0], self.line().number, iter(values)
        self.loops.append(frame)
        try:
            for number, value in enumerate(rest):
                frame[1] = number
                outer = tuple((other, count) for other, count in self.loops[: self.depth(frame)])
                self.runs[outer, place] = number + 1
                yield self.entered(value)
        finally:
            if self.kept.counts[line] == KEPT and not any(True for _ in rest):
                self.kept.complete.add(line)
            if any(other is frame for other in self.loops):
                del self.loops[self.depth(frame) :]

    def counted_out(self, values: Traced) -> Any:
        """What a loop over `np.arange(n)` runs over: plain numbers; over anything else, its entries."""
        plain_numbers = (
            values.data.ndim == 1 and values.data.dtype.kind in "iu" and (values.raw or self.is_made(values))
        )
        if not plain_numbers or len(values.data) < 1:
            return values
        numbers = values.data.tolist()
        step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        progression = range(numbers[0], numbers[-1] + (1 if step > 0 else -1), step) if step else range(0)
        if list(progression) != numbers:
            return values
        if (ends := self.aranges.get(id(values))) is not None:
            self.ranges[id(progression)] = progression, ends[1]
        return progression

    def item(self, place: int, owner: Any, key: Any, name: str) -> Any:
        self.at(place)
        value = self.part(owner, key)
        if isinstance(owner, Mapping) and isinstance(key, str):
            return self.outside(key, value, owner)
        if isinstance(owner, (Mapping, list, tuple)) and isinstance(value, Traced):
            return self.outside(self.entry_name(name, owner, plain(key)), value, owner)
        return value

    # scripts

    def run(self, text: str, filename: str, supposed: Supposed | None = None) -> dict[str, Any]:
        """Runs a script, perhaps with a supposed loss; the names that it leaves behind."""
        code = Code(text, filename)
        tree = tree_of(text, filename)
        tree = supposed.into(tree) if supposed is not None else tree
        self.written.update(stored_names(tree))
        space: dict[str, Any] = {"__name__": "__main__", "__file__": filename, TRACER: self, PASS: self.kept}
        self.guarded(lambda: exec(self.compiled(tree, code), space))
        kept = [value for _, value in keeping.everything(space)]
        self.guarded(lambda: self.complete(value for value in [*flatten(space), *kept] if isinstance(value, Traced)))
        self.guarded(lambda: self.entries_named(space))
        self.keep("", keeping.of_names(space))
        stale = [name for name, value in space.items() if isinstance(value, Traced) and value.stale is not None]
        return {name: value for name, value in space.items() if not name.startswith("_") and name not in stale}

    def entries_named(self, space: Mapping[str, Any]) -> None:
        """What is left in containers of gradients gets names, as if it had been put there one by one; so does what is
        left of a parameter in an object that a step makes anew: `p = Params(*[w - lr * d for w, d in zip(p, g)])`.
        """
        for path, value in keeping.of_names(space).items():
            word = next((word for _, word in path[:-1] if isinstance(word, str) and keeping.HOLDS.fullmatch(word)), "")
            open_ended = isinstance(value, Selection) or not isinstance(value, Traced)
            if open_ended or value.name or value.raw or value.writing is not None:
                continue
            terms = value.expr.terms if isinstance(value.expr, Sum) else ()
            descends = path[-1][0] == "attribute" and any(split_number(term)[0] < 0 for term in terms)
            whole = {term.tensor for term in terms if isinstance(term, Access)} if descends else set()
            anew = [name for name in self.inputs if name in whole and self.written_as[name] == path[-1][1]]
            if not word and not anew:
                continue
            self.here = value.made
            made = self.step(f"{word}_{path[-1][1]}" if word else anew[0], self.traced(value))
            value.axes, value.expr, value.name, value.groups = made.axes, made.expr, made.name, {}

    def complete(self, values: Iterable[Traced]) -> None:
        """What a script leaves behind is recorded to the end."""
        for value in values:
            chosen = isinstance(value, Selection) and not value.used
            if chosen:
                self.here = value.made
            if value.writing is not None or chosen:
                self.traced(value)

    def after(self, space: dict[str, Any], name: str, expression: str) -> Any:
        """An expression over the names that a script leaves behind, as one more line of it."""
        text = f"{name} = {expression}"
        code = Code(text, f"<{name}>")
        known = {**self.by_name(), **space, TRACER: self}
        self.guarded(lambda: exec(self.compiled(ast.parse(text), code), known))
        return self.settle(known[name], "asked")

    def by_name(self) -> dict[str, Traced]:
        """Every tensor, by its names."""
        found = {}
        for name, axes in self.tensors.items():
            data = self.values[name]
            value = Traced(self, data, axes, Access(name, tuple(mark for mark in axes if mark is not None)))
            value.name, value.used = name, True
            found[name] = value
        return found | {alias: found[name] for alias, name in self.aliases.items() if name in found}

    def settle(self, value: Any, name: str) -> Any:
        """A result with a step for every expression in it."""
        if isinstance(value, (list, tuple)):
            return [self.settle(part, name) for part in value]
        if isinstance(value, Mapping):
            return {key: self.settle(part, name) for key, part in value.items()}
        if not isinstance(value, Traced):
            return value
        if value.stale is not None:
            raise self.fresh_only(value)
        if value.writing is not None:
            value.called = value.called or name
            self.flush(value)
        if value.name or (value.raw and name == "asked"):
            return value
        plain = not (value.raw or value.lazy or isinstance(value, Selection))
        return self.step(name, value if plain else self.traced(value))

    def guarded(self, action: Callable[[], Any]) -> Any:
        """An action of the author's code: what goes wrong in it is shown where it stands."""
        try:
            result = action()
        except LiftError:
            raise
        except SystemExit:
            result = None  # a script may end early
        except Exception as error:  # whatever the code raises
            if self.failure is not None:
                raise self.failure from None
            fact = f"the code raises {type(error).__name__}: {error}"
            way_out = "Code is lifted by running it: let it run on its own first."
            raise self.stop(fact, place=self.raised_at(error), way_out=way_out) from error
        if self.failure is not None:
            raise self.failure
        return result

    def raised_at(self, error: Exception) -> str:
        """The line that an error comes from, if no operation of it was recorded: a name that is not there, say."""
        rows = [
            (code, row.lineno)
            for row in traceback.extract_tb(error.__traceback__)
            for code in self.codes
            if row.filename == code.filename
        ]
        here = self.here[0] if self.here is not None else None
        if not rows or any(code is here and number == self.line().number for code, number in rows):
            return ""
        code, number = rows[-1]
        line = code.line(number or 0)
        return f"line {line.number}: {line.text.strip()}" if line.text else ""

    def text(self) -> str:
        return self.codes[0].text if self.codes else ""
