"""What the tests of --async-aware while sampling share: how it is asked for, and what stacks of tasks
can have been."""
import re

from support import pyprof


def attach(pid, *options, **more):
    return pyprof("attach", "--async-aware", "--collapsed", "-o", "-", *options, pid, **more)


def tasks_of(stack):
    """A stack as [(task, [functions])], from the outermost on; parents are not counted."""
    found = []
    for file, name, _ in stack:
        if file == "<task>":
            found.append((re.sub(r" \(\d+ parents\)$", "", name), []))
        else:
            found[-1][1].append(name.rpartition(".")[2])
    return found


# Function by function: what may stand on it. A frame of asyncio's is of no number.
ABOVE = {"root": ["mid", "new"], "mid": ["leaf", "idle", "new"], "leaf": ["step"],
         "step": ["work", "sleep"], "idle": ["sleep"], "work": ["randrange"]}


def impossible(stack):
    """Why a stack of async_truth.py never was; None: it can have been."""
    chain = tasks_of(stack)
    names = [name for name, _ in chain]
    # One that was only just made is awaited by none yet, and has not begun.
    if len(chain) == 1 and chain[0][1] == ["_".join(names[0].split()[:2])]:
        return None
    if not re.fullmatch(r"Task-\d+", names[0]):
        return "its outermost task is not main()'s"
    if len(chain) == 1:
        return None
    number = names[1].split()[1]
    words = [name.split() for name in names[1:]]
    if [w[0] for w in words] not in (["root"], ["root", "mid"], ["root", "mid", "leaf"],
                                     ["root", "mid", "idle"]):
        return "tasks that do not await each other"
    if any(w[1] != number for w in words) or len({w[2] for w in words[1:]}) > 1:
        return "tasks of several families"
    for word, (_, functions) in zip(words, chain[1:]):
        numbers = {m[1] for f in functions if (m := re.fullmatch(r"[a-z]+_(\d)", f))}
        # Where a task has come to need not be known.
        if functions and functions[0] not in (f"{word[0]}_{number}", "<moving>"):
            return "a task with another's coroutine"
        if numbers - {number}:
            return "a task with frames of several"
        for below, above in zip(functions, functions[1:]):
            kind = below.rpartition("_")[0]
            if "_" in above and above.rpartition("_")[0] in ABOVE \
                    and above.rpartition("_")[0] not in ABOVE.get(kind, []):
                return "functions that do not call each other"
    return None


def numbers_of(stack):
    """A stack of tasks_fast.py as (its task's name, the numbers in it); (None, None) where it is of
    another task."""
    name, functions = tasks_of(stack)[-1]
    if not name.startswith("fast "):
        return None, None
    names = [task for task, _ in tasks_of(stack)[1:]]
    return name, {m[1] for text in names + [f for _, own in tasks_of(stack) for f in own]
                  if (m := re.search(r"[_ ](\d)(?: |$)", text))}
