#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""gwtee: what passes is unchanged, whatever becomes of its copies."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

BIN, TESTS = os.environ['GW_BIN'], os.environ['GW_TESTS']
WAIT = 20
tmp = tempfile.mkdtemp(prefix='gwtee.')
os.chmod(tmp, 0o777)		# files begun later are opened as an unprivileged user
os.chdir(tmp)
children = []
mounted = False
count = failed = 0


def ok(cond, what, got=None):
    global count, failed
    count += 1
    failed += not cond
    print('%sok %d - %s' % ('' if cond else 'not ', count, what))
    if not cond and got is not None:
        print('# got:', repr(got)[:500])
    sys.stdout.flush()


def run(*args, **kw):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **kw)


def spawn(args, **kw):
    p = subprocess.Popen(args, **kw)
    children.append(p)
    return p


def dump(path):
    r = run(TESTS + '/h_dump', path)
    return r.stdout.splitlines() if r.returncode == 0 else ['h_dump: %s' % r.stderr]


def tee(*args, **kw):
    """Run over in.pcapng: (counts of the copies, status, stderr, seconds)"""
    start = time.monotonic()
    r = run(BIN + '/gwtee', '-i', 'in.pcapng', '-o', 'out.pcapng', *args, **kw)
    took = time.monotonic() - start
    err = r.stderr.decode()
    counts = [(int(a), int(b)) for a, b in re.findall(r'(\d+) copied, (\d+) lost', err)]
    return counts, r.returncode, err, took


def unchanged(what):
    ok(dump('out.pcapng') == whole, what + ': the stream is unchanged')


def packets(path):
    r = run('tcpdump', '-nr', path)
    return len(r.stdout.splitlines()) if r.returncode == 0 else r.stderr


def make_input():
    with open('wire.pcapng', 'wb') as f:
        subprocess.run([TESTS + '/h_gen', '5000', '400', '8'], stdout=f, check=True)
    subprocess.run([BIN + '/gwdecap', '-q', '-i', 'wire.pcapng', '-o', 'in.pcapng'], check=True)
    return dump('in.pcapng')


def plain_copies():
    c, status, err, _ = tee('-w', 'a.pcapng', '-w', 'b.pcap')
    ok(status == 0 and c == [(5000, 0)] * 2, 'two copies', (c, err))
    unchanged('two copies')
    ok(dump('a.pcapng') == whole, 'a pcapng copy has all metadata')
    ok(packets('a.pcapng') == packets('b.pcap') == 5000, 'tcpdump reads both')
    ok('metadata' in err or 'encapsulation' in err, 'a word about what .pcap cannot hold', err)
    for f in ('a.pcapng', 'b.pcap'):
        r = run('tshark', '-r', f)
        ok(r.returncode == 0 and len(r.stdout.splitlines()) == 5000 and b'alformed' not in r.stdout,
           'tshark reads ' + f, r.stderr)
    r = run('sh', '-c', '%s/gwdecap -q -i wire.pcapng | %s/gwtee -q -w p.pcapng | %s/gwtee -q -w q.pcapng '
            '| %s/gwinject -q -o back.pcapng' % (BIN, BIN, BIN, BIN))
    ok(r.returncode == 0 and packets('back.pcapng') == 5000, 'in a pipe', r.stderr)
    ok(dump('p.pcapng') == dump('q.pcapng') == whole, 'copies of a pipe')
    c, status, err, _ = tee('-w', 'in.pcapng')
    ok(status == 2 and len(dump('in.pcapng')) == len(whole), 'not over its own input', err)


def choosing():
    c, _, err, _ = tee('-w', 'e.pcapng', 'udp', 'and', 'ip6')
    n = packets('e.pcapng')
    ok(c == [(n, 0)] and 0 < n < 5000, 'an expression', (c, err))
    r = run('tcpdump', '-nr', 'e.pcapng', 'not ip6')
    ok(not r.stdout, 'only what it chooses')
    unchanged('expression')
    c, *_ = tee('-w', 'e.pcapng', '--sample', '1/7')
    ok(c == [(715, 0)] and dump('e.pcapng') == whole[::7], '--sample 1/7', c)
    c, status, _, _ = tee('-w', 'e.pcapng', '-c', '3')
    ok(c == [(3, 0)] and status == 0 and dump('e.pcapng') == whole[:3], '-c 3', c)
    unchanged('-c')
    tee('-w', 'e.pcapng', '-s', '60')
    cut = os.path.getsize('in.pcapng') - os.path.getsize('e.pcapng')
    ok(packets('e.pcapng') == 5000 and cut >= 5000 * (400 - 60), '-s 60 cuts', cut)
    unchanged('-s')
    c, status, err, _ = tee('-w', 'e.pcapng', 'no such thing')
    ok(status == 2 and 'no such thing' in err, 'a wrong expression: 2', err)


def rotation():
    os.mkdir('rot')
    os.chmod('rot', 0o777)
    c, _, err, _ = tee('-C', '1', '-w', 'rot/c.pcapng')
    names = sorted(os.listdir('rot'))
    ok(names == ['c.pcapng'] + ['c.pcapng%d' % i for i in range(1, len(names))] and
       all(os.path.getsize('rot/' + f) < 1001000 for f in names), '-C 1', (names, err))
    ok(sum((dump('rot/' + f) for f in names), []) == whole, 'nothing between the files')
    c, _, err, _ = tee('-C', '1', '-W', '2', '-w', 'rot/r.pcap')
    names = sorted(f for f in os.listdir('rot') if f[0] == 'r')
    n = [packets('rot/' + f) for f in names]
    ok(names == ['r.pcap0', 'r.pcap1'] and n[0] + n[1] < 5000, '-C 1 -W 2: a ring', (names, n))
    # the generator's packets are a microsecond apart: draw them out to a second
    with open('slow.pcap', 'wb') as f:
        subprocess.run(['/usr/bin/python3', '-c', SLOW], stdout=f, check=True)
    r = run(BIN + '/gwtee', '-i', 'slow.pcap', '-o', '/dev/null', '-G', '10', '-w', 'rot/%H%M%S.pcap',
            env=dict(os.environ, TZ='UTC'))
    names = sorted(f for f in os.listdir('rot') if f[0] == '2')
    ok(names == ['221320.pcap', '221330.pcap', '221340.pcap'], '-G 10 with strftime', (names, r.stderr))
    ok([packets('rot/' + f) for f in names] == [10, 10, 5], 'each with its packets')
    r = run(BIN + '/gwtee', '-i', 'slow.pcap', '-o', '/dev/null', '-G', '10', '-w', 'rot/one.pcap')
    ok(r.returncode == 0 and 'overwrites' in str(r.stderr), '-G without a time in the name: warned of', r.stderr)
    r = run(BIN + '/gwtee', '-i', 'slow.pcap', '-o', '/dev/null', '-G', '10', '-W', '2', '-w', 'rot/w%S.pcap')
    names = sorted(f for f in os.listdir('rot') if f[0] == 'w')
    ok(len(names) == 2 and r.returncode == 0, '-G 10 -W 2 ends the copy', names)


SLOW = r"""
import struct, sys
o = sys.stdout.buffer
o.write(struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
p = bytes.fromhex('4500001c0000000040110000' '0a000001' '0a000002' '0001000200080000')
for i in range(25):
    o.write(struct.pack('<IIII', 1700000000 + i, 0, len(p), len(p)) + p)
"""


def fifos():
    os.mkfifo('never')
    os.chmod('never', 0o666)
    c, status, err, took = tee('-w', 'never', '-w', 'beside.pcapng')
    ok(status == 0 and c[0] == (0, 5000) and took < 8, 'a fifo never read', (c, took, err))
    ok(c[1] == (5000, 0) and dump('beside.pcapng') == whole, 'and the copy beside it is whole')
    unchanged('fifo never read')
    # read late: waited for
    os.mkfifo('late')
    os.chmod('late', 0o666)
    cat = spawn(['sh', '-c', 'sleep 0.3; exec cat late >late.pcapng'])
    c, status, err, _ = tee('-w', 'late')
    cat.wait(WAIT)
    ok(c == [(5000, 0)] and dump('late.pcapng') == whole, 'a fifo read late', (c, err))
    # closed half way
    head = spawn(['sh', '-c', 'head -c 10000 late >part.pcapng'])
    c, status, err, took = tee('-w', 'late')
    head.wait(WAIT)
    ok(status == 0 and c[0][0] + c[0][1] == 5000 and c[0][1] > 0, 'a fifo closed half way', (c, err))
    unchanged('fifo closed')
    # stopped: its reader takes nothing; more packets than all queues hold
    reader = os.open('late', os.O_RDONLY | os.O_NONBLOCK)
    with open('much.pcapng', 'wb') as f:
        subprocess.run([TESTS + '/h_gen', '8000', '1400', '8'], stdout=f, check=True)
    start = time.monotonic()
    r = run(BIN + '/gwtee', '-i', 'much.pcapng', '-o', 'much2.pcapng', '--drain-timeout', '1s',
            '-w', 'late')
    took = time.monotonic() - start
    ok(r.returncode == 0 and dump('much2.pcapng') == dump('much.pcapng') and took < 10,
       'a stopped reader', (took, r.stderr))
    m = re.search(rb'late: (\d+) copied, (\d+) lost', r.stderr)
    ok(m and int(m[1]) + int(m[2]) == 8000 and int(m[2]) > 0, 'its loss is counted', r.stderr)
    os.close(reader)


def full_disks():
    global mounted
    c, status, err, _ = tee('-w', '/dev/full')
    ok(status == 0 and c == [(0, 5000)] and 'No space left' in err, '/dev/full', (c, err))
    unchanged('/dev/full')
    os.mkdir('small')
    mounted = run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', 'small').returncode == 0
    if not mounted:
        ok(True, 'a full disk # SKIP no right to mount')
        return
    c, status, err, _ = tee('-w', 'small/x.pcapng')
    n = packets('small/x.pcapng')
    ok(status == 0 and c == [(n, 5000 - n)] and 0 < n < 5000, 'a full disk: what is there is readable',
       (c, n, err))
    unchanged('full disk')


def streams():
    """A copy for a further stage: it gets all, and a stopped one holds up nobody"""
    os.mkdir('run')
    os.environ['GW_RUN'] = tmp + '/run'
    if not os.getuid():
        shutil.chown('run', 'nobody')
    side = spawn([BIN + '/gwtee', '-q', '-i', 'ipc://side', '-o', '-', '--as', 'side'],
                 stdout=open('side.pcapng', 'wb'), stderr=subprocess.DEVNULL)
    c, status, err, _ = tee('-w', 'ipc://side')
    ok(status == 0 and c == [(5000, 0)], 'a copy over ZeroMQ', (c, err))
    ok(side.wait(WAIT) == 0 and dump('side.pcapng') == whole, 'arrives whole')
    unchanged('ZeroMQ')
    c, status, err, took = tee('-w', 'ipc://nobody', '--drain-timeout', '1s')
    ok(status == 0 and c[0][1] > 0 and took < 8, 'a copy that nobody takes', (c, took, err))
    unchanged('nobody there')


def live():
    """Packets in no hurry reach a file at once, a full queue loses at once"""
    gen = spawn([TESTS + '/h_gen', '1000000', '100', '8', '200'], stdout=subprocess.PIPE)
    t = spawn([BIN + '/gwtee', '-i', '-', '-o', 'live.pcapng', '-w', 'live2.pcapng'],
              stdin=gen.stdout, stderr=subprocess.DEVNULL)
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if os.path.exists('live2.pcapng') and packets('live2.pcapng') not in (0, 1) and \
           os.path.getsize('live2.pcapng') > 1000:
            break
        time.sleep(0.1)
    ok(os.path.getsize('live2.pcapng') > 1000, 'a slow stream is in the file soon')
    gen.kill()
    t.wait(WAIT)


def counters():
    """What waits for a fifo's reader is not copied yet, and names tell two stages apart"""
    run_folder = os.path.join(tmp, 'counters')
    os.mkdir(run_folder)
    os.mkfifo('waits')
    os.chmod('waits', 0o666)

    def counts():
        page = dict(x.split(' ', 1) for x in
                    run(TESTS + '/h_page', run_folder, 'gwtee:one').stdout.decode().splitlines())
        return tuple(int(page.get(x + '_packets', -1)) for x in ('in', 'copied', 'lost'))

    def until(want):
        end = time.monotonic() + WAIT
        while counts() != want and time.monotonic() < end:
            time.sleep(0.05)
        return counts()
    env = dict(os.environ, GW_RUN=run_folder)
    t = spawn([BIN + '/gwtee', '--as', 'one', '-i', 'ipc://tee', '-o', 'out.pcapng', '-w', 'waits'],
              env=env, stderr=subprocess.PIPE)
    feed = spawn([BIN + '/gwtee', '-q', '-i', '-', '-o', 'ipc://tee'], env=env,
                 stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with open('in.pcapng', 'rb') as f:
        feed.stdin.write(f.read())
    feed.stdin.flush()
    seen = until((5000, 0, 0))
    time.sleep(1.2)		# a tick hands over all there is
    ok(seen == (5000, 0, 0) == counts(), 'nobody reads the fifo: nothing is copied', counts())
    cat = spawn(['sh', '-c', 'exec cat waits >waits.pcapng'])
    ok(until((5000, 5000, 0)) == (5000, 5000, 0), 'somebody does: all is', counts())
    feed.stdin.close()
    err = t.communicate(timeout=WAIT)[1].decode()
    cat.wait(WAIT)
    ok('gwtee:one: waits: 5000 copied, 0 lost\n' in err, 'the last line has the name', err)


def hiccup():
    """A reader that pauses: the whole buffer is there for it, however small the bursts are"""
    n, packet = 1500, bytes.fromhex('450000d40000000040110000' '0a000001' '0a000002'
                                    '0001000200c00000') + bytes(184)
    os.mkfifo('pause')
    os.chmod('pause', 0o666)
    reader = os.open('pause', os.O_RDONLY | os.O_NONBLOCK)
    t = spawn([BIN + '/gwtee', '-i', '-', '-o', '/dev/null', '-w', 'pause'], stdin=subprocess.PIPE,
              stderr=subprocess.PIPE)
    feed = os.dup(t.stdin.fileno())
    t.stdin.close()
    t.stdin = None
    os.write(feed, struct.pack('<IHHiIII', 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
    for i in range(n):
        os.write(feed, struct.pack('<IIII', 1700000000, i, len(packet), len(packet)) + packet)
        time.sleep(0.0003)
    os.close(feed)
    os.set_blocking(reader, True)
    with open(reader, 'rb') as f:
        got = len(f.read())
    err = t.communicate(timeout=WAIT)[1]
    m = re.search(rb'pause: (\d+) copied, (\d+) lost', err)
    ok(m and int(m[1]) == n and got > n * len(packet), 'a reader that pauses loses nothing', (got, err))


def main():
    plain_copies()
    choosing()
    rotation()
    fifos()
    full_disks()
    streams()
    live()
    hiccup()
    counters()
    print('1..%d' % count)
    return failed > 0


try:
    whole = make_input()
    status = main()
finally:
    for p in children:
        if p.poll() is None:
            p.kill()
            p.wait()
    if mounted:
        run('umount', tmp + '/small')
    os.chdir('/')
    shutil.rmtree(tmp, ignore_errors=True)
sys.exit(status)
