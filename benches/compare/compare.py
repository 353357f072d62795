#!/usr/bin/env python3
"""`mutate` beside the other tools, on the same hosts with the same work, interleaved in the same run.

The hosts, the workloads and the other tools come with `bench.py`, which lies in BENCH (`../shared/bench` beside the
checkout by default); this file adds `mutate` to it and takes the same words:

    MUTATE_BIN=target/release/mutate benches/compare/compare.py up
    MUTATE_BIN=target/release/mutate benches/compare/compare.py run w1:100 w3:1:100 --reps 3 --out results.jsonl
    benches/compare/compare.py report results.jsonl
    benches/compare/compare.py down

w1 runs `uptime`, w2 makes 50 changes, w3 is the same playbook on hosts that are in place, w4 pushes a file of 100 MiB.
"""
import json
import os
import signal
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BENCH = os.environ.setdefault("BENCH", os.path.join(os.path.dirname(ROOT), "shared", "bench"))
os.environ["MUTATE_BIN"] = os.path.abspath(os.environ.get("MUTATE_BIN", os.path.join(ROOT, "target/release/mutate")))
sys.path.insert(0, BENCH)

import bench  # noqa: E402
import contenders  # noqa: E402
import spec  # noqa: E402


def quoted(text):
    """A text as TOML."""
    return json.dumps(text)


def playbook():
    """The 50 tasks of `spec.py`."""
    base = "{{ bench_root }}/{{ host.name }}"
    lines = ['hosts = "all"', ""]

    def task(name, module, more="", **parameters):
        values = ", ".join(f"{key} = {quoted(value)}" for key, value in parameters.items())
        lines.extend(["[[task]]", f"name = {quoted(name)}", f"{module} = {{ {values} }}"])
        if more:
            lines.append(more)
        lines.append("")

    for folder in spec.DIRS:
        task(f"directory {folder}", "file", path=f"{base}/{folder}", state="directory", mode="0750")
    for number, path in spec.TEMPLATES:
        task(f"template {path}", "template", f'vars = {{ n = {number}, addr = "{{{{ host.name }}}}" }}', src="app.conf.j2", dest=f"{base}/{path}", mode="0640")
    for name, key, value in spec.EDITS:
        task(f"edit {name} {key}", "lineinfile", path=f"{base}/{name}", regexp=f"^#?{key} ", line=f"{key} {value}")
    for link, folder in spec.LINKS:
        task(f"symlink {link}", "file", path=f"{base}/{link}", src=f"{base}/{folder}", state="link")
    for path, mode in spec.PERMS:
        task(f"permission {path}", "file", path=f"{base}/{path}", mode=mode)
    for stamp in spec.GUARDED:
        task(f"guarded {stamp}", "shell", cmd=f"umask 022; echo ran > {base}/{stamp}", creates=f"{base}/{stamp}")
    return "\n".join(lines)


def push(job):
    """The large file, for each host into a folder of its own."""
    return f'hosts = "all"\n\n[[task]]\nname = "push the large file"\ncopy = {{ src = {quoted(job.big_file)}, dest = "{{{{ bench_root }}}}/{{{{ host.name }}}}/big.bin", mode = "0644" }}\n'


def totals(output):
    """The document of `--output json`, which is the last line; what stands before it is on stderr."""
    for line in reversed(output.splitlines()):
        if line.startswith('{"schema"'):
            return json.loads(line)
    return None


def good(output, job):
    document = totals(output)
    return document is not None and document["exit"] == 0 and len(document["hosts"]) == len(job.hosts)


def changed(output):
    document = totals(output)
    return None if document is None else document["totals"]["changed"]


@contenders.contender("mutate")
def mutate(job):
    """Host keys are checked, unlike with every other tool here; there is a journal, backups, verification."""
    program = os.environ["MUTATE_BIN"]
    if job.workload == "version":
        return contenders.Run([program, "--version"])
    key = " ".join(open(f"{bench.TMP}/hostkey.pub").read().split()[:2])
    head = f"user = {quoted(job.user)}\nport = {job.port}\nkey = {quoted(job.key)}\nhost_key = {quoted(key)}\n"
    head += f"vars = {{ bench_root = {quoted(job.root)} }}\n\n[hosts]\n"
    inventory = contenders.write(job, "inventory.toml", head + "".join(f"{quoted(host)} = {{}}\n" for host in job.hosts))
    env = {"XDG_STATE_HOME": os.path.join(job.tmp, "state")}
    # As the others are told: so many at a time, and nobody's configuration.
    common = ["-i", inventory, "-f", os.environ.get("MUTATE_FORKS", "64")]
    if job.workload == "w1":
        return contenders.Run([program, "run", "all", *common, "-b", "--", "uptime"], env, ok=folded)
    # Texts are formatted by a filter; `%` is for numbers.
    contenders.write(job, "app.conf.j2", spec.TEMPLATE_SRC.replace("'%02d' % n", "'%02d' | format(n)"))
    text = playbook() if job.workload == "w2" else push(job)
    path = contenders.write(job, f"{job.workload}.toml", text)
    return contenders.Run([program, "apply", path, *common, "--output", "json"], env, changed=changed, ok=good)


def folded(output, job):
    """Equal outputs are shown once, so hosts are counted instead of lines."""
    count = len(job.hosts)
    if count == 1:
        return "load average" in output
    return "load average" in output and f"{count} host{'s' if count > 1 else ''}: {count} done" in output


def up(begin=bench.up):
    """The hosts, of which the first twenty have a state folder of their own: all of them are one account of one machine,
    and there runs change a host one after the other."""
    begin()
    with open(f"{bench.TMP}/sshd_config", "a") as config:
        for host in map(bench.host, range(20)):
            config.write(f"Match LocalAddress {host}\n  SetEnv XDG_STATE_HOME={bench.TMP}/state/{host}\n")
    os.makedirs(f"{bench.TMP}/state", exist_ok=True)
    os.chmod(f"{bench.TMP}/state", 0o1777)
    os.kill(json.load(open(f"{bench.TMP}/pids.json"))["sshd"], signal.SIGHUP)
    time.sleep(0.5)


if __name__ == "__main__":
    bench.HERE = BENCH
    bench.up = up
    bench.main()
