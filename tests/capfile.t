#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What our stages write opens in tcpdump and tshark, as the same packets"""
import os
import resource
import signal

from gwtest import account, done, generate, ok, path, run

COUNT = 200


def tshark(file):
    """[(time, bytes captured, bytes on the wire)], complaints"""
    status, out, err = run("tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.time_epoch",
                           "-e", "frame.cap_len", "-e", "frame.len",
                           env=dict(os.environ, HOME=path(""), XDG_CONFIG_HOME=path("")))
    err = "\n".join(line for line in err.splitlines() if "Running as user" not in line)
    return [line.split("\t") for line in out.decode().splitlines()], err + ("" if status == 0 else "status")


def ours(file):
    """The same by our own codec"""
    status, out, err = run("h_dump", file)
    rows = []
    for line in out.decode().splitlines():
        words = line.split()
        size = 0 if words[-1] == "-" else len(words[-1]) // 2
        rows.append(["%s.%s" % (words[2][:-9], words[2][-9:]), str(size), words[words.index("wire") + 1]])
    return rows, err + ("" if status == 0 else "status")


def opens(file, what, inner):
    status, out, err = run("tcpdump", "-n", "-r", file)
    complaints = [line for line in err.splitlines() if not line.startswith("reading from file")]
    ok(status == 0 and not complaints and out.count(b"\n") == COUNT,
       "tcpdump opens %s without a complaint" % what, err)
    ok(b" > 10.0.1.2.3000: UDP" in out and b"fd00::fa.3000: UDP" in out and
       (b"Geneve" not in out) == inner,
       "and shows %s" % ("inner packets" if inner else "Geneve"), out[:500])
    mine, trouble = ours(file)
    seen, complaints = tshark(file)
    ok(not trouble and not complaints and len(mine) == COUNT and seen == mine,
       "tshark as well: the same times, to the nanosecond, and lengths", trouble, complaints,
       seen[:3], mine[:3])


def short_of_room():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3500000, 3500000))


def large():
    """Files of many blocks, which are written behind the stage's back"""
    generate("large.pcapng", 5000, 1400)
    status, _, err = run("sh", "-c", "gwcap -i large.pcapng -o large1.pcapng && "
                         "gwcap -i large.pcapng | cat >large2.pcapng", cwd=path(""))
    first, second = (run("h_dump", path("large%d.pcapng" % n)) for n in (1, 2))
    ok(status == 0 and first == second and first[1].count(b"\n") == 5000,
       "5000 packets of 1400 bytes: the same in a file as through a pipe", err, first[2])
    status, _, err = run("gwcap", "-i", path("large.pcapng"), "-o", path("full.pcapng"),
                         preexec_fn=short_of_room)
    a = account(err)
    ok(status == 1 and "full.pcapng: File too large" in err and
       os.path.getsize(path("full.pcapng")) == 3500000, "a full disk: what fits is there", err)
    ok(a and a.balances() and 0 < a.out <= 3500000 // 1400 and a.uncertain,
       "and every packet accounted for", err)


def classic_fifo():
    """Classic pcap has no room for an offer of a ring"""
    fifo = path("fifo.pcap")
    os.mkfifo(fifo)
    for chain in ("gwcap -i in.pcapng -o fifo.pcap", "gwcap -i in.pcapng | gwdecap -o fifo.pcap",
                  "gwcap -i in.pcapng | gwdecap | gwinject -o fifo.pcap"):
        status, _, err = run("sh", "-c", "cat fifo.pcap >from_fifo.pcap & %s && wait" % chain,
                             cwd=path(""))
        ok(status == 0, "a fifo: " + chain, err)
        opens(path("from_fifo.pcap"), "what comes from it", "gwdecap -o" in chain)


def main():
    large()
    generate("in.pcapng", COUNT, 40)
    steps = ["gwcap -i in.pcapng -o cap.pcapng", "gwcap -i in.pcapng -o cap.pcap",
             "gwdecap -i cap.pcapng -o decap.pcapng", "gwinject -i decap.pcapng -o inject.pcapng",
             "gwinject -i decap.pcapng -o inject.pcap", "gwdecap -i cap.pcapng | gwdecap >/dev/null",
             "gwcap -i in.pcapng | tee tee.pcapng | gwdecap | tee tee2.pcapng | gwinject -o end.pcapng"]
    for s in steps:
        status, _, err = run("sh", "-c", s, cwd=path(""))
        ok(status == 0, s, err)
    status, _, err = run("gwdecap", "-i", path("cap.pcap"), "-o", path("plain.pcap"))
    ok("classic pcap cannot hold the encapsulation" in err, "classic pcap behind gwdecap: a warning", err)
    for name in ("in", "cap", "inject", "tee", "end"):
        opens(path(name + ".pcapng"), name + ".pcapng", False)
    for name in ("cap.pcap", "inject.pcap"):
        opens(path(name), name, False)
    for name in ("decap.pcapng", "tee2.pcapng", "plain.pcap"):
        opens(path(name), name, True)
    classic_fifo()


main()
done()
