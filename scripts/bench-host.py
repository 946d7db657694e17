#!/usr/bin/env python3
"""What does one sample of `faultmap host` cost on a host with many sockets, against `ss` and prometheus-node-exporter?

In a network namespace of its own, with 50,000 TCP sockets on loopback (25,000 connections, both ends), each program runs in turn with the
others, ROUNDS times; then `faultmap host --watch` takes SAMPLES samples, and its memory is read on the way. Prints CPU time (user and system,
of the program and of the kernel for it) and wall clock, as medians, and ratios to `faultmap host`. Nothing leaves the machine.

    scripts/bench-host.py [--rounds N] [--sockets N] [--samples N] [PROGRAM]

PROGRAM is target/release/faultmap, which is built first if it is not given. Needs ss; prometheus-node-exporter if it is to be compared.
As root the descriptors of all programs can be read, by ss -p and by faultmap; without it a user namespace is made, and the same holds in it.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

PER_HOLDER = 5000  # connections of one holding process
EXPORTER = "127.0.0.1:9199"
MOST_SOCKETS = 400_000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sockets", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("program", nargs="?")
    args = parser.parse_args()
    if not (3 <= args.rounds <= 1000 and 2 <= args.sockets <= MOST_SOCKETS and 20 <= args.samples <= 100_000):
        fail(f"rounds 3 to 1000, sockets 2 to {MOST_SOCKETS}, samples 20 to 100000")
    if shutil.which("ss") is None:
        fail("ss is missing (iproute2)")
    if args.inside:
        return inside(args)
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    if args.program is None:
        subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "faultmap"], check=True)
        args.program = "target/release/faultmap"
    space = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    again = [sys.executable, os.path.abspath(__file__), "--inside", "--rounds", str(args.rounds), "--sockets", str(args.sockets)]
    again += ["--samples", str(args.samples), os.path.realpath(args.program)]
    os.execvp(space[0], space + ["sh", "-c", 'ip link set lo up && exec "$0" "$@"'] + again)


def fail(words):
    print(f"bench-host: {words}", file=sys.stderr)
    sys.exit(2)


def inside(args):
    holders = hold(args.sockets // 2)
    exporter = None
    try:
        exporter = start_exporter()
        measure(args, exporter)
        memory(args)
    finally:
        for process in holders + ([exporter] if exporter else []):
            process.kill()
            process.wait()


def hold(connections):
    """Processes that hold both ends of so many connections, each to an address of its own: ports are counted by destination."""
    holders = []
    for number in range((connections + PER_HOLDER - 1) // PER_HOLDER):
        count = min(PER_HOLDER, connections - number * PER_HOLDER)
        code = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); " \
               f"holder = __import__('bench-host'); holder.hold_here('127.0.1.{number + 1}', {count})"
        holders.append(subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE))
    for holder in holders:
        if holder.stdout.readline() != b"ready\n":
            fail("the sockets could not be made")
    return holders


def hold_here(address, count):
    need = 2 * count + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(need, hard)))
    listener = socket.create_server((address, 8443), backlog=128)
    held = [listener]
    for _ in range(count):
        client = socket.create_connection((address, 8443))
        held += [client, listener.accept()[0]]
    print("ready", flush=True)
    time.sleep(3600)


def start_exporter():
    if shutil.which("prometheus-node-exporter") is None:
        print("prometheus-node-exporter is missing: not compared")
        return None
    command = ["prometheus-node-exporter", f"--web.listen-address={EXPORTER}", "--collector.tcpstat"]
    exporter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            scrape("?collect[]=netdev")
            return exporter
        except OSError:
            time.sleep(0.05)
    fail("prometheus-node-exporter does not answer")


def scrape(query):
    with urllib.request.urlopen(f"http://{EXPORTER}/metrics{query}", timeout=60) as answer:
        return answer.read()


def run(command):
    """CPU and wall clock, milliseconds, of a program that runs to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # 2 is failure; the others tell how the host is.
    if process.returncode == 2:
        fail(f"{' '.join(command)}: {words.decode(errors='replace')}")
    return (usage.ru_utime + usage.ru_stime) * 1e3, (time.perf_counter() - begun) * 1e3


def run_scrape(exporter, query):
    """The same for one request, from the run time that the scheduler counts for each thread of the exporter."""
    def ran():
        total = 0
        for thread in os.listdir(f"/proc/{exporter.pid}/task"):
            try:
                with open(f"/proc/{exporter.pid}/task/{thread}/schedstat") as text:
                    total += int(text.read().split()[0])
            except OSError:
                pass
        return total / 1e6
    before, begun = ran(), time.perf_counter()
    scrape(query)
    took = (time.perf_counter() - begun) * 1e3
    return ran() - before, took


def measure(args, exporter):
    program = args.program
    network = "&".join(f"collect[]={name}" for name in ["netdev", "netstat", "netclass", "sockstat", "softnet", "arp", "conntrack", "udp_queues", "filefd"])
    contenders = {
        "faultmap host": lambda: run([program, "host", "--prometheus"]),
        "ss -tin": lambda: run(["ss", "-tin"]),
        "ss -tan": lambda: run(["ss", "-tan"]),
        "ss -tanpi": lambda: run(["ss", "-tanpi"]),
    }
    if exporter:
        contenders["node_exporter, network only"] = lambda: run_scrape(exporter, "?" + network)
        contenders["the same and tcpstat"] = lambda: run_scrape(exporter, "?" + network + "&collect[]=tcpstat")
        contenders["node_exporter, all and tcpstat"] = lambda: run_scrape(exporter, "")
    results = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()  # once unmeasured: files in memory
    for number in range(args.rounds):
        names = list(contenders)
        # The order turns, so that none always finds what the same other has warmed.
        for name in names[number % len(names):] + names[:number % len(names)]:
            results[name].append(contenders[name]())
    sockets = sum(1 for _ in open("/proc/self/net/tcp")) - 1
    print(f"\n{sockets} TCP sockets, {args.rounds} rounds, medians\n")
    print(f"{'':32} {'CPU ms':>8} {'wall ms':>8} {'CPU, ratio to faultmap host':>28}")
    own = statistics.median(cpu for cpu, _ in results["faultmap host"])
    for name, times in results.items():
        cpu, wall = statistics.median(cpu for cpu, _ in times), statistics.median(wall for _, wall in times)
        print(f"{name:32} {cpu:8.1f} {wall:8.1f} {cpu / own:28.2f}")


def memory(args):
    """Resident memory of --watch over many samples."""
    command = [args.program, "host", "--watch", "--json", "--interval", "200ms", "--count", str(args.samples)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    seen, lines = [], 0
    for line in process.stdout:
        json.loads(line)
        lines += 1
        if lines in (10, args.samples // 4, args.samples // 2, 3 * args.samples // 4, args.samples - 1):
            seen.append((lines, resident(process.pid)))
    process.wait()
    print(f"\nfaultmap host --watch, {lines} samples: resident KiB " + ", ".join(f"{kib} at {at}" for at, kib in seen))


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
