"""What makes a list of steps a program: names, the order of lines, axes, indices, sizes; all that is wrong at once."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace

from indexprop import ir
from indexprop.errors import NameProblem, NotationError, Problem, did_you_mean, underline
from indexprop.functions import INDEXED, TABLE, named
from indexprop.ir import (
    Access,
    Apply,
    Call,
    Expr,
    Fact,
    Group,
    Guard,
    Index,
    Lookup,
    Loop,
    Partial,
    Program,
    Reduce,
    Slot,
    Step,
    Sum,
)
from indexprop.printing import format_access, format_rank, format_slot, format_step, show

RESERVED = frozenset(
    {"np", "numpy", "math", "input", "output", "batch", "sum", "mean", "prod", "max", "min", "contract"}
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOTTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


def name_problem(name: str, *, index: bool = False) -> str:
    """Why a text cannot be the name of a tensor, or of an index; empty if it can.

    >>> name_problem("lambda")
    "'lambda' is a word of Python"
    >>> name_problem("encoder.2.Wq")
    ''
    """
    if not isinstance(name, str) or not (_PLAIN if index else _DOTTED).fullmatch(name):
        return f"{name!r} is not a plain name: ASCII letters, digits and _" + (
            "" if index else ", parts joined by dots"
        )
    if keyword.iskeyword(name) or (keyword.issoftkeyword(name) and name != "_"):
        return f"{name!r} is a word of Python"
    if name.startswith("__"):
        return f"{name!r} starts with two underscores, which Python keeps for itself"
    if not index and is_reserved(name):
        return f"{name!r} is reserved: it names a function or a word of the notation"
    return ""


def is_reserved(name: str) -> bool:
    """Whether a name means something else by itself; with another part before it or after it, it may name a tensor.

    >>> is_reserved("mean"), is_reserved("stats.mean")
    (True, False)
    """
    return name in RESERVED or name in TABLE or name in INDEXED


def in_ascii(name: str) -> str:
    """The name of a variable of Python in ASCII: accents go, other letters are spelled.

    >>> in_ascii("d\N{GREEK SMALL LETTER SIGMA}_1"), in_ascii("\N{LATIN CAPITAL LETTER W WITH CIRCUMFLEX}")
    ('dsigma_1', 'W')
    """

    def spelled(sign: str) -> str:
        if sign.isascii() or unicodedata.combining(sign):
            return sign if sign.isascii() else ""
        word = "".join(filter(str.isalnum, unicodedata.name(sign, "x").split()[-1].lower()))
        return word.capitalize() if sign.isupper() else word

    return "".join(map(spelled, unicodedata.normalize("NFKD", name)))


def another_name(name: str) -> str:
    """The way out for a name that something cannot have."""
    if isinstance(name, str) and is_reserved(name):
        return f"Choose another name, such as '{name}1' or 'x.{name}'."
    return "Choose another name, such as 'W1' or 'encoder.2.Wq'."


def check_name(name: str, *, index: bool = False) -> str:
    """The name, if it can be one; otherwise NameProblem."""
    problem = name_problem(name, index=index)
    if problem:
        raise NameProblem(Problem(problem, way_out=another_name(name)))
    return name


def assemble(
    steps: Iterable[Step],
    *,
    inputs: Iterable[Access] = (),
    outputs: Iterable[str] | None = None,
    batch: Index | None = None,
    facts: Iterable[Fact] = (),
) -> Program:
    """A valid program from steps; inputs and outputs that are not given follow from what is read and written."""
    declared = {access.tensor: access for access in inputs}
    program = ir.gather(tuple(steps), declared, None if outputs is None else tuple(outputs), batch, facts)
    validate(program)
    return program


Place = Callable[[int, Access | None, int | None], str]
"""Shows the line of a step with carets under an access, or under one of its slots."""


def validate(program: Program, place: Place | None = None) -> None:
    """Raises NotationError with everything that keeps a list of steps from being a program."""
    if "valid" in vars(program):  # it does not change, so that once is enough
        return
    steps = program.steps
    at: Place = place or (lambda number, access, slot: show(steps[number], access, slot))
    problems: list[Problem] = []
    problems.extend(_name_problems(program, at))
    problems.extend(_order_problems(program, at))
    problems.extend(_rank_problems(program, at))
    problems.extend(_index_problems(program, at))
    problems.extend(_lookup_problems(program, at))
    problems.extend(_size_problems(program, at, alone=not problems))
    if problems:
        raise NotationError(*problems)
    vars(program)["valid"] = True


def _name_problems(program: Program, at: Place) -> Iterable[Problem]:
    for access in program.inputs:
        unnamed = [axis for axis, name in enumerate(access.names, start=1) if not name]
        if unnamed:
            yield Problem(
                f"axis {unnamed[0]} of {access.tensor!r} has no name: no line reads it at a plain index",
                way_out=f"Declare the axes, for example 'input {_declaration(access)}'.",
            )
            continue
        for text, is_index in ((access.tensor, False), *((slot, True) for slot in access.names)):
            if problem := name_problem(text, index=is_index):
                way_out = "Choose another name for the index." if is_index else another_name(text)
                yield Problem(problem, f"input {format_access(access)}", way_out=way_out)
    seen: set[str] = set()
    unfit = {index: problem for index in program.indices if (problem := name_problem(index, index=True))}
    for number, step in enumerate(program.steps):
        if step.name not in seen and (problem := name_problem(step.name)):
            yield Problem(problem, at(number, step.target, None), way_out=another_name(step.name))
        seen.add(step.name)
        for index in filter(unfit.__contains__, step.indices):
            yield Problem(unfit[index], at(number, None, None), way_out="Choose another name for the index.")
        called = (part.function for one in step.terms for part in ir.walk(one.body) if isinstance(part, Call))
        for function in called:
            if function not in TABLE:
                fact = f"there is no function {function!r}"
                yield Problem(fact, at(number, None, None), way_out=did_you_mean(function, named(TABLE)))


def _declaration(access: Access) -> str:
    names = access.names
    return f"{access.tensor}[{','.join(name or f'n{axis}' for axis, name in enumerate(names, start=1))}]"


def _order_problems(program: Program, at: Place) -> Iterable[Problem]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, step in enumerate(program.steps):
        first.setdefault(step.name, number)
        last[step.name] = number
    inputs = set(program.input_names)
    blocks = _Blocks(program)
    for number, step in enumerate(program.steps):
        name = step.name
        yield from blocks.problems(number, at)
        if name in inputs:
            yield Problem(
                f"{name!r} is declared as an input and written here",
                at(number, step.target, None),
                way_out="Give one of them another name.",
            )
        elif step.operation == "=" and first[name] != number:
            yield Problem(
                f"{name!r} is written twice",
                at(number, step.target, None),
                evidence=f"first written in: {format_step(program.steps[first[name]])}",
                way_out="Give the second one another name, or add to the first with '+='.",
            )
        elif step.operation == "=" and "" in step.target.names:
            yield Problem(
                f"the axes of {name!r} have no names where it is first written",
                at(number, step.target, None),
                way_out=f"Write '{_declaration(step.target)} = 0' first, and add to it with '+='.",
            )
        elif step.operation == "+=" and first[name] == number:
            yield Problem(
                f"{name!r} is added to before it is written",
                at(number, step.target, None),
                way_out="Write the first one with '='.",
            )
        for access in step.reads:
            if last.get(access.tensor, -1) >= number and not blocks.orders(access.tensor, number):
                if access.tensor == name and first[name] != number and step.operation == "=":
                    continue  # it is written twice, which is said
                if access.tensor == name and first[name] == number and step.loop is None:
                    fact, evidence = f"{name!r} is defined by itself", ""
                    way_out = "Give the new value another name."
                else:
                    fact = f"{access.tensor!r} is read before it is written"
                    evidence = f"last written in: {format_step(program.steps[last[access.tensor]])}"
                    way_out = "Move the line down, below the last line that writes it."
                yield Problem(fact, at(number, access, None), evidence, way_out)
    known = inputs | set(first)
    for output in program.outputs:
        if output not in known:
            yield Problem(f"output {output!r} is never written", way_out=did_you_mean(output, sorted(known)))


class _Blocks:
    """Whether the lines of blocks may be done position by position: what is read has been written by then."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.home: dict[str, Loop] = {}  # for a tensor that a block writes: the block,
        self.axis: dict[str, int] = {}  # the axis that the block goes along,
        self.writes: dict[str, list[tuple[int, int, str]]] = {}  # and who writes it, how far ahead, with which sign
        for number, step in enumerate(program.steps):
            if step.loop:
                for axis, slot in enumerate(step.target.slots):
                    ahead = ir.shift(slot, step.loop.index)
                    if ahead is not None:
                        self.home.setdefault(step.name, step.loop)
                        self.axis.setdefault(step.name, axis)
                        self.writes.setdefault(step.name, []).append((number, ahead, step.operation))

    def within(self, tensor: str, step: Step) -> bool:
        """Whether a tensor is written in the block of a step."""
        home = self.home.get(tensor)
        return home is not None and step.loop is not None and (home, home.block) == (step.loop, step.loop.block)

    def orders(self, tensor: str, number: int) -> bool:
        """Whether the lines from here on that write a tensor stand in the same block: `problems` judges its reads."""
        steps = self.program.steps
        return self.within(tensor, steps[number]) and all(
            self.within(tensor, other) for other in steps[number:] if other.name == tensor
        )

    def problems(self, number: int, at: Place) -> Iterable[Problem]:
        step = self.program.steps[number]
        if step.loop is None:
            return
        index, sign = step.loop.index, -1 if step.loop.down else 1
        for part in (part for one in step.terms for part in ir.walk(one.body)):
            if isinstance(part, Apply) and index in part.indices:
                fact = f"{part.function} runs over {index!r}, the index of the block"
                yield Problem(fact, at(number, None, None), way_out="Do that in a line outside the block.")
        for access in (step.target, *step.reads):
            for slot in access.slots:
                inner = slot.slot if isinstance(slot, Partial) else slot
                if isinstance(inner, Group) and index in inner.indices:
                    fact = f"{format_slot(slot)} lays the index of the block, {index!r}, out with others"
                    yield Problem(fact, at(number, access, None), way_out="Do that in a line outside the block.")
        ahead = [found for found in (ir.shift(slot, index) for slot in step.target.slots) if found is not None]
        if not ahead:
            yield Problem(
                f"{step.name!r} has no axis for {index!r}, the index of the block",
                at(number, step.target, None),
                evidence=f"What a block writes has entries of its own at every position of {index!r}.",
                way_out=f"Give it that axis, {step.name}[{','.join([index, *step.target.names])}], "
                "or move the line out of the block.",
            )
            return
        for access in step.reads:
            if not self.within(access.tensor, step) or len(access.slots) <= self.axis[access.tensor]:
                continue
            behind = ir.shift(access.slots[self.axis[access.tensor]], index)
            if behind is None:
                yield Problem(
                    f"{access.tensor!r} is written in this block, and read here at "
                    f"{format_slot(access.slots[self.axis[access.tensor]])!r}",
                    at(number, access, self.axis[access.tensor]),
                    evidence=f"A block reads what it writes at {index!r} or at a fixed distance before it.",
                    way_out="Move the line out of the block, or read it at such a position.",
                )
                continue
            late = [
                (other, far)
                for other, far, _ in self.writes[access.tensor]
                if (behind - far) * sign > 0 or (behind == far and other >= number)
            ]
            if late:
                other, _ = late[0]
                yield Problem(
                    f"{format_access(access)} is not written yet where the block reads it",
                    at(number, access, None),
                    evidence=f"It is written in: {format_step(self.program.steps[other])}",
                    way_out=f"Read an earlier position, such as "
                    f"{format_access(self.earlier(access, index, sign))}, or move the line down.",
                )
        for other, far, operation in self.writes[step.name]:
            if step.operation == "=" and operation == "+=" and (far - ahead[0]) * sign > 0:
                yield Problem(
                    f"{step.name!r} is added to before it is written",
                    at(number, step.target, None),
                    evidence=f"added to in: {format_step(self.program.steps[other])}",
                    way_out="Write it with '=' above the block.",
                )

    def earlier(self, access: Access, index: Index, sign: int) -> Access:
        slots = list(access.slots)
        slots[self.axis[access.tensor]] = Partial(ir.affine([(index, 1)], (), -sign))
        return Access(access.tensor, tuple(slots))


def _rank_problems(program: Program, at: Place) -> Iterable[Problem]:
    first: dict[str, Access] = {access.tensor: access for access in program.inputs}
    for number, step in enumerate(program.steps):
        for access in (step.target, *step.reads):
            known = first.setdefault(access.tensor, access)
            if len(known.slots) != len(access.slots):
                yield Problem(
                    f"{access.tensor!r} has {format_rank(len(known.slots))} in {format_access(known)}"
                    f" and {format_rank(len(access.slots))} in {format_access(access)}",
                    at(number, access, None),
                    way_out="Write one index per axis, the same number everywhere.",
                )


def _index_problems(program: Program, at: Place) -> Iterable[Problem]:
    if program.batch is not None and program.batch not in program.indices:
        yield Problem(
            f"the batch index {program.batch!r} occurs nowhere",
            way_out=did_you_mean(program.batch, program.indices),
        )
    written = {step.name for step in program.steps}
    for number, step in enumerate(program.steps):
        left = set(ir.slot_indices(step.target))
        for one in step.terms:
            for index in ir.free_indices(one.body):
                if index not in left and index not in one.bound:
                    yield Problem(
                        f"index {index!r} is neither on the left nor summed",
                        at(number, None, None),
                        way_out=f"Write sum[{index}](...) around what is summed.",
                    )
            for index in left.intersection(one.bound):
                yield Problem(
                    f"index {index!r} is summed, and stands on the left",
                    at(number, None, None),
                    way_out=f"Give the summed one another name: sum[{index}2](...).",
                )
            if ir.is_flat(one.body):
                continue
            yield from _shadow_problems(one.body, left | set(one.bound), at, number)
            for unclear in dict.fromkeys(_skip_problems(one.body)):
                yield Problem(unclear, at(number, None, None), way_out="Give that part a line and a name of its own.")
        for access in step.placed:
            for read in ir.lookups(access):
                if read.tensor in written:
                    fact = f"{read.tensor!r} is computed, and positions are whole numbers"
                    yield Problem(fact, at(number, access, None), way_out="Give the positions as an input.")


def _lookup_problems(program: Program, at: Place) -> Iterable[Problem]:
    """Inputs without axes that are written like indices: `S[at]` for `S[at[]]`."""
    read = {access.tensor for step in program.steps for access in step.reads}
    unread = {access.tensor for access in program.inputs if not access.slots} - read
    unread -= {name for names in program.axes.values() for name in names} | {fact.index for fact in program.facts}
    for number, step in enumerate(program.steps if unread else ()):
        for access in step.reads:
            for place, slot in enumerate(access.slots):
                for name in [index for index in ir.slot_indices(slot) if index in unread]:
                    unread.remove(name)
                    inner = Lookup(Access(name))
                    looked: Slot = Partial(inner) if isinstance(slot, Partial) else inner
                    slots = (*access.slots[:place], looked, *access.slots[place + 1 :])
                    yield Problem(
                        f"{name!r} is an index here, and the input {name!r} is read nowhere",
                        at(number, access, place),
                        evidence="A name in a slot is an index; a position that a tensor holds has brackets.",
                        way_out=f"Write {format_access(Access(access.tensor, slots))}, "
                        f"or take {name!r} out of the inputs.",
                    )


def _size_problems(program: Program, at: Place, *, alone: bool) -> Iterable[Problem]:
    """Indices without a size; beside other problems only those that no tensor on the right has."""
    sized = set(sized_indices(program))
    for number, step in enumerate(program.steps):
        for index in dict.fromkeys((*step.indices, *ir.sizes_in_slots(step))):
            root = program.same_size.get(index, index)
            if root in sized or not (alone or all(index not in access.slots for access in step.reads)):
                continue
            sized.add(root)
            slot = step.target.slots.index(index) if index in step.target.slots else None
            line = at(number, None, None).partition("\n")[0]
            size = line.find(f"|{index}|")
            by_size = slot is None and size >= 0
            yield Problem(
                f"the size of index {index!r} follows from nothing",
                underline(line, [(size, size + len(index) + 2)]) if by_size else at(number, step.target, slot),
                evidence="No input has an axis of that name.",
                way_out=f"Read a tensor that has {index!r}, correct the name, or add: where |{index}| = ...",
            )


def sized_indices(program: Program) -> dict[Index, int]:
    """The indices, each by the first of its size, whose size follows from the inputs and from the facts, with how many
    steps of reasoning it takes: every size follows from sizes that take fewer.
    """
    same = program.same_size
    known = {same[name]: 0 for access in program.inputs for name in access.names if name}
    rules = [({fact.index}, set(ir.count_indices(fact.value))) for fact in program.facts]
    for whole, parts in ir.group_sizes(program):
        rules.extend(({name}, {whole, *parts} - {name}) for name in (whole, *parts) if parts.count(name) < 2)
    waiting = [({same.get(n, n) for n in makes}, {same.get(n, n) for n in needs}) for makes, needs in rules]
    while ready := [makes for makes, needs in waiting if needs <= known.keys() and not makes <= known.keys()]:
        known |= dict.fromkeys(set().union(*ready), 1 + max(known.values(), default=0))
    return known


_CHOOSING = ("prod", "max", "min", "where", "a function over indices")


def _skip_problems(body: Expr) -> Iterable[str]:
    """Where skipping would have no clear meaning: a condition in a function, a `?` that a maximum or a choice sees."""
    stack = [(body, "")]
    while stack:
        expr, around = stack.pop()
        match expr:
            case Guard() if around:
                yield f"a condition stands inside {around}, where it is not clear what is skipped"
            case Access(_, slots) if around in _CHOOSING:
                if any(isinstance(slot, Partial) for slot in slots):
                    yield f"a slot with '?' stands inside {around}, where it is not clear whether a 0 takes part"
            case Call("where", (condition, *branches)):
                stack.append((condition, around or "a function"))
                inner = "a choice" if around in ("", "a choice") else "where"
                stack.extend((branch, inner) for branch in branches)
            case Call(function, inside):
                if around and TABLE[function].reuses_value and function != "^" and _may_leave(expr):
                    yield f"a slot with '?' stands inside {function} inside {around}"
                kept = around if around in _CHOOSING else "a function"
                stack.extend((argument, kept) for argument in inside)
            case Sum() | Reduce("sum") if around == "a function":  # a part of a sum is what is skipped
                stack.extend((child, "") for child in ir.children(expr))
            case Reduce("sum", _, inner):
                stack.append((inner, around))
            case Reduce(operation, _, inner):
                _, rest = ir.split_guards(inner)
                if not isinstance(rest, Access):
                    stack.append((rest, operation))
            case Apply(_, _, arguments):
                for argument in arguments:
                    _, rest = ir.split_guards(argument)
                    stack.append((rest, "a function over indices"))
            case _:
                stack.extend((child, around) for child in ir.children(expr))


def _may_leave(expr: Expr) -> bool:
    return any(isinstance(slot, Partial) for access in ir.accesses(expr) for slot in access.slots)


def _shadow_problems(expr: Expr, outside: set[Index], at: Place, number: int) -> Iterable[Problem]:
    """Inner sums over a name that already means something outside, at any depth (iteratively: bodies can be wide)."""
    stack = [(expr, outside)]
    while stack:
        top, used = stack.pop()
        if isinstance(top, Reduce):
            for index in top.indices:
                if index in used:
                    yield Problem(
                        f"index {index!r} is summed inside an expression that already uses it",
                        at(number, None, None),
                        way_out=f"Give the inner one another name: {top.operation}[{index}2](...).",
                    )
            used = used | set(top.indices)
        stack.extend((child, used) for child in ir.children(top))


def with_steps(program: Program, steps: Iterable[Step], outputs: Iterable[str] | None = None) -> Program:
    """The program with other steps, and other outputs if given; inputs that nothing reads any more stay."""
    kept = tuple(outputs) if outputs is not None else program.outputs
    return replace(program, steps=tuple(steps), outputs=kept)
