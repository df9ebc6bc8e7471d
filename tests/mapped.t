#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Files that are mapped: whatever becomes of them, it is as if they were read(2)"""
import os
import signal
import struct
import time

from gwtest import Proc, done, ok, path, run, write

RULE = ("-e", "drop where udp dst port 3000")


def packet(i, size):
    """IPv4, UDP from port 1000 to 3000 or 3001"""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, i & 0xffff, 0, 64, 17, 0,
                       b"\x0a\0\0\1", b"\x0a\0\0\2")
    return (head + struct.pack(">HHHH", 1000, 3000 + i * 7 // 3 % 2, size - 20, 0) +
            bytes([i & 0xff]) * (size - 28))


def pcap(count, size=None, order="<", nano=True):
    """Packets of one size, or of many, some of them cut"""
    magic = 0xa1b23c4d if nano else 0xa1b2c3d4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 101)]
    for i in range(count):
        p = packet(i, size or 28 + i * 37 % 3000)
        kept = p[:1500]
        out.append(struct.pack(order + "IIII", 1700000000 + i, i, len(kept), len(p)) + kept)
    return b"".join(out)


def put(name, data):
    with open(path(name), "wb") as f:
        f.write(data)
    os.chmod(path(name), 0o644)


def read(name):
    with open(path(name), "rb") as f:
        return f.read()


def same(what, name="in.pcap", before=""):
    """As a file, and through a pipe, which nobody can map"""
    rule = "'%s'" % RULE[1]
    status, _, err = run("sh", "-c", "(%s gwfilter -q -o mapped.pcap -e %s) <%s && "
                         "(%s cat) <%s | gwfilter -q -o piped.pcap -e %s" %
                         (before, rule, name, before, name, rule), cwd=path(""))
    a, b = read("mapped.pcap"), read("piped.pcap")
    ok(status == 0 and a == b and len(a) > 10000, what, status, err, len(a), len(b))


def kinds():
    for order, byte in ("<", "little"), (">", "big"):
        for nano, unit in (True, "nano"), (False, "micro"):
            put("in.pcap", pcap(3000, None, order, nano))
            same("%s-endian, %sseconds, packets of many sizes" % (byte, unit))
    put("in.pcap", pcap(20000, 100))
    same("packets of 100 bytes")
    pipe = "mkfifo out.pcap && { cat out.pcap >got.pcap & } && gwfilter -q -i in.pcap" \
           " -o out.pcap -e '%s' && wait && rm out.pcap && cmp got.pcap piped.pcap" % RULE[1]
    status, _, err = run("sh", "-c", pipe, cwd=path(""))
    ok(status == 0, "the same into a pipe that is a .pcap as well", err)
    os.chmod(path("in.pcap"), 0o666)
    same("a file that everybody may write")
    put("in.pcap", b"x" * 5000 + pcap(2000, 1000))
    same("from where stdin stands", before="dd bs=5000 count=1 status=none of=/dev/null;")


def take(fd):
    data = b""
    while True:
        more = os.read(fd, 1 << 16)
        if not more:
            return data
        data += more


def started(*argv):
    """One whose output is a pipe that is full by now; stderr goes there as well, if there is -o"""
    r, w = os.pipe()
    p = Proc("sh", "-c", 'exec "$@"' + (" 2>&1" if argv else ""), "sh",
             "gwfilter", "-q", "-i", path("in.pcap"), *argv, stdout=w)
    os.close(w)
    time.sleep(0.5)
    return p, r


def changes():
    whole = pcap(40000, 100)
    put("in.pcap", whole[:3000010])
    p, r = started()
    with open(path("in.pcap"), "ab") as f:
        f.write(whole[3000010:])
    put("got.pcapng", take(r))
    status = p.wait()
    _, out, err = run("h_dump", path("got.pcapng"))
    ok(status == 0 and out.count(b"\n") == 40000, "what is appended meanwhile is read as well",
       status, p.stderr(), err)
    put("in.pcap", whole)
    p, r = started()
    os.truncate(path("in.pcap"), 1000)
    take(r)
    ok(p.wait() == 1 and "got shorter while it was read" in p.stderr(), "a file that gets shorter",
       p.stderr())
    for size in 100, 1400:
        put("in.pcap", pcap(4000000 // size, size))
        p, r = started("-o", path("out.pcap"), "--print")
        os.truncate(path("in.pcap"), 1000)
        said = take(r)
        ok(p.wait() == 1 and b"got shorter while it was read" in said,
           "and with it what was to be written, packets of %d bytes" % size, said[-300:])
    put("in.pcap", whole)
    p, r = started()
    p.signal(signal.SIGTERM)
    put("got.pcapng", take(r))
    status = p.wait()
    rc, out, err = run("h_dump", path("got.pcapng"))
    ok(not status and not rc and 100 < out.count(b"\n") < 40000, "told to stop: it ends in order",
       status, p.stderr(), err)


def large():
    """More than is mapped at once; nearly all of it holes"""
    size = 262144
    with open(path("in.pcap"), "wb") as f:
        f.write(pcap(0))
        for i in range(2600):
            f.write(struct.pack("<IIII", 1700000000, i, size, size) + packet(i, 60000)[:100])
            f.seek(size - 100, os.SEEK_CUR)
        f.truncate(f.tell())
    os.chmod(path("in.pcap"), 0o644)
    write("rules", "pass every 40\ndefault drop\n")
    both = "gwfilter -q -i in.pcap -o mapped.pcap -f rules && " \
           "cat in.pcap | gwfilter -q -o piped.pcap -f rules && cmp mapped.pcap piped.pcap"
    status, _, err = run("sh", "-c", both, cwd=path(""))
    ok(status == 0 and os.path.getsize(path("mapped.pcap")) == 24 + 65 * (16 + size),
       "a file of 680 MB", status, err)


kinds()
changes()
large()
done()
