# SPDX-License-Identifier: Apache-2.0
"""The verdict on one vector."""
from .ops import OPS
from .vector import Call, differences


def judge(loaded, call=None):
    """Says what is wrong with a loaded vector, as a list of sentences."""
    meta = loaded["meta"]
    if meta["op"] not in OPS:
        return [f"there is no second opinion about op {meta['op']}"]
    call = call or Call(loaded)
    accepted = OPS[meta["op"]](call)
    if accepted == meta["refused"]:
        return ["accepted here, refused there" if accepted else "refused here, accepted there"]
    if not accepted:
        surplus = sorted(name for name in loaded["arrays"] if name.startswith(("out.", "keep.")))
        return [f"a refused case has {name}" for name in surplus]
    return [sentence for out in call.outputs.values() for sentence in differences(out, loaded)]
