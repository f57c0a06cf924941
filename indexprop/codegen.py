"""Programs as source that people can keep: whole functions, and blocks as loops or as functions of one position.

Two readings of one program: `style="einsum"` shows every contraction with its indices, `style="matmul"` places `@`,
`.T` and `.sum(axis=...)` as a good hand would. Text never depends on sizes.

An expression becomes a `Code`: text, the axes of the array it makes, and how tightly it binds. What writes it is
bookkeeping on named axes, floor by floor: statements, products, entries, places, words. The layout has the last word
on the order of axes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from indexprop import definitions, dialects, ir, printing, validation
from indexprop.breaking import broken
from indexprop.calculus import Gradient, Tangent, program_of
from indexprop.carrying import along, carried
from indexprop.codes import ATOM, COMPARISON, Axes, Code, Scan, doubled, replace_slots, squeeze
from indexprop.functions import TABLE
from indexprop.ir import Access, Index, Loop, Partial, Program, Slot, Step
from indexprop.layouts import Derived, LayoutLike, arrange
from indexprop.printing import WIDTH
from indexprop.source_statements import Statements
from indexprop.source_words import STYLES as STYLES


class Writer(Statements):
    """Writes the steps of one program in one layout, one style and one dialect, block by block."""

    def read(self, access: Access) -> Code:
        """A tensor where it is read: in a function of one position, as that function has it."""
        return (self.scan and self.read_along(access, self.scan)) or super().read(access)

    # blocks: the lines at one position after the other

    def lines(self, loop: Loop | None, run: Sequence[Step]) -> list[str]:
        """The lines of steps; those of a block stand below room for what they write."""
        if loop is None:
            return self.merged(line for step in self.begun(run) for line in self.step(step))
        if self.dialect.scan and (found := carried(self.program, loop, run)):
            return self.scanned(Scan(loop, found), run)
        lines = []
        for step in run:
            if step.operation == "=":
                axes = self.arrangement.memory(replace_slots(step.target, self.program.axes[step.name]))
                comment = " ".join(f"{axis or 1}" for axis in axes)
                room = self.say(self.dialect.empty, shape=self.shape(axes))
                lines.append(f"{self.names[step.name]} = {room}  # {comment}")
        every = f"range({self.size(loop.index)})"
        lines.append(f"for {self.counter(loop)} in {f'reversed({every})' if loop.down else every}:")
        lines += [f"    {line}" for line in self.merged(line for step in run for line in self.step(step))]
        return lines

    def begun(self, run: Sequence[Step]) -> Iterator[Step]:
        """The steps; a line of zeros, and the line behind it that adds at computed positions, as one."""
        begins: Step | None = None
        for step, after in zip(run, [*run[1:], None], strict=True):
            empty = self.dialect.slides and step.terms == ir.collect(()) and ir.is_plain(step.target)
            if empty and after is not None and after.name == step.name and self.scatters(after):
                begins = after
            else:
                yield replace(step, operation="=") if step is begins else step

    def merged(self, lines: Iterable[str]) -> list[str]:
        """Lines that follow each other without warnings, under one head."""
        found: list[str] = []
        quiet = False
        for line in lines:
            head = bool(self.dialect.quiet) and line.startswith(self.dialect.quiet)
            if not (head and quiet):
                found.append(line)
            quiet = head or (quiet and line.startswith("    "))
        return found

    # blocks as functions of one position, which a library calls for one position after the other

    def scanned(self, scan: Scan, run: Sequence[Step]) -> list[str]:
        """A block as a function of what it carries and of everything else at one position, and the call of it."""
        loop, names = scan.loop, self.names
        self.scan = scan
        state, later, body = self.state(scan)
        known = {*state, *scan.given}
        for step in run:
            body += self.line_along(step, scan, known)
        counter, own = self.counter(loop), set(map(id, run))
        if not scan.given or any(re.search(rf"\b{counter}\b", line.partition("  # ")[0]) for line in body):
            scan.given[counter] = self.arange(loop.index)
        read = {access.tensor for step in self.program.steps if id(step) not in own for access in step.reads}
        kept = [name for name in scan.carried.axis if name in read or name in self.outputs]
        made = _packed([self.entry_of(name, 0) for name in kept])
        function, first, second = (ir.fresh(word, self.taken) for word in (f"each_{counter}", "state", "given"))
        self.scan = None
        self.scans.append(function)
        self.helpers |= dict.fromkeys({"scan"} & self.dialect.helpers.keys())
        taken = {first: [*state], second: [*scan.given]}
        opened = [f"{', '.join(parts)} = {whole}" for whole, parts in taken.items() if len(parts) > 1]
        head = ", ".join(whole if len(parts) > 1 else "".join(parts) or "_" for whole, parts in taken.items())
        start, given, reverse = (
            _packed([*state.values()]),
            _packed([*scan.given.values()]),
            ", reverse=True" * loop.down,
        )
        call = self.say(self.dialect.scan, function=function, start=start, given=given, reverse=reverse)
        patterns = [f"{names[name]}: {' '.join(f'{axis or 1}' for axis in self.whole(name))}" for name in kept]
        return [
            "",
            f"def {function}({head}):",
            *(f"    {line}" for line in [*opened, *body, f"return {_packed(later)}, {made}"]),
            "",
            *(f"# {line}" for line in _wrapped([pattern for pattern in patterns if not pattern.endswith(": ")])),
            f"_, {_packed([names[name] for name in kept])} = {call}",
            *(line for name in kept for line in self.laid_out(name, scan.carried.axis[name])),
        ]

    def state(self, scan: Scan) -> tuple[dict[str, str], list[str], list[str]]:
        """What a block carries: its variables and where they start, what they are next, and the lines to begin with."""
        onwards = -1 if scan.loop.down else 1
        state: dict[str, str] = {}
        later: list[str] = []
        body: list[str] = []
        for name, axis in scan.carried.axis.items():
            behind, ahead = scan.carried.behind[name], scan.carried.ahead[name]
            here = self.entry_of(name, 0)
            came = [self.entry_of(name, -onwards * far) for far in range(1, behind + 1)]
            later += [here, *came][:behind]
            if name in scan.carried.above:
                scan.given[here] = self.slice(name, self.program.axes[name][axis], axis).text
            if ahead:
                added = scan.names[name, None] = ir.fresh(f"{self.names[name]}_added", self.taken)
                body.append(f"{here} = {here} + {added}")
                to_come = [self.entry_of(name, onwards * far) for far in range(1, ahead + 1)]
                came += [added, *to_come[:-1]]
                later += to_come
            state |= dict.fromkeys(came, self.zeros(self.rest(name, axis)))
        return state, later, body

    def whole(self, name: str) -> Axes:
        """The axes of a tensor as they lie in memory."""
        access = Access(name, self.program.axes[name])
        return self.arrangement.memory(replace_slots(access, self.program.axes[name]))

    def others(self, access: Access, place: int) -> list[tuple[Slot, Index]]:
        """The slots in the order of memory without one of them, each with the name of its axis."""
        names, order = self.program.axes[access.tensor], self.arrangement.orders[access.tensor]
        return [(access.slots[k], names[k]) for k in order if k is not None and k != place]

    def rest(self, name: str, place: int) -> tuple[Index, ...]:
        """The axes of the entries of a tensor at one position along an axis, as they lie in memory."""
        return tuple(axis for _, axis in self.others(Access(name, self.program.axes[name]), place))

    def laid_out(self, name: str, axis: int) -> list[str]:
        """The line that brings an array of all positions, which come first, to the axes of its tensor."""
        order = [k for k in self.arrangement.orders[name] if k is not None]
        came = [axis, *(k for k in order if k != axis)]
        code = Code(self.names[name], tuple(f"{k}" for k in came))
        code = self.transpose(code, [f"{k}" for k in order])
        whole = self.whole(name)
        if None in whole:
            code = Code(f"{code.at(ATOM)}[{', '.join('None' if one is None else ':' for one in whole)}]", whole)
        return [f"{self.names[name]} = {code.text}"] if code.text != self.names[name] else []

    def entry_of(self, tensor: str, far: int) -> str:
        """The variable for the entries of a tensor that a block writes, at the position or so far from it."""
        assert self.scan
        if (tensor, far) not in self.scan.names:
            self.scan.names[tensor, far] = self.named(tensor, far)
        return self.scan.names[tensor, far]

    def named(self, tensor: str, far: int | None) -> str:
        """A new variable for the entries of a tensor at a position: `H_t`, `H_before`, `H_after2`."""
        assert self.scan
        word = ("after" if far > 0 else "before") + f"{abs(far)}" * (abs(far) > 1) if far else ""
        return ir.fresh(f"{self.names[tensor]}_{word or self.counter(self.scan.loop)}", self.taken)

    def line_along(self, step: Step, scan: Scan, known: set[str]) -> list[str]:
        """The lines of a step of a block, in variables for the entries at its position."""
        fixed = self.at_position(step)
        scan.reads = dict(zip(fixed.reads, step.reads, strict=True))
        axis = scan.carried.axis[step.name]
        name = self.entry_of(step.name, ir.shift(step.target.slots[axis], scan.loop.index) or 0)
        slots = self.others(fixed.target, axis)
        comment = f"  # {printing.format_access(step.target)}"
        new = name not in known
        known.add(name)
        if doubled(slots):
            lines = [f"{name} = {self.zeros(self.rest(step.name, axis))}"] if new else []
            added = self.added(name, [":"] * len(slots), *self.strewn(fixed, slots), comment)
            return [*lines, *added[1 if new and len(added) > 1 else 0 :]]
        code = self.array(self.spread(fixed, slots, tuple(own for _, own in slots)))
        code = code if new else self.joined([(False, Code(name, code.axes)), (False, code)], code.axes)
        return [f"{name} = {code.text}{comment}"]

    def read_along(self, access: Access, scan: Scan) -> Code | None:
        """What a line of a block reads at its position, by the variable for it; None if it is the same everywhere."""
        written = scan.reads.get(access, access)
        places = along(written, scan.loop)
        if not places:
            return None
        place = places[0]
        slot = written.slots[place]
        far = ir.shift(slot, scan.loop.index)
        others = self.others(access, place)
        if access.tensor in scan.carried.axis:
            code = Code(self.entry_of(access.tensor, far or 0), self.rest(access.tensor, place))
            code = self.gathered(code, others)
            leaves = far and isinstance(slot, Partial) and self.skipped != "0"
            axis = self.program.axes[access.tensor][place]
            held = Code(self.in_range(access.slots[place], axis), (), COMPARISON) if leaves else None
            return self.where([held], code, code.axes) if held else code
        alone = len(places) == 1 and len(ir.slot_indices(slot)) == 1
        code = self.slice(access.tensor, slot, place) if alone else self.throughout(written, scan.loop.index)
        text = code.text
        if text not in scan.given.values():
            scan.given[self.named(access.tensor, far if alone else 0)] = text
        code = replace(code, text=next(name for name, given in scan.given.items() if given == text), level=ATOM)
        code = replace(code, axes=code.axes[1:])
        return self.gathered(code, others) if alone else code

    def slice(self, tensor: str, slot: Slot, place: int) -> Code:
        """A tensor read at a slot along one axis, and as it is along the others."""
        [index] = ir.slot_indices(slot)
        axes = range(len(self.program.axes[tensor]))
        return self.throughout(Access(tensor, tuple(slot if k == place else f"{k}" for k in axes)), index)

    def throughout(self, access: Access, index: Index) -> Code:
        """What is read at all positions of a block, which come first."""
        scan, self.scan = self.scan, None
        code = squeeze(self.read(access))
        self.scan = scan
        return self.transpose(code, (index, *(axis for axis in code.named if axis != index)))


def _packed(items: Sequence[str]) -> str:
    """Several things as one: a tuple, or the only one by itself."""
    return items[0] if len(items) == 1 else f"({', '.join(items)})" if items else "None"


def right_side(
    program: Derived, step: Step, layout: LayoutLike = None, style: str = "matmul", *, bare: bool = False
) -> str:
    """The right-hand side of one step as an expression; `bare` is the textbook spelling.

    >>> from indexprop import parse
    >>> net = parse("Z[h,b] = W[h,i] X[i,b] + c[h] \\n batch b")
    >>> right_side(net, net.steps[0], "row"), right_side(net, net.steps[0], style="einsum", bare=True)
    ('X @ W + c', 'einsum("hi,ib->hb", W, X) + c[:, None]')
    """
    return Writer(program_of(program), arrange(program, layout), style, bare=bare).right_side(step).text


# --- whole functions ------------------------------------------------------------------------------


def source(program: Derived, layout: LayoutLike = None, style: str = "matmul", dialect: str = "numpy") -> str:
    """A program as a module with one function, for people to keep.

    >>> from indexprop import parse
    >>> print(source(parse("Y[o,b] = W[o,i] X[i,b] + c[o]")))
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def forward(*, W, X, c):
        # W: o i, X: i b, c: o
        Y = W @ X + c[:, None]  # o b
        return {"Y": Y}

    A gradient becomes `gradient(...)`, which returns the scalar and a dictionary of gradients; a program becomes
    `forward(...)`, which returns a dictionary of its outputs. `layout`: as written unless given; `style`: "matmul"
    or "einsum"; `dialect`: "numpy", "torch" or "jax". Raises LayoutError where the layout does not say enough,
    NotationError for an unknown style or dialect.
    """
    program = expanded(program)
    whole = program_of(program)
    validation.validate(whole)  # whoever built it: only plain names become text that runs
    writer = Writer(whole, arrange(program, layout), style, dialects.dialect(dialect))
    return module(writer, [function(writer, title(program), whole.steps, results(program, writer))])


def function(writer: Writer, name: str, steps: Iterable[Step], result: str, parameters: Sequence[str] = ()) -> str:
    """Steps as a function that returns `result`; of the program's inputs, by name, unless parameters are given."""
    program, names, spoken = writer.program, writer.names, writer.dialect
    writer.sizes, writer.places, writer.scans, writer.uses = {}, {}, [], writer.uses - {"dtype", "device"}
    writer.given = tuple(one for one in program.inputs if not parameters or names[one.tensor] in parameters)
    lines = [line for loop, run in ir.blocks(tuple(steps)) for line in writer.lines(loop, run)]
    lines[:0] = [f"{name} = {text}  # {printing.format_slot(value)}" for value, (name, text) in writer.places.items()]
    inputs = [names[one.tensor] for one in writer.given]
    numbers = [names[one.tensor] for one in writer.given if one.tensor not in {*program.truths, *program.positions}]
    found = {"arrays": ", ".join(numbers), "first": next(iter([*numbers, *inputs]), "")}
    if "device" in writer.uses:
        lines.insert(0, f"device = {(spoken.place if inputs else spoken.nowhere).format(**found)}")
    if "dtype" in writer.uses:
        lines.insert(0, f"dtype = {(spoken.common if numbers else spoken.alone).format(**found)}")
    lines[:0] = [f"{name} = {text}  # |{root}|" for root, (name, text) in writer.sizes.items()]
    every = {names[name]: writer.arrangement.pattern(name) for name in program.axes}
    shapes = [f"{name}: {every[name]}" for name in parameters or inputs if every[name]]
    lines[:0] = [f"# {line}" for line in _wrapped(shapes)]
    head = ", ".join(parameters or (["*", *inputs] if inputs else []))
    return "\n".join([f"def {name}({head}):", *(f"    {line}".rstrip() for line in lines), f"    return {result}"])


def module(writer: Writer, blocks: Sequence[str]) -> str:
    """A file with the blocks, and everything that they use."""
    imports, helpers = surroundings(writer, blocks)
    return broken("\n\n\n".join(["\n".join(imports), *helpers, *blocks]) + "\n")


def surroundings(writer: Writer, body: Sequence[str]) -> tuple[list[str], list[str]]:
    """The imports, and the small functions, that the lines of a writer need."""
    spoken = writer.dialect
    helpers = [spoken.spelling(TABLE[name]).strip("\n") for name in TABLE if name in writer.helpers]
    helpers += [text.strip("\n") for name, text in spoken.helpers.items() if name in writer.helpers]
    said = "\n".join([*helpers, *body])
    standard = [f"import {module}" for module in ("contextvars", "math") if re.search(rf"\b{module}\.", said)]
    imports = [*standard, ""] if standard else []
    imports += ["import jax"] if re.search(r"\bjax\.", said) else []
    imports += [spoken.imports]
    imports += ["from opt_einsum import contract"] if "contract" in writer.uses else []
    return imports, helpers


def _wrapped(parts: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) < WIDTH - 8:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return lines


def expanded(program: Derived) -> Derived:
    """With every function over indices as its definition: what runs."""
    whole = definitions.expand(program_of(program))
    return whole if isinstance(program, Program) else replace(program, program=whole)


def title(program: Derived) -> str:
    match program:
        case Gradient():
            return "gradient"
        case Tangent():
            return "tangent"
        case Program():
            return "forward"


def results(program: Derived, writer: Writer) -> str:
    """What the function of a program returns."""
    inputs, names = program_of(program).input_names, writer.names

    def fresh(name: str) -> str:
        return writer.fresh(Code(names[name], ())) if name in inputs else names[name]

    if isinstance(program, Gradient):
        values = ", ".join(f'"{name}": {fresh(derived)}' for name, derived in program.values.items())
        if program.seeds:
            return f"{{{values}}}"
        return f"{fresh(program.of[0])}, {{{values}}}"
    return "{" + ", ".join(f'"{name}": {fresh(name)}' for name in program_of(program).outputs) + "}"
