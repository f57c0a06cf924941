"""Claims: what the names in somebody's code say: which scalar is the loss, which array is the gradient of which."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from indexprop import algebra, ir, keeping, naming, updates, validation
from indexprop.completion import Lifted
from indexprop.errors import IndexpropError, Problem
from indexprop.evidence import MINUS, ONE, Claim, Ledger, assuming, data_of, fits
from indexprop.ir import Access, Program, Step
from indexprop.keeping import HOLDS
from indexprop.operands import Traced
from indexprop.records import Plan, TooMany
from indexprop.rewriting import LiftError, Line, read, tree_of
from indexprop.scopes import scopes
from indexprop.suppositions import DERIVATIVE, LOSS_FUNCTION, Supposed, called, place
from indexprop.tracing import Recording, is_long
from indexprop.training import change, training_loops
from indexprop.updates import Update
from indexprop.values import flatten

LOSS = re.compile(
    r"(total_?|avg_?|mean_?|train_?|data_?)?(L|J|E|loss|cost|error|objective|nll|mse|cross_?entropy|ce)", re.I
)
MAIN = re.compile(r"(total_?)?(L|J|E|loss|cost|objective)", re.I)
PREFIXES = (
    r"d_?[LJEClje]_?d_?", r"d[LJE]_", r"(d_?)?(loss|cost|error)_?d?_?", r"partial_", r"grad(ient)?s?[_.]d?", r"nabla_?",
    r"g_", r"g(?=[A-Z])", r"delta_?", r"dd_?", r"d_?",
)  # fmt: skip

SUFFIXES = (r"_?[gG]rads?", r"_?[gG]radients?", r"_delta", r"_error", r"_d")


@dataclass(frozen=True)
class Claims:
    """What the code says: its loss, and for every tensor the line that claims to be its gradient; `others` claim the
    same, and are kept elsewhere. `steps` are the changes of parameters, by the lines that stand for them: the claims of
    those that have no other; `bare` are the same without weight decay, `whole` those that add it to a named gradient.
    `together` are changes with all that follow before the next forward pass. `asked` tells that somebody named what to
    audit.
    """

    loss: str
    pairs: Mapping[str, str]
    others: tuple[tuple[str, str], ...] = ()
    steps: Mapping[str, Update] = field(default_factory=dict)
    bare: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    together: Mapping[str, str] = field(default_factory=dict)
    asked: bool = False


class ClaimError(LiftError):
    """Code that was lifted, and of which it is not known what its loss or its gradients are."""


class NoLoss(ClaimError):
    """Code that was lifted, and that computes no loss."""


class LossElsewhere(LiftError):
    """Code that is too long to be followed to its end, and whose first passes do not compute its loss."""


def plain(name: str) -> str:
    """A name without what people vary: `W_1`, `w1` and `W1` read the same, and so do `bias` and `biases`."""
    return re.sub(r"(?<=\w{2})(es|s)+$", "", re.sub(r"[_.]", "", name).lower())


def meanings(name: str) -> Iterator[str]:
    """What the name of a gradient may mean: `dL_dW3` means `W3`."""
    for prefix in PREFIXES:
        if (found := re.match(prefix, name)) and len(name) > found.end():
            yield name[found.end() :]
    for suffix in SUFFIXES:
        if (found := re.search(suffix + "$", name)) and found.start():
            yield name[: found.start()]


def said_by(name: str, lifted: Lifted, among: Iterable[str]) -> str:
    """The tensor whose gradient a name announces, or nothing."""
    known = set(among)
    spelled: dict[str, list[str]] = {}
    for word in [*known, *lifted.aliases]:
        tensor = lifted.aliases.get(word, word)
        if tensor in known:
            spelled.setdefault(plain(word), []).append(tensor)
    name = lifted.names.get(name, name)
    for rest in meanings(name):
        exact = lifted.tensor(rest)
        if exact in known and exact is not None:
            return exact
        fitting = dict.fromkeys(spelled.get(plain(rest), ()))
        if len(fitting) == 1:
            return next(iter(fitting))
        version = [tensor for tensor in fitting if tensor in lifted.program.input_names]
        if len(version) == 1:
            return version[0]
    return ""


@dataclass(frozen=True)
class Asked:
    """What somebody asks for: some code, and perhaps expressions for its loss, gradients and tensors, and axes."""

    subject: str | Path
    loss: str | Supposed | None = None
    grads: str | Sequence[str] | None = None
    wrt: str | Sequence[str] | None = None
    axes: Mapping[str, str] | None = None


def prepare(asked: Asked, base: Plan | None = None, also: Sequence[str] = ()) -> tuple[Recording, Claims]:
    """The lifted code, and what it claims; what it only keeps under another name is a line of its own. With a `base` it
    is run on that data, and what is named `also` is data too.

    Of long loops that train the first passes are run: of all of them, if the first pass of an innermost one holds the
    loss and its gradients; else of those that hold others, and so on.
    """
    text, filename = read(asked.subject)
    tree = tree_of(text, filename)
    if isinstance(asked.loss, str) and not asked.loss.isidentifier() and (placed := place(asked.loss, tree)):
        with contextlib.suppress(LiftError):
            return prepare(replace(asked, loss=placed), base, also)
    levels = training_loops(tree)
    error: LiftError | None = None
    if levels and is_long(text, filename, frozenset().union(*levels)):
        for number, lines in enumerate(levels):
            try:
                recording, claims = prepared(asked, base, also, frozenset().union(*levels[number:]))
            except LiftError as found:
                if isinstance(found, NoLoss) and not any(map(tells_a_loss, ast.walk(tree))):
                    raise
                error = error or found
                continue
            if is_inside(recording, claims, lines):
                return recording, claims
            error = error or unmatched(recording.lifted, claims)
    try:
        return prepared(asked, base, also, ())
    except TooMany as found:
        raise LossElsewhere(*(error or found).problems) from found  # values may say more


def tells_a_loss(node: ast.AST) -> bool:
    """Whether a statement computes something called a loss only where a condition holds: in every hundredth pass."""
    parts = ast.walk(node) if isinstance(node, ast.If) else ()
    words = [word_in(part) for part in parts if isinstance(part, ast.Name | ast.Attribute)]
    return any(LOSS_FUNCTION.fullmatch(word) or (LOSS.fullmatch(word) and len(word) > 1) for word in words)


def unmatched(lifted: Lifted, claims: Claims) -> ClaimError:
    """The error of long code whose loss is not that of the steps in a pass of its loops."""
    line = lifted.lines[claims.loss]
    pairs = claims.pairs.items()
    grads = [f"that of {lifted.names[tensor]} in line {lifted.lines[name].number}" for tensor, name in pairs]
    return ClaimError(
        Problem(
            f"the loss {lifted.names[claims.loss]} and its gradients are not computed in one pass of a loop",
            f"line {line.number}: {line.text.strip()}",
            evidence=f"Gradients: {', '.join(grads)}.",
            way_out="Compute the loss that a step makes smaller before that step, and name it: loss = ...",
        )
    )


def is_inside(recording: Recording, claims: Claims, lines: Container[int]) -> bool:
    """Whether the loss and all gradients are computed in the first pass of one of the loops in some lines that were not
    run to the end; or every loop was.
    """
    tracer, steps = recording.tracer, {step.name: step for step in recording.lifted.program.steps}
    for start, end in (tracer.kept.spans[line] for line in tracer.kept.cut if line in lines):
        made = {step.name for step in tracer.steps[start:end]}
        names = [claims.loss, *claims.pairs.values(), *claims.steps]
        if all(name in made or made & {access.tensor for access in steps[name].reads} for name in names):
            return True
    return not tracer.kept.cut


def prepared(asked: Asked, base: Plan | None, also: Sequence[str], short: Iterable[int]) -> tuple[Recording, Claims]:
    """What `prepare` gives, with loops in some lines that end after their first passes."""
    loss, grads, wrt = asked.loss, asked.grads, asked.wrt
    supposed = loss if isinstance(loss, Supposed) else None
    hints = {name: tuple(words.split()) for name, words in (asked.axes or {}).items()}
    wanted = tuple(parts_of(wrt)) if wrt is not None else ()
    inputs = (*(name for name in wanted if name.isidentifier()), *also)
    record = partial(Recording, asked.subject, (), hints, base=base, short=short, supposed=supposed, draft=True)
    recording = record(inputs)
    zeros = starting_constant(recording)
    if zeros:
        inputs = (*inputs, *zeros)
        recording = record(inputs)
    if recording.tracer.changed:  # a bias that starts at zero is no constant, although the code changes it later
        inputs = (*inputs, *sorted(recording.tracer.changed - set(inputs)))
        recording = record(inputs)
    expression, name = loss.name if isinstance(loss, Supposed) else loss or "", ""
    if not expression:
        name, expression = find_loss(recording.lifted)
        if not name and (found := called(expression, tree_of(recording.text, recording.filename))):
            with contextlib.suppress(LiftError):
                return prepared(replace(asked, loss=found), base, also, short)
    if not name and (said := recording.lifted.tensor(expression)):
        name = as_whole(recording.lifted, said)
    after = []
    if not name:
        after.append(("L_" if "L" in recording.lifted.values else "L", expression))
    for label, value in (("grads", grads), ("wrt", wrt)):
        if value is not None:
            after.append((f"{label}_asked", "{" + ", ".join(f"{part!r}: {part}" for part in parts_of(value)) + "}"))
    if after:
        recording = record(inputs, after)
    if not name:
        name = recording.lifted.tensor(after[0][0]) or ""
    starts = starting(recording, name)
    if set(starts) & set(recording.lifted.program.input_names):
        inputs = tuple(tensor for tensor in inputs if tensor not in starts or tensor in also)
        starts = [tensor for tensor in starts if tensor not in also]
        recording = record(inputs, after, starts)
    recording.verify()
    recording.lifted, name = as_scalar(recording.lifted, name)
    lifted = recording.lifted
    if not name or lifted.program.axes.get(name) != () or name in lifted.program.input_names:
        raise ClaimError(
            Problem(
                f"{expression or name!r} is not a computed scalar",
                way_out='Say what the loss is: audit(file, loss="np.mean((A - Y) ** 2)").',
            )
        )
    if wrt is None and grads is None:
        recording.lifted = lifted = with_parameters(lifted, name)
    pairs = find_pairs(lifted, name, wanted=wrt is not None, given=grads is not None)
    if grads is not None:
        return recording, Claims(name, pairs, asked=True)
    known = [name for name in lifted.program.input_names if name not in lifted.program.positions]
    tensors = known if wrt is None else [tensor for tensor in known if tensor in asked_for(lifted, name)]
    lifted, claims = as_kept(lifted, Claims(name, pairs, asked=wrt is not None), tensors)
    recording.lifted, claims = as_changed(lifted, claims, tensors)
    claims = claims if claims.asked else as_meant(recording, claims)
    if not claims.pairs:
        claims = replace(claims, pairs=the_only_one(lifted, name, tensors))
    recording.lifted, claims = as_unclipped(recording.lifted, claims)
    claims = by_value(recording, claims, tensors)
    if not claims.pairs:
        forward = algebra.needed(lifted.program, (name,))
        hand = [step.name for step in lifted.program.steps if step.name not in forward.axes]
        raise nothing_found(forward.input_names, hand)
    return recording, claims


def with_parameters(lifted: Lifted, loss: str) -> Lifted:
    """The code with what its steps change as parameters, where that is only put together from what nothing else reads:
    `W = W1`, `theta = np.concatenate([A.ravel(), B.ravel()])`.
    """
    program = lifted.program
    computed = algebra.needed(program, (loss,)).axes.keys() - program.input_names
    reads = read_by(program.steps)
    changed = {
        read
        for name, names in reads.items()
        for read in names & computed
        if name not in computed and lifted.names[name] == lifted.names[read] == read
    }
    for tensor in sorted(changed):
        behind = algebra.sources(program, {tensor})
        kept = [step for step in program.steps if step.name not in behind]
        made = [step for step in program.steps if step.name in behind]
        alone = not any({access.tensor for access in step.reads} & (behind - {tensor}) for step in kept)
        if not alone or not all(
            ir.term((), term.body) == term and is_part(term.body) for step in made for term in step.terms
        ):
            continue
        with contextlib.suppress(IndexpropError):
            program = with_inputs(program, (tensor,), behind)
    return replace(lifted, program=program)


def with_inputs(program: Program, tensors: Collection[str], behind: Container[str]) -> Program:
    """A program with some tensors as inputs, and without what is behind them."""
    kept = [step for step in program.steps if step.name not in behind]
    inputs = [access for access in program.inputs if access.tensor not in behind]
    inputs += [Access(tensor, program.axes[tensor]) for tensor in tensors]
    sized = {index for step in kept for index in step.indices} | {index for one in inputs for index in one.names}
    return validation.assemble(
        kept,
        inputs=inputs,
        outputs=[name for name in program.outputs if name not in behind],
        batch=program.batch,
        facts=[fact for fact in program.facts if sized.issuperset(ir.count_indices(fact.value))],
    )


def apart(lifted: Lifted, claims: Claims) -> tuple[Lifted, list[str]]:
    """The code with copies of parameters as data, where the loss reads them beside the parameters: a network as it was,
    to aim at; and the names of the copies.
    """
    program = lifted.program
    steps = algebra.needed(program, (claims.loss,)).steps
    found = []
    for tensor in claims.pairs:
        if naming.DATA.fullmatch(lifted.names[tensor].rpartition(".")[2]):
            continue
        readers = {step.name: step for step in steps if any(access.tensor == tensor for access in step.reads)}
        copies = [
            step.name
            for step in readers.values()
            if step.terms == (ir.term((), Access(tensor, step.target.names)),)
            if lifted.names[step.name] != lifted.names[tensor] and step.name not in claims.pairs
        ]
        found += copies if len(copies) < len(readers) else []
    with contextlib.suppress(IndexpropError):
        return replace(lifted, program=with_inputs(program, found, found)), found
    return lifted, []


def is_part(body: ir.Expr) -> bool:
    """Whether an expression is an array, or a part of it, by position: no data says which."""
    return isinstance(body, Access) and not any(ir.lookups(body))


def parts_of(value: str | Sequence[str]) -> list[str]:
    """The parts of `"W1, b1"`, commas inside brackets left alone."""
    if not isinstance(value, str):
        return list(value)
    parts, depth = [""], 0
    for sign in value:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def starting_constant(recording: Recording) -> list[str]:
    """Names of what begins as one number, and of which the code computes a gradient, or which it changes in a step of
    descent: `b = 0.0`, `gamma = np.ones(4)` and the zeros of a list are no constants. What is called the gradient of
    something is no parameter: `db = db - C * y` adds it up.
    """
    names = recording.lifted.names.values()
    words = {rest for name in names for rest in meanings(name)}
    constants = {name for name, _ in numbers(recording.text)} | recording.tracer.filled
    known = {*recording.lifted.program.input_names, *recording.inputs}
    changed = descending(recording.text)
    changed -= {name for name in changed if not {*meanings(name)}.isdisjoint({*names, *constants})}
    entries = {name for name in recording.tracer.started if name.rpartition("_")[0] in changed}
    return sorted((constants & (words | changed) | entries) - known)


def numbers(text: str) -> Iterator[tuple[str, float]]:
    """The names and attributes that a script gives a number, as often as it does."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
                pairs = list(zip(targets, values, strict=True))
            case ast.Assign(targets, value):
                pairs = [(target, value) for target in targets]
            case _:
                continue
        for target, value in pairs:
            match value:
                case ast.Constant(int() | float() as number) if not isinstance(number, bool):
                    yield word_in(target), number


def descending(text: str) -> set[str]:
    """The names and attributes from which a script takes a product, `b -= lr * d`, or from an entry of which, but for
    losses.
    """
    changes = (change(node) for node in ast.walk(ast.parse(text)))
    targets = (one.target for one in changes if one is not None and one.subtracts and one.is_product)
    found = {word_in(target.value if isinstance(target, ast.Subscript) else target) for target in targets}
    return {name for name in found if name and not LOSS_FUNCTION.fullmatch(name) and not LOSS.fullmatch(name)}


def word_in(target: ast.expr) -> str:
    """The last word of a name or an attribute."""
    match target:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def starting(recording: Recording, loss: str) -> list[str]:
    """What starts as one constant and is no parameter: sums, and states that the forward pass gives new values."""
    lifted, fills = recording.lifted, recording.tracer.fills
    if not loss:
        return list(fills)
    forward = algebra.needed(lifted.program, (loss,))
    hand = {step.name for step in lifted.program.steps} - {step.name for step in forward.steps}
    made = read_by(forward.steps)
    new = [name for name, reads in made.items() if not is_update(name, reads & hand, lifted, forward)]
    states = {lifted.names[name] for name in new if not is_reshaped(name, lifted)}
    read = set().union(*made.values())  # an input of which nothing but a size is needed is no parameter
    return [name for name in fills if name not in read or lifted.names[name] in states]


def is_reshaped(name: str, lifted: Lifted) -> bool:
    """Whether a line only gives an array another shape, under its own name: `gamma = gamma.reshape(1, -1)`."""
    [step, *more] = [step for step in lifted.program.steps if step.name == name]
    match step.terms:
        case [ir.Term(_, (), Access(inner))] if not more and step.operation == "=":
            return lifted.names[inner] == lifted.names[name]
        case _:
            return False


def find_loss(lifted: Lifted) -> tuple[str, str]:
    """A scalar named like a loss, or else a call of a function named like one on arguments of the same names, or else
    an array of one entry that is called a loss.
    """
    import numpy as np

    computed = [step.name for step in lifted.program.steps if not step.target.names]
    if name := called_loss(lifted, computed):
        return name, name
    space = lifted.result if isinstance(lifted.result, dict) else {}
    if call := loss_call(space, {*lifted.values, *lifted.aliases}):
        return "", call
    single = [step.name for step in lifted.program.steps if np.size(lifted.values.get(step.name, ())) == 1]
    if name := called_loss(lifted, [name for name in single if LOSS_FUNCTION.fullmatch(lifted.names[name])]):
        return name, name
    raise NoLoss(
        Problem(
            "no loss was found",
            evidence=f"Scalars that the code computes: {', '.join(computed) or 'none'}.",
            way_out='Say what the loss is: audit(file, loss="np.mean((A - Y) ** 2)").',
        )
    )


def called_loss(lifted: Lifted, computed: Collection[str]) -> str:
    """Of some tensors the one that is named like a loss, the total and not one of its parts; or nothing."""
    words = [(lifted.names[name], name) for name in computed] + [*lifted.aliases.items()]
    named = [
        name
        for word, name in words
        if name in computed
        and (LOSS.fullmatch(word) or LOSS_FUNCTION.fullmatch(word))
        and not DERIVATIVE.fullmatch(word)
    ]
    parts = set().union(*(used_by(lifted.program, name) for name in dict.fromkeys(named)))
    whole = [name for name in named if name not in parts]
    own = added_up(lifted.program, whole).intersection(named)
    if not own.issubset(whole):  # perhaps a total over passes that change the parameters
        own = {name for name in own if is_followed(lifted, name)}
        parts = set().union(*(used_by(lifted.program, name) for name in own))
        whole = [name for name in named if name in own - parts] or whole
    plainly = {name for word, name in words if MAIN.fullmatch(word)}
    return next((name for name in whole if name in plainly), next(iter(whole), ""))


def as_whole(lifted: Lifted, loss: str) -> str:
    """What the name of a loss means that the code adds up: all of it, the first time that it is there."""
    same = [name for name in lifted.program.axes if lifted.names[name] == lifted.names[loss]]
    computed = [name for name in same if name not in lifted.program.input_names]
    parts = set().union(*(used_by(lifted.program, name) for name in computed))
    return next((name for name in computed if name not in parts), loss)


def added_up(program: Program, totals: Iterable[str]) -> set[str]:
    """Some tensors, and all that they add up: `loss`, where `total = total + loss` and `mean = total / 8`."""
    found = set(totals)
    for step in reversed(program.steps):
        if step.name in found:
            found |= {term.body.tensor for term in step.terms if isinstance(term.body, Access) and not term.bound}
    return found


def is_followed(lifted: Lifted, loss: str) -> bool:
    """Whether gradients or steps are computed in other lines than a loss: that of a later pass is computed from
    parameters that these lines have changed.
    """
    forward = algebra.needed(lifted.program, (loss,))
    lines = {lifted.lines[step.name] for step in forward.steps}
    hand = [step.name for step in lifted.program.steps if lifted.lines[step.name] not in lines]
    named = any(DERIVATIVE.fullmatch(lifted.names[name].rpartition(".")[2]) for name in hand)
    return named or bool(changes(lifted, forward, hand))


def loss_call(space: Mapping[str, Any], known: Container[str]) -> str:
    """The call of a function named like a loss on arguments that are known by the names of its parameters."""
    for name, value in space.items():
        if (
            callable(value)
            and LOSS_FUNCTION.fullmatch(name)
            and not DERIVATIVE.fullmatch(name)
            and hasattr(value, "__code__")
        ):
            arguments = value.__code__.co_varnames[: value.__code__.co_argcount]
            if arguments and all(argument in known for argument in arguments):
                return f"{name}({', '.join(arguments)})"
    return ""


def as_scalar(lifted: Lifted, loss: str) -> tuple[Lifted, str]:
    """The code with the one entry of its loss, where that is an array with one entry, as a line of its own."""
    import numpy as np

    program = lifted.program
    axes = program.axes.get(loss, ())
    if not axes or loss in program.input_names or np.size(lifted.values[loss]) != 1:
        return lifted, loss
    name = ir.fresh("L", program.axes)
    at = max(number for number, step in enumerate(program.steps, 1) if step.name == loss)
    step = Step(Access(name, ()), (ir.term(axes, Access(loss, axes)),))
    return replace(
        lifted,
        program=validation.with_steps(program, [*program.steps[:at], step, *program.steps[at:]]),
        lines={**lifted.lines, name: lifted.lines[loss]},
        makers={**lifted.makers, name: lifted.makers[loss]},
        layout={**lifted.layout, name: ""},
        values={**lifted.values, name: np.sum(lifted.values[loss])},
        names={**lifted.names, name: lifted.names[loss]},
    ), name


def used_by(program: Program, name: str) -> set[str]:
    """The tensors that one is computed from."""
    return {step.name for step in program.steps} & algebra.sources(program, {name}) - {name}


def asked_for(lifted: Lifted, loss: str) -> list[str | None]:
    """The tensors whose gradients are asked for, as the loss reads them: the code may have changed them since."""
    forward = algebra.needed(lifted.program, (loss,))
    return [before(lifted, name, forward.axes) for name in said_as(lifted, "wrt_asked")]


def said_as(lifted: Lifted, label: str) -> list[str | None]:
    """The tensors that some expressions mean when the code is done; a name that holds a plain number means itself."""
    asked = lifted.result.get(label, {}) if isinstance(lifted.result, dict) else {}
    found = [(word, value) for word, values in asked.items() for value in flatten(values)]
    return [lifted.tensor(str(value)) or lifted.tensor(word) for word, value in found]


def before(lifted: Lifted, name: str | None, known: Container[str]) -> str | None:
    """The last of some tensors that a name meant, before it was given what it means now."""
    reads = read_by(lifted.program.steps)
    now = name
    while now and now not in known:
        now = next((read for read in sorted(reads.get(now, ())) if lifted.names[read] == lifted.names[now]), None)
    return now or name


def claimed_for(lifted: Lifted, forward: Program) -> list[str | None]:
    """The gradients that are named, of the first pass of a loop that trains."""
    named = [lifted.tensor(str(name)) for name in said_as(lifted, "grads_asked")]
    return [of_first(lifted, forward, name) if name else None for name in named]


def of_first(lifted: Lifted, forward: Program, name: str) -> str:
    """What is made by hand at the same place of the first pass: a line of a function may make several in each."""
    hand = [step.name for step in lifted.program.steps if step.name not in forward.axes]
    first = {step.name for step in before_second(lifted, forward, hand)}
    if name in first:
        return name
    same = [one for one in hand if lifted.names[one] == lifted.names[name]]
    every = [one for one in same if lifted.lines[one] == lifted.lines[name]]
    here = [one for one in every if one in first]
    if here and name in every and not len(every) % len(here):
        return here[every.index(name) % len(here)]
    return next((one for one in reversed(here or same) if one in first), name)


def find_pairs(lifted: Lifted, loss: str, *, wanted: bool, given: bool) -> dict[str, str]:
    """For every tensor with a hand-written gradient the name of that gradient."""
    forward = algebra.needed(lifted.program, (loss,))
    asked = asked_for(lifted, loss) if wanted else []
    claimed = claimed_for(lifted, forward) if given else []
    inputs = [name for name in forward.input_names if name not in lifted.program.positions]
    hand = [step.name for step in lifted.program.steps if step.name not in {one.name for one in forward.steps}]
    if wanted and given:
        if len(asked) != len(claimed) or None in asked or None in claimed:
            raise ClaimError(
                Problem(
                    f"{counted(len(claimed), 'gradient')} named for {len(asked)} tensor{'s' * (len(asked) != 1)}",
                    evidence=f"Computed: {', '.join(hand) or 'nothing beside the forward pass'}.",
                    way_out="Name as many gradients as tensors, in the same order.",
                )
            )
        return {str(one): str(other) for one, other in zip(asked, claimed, strict=True)}
    pairs: dict[str, str] = {}
    for name in [str(name) for name in claimed] if given else first_pass(lifted, forward, hand):
        words = [*(alias for alias, owner in lifted.aliases.items() if owner == name), name]
        tensor = next((found for word in words if (found := said_by(word, lifted, inputs))), "")
        if tensor and (not wanted or tensor in asked):
            pairs[tensor] = name  # the last one that has the name
    if given and not pairs:
        raise nothing_found(inputs, hand)
    if not given:
        held = [one for one in owned(lifted, inputs, hand) if not wanted or one[0] in asked]
        pairs |= {tensor: of_first(lifted, forward, name) for tensor, name in held}
    return {tensor: pairs[tensor] for tensor in inputs if tensor in pairs}


def counted(number: int, word: str) -> str:
    """How many there are: `1 gradient is`, `2 gradients are`."""
    return f"{number} {word} is" if number == 1 else f"{number} {word}s are"


def the_only_one(lifted: Lifted, loss: str, asked: Container[str]) -> dict[str, str]:
    """The one array that is called `grad`, and the one input of the loss that has its shape and is no data."""
    import numpy as np

    program = lifted.program
    forward = algebra.needed(program, (loss,))
    hand = [step.name for step in program.steps if step.name not in forward.axes]
    called = [name for name in first_pass(lifted, forward, hand) if HOLDS.fullmatch(lifted.names[name])]
    data = [name for name in forward.input_names if naming.DATA.fullmatch(name)]
    shapes = {name: np.shape(value) for name, value in lifted.values.items()}
    fitting = [
        (tensor, name)
        for name in called[-1:]
        for tensor in forward.input_names
        if tensor in asked and tensor not in data and shapes[tensor] == shapes[name]
    ]
    return dict(fitting) if len(fitting) == 1 else {}


def by_value(recording: Recording, claims: Claims, asked: Container[str]) -> Claims:
    """The claims, where a line that is called otherwise has the values of a gradient that nothing claims to be, on
    random data: it is that gradient, unless others are computed from it. A name with another number is a slip.
    """
    import numpy as np

    lifted = recording.lifted
    program = lifted.program
    forward = algebra.needed(program, (claims.loss,))
    plainly = {*claims.pairs, *lifted.scalars, *program.positions, *forward.truths}
    hand = [step.name for step in program.steps if step.name not in forward.axes]
    lines = [name for name in dict.fromkeys(first_pass(lifted, forward, hand)) if name not in claims.pairs.values()]
    last = {lifted.names[name].rpartition(".")[2]: name for name in lines}
    kept = {value for moment in lifted.moments[-1:] for value in moment.state.values() if isinstance(value, str)}
    lines = [name for name in lines if name in kept or name in last.values()]  # what is not lost again
    sizes = {name: [size for size in np.shape(value) if size != 1] for name, value in lifted.values.items()}
    fitting = {
        tensor: [name for name in lines if sizes[name] == sizes[tensor] and not slips(lifted.names[name], tensor)]
        for tensor in forward.input_names
        if tensor in asked and tensor not in plainly
        if not naming.DATA.fullmatch(lifted.names[tensor])
    }
    fitting = {tensor: names for tensor, names in fitting.items() if names}
    if not fitting:
        return claims
    kind = dict.fromkeys(("truths", "coded", "symmetric"), True)  # a search: the audit itself draws freely
    try:
        with assuming(recording, kind):
            ledger = Ledger(lifted, data_of(recording, fitting), claims.loss, list(fitting))
    except LiftError:
        return claims

    def holding(factor: ir.Factor) -> dict[str, str]:
        found = {}
        for tensor, names in fitting.items():
            right = ledger.right(Claim(tensor, factor))
            equal = [name for name in names if all(map(fits, ledger.own(name), right))]
            if equal and any(value.any() for value in right):
                found[tensor] = equal[-1]
        ends = {*claims.pairs.values(), *found.values()}
        read = {name for end in ends for name in used_by(program, end)}
        return {tensor: name for tensor, name in found.items() if name not in read}

    found = holding(ONE)
    if not claims.pairs:  # directions of descent only where nothing else is a gradient
        found = max(found, holding(MINUS), key=len)
    if found:
        words = ", ".join(f"{lifted.names[name]} for {tensor}" for tensor, name in found.items())
        note = f"known as gradients by their values, and not by their names: {words}"
        recording.lifted = replace(lifted, notes=(*lifted.notes, note))
    pairs = {**claims.pairs, **found}
    return replace(claims, pairs={tensor: pairs[tensor] for tensor in program.input_names if tensor in pairs})


def slips(name: str, tensor: str) -> bool:
    """Whether the name of a gradient has another number than a tensor: `dW3` is no name of that of W2."""
    one, other = (re.search(r"\d+$", word) for word in (name, tensor))
    return one is not None and other is not None and one[0] != other[0]


def nothing_found(inputs: Sequence[str], hand: Sequence[str]) -> ClaimError:
    return ClaimError(
        Problem(
            "no hand-written gradient was found",
            evidence=f"Inputs of the loss: {', '.join(inputs)}. Beside it: {', '.join(hand) or 'nothing'}.",
            way_out="Name a gradient after its tensor (dW for W), change the tensor by it (W -= lr * ...), "
            'or say which is which: audit(file, wrt="W, b", grads="my_gW, my_gb").',
        )
    )


def as_changed(lifted: Lifted, claims: Claims, asked: Container[str]) -> tuple[Lifted, Claims]:
    """The claims with the changes of parameters: where nothing else claims to be the gradient, the change does, as a
    direction of descent if all changes are added.
    """
    forward = algebra.needed(lifted.program, (claims.loss,))
    hand = [step.name for step in lifted.program.steps if step.name not in forward.axes]
    changed = changes(lifted, forward, hand)
    updating = [step.name for step in lifted.program.steps if step.name in changed]
    found = {tensor: one for tensor, one in updates.found(lifted, claims.loss, updating).items() if tensor in asked}
    adds = bool(found) and all(update.adds for update in found.values())
    numbers = [update.number for update in found.values() if not update.size]
    pairs, steps, bare, whole, together = dict(claims.pairs), {}, {}, {}, {}
    first = {step.name for step in before_second(lifted, forward, hand)}
    first_updating = [name for name in dict.fromkeys(updating) if name in first]
    for tensor, update in found.items():
        update = update if update.size else update.over(min(numbers))
        several = updates.together(lifted, claims.loss, first_updating, update) if update.made in first else None
        lifted, name = updates.with_line(lifted, update, negative=not adds)
        if several is not None:
            lifted, together[tensor] = updates.with_line(lifted, several, negative=not adds)
            steps[together[tensor]] = several
        named = tensor in pairs and of_rows(update, pairs[tensor], lifted)
        steps[name] = replace(update, named=named)
        if named or pairs.get(tensor, name) in (name, *update.through):
            pairs[tensor] = name
            if update.decay:
                lifted, bare[tensor] = updates.with_line(lifted, update, negative=not adds, decay=False)
                steps[bare[tensor]] = update
        elif adds_to(update, pairs[tensor]):
            known = update.at(numbers_of(lifted, forward))
            lifted, whole[tensor] = updates.with_line(lifted, known, negative=not adds)
    pairs = {tensor: pairs[tensor] for tensor in forward.input_names if tensor in pairs}
    return lifted, replace(claims, pairs=pairs, steps=steps, bare=bare, whole=whole, together=together)


def adds_to(update: Update, gradient: str) -> bool:
    """Whether a change is a gradient and something else, such as weight decay."""
    terms = (*update.terms, *update.decay)
    return len(terms) > 1 and any(isinstance(term.body, Access) and term.body.tensor == gradient for term in terms)


def of_rows(update: Update, gradient: str, lifted: Lifted) -> bool:
    """Whether some rows of a table change by a gradient that is one of these rows only: `W[at] -= lr * dW`."""
    import numpy as np

    reads = {access.tensor for term in update.terms for access in ir.accesses(term.body)}
    same = np.shape(lifted.values[gradient]) == np.shape(lifted.values[update.tensor])
    return not update.whole and gradient in reads and not same


def numbers_of(lifted: Lifted, forward: Program) -> dict[str, Fraction]:
    """The numbers of the code that the loss does not know by a name."""
    return {name: Fraction(str(lifted.values[name])) for name in lifted.scalars if name not in forward.axes}


def as_kept(lifted: Lifted, claims: Claims, asked: Container[str]) -> tuple[Lifted, Claims]:
    """The claims as the code keeps them when it changes its parameters, or at its end: a name, an entry or an attribute
    may get another value after a gradient was there. What it gets from elsewhere becomes a line.
    """
    import numpy as np

    forward = algebra.needed(lifted.program, (claims.loss,))
    computed = {step.name for step in forward.steps}
    order = {step.name: number for number, step in enumerate(lifted.program.steps)}
    hand = [name for name in order if name not in computed]
    within = {step.name for step in before_second(lifted, forward, hand)}
    owners = {name: tensor for tensor, name in claims.pairs.items()}
    pairs, others = dict(claims.pairs), []
    takers: dict[keeping.Path, str] = {}

    def fits(value: Any, tensor: str) -> bool:
        array = lifted.values[value] if isinstance(value, str) else value
        return bool(np.shape(array) == np.shape(lifted.values[tensor]))

    known = {tensor: moment_of(lifted, forward, tensor) for tensor in forward.input_names if tensor in asked}
    for tensor in sorted(known, key=lambda tensor: not known[tensor].step):  # what is changed, then what is not
        moment = known[tensor]
        first = claims.pairs.get(tensor, "")
        found: dict[str, None] = {}
        for path in keeping.claiming(moment.state, tensor, forward.input_names, meanings, HOLDS, fits):
            if takers.setdefault(path, tensor) != tensor:
                continue
            value = moment.state[path]
            words = {str(word) for _, word in path}
            line, count = next((moment.stored[word] for word in reversed([*moment.stored]) if word in words), (None, 0))
            made_by_hand = isinstance(value, str) and value in order and value not in computed
            if made_by_hand and value not in within:
                continue  # of a later pass
            if made_by_hand and owners.get(value, tensor) == tensor:
                found[value] = None
            elif made_by_hand or (first and line is not None and count >= lifted.made[first]):
                lifted = with_line(lifted, path, value, tensor, line or lifted.lines[value])
                found[lifted.program.steps[-1].name] = None
        order |= {step.name: number for number, step in enumerate(lifted.program.steps)}
        fed = set().union(*(used_by(lifted.program, name) for name in (*found, first) if name))
        later = sorted((name for name in found if name != first and name not in fed), key=order.__getitem__)
        if later and first not in found:
            pairs[tensor] = later.pop()
        others += [(tensor, name) for name in later]
    return lifted, replace(claims, pairs=pairs, others=tuple(others))


def as_meant(recording: Recording, claims: Claims) -> Claims:
    """The claims, where names inside a function mean what they are there: `dX` is no gradient of the data X in one
    where X is something else.

    Such a gradient is that of the other tensor, and is judged with what is computed from it, if anything is. Where
    nothing has that name, it is the gradient of no data, and of nothing of another shape that no step changes though
    steps change others.
    """
    import numpy as np

    lifted, pairs = recording.lifted, dict(claims.pairs)
    shapes = {name: np.shape(value) for name, value in lifted.values.items()}
    doubtful = {
        tensor: lifted.lines[name]
        for tensor, name in pairs.items()
        if shapes[tensor] != shapes[name] or naming.DATA.fullmatch(lifted.names[tensor].rpartition(".")[2])
        if words_around(recording.text, lifted.lines[name].number)
    }
    seen = scopes(recording, doubtful.values()) if doubtful else {}
    outside: dict[str, list[keeping.Path]] = {}
    for moment in lifted.moments[-1:]:
        for path, value in moment.state.items():
            if isinstance(value, str):
                outside.setdefault(value, []).append(path)
    changed = {update.tensor for update in claims.steps.values()}
    forward = algebra.needed(lifted.program, (claims.loss,))
    for tensor, line in doubtful.items():
        name = pairs[tensor]
        read = words_around(recording.text, line.number)
        words = set(meanings(lifted.names[name].rpartition(".")[2]))
        known = [pair for scope in seen[line] for pair in scope.tensors.items()]
        known = [(other, written) for other, written in known if "." in written or written in read]
        there = {other for other, written in known if written.rpartition(".")[2] in words}
        fitting = [other for other in there & forward.axes.keys() if shapes[other] == shapes[name]]
        if not words or tensor in there or (("name", lifted.names[name]),) in outside.get(name, ()):  # named elsewhere
            continue
        data = naming.DATA.fullmatch(lifted.names[tensor].rpartition(".")[2])
        if not there and (tensor in changed or not (data or changed)):
            continue
        if there and shapes[tensor] == shapes[name] and not fitting:
            continue
        del pairs[tensor]
        if len(fitting) == 1 and not any(name in used_by(lifted.program, other) for other in pairs.values()):
            pairs[fitting[0]] = name
    return replace(claims, pairs=pairs)


def as_unclipped(lifted: Lifted, claims: Claims) -> tuple[Lifted, Claims]:
    """The claims, where a gradient is cut off at both ends before the step: it is what it was before."""
    steps = {step.name: step for step in lifted.program.steps}
    pairs = dict(claims.pairs)
    for tensor, name in claims.pairs.items():
        terms = steps[name].terms
        body = updates.unclipped(terms[0]).body
        if len(terms) == 1 and isinstance(body, Access) and body != terms[0].body and body.tensor in steps:
            pairs[tensor] = body.tensor
    clipped = [lifted.names[name] for tensor, name in claims.pairs.items() if pairs[tensor] != name]
    notes = [f"{', '.join(clipped)}: judged before what is too large is cut off"] if clipped else []
    return replace(lifted, notes=(*lifted.notes, *notes)), replace(claims, pairs=pairs)


def words_around(text: str, line: int) -> set[str]:
    """The names in the innermost function that a line stands in; none where it stands in none."""
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or line)
    ]
    inner = max(found, key=lambda node: node.lineno, default=ast.Pass())
    words = {node.id for node in ast.walk(inner) if isinstance(node, ast.Name)}
    return words | {node.arg for node in ast.walk(inner) if isinstance(node, ast.arg)}


def moment_of(lifted: Lifted, forward: Program, tensor: str) -> keeping.Moment:
    """What the code held when it changed a parameter for the first time; if it never does, at the end. A name that is
    of one parameter in one function, and of another one in another, is of none.
    """
    computed = {step.name for step in forward.steps}
    word = lifted.names[tensor].rpartition(".")[2]
    inputs = forward.input_names
    state: dict[keeping.Path, Any] = {}
    stored: dict[str, keeping.Stored] = {}
    meant: dict[keeping.Path, set[str]] = {}
    for moment in lifted.moments:
        if moment.step in lifted.names and moment.step not in computed | lifted.in_gradients:
            name = lifted.names[moment.step]
            if name.rpartition(".")[2] in (word, tensor) and not said_by(name, lifted, inputs):
                return moment
        elif not moment.step:
            state |= moment.state
            stored |= moment.stored
            for path, value in moment.state.items():
                if isinstance(value, str) and value in inputs:
                    meant.setdefault(path, set()).add(value)
    outside = lifted.moments[-1].state if lifted.moments else {}
    loose = {path for path, several in meant.items() if len(several) > 1 and path not in outside}
    return keeping.Moment("", {path: value for path, value in state.items() if path not in loose}, stored)


def with_line(lifted: Lifted, path: keeping.Path, value: Any, tensor: str, line: Line) -> Lifted:
    """The code with a line that keeps a value where the gradient of a tensor should be."""
    import numpy as np

    program = lifted.program
    word = re.sub(r"[^\w.]+", "_", ".".join(word for _, word in path[-2:] if isinstance(word, str)))
    name = ir.fresh("kept" if validation.name_problem(word) else word, program.axes)
    axes = program.axes[value if isinstance(value, str) else tensor]
    if isinstance(value, str):
        body: ir.Expr = Access(value, axes)
    elif np.size(value) and np.all(np.asarray(value) == np.ravel(value)[0]):
        body = ir.number(np.ravel(value)[0].item())
        axes = axes if np.ndim(value) else ()
    else:
        raise ClaimError(
            Problem(
                f"{keeping.spelled(path)} is called a gradient, and holds data that is not computed from the loss",
                f"line {line.number}: {line.text.strip()}",
                way_out='Say where the gradient is: audit(file, wrt="W", grads="my_gW").',
            )
        )
    step = Step(Access(name, axes), (ir.term((), body),))
    source = value if isinstance(value, str) else tensor
    return replace(
        lifted,
        program=validation.assemble(
            [*program.steps, step],
            inputs=program.inputs,
            outputs=[*program.outputs, name],
            batch=program.batch,
            facts=program.facts,
        ),
        lines={**lifted.lines, name: line},
        makers={**lifted.makers, name: line},
        layout={**lifted.layout, name: lifted.layout[source]},
        values={**lifted.values, name: lifted.values[source] if isinstance(value, str) else np.asarray(value)},
        names={**lifted.names, name: keeping.spelled(path)},
    )


def owned(lifted: Lifted, inputs: Sequence[str], hand: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The gradients that an object of the code keeps beside its parameters: `layer.dW` of `layer.W`."""
    for thing in objects(lifted.result):
        tensors = {word: value.name for word, value in vars(thing).items() if isinstance(value, Traced)}
        for word, name in tensors.items():
            for rest in meanings(word) if name in hand else ():
                for other, tensor in tensors.items():
                    owner = before(lifted, tensor, inputs)
                    if plain(other) == plain(rest) and owner in inputs:
                        yield str(owner), name


def objects(value: Any, depth: int = 4) -> Iterator[Any]:
    """The objects of the code's own classes that a value holds."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value if depth else ():
            yield from objects(part, depth - 1)
    elif type(value).__module__ == "__main__" and depth:
        yield value
        yield from objects(vars(value) if hasattr(value, "__dict__") else (), depth - 1)


def first_pass(lifted: Lifted, forward: Program, hand: Collection[str]) -> list[str]:
    """The lines by hand before the second forward pass, but for those that change a parameter."""
    changed = changes(lifted, forward, hand)
    steps = before_second(lifted, forward, hand)
    return [step.name for step in steps if step.name in hand and step.name not in changed]


def before_second(lifted: Lifted, forward: Program, hand: Collection[str]) -> Iterator[Step]:
    """The lines before the second forward pass: a training loop is unrolled, and its first pass is audited. The second
    pass begins where a line of the forward pass runs again, and reads a parameter that was changed.
    """
    lines = {lifted.lines[step.name] for step in forward.steps}
    reached = changes(lifted, forward, hand)
    for step in lifted.program.steps:
        if step.name in reached or {access.tensor for access in step.reads} & reached:
            reached.add(step.name)
            if step.name in hand and lifted.lines[step.name] in lines:
                return
        yield step


def changes(lifted: Lifted, forward: Program, hand: Collection[str]) -> set[str]:
    """What changes a parameter after the forward pass, by what is computed by hand or in that pass; a line that makes
    what the loss needs, and puts it into a state, changes none.
    """
    by_hand, computed = set(hand), {step.name for step in forward.steps}
    making = {lifted.makers[name] for name in computed}
    found = set()
    for name, reads in read_by(step for step in lifted.program.steps if step.name in by_hand).items():
        others = {read for read in reads if lifted.names[read] != lifted.names[name]}
        if lifted.makers[name] in making and not others & by_hand:
            continue
        if is_update(name, reads & (by_hand if others == reads else by_hand | computed), lifted, forward):
            found.add(name)
    return found


def read_by(steps: Iterable[Step]) -> dict[str, set[str]]:
    """What the lines read that make a tensor, or add to it."""
    found: dict[str, set[str]] = {}
    for step in steps:
        found.setdefault(step.name, set()).update(access.tensor for access in step.reads)
    return found


def is_update(name: str, reads: Set[str], lifted: Lifted, forward: Program) -> bool:
    """Whether lines that read something computed give a parameter its new value."""
    parameters = {lifted.names[one].rpartition(".")[2] for one in forward.input_names} | {*forward.input_names}
    word = lifted.names[name].rpartition(".")[2]  # also `p.W`, which is p["W"]
    if not reads or word not in parameters or name in lifted.in_gradients:
        return False
    return not said_by(lifted.names[name], lifted, forward.input_names)
