"""Makes code objects and frees them as fast as it can: pairs outer_N and inner_N, of which an inner
one is only ever called by the outer one of its own number. Addresses are used again at once."""
import itertools

SOURCE = """
def inner_{0}(n):
    x = 0
    for i in range(n):
        x += i
    return x
def outer_{0}(n):
    return inner_{0}(n) + inner_{0}(n)
"""

TEMPLATES = [compile(SOURCE.format(k), f"made_{k}.py", "exec") for k in range(16)]


def copy(code):
    """A code object of its own, with all that it contains."""
    consts = tuple(copy(c) if hasattr(c, "co_code") else c for c in code.co_consts)
    return code.replace(co_consts=consts)


print("ready", flush=True)
for k in itertools.cycle(range(16)):
    names = {}
    exec(copy(TEMPLATES[k]), names)
    names[f"outer_{k}"](200)
