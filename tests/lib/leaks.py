# SPDX-License-Identifier: Apache-2.0
"""What an engine holds of the machine, to be compared before and after.

Used by tests/soak/*.py.
"""

import os

CGROUPS = "/sys/fs/cgroup"


def start_time(pid):
    """Tells a process from a later one with its number; None when gone."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def descriptors(pid):
    """{what: how many}; numbers inside names are left out."""
    found = {}
    folder = "/proc/%d/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            to = os.readlink(os.path.join(folder, name))
        except OSError:
            continue
        kind = to.split(":[")[0]
        found[kind] = found.get(kind, 0) + 1
    return found


def paths(folder):
    """Every file and folder below, relative."""
    found = set()
    for at, folders, files in os.walk(folder):
        for name in folders + files:
            found.add(os.path.relpath(os.path.join(at, name), folder))
    return found


def count_mounts():
    with open("/proc/self/mountinfo") as f:
        return len(f.readlines())


def cgroups():
    found = set()
    for at, folders, _ in os.walk(CGROUPS):
        for name in folders:
            found.add(os.path.join(at, name))
    return found


class Herd:
    """Every process that was ever seen in an engine's tree."""

    def __init__(self):
        self.seen = {}  # pid: (name, start time)

    def look(self, engine):
        try:
            tree = engine.tree()
        except (AttributeError, OSError):
            return {}
        for pid, (name, _) in tree.items():
            start = start_time(pid)
            if start:
                self.seen[pid] = (name, start)
        return tree

    def left(self):
        """Those that still live."""
        return {p: n for p, (n, start) in self.seen.items()
                if start_time(p) == start}
